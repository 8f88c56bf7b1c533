import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import type { PageOf } from '../api/archive.ts';
import { messageOf } from './use-loaded.ts';

export interface Pages<T> {
  readonly items: readonly T[] | undefined;
  readonly error: string | undefined;
  readonly loading: boolean;
  readonly hasMore: boolean;
  readonly loadMore: () => void;
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
  const fetchPage = useCallback(
    async (cursor?: string) => {
      const asked = ++newest.current;
      const isNewest = () => asked === newest.current;
      setLoading(true);
      try {
        const page = await load(cursor);
        if (!isNewest()) return;
        setItems((old) => (cursor === undefined ? page.items : [...(old ?? []), ...page.items]));
        setNext(page.next);
        setError(undefined);
      } catch (failure) {
        if (isNewest()) setError(messageOf(failure));
      }
      if (isNewest()) setLoading(false);
    },
    [load],
  );
  useEffect(() => {
    void fetchPage();
    return () => void newest.current++;
  }, [fetchPage]);
  return {
    items,
    error,
    loading,
    hasMore: typeof next === 'string' && next !== '',
    loadMore: () => void fetchPage(next ?? undefined),
    reload: () => void fetchPage(),
  };
}
