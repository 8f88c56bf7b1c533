import { useCallback, useEffect, useRef, useState } from 'preact/hooks';

export interface Loaded<T> {
  /** what was loaded last; kept while it is loaded again, so that nothing flickers */
  readonly value: T | undefined;
  readonly error: string | undefined;
  readonly loading: boolean;
  /** `value` is what another key had: its own is on its way */
  readonly stale: boolean;
  readonly reload: () => void;
}

/** Loads when `key` changes and on `reload`; a newer load aborts the older one. `forget` drops the old value at once. */
export function useLoaded<T>(key: string, load: (signal: AbortSignal) => Promise<T>, forget = false): Loaded<T> {
  const [state, setState] = useState<{ value?: T | undefined; error?: string; loading: boolean; key: string }>({
    loading: true,
    key,
  });
  const current = useRef<AbortController>(undefined);
  const latest = useRef(load);
  latest.current = load;
  const run = useCallback((forKey: string) => {
    current.current?.abort();
    const controller = new AbortController();
    current.current = controller;
    setState((old) => ({ value: old.value, loading: true, key: old.key }));
    latest.current(controller.signal).then(
      (value) => controller.signal.aborted || setState({ value, loading: false, key: forKey }),
      (error: unknown) =>
        controller.signal.aborted ||
        setState((old) => ({ value: old.value, error: messageOf(error), loading: false, key: forKey })),
    );
  }, []);
  useEffect(() => {
    run(key);
    return () => current.current?.abort();
  }, [key]);
  const stale = state.key !== key;
  return {
    value: stale && forget ? undefined : state.value,
    error: stale ? undefined : state.error,
    loading: state.loading || stale,
    stale,
    reload: () => run(key),
  };
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
