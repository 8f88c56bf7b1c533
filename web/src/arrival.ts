import { createStore } from './store.ts';

/**
 * Another program has sent somebody here: by Invoke Image Display (/iid), or by a launch of its record system (/launch), whose login he comes
 * back from. Until it is done it is kept for this tab alone, over a sign-in; from the address, which holds ids of patients, it is taken.
 */
export type Arrival =
  | { readonly kind: 'display'; readonly parameters: Readonly<Record<string, string>> }
  | { readonly kind: 'launch'; readonly iss: string; readonly launch: string }
  | { readonly kind: 'return'; readonly code: string; readonly state: string }
  | { readonly kind: 'launched'; readonly id: string }
  | { readonly kind: 'refused' };

const KEY = 'nephos.arrival';
/** Who comes later begins again at the other program (ms). */
const KEPT_MS = 10 * 60_000;

export const arrival = createStore<Arrival | undefined>(undefined);

export function setArrival(next: Arrival | undefined): void {
  if (next === undefined) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, JSON.stringify({ at: Date.now(), arrival: next }));
  arrival.set(next);
}

/** Once, before anything is drawn. */
export function noteArrival(): void {
  const { pathname, search } = location;
  const query = new URLSearchParams(search);
  if (/^\/iid\/?$/.test(pathname)) setArrival({ kind: 'display', parameters: Object.fromEntries(query) });
  else if (/^\/launch\/?$/.test(pathname)) setArrival(launchOf(query));
  else {
    arrival.set(kept());
    return;
  }
  history.replaceState(null, '', '/');
}

function launchOf(query: URLSearchParams): Arrival {
  const [iss, launch, code, state] = ['iss', 'launch', 'code', 'state'].map((name) => query.get(name));
  if (iss && launch) return { kind: 'launch', iss, launch };
  return code && state ? { kind: 'return', code, state } : { kind: 'refused' };
}

function kept(): Arrival | undefined {
  try {
    const { at, arrival: found } = JSON.parse(sessionStorage.getItem(KEY) ?? '{}');
    if (found && Date.now() - at < KEPT_MS) return found;
  } catch {
    // Falls through: what cannot be read is nothing.
  }
  sessionStorage.removeItem(KEY);
  return undefined;
}
