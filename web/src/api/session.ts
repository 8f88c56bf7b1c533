import { rememberForReturn } from '../router.ts';
import { createStore } from '../store.ts';
import { ArchiveError, ask, explain, noteSignIn, onSignedOut, signInsSoFar } from './http.ts';

export type Session =
  | { readonly state: 'unknown' }
  /** `expired`: somebody was at work when the session ended */
  | { readonly state: 'signedOut'; readonly expired?: boolean }
  | { readonly state: 'unreachable'; readonly message: string }
  | SignedIn;

export interface SignedIn {
  readonly state: 'signedIn';
  readonly subject: string;
  /** false where the archive runs without access control */
  readonly canSignOut: boolean;
  /** actions (docs/roles.md) */
  readonly permits: readonly string[];
  /** signed in by password, so that the account can be changed here */
  readonly hasAccount: boolean;
  /** the archive keeps the people who sign in by itself */
  readonly keepsPeople: boolean;
}

/** whom the archive names where access control is off (functions/embedded/app.ts) */
const EVERYBODY = 'local';

export const session = createStore<Session>({ state: 'unknown' });
onSignedOut(() => session.set({ state: 'signedOut', expired: session.get().state === 'signedIn' || isExpired() }));

const isExpired = (): boolean => {
  const current = session.get();
  return current.state === 'signedOut' && current.expired === true;
};

/** Whether the page should offer something; the archive decides for itself whether it does it. */
export const may = (action: string): boolean => {
  const current = session.get();
  return current.state === 'signedIn' && current.permits.includes(action);
};

/** Asks whether the session still holds, for calls whose refusal a page cannot see: pictures and events. */
export function checkSession(): void {
  // A page full of pictures that cannot be drawn asks once.
  if (performance.now() < nextCheckAt) return;
  nextCheckAt = performance.now() + CHECK_EVERY_MS;
  void ask('/api/session').catch(() => {});
}
const CHECK_EVERY_MS = 2_000;
let nextCheckAt = 0;

export async function loadSession(): Promise<void> {
  const askedAfter = signInsSoFar();
  try {
    const response = await fetch('/api/session', {
      credentials: 'same-origin',
      headers: { accept: 'application/json' },
    });
    // Somebody has signed in since.
    if (response.status === 401 && askedAfter !== signInsSoFar()) return;
    if (response.status === 401) return session.set({ state: 'signedOut', expired: isExpired() });
    if (!response.ok) return session.set({ state: 'unreachable', message: explain(response.status) });
    const body = (await response.json().catch(() => ({}))) as Partial<SignedIn>;
    const { subject = '', permits = [], hasAccount = false, keepsPeople = false } = body;
    if (session.get().state !== 'signedIn') noteSignIn();
    session.set({ state: 'signedIn', subject, canSignOut: subject !== EVERYBODY, permits, hasAccount, keepsPeople });
  } catch {
    session.set({ state: 'unreachable', message: explain(0) });
  }
}

/** Exchanges the access token for an HttpOnly cookie; the token itself is kept nowhere. @throws ArchiveError */
export async function signIn(token: string): Promise<void> {
  const response = await fetch('/api/session', {
    method: 'POST',
    credentials: 'same-origin',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token }),
  }).catch(() => {
    throw new ArchiveError(0, explain(0));
  });
  if (response.status === 401 || response.status === 403) {
    throw new ArchiveError(response.status, 'The archive does not know this token. Check that it was copied whole.');
  }
  if (!response.ok) throw new ArchiveError(response.status, explain(response.status));
  await loadSession();
}

export async function signOut(): Promise<void> {
  const response = await fetch('/api/session', { method: 'DELETE', credentials: 'same-origin' }).catch(() => undefined);
  // Signed in by an issuer: it is told, too, and sends the browser back here.
  const { next } = (await response?.json().catch(() => ({}))) ?? {};
  if (typeof next === 'string') location.assign(next);
  else await loadSession();
}

/** Whether people sign in elsewhere than by a token. */
export async function loadSignInOffer(): Promise<boolean> {
  const response = await fetch('/api/session/options').catch(() => undefined);
  const { signIn = false } = (await response?.json().catch(() => ({}))) ?? {};
  return signIn === true;
}

/** Signed out here, and perhaps signed in meanwhile in another tab: asked for when somebody comes back to this one. */
export function lookAgainOnReturn(): () => void {
  const look = () => document.visibilityState === 'visible' && session.get().state === 'signedOut' && loadSession();
  document.addEventListener('visibilitychange', look);
  return () => document.removeEventListener('visibilitychange', look);
}

/** To the issuer, which sends the browser back to `/`; what stood behind the `#` is kept in this tab alone. */
export function startSignIn(): void {
  rememberForReturn();
  location.assign('/api/session/start');
}

const PROBLEMS: Readonly<Record<string, string>> = {
  over: 'That sign-in had run out, or was begun in another browser. Please sign in once more.',
  refused: 'The sign-in was refused.',
  unreachable: 'The sign-in service cannot be reached. Try again in a moment.',
};

/** What went wrong with a sign-in that has just led here; told once. */
export function takeSignInProblem(): string | undefined {
  const query = new URLSearchParams(location.search);
  const problem = query.get('signIn');
  if (problem === null) return undefined;
  query.delete('signIn');
  history.replaceState(null, '', `${location.pathname}${query.size > 0 ? `?${query}` : ''}${location.hash}`);
  return PROBLEMS[problem];
}
