import { useMemo } from 'preact/hooks';
import { createStore, useStore } from './store.ts';

export { href } from './address.ts';

/**
 * The page and its state stand behind the `#` of the address: shareable and kept by the back button, yet never sent to a
 * server. Filters hold patients' names, and a query string would carry those into access logs.
 */
export interface Route {
  /** `/study/1.2.3` */
  readonly path: string;
  readonly query: URLSearchParams;
}

const read = (): string => location.hash.slice(1) || '/';
const hash = createStore(read());
const follow = () => {
  if (read() !== hash.get()) hash.set(read());
};
addEventListener('popstate', follow);
addEventListener('hashchange', follow);

const parse = (text: string): Route => {
  const [path = '', query = ''] = text.split(/\?(.*)/s);
  return { path, query: new URLSearchParams(query) };
};

export function useRoute(): Route {
  const text = useStore(hash);
  return useMemo(() => parse(text), [text]);
}

/** The filters of the address as it is now: one that is left and the next that is clicked change it before it is drawn anew. */
export const currentQuery = (): URLSearchParams => parse(hash.get()).query;

export function navigate(target: string, how: 'push' | 'replace' = 'push'): void {
  if (target === location.hash) return;
  if (how === 'push') history.pushState(null, '', target);
  else history.replaceState(null, '', target);
  follow();
}

const RETURN_KEY = 'nephos.returnTo';
/** The viewer's back arrow leads to `/`; this brings the list back as it was left (for this tab alone). */
export const rememberForReturn = (): void => sessionStorage.setItem(RETURN_KEY, location.hash);
export function resumeAfterViewer(): void {
  const target = sessionStorage.getItem(RETURN_KEY);
  sessionStorage.removeItem(RETURN_KEY);
  if (target && location.hash === '') navigate(target, 'replace');
}
/** Whoever comes next to this tab does not begin where somebody else was. */
export const forgetReturn = (): void => sessionStorage.removeItem(RETURN_KEY);
