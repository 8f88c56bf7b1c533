import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import type { PageOf } from '../api/archive.ts';
import { messageOf } from './use-loaded.ts';

export interface Pages<T> {
  readonly items: readonly T[] | undefined;
  readonly error: string | undefined;
  readonly loading: boolean;
  readonly hasMore: boolean;
  readonly loadMore: () => void;
  /** from the beginning, as far as had been loaded: what somebody looks at stays */
  readonly reload: () => void;
}

/** A list that is loaded page after page by its cursor. `load` must not change from drawing to drawing. */
export function usePages<T>(load: (cursor?: string) => Promise<PageOf<T>>): Pages<T> {
  const [items, setItems] = useState<readonly T[]>();
  const [next, setNext] = useState<string | null>();
  const [error, setError] = useState<string>();
  const [loading, setLoading] = useState(true);
  // What was asked for last is what is shown, in whatever order the answers come.
  const newest = useRef(0);
  // How many there are to be once what was asked for has come: a list that is loaded anew before brings them, too.
  const awaited = useRef(0);
  const fetchPages = useCallback(
    async (cursor?: string) => {
      const asked = ++newest.current;
      const isNewest = () => asked === newest.current;
      setLoading(true);
      try {
        let { items: found, next: behind } = await load(cursor);
        while (cursor === undefined && behind && found.length < awaited.current && isNewest()) {
          const page = await load(behind);
          found = [...found, ...page.items];
          behind = page.next;
        }
        if (!isNewest()) return;
        setItems((old) => (cursor === undefined ? found : [...(old ?? []), ...found]));
        setNext(behind);
        setError(undefined);
      } catch (failure) {
        if (isNewest()) setError(messageOf(failure));
      }
      if (!isNewest()) return;
      awaited.current = 0;
      setLoading(false);
    },
    [load],
  );
  useEffect(() => {
    awaited.current = 0;
    void fetchPages();
    return () => void newest.current++;
  }, [fetchPages]);
  return {
    items,
    error,
    loading,
    hasMore: typeof next === 'string' && next !== '',
    loadMore: () => {
      awaited.current = (items?.length ?? 0) + 1;
      void fetchPages(next ?? undefined);
    },
    reload: () => {
      awaited.current = Math.max(awaited.current, items?.length ?? 0);
      void fetchPages();
    },
  };
}
