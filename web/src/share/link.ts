/** The link that this page stands under: `/s/{id}#{secret}`. What is behind the `#` is sent nowhere but in the body of a request. */
export const LINK = /^\/s\/([0-9A-Z]{26})/.exec(location.pathname)?.[1] ?? '';
export const BASE = `/s/${LINK}`;

export type Scope = 'view' | 'download' | 'upload';
export type EndState = 'usedUp' | 'locked' | 'expired' | 'revoked';

/** What is told before the link is opened. */
export interface Told {
  readonly state: 'active' | EndState;
  readonly sharedBy: string;
  readonly receiver: string;
  /** ms since 1970 */
  readonly expiresAt: number;
  readonly scopes: readonly Scope[];
  readonly needsPin: boolean;
  readonly purpose?: string;
}

export interface SharedStudy {
  readonly StudyInstanceUID: string;
  readonly PatientName: string;
  readonly StudyDate: string;
  readonly StudyDescription: string;
  readonly ModalitiesInStudy: readonly string[];
  readonly instances: number;
  readonly sizeBytes: number;
}

/** What is told once it is open. */
export interface GuestSession {
  readonly receiver: string;
  readonly purpose: string;
  readonly sharedBy: string;
  readonly expiresAt: number;
  /** of this session, ms since 1970 */
  readonly endsAt: number;
  readonly scopes: readonly Scope[];
  readonly upload?: { readonly into: 'shared' | 'new' };
  readonly studies: readonly SharedStudy[];
}

/** A refusal, with what it says of itself. */
export class Refusal extends Error {
  readonly status: number;
  readonly details: Readonly<Record<string, unknown>>;
  constructor(status: number, details: Readonly<Record<string, unknown>> = {}) {
    super(`refused (${status})`);
    this.status = status;
    this.details = details;
  }
}

/** @throws Refusal; status 0: no answer */
async function ask<T>(method: 'GET' | 'POST', path: string, body?: object): Promise<T> {
  const response = await fetch(`${BASE}/api/guest/${path}`, {
    method,
    credentials: 'same-origin',
    headers: { accept: 'application/json', ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  }).catch(() => {
    throw new Refusal(0);
  });
  const told = (await response.json().catch(() => ({}))) as T & { details?: Record<string, unknown> };
  if (!response.ok) throw new Refusal(response.status, told.details);
  return told;
}

export const look = (secret: string): Promise<Told> => ask('POST', 'look', { secret });
export const open = (secret: string, pin: string): Promise<GuestSession> =>
  ask('POST', 'opening', pin === '' ? { secret } : { secret, pin });
export const readSession = (): Promise<GuestSession> => ask('GET', 'session');
export const closeSession = (): Promise<Response> =>
  fetch(`${BASE}/api/guest/session`, { method: 'DELETE', credentials: 'same-origin' });

export const viewerPath = (studies: readonly string[]): string =>
  `${BASE}/viewer?StudyInstanceUIDs=${studies.join(',')}`;
export const zipPath = (study: string): string => `${BASE}/dicomweb/studies/${study}?accept=application/zip`;
export const thumbnailPath = (study: string): string => `${BASE}/dicomweb/studies/${study}/thumbnail`;
