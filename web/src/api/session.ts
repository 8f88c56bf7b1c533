import { createStore } from '../store.ts';
import { ArchiveError, ask, explain, onSignedOut } from './http.ts';

export type Session =
  | { readonly state: 'unknown' }
  | { readonly state: 'signedOut' }
  | { readonly state: 'unreachable'; readonly message: string }
  /** `canSignOut` is false where the archive runs without access control */
  | { readonly state: 'signedIn'; readonly subject: string; readonly canSignOut: boolean };

/** whom the archive names where access control is off (functions/embedded/app.ts) */
const EVERYBODY = 'local';

export const session = createStore<Session>({ state: 'unknown' });
onSignedOut(() => session.set({ state: 'signedOut' }));

export async function loadSession(): Promise<void> {
  try {
    const response = await fetch('/api/session', {
      credentials: 'same-origin',
      headers: { accept: 'application/json' },
    });
    if (response.status === 401) return session.set({ state: 'signedOut' });
    if (!response.ok) return session.set({ state: 'unreachable', message: explain(response.status) });
    const body = (await response.json().catch(() => ({}))) as { subject?: string };
    const subject = body.subject ?? '';
    session.set({ state: 'signedIn', subject, canSignOut: subject !== EVERYBODY });
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
  await ask('/api/session', { method: 'DELETE' }).catch(() => {});
  await loadSession();
}
