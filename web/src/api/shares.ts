import { ask, askJson, postJson } from './http.ts';

export type ShareScope = 'view' | 'download' | 'upload';
export type ShareState = 'active' | 'usedUp' | 'locked' | 'expired' | 'revoked';

/** A share link (functions/core/share-links/records.ts); never its secret. Times are ms since 1970. */
export interface Share {
  readonly id: string;
  /** StudyInstanceUIDs */
  readonly studies: readonly string[];
  readonly scopes: readonly ShareScope[];
  readonly purpose: string;
  readonly receiver: string;
  readonly upload?: { readonly into: 'shared' | 'new'; readonly keep: 'hold' | 'store' };
  readonly createdAt: number;
  readonly createdBy: string;
  readonly expiresAt: number;
  /** null: as often as wanted */
  readonly openingsMost: number | null;
  readonly openings: number;
  readonly lastOpenedAt?: number;
  readonly state: ShareState;
  readonly hasPin: boolean;
  readonly wrongPins: number;
  readonly ended?: { readonly how: 'revoked' | 'expired'; readonly at: number; readonly by: string };
}

export interface AskedShare {
  readonly studies: readonly string[];
  readonly scopes: readonly ShareScope[];
  readonly purpose: string;
  readonly receiver: string;
  readonly expiresInHours: number;
  readonly openings: number | null;
  readonly pin?: string;
  readonly upload?: { readonly into: 'shared' | 'new'; readonly keep: 'hold' | 'store' };
}

export interface ShareAct {
  readonly at: number;
  readonly act: string;
  readonly by?: string;
  readonly from?: string;
  readonly study?: string;
  readonly state?: ShareState;
}

export interface PageOf<T> {
  readonly items: readonly T[];
  readonly next?: string;
}

const pathOf = (id: string) => `/api/shares/${encodeURIComponent(id)}`;

export const listShares = (cursor?: string): Promise<PageOf<Share>> =>
  askJson(`/api/shares${cursor ? `?after=${encodeURIComponent(cursor)}` : ''}`);
/** The answer is the only place where the link's address ever stands. */
export const createShare = async (asked: AskedShare): Promise<Share & { readonly url: string }> =>
  (await postJson('/api/shares', asked)).json();
export const revokeShare = (id: string): Promise<Response> => ask(pathOf(id), { method: 'DELETE' });
export const readTrail = (id: string, signal: AbortSignal): Promise<PageOf<ShareAct>> =>
  askJson(`${pathOf(id)}/trail?limit=1000`, { signal });
export const listUploads = (
  id: string,
  signal: AbortSignal,
): Promise<{ readonly items: readonly { readonly StudyInstanceUID: string }[]; readonly more: boolean }> =>
  askJson(`${pathOf(id)}/uploads`, { signal });

/** All that waits, some at a time. @returns how many objects were decided */
export async function decideUploads(id: string, action: 'accept' | 'discard'): Promise<number> {
  let all = 0;
  for (;;) {
    const { decided, left } = (await (await postJson(`${pathOf(id)}/uploads`, { action })).json()) as {
      decided: number;
      left: number;
    };
    all += decided;
    if (left === 0) return all;
  }
}
