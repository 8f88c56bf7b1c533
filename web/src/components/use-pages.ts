import { useCallback, useEffect, useState } from 'preact/hooks';
import type { PageOf } from '../api/archive.ts';
import { messageOf } from './use-loaded.ts';

export interface Pages<T> {
  readonly items: readonly T[] | undefined;
  readonly error: string | undefined;
  readonly hasMore: boolean;
  readonly loadMore: () => void;
  readonly reload: () => void;
}

/** A list that is loaded page after page by its cursor. `load` must not change from drawing to drawing. */
export function usePages<T>(load: (cursor?: string) => Promise<PageOf<T>>): Pages<T> {
  const [items, setItems] = useState<readonly T[]>();
  const [next, setNext] = useState<string | null>();
  const [error, setError] = useState<string>();
  const fetchPage = useCallback(
    async (cursor?: string) => {
      try {
        const page = await load(cursor);
        setItems((old) => (cursor === undefined ? page.items : [...(old ?? []), ...page.items]));
        setNext(page.next);
        setError(undefined);
      } catch (failure) {
        setError(messageOf(failure));
      }
    },
    [load],
  );
  useEffect(() => void fetchPage(), [fetchPage]);
  return {
    items,
    error,
    hasMore: typeof next === 'string' && next !== '',
    loadMore: () => void fetchPage(next ?? undefined),
    reload: () => void fetchPage(),
  };
}
