import { createHash } from 'node:crypto';
import type { Tenant } from '../archive/records.ts';
import { asItem, asRecord, type Item, type Key, type WriteOperation } from '../ports/index-table.ts';

/**
 * Share links: a study, or a few, shown to somebody without an account. Whoever holds the secret of the link may do what its scopes say,
 * until it ends. The one record of a link holds all that changes (openings, guesses of the PIN, sessions, its end) under one `version`, so
 * the last opening, the last guess and the revocation are decided by a conditional write each, whatever runs beside it.
 *
 * | record | partition                    | sort                     | holds                                               |
 * |--------|------------------------------|--------------------------|-----------------------------------------------------|
 * | link   | t\|shares                    | {id}                     | ShareRecord                                         |
 * | due    | t\|sharesdue                 | {expiresAt}\|{id}        | {}: links that have not ended, by when they will    |
 * | trail  | t\|sharetrail\|{id}          | (appended)               | ShareAct                                            |
 * | held   | t\|shareheld\|{id}          | {held id}                | {}: what came in by it and waits in quarantine      |
 * | use    | t\|shareuse\|{id}           | use                      | { bytes }: what has been sent in by it              |
 * | secret | _system\|share\|{SHA-256}    | share                    | { tenant, id }                                      |
 */
export const shareKeys = {
  link: (t: Tenant, id: string): Key => ({ partition: `${t}|shares`, sort: id }),
  due: (t: Tenant, expiresAt: number, id: string): Key => ({
    partition: `${t}|sharesdue`,
    sort: `${String(expiresAt).padStart(15, '0')}|${id}`,
  }),
  trail: (t: Tenant, id: string): string => `${t}|sharetrail|${id}`,
  held: (t: Tenant, id: string, held: string): Key => ({ partition: `${t}|shareheld|${id}`, sort: held }),
  use: (t: Tenant, id: string): Key => ({ partition: `${t}|shareuse|${id}`, sort: 'use' }),
  secret: (hash: string): Key => ({ partition: `_system|share|${hash}`, sort: 'share' }),
} as const;

/** What the receiver may do: look in the viewer; have the files; send files. */
export const SHARE_SCOPES = ['view', 'download', 'upload'] as const;
export type ShareScope = (typeof SHARE_SCOPES)[number];

/** Of links with the scope `upload`. */
export interface UploadRule {
  /** `shared`: into the studies of the link, which need not be here yet; `new`: only into studies that are not here */
  readonly into: 'shared' | 'new';
  /** `hold`: in quarantine until somebody has looked; `store`: at once */
  readonly keep: 'hold' | 'store';
}

export interface ShareRecord {
  version: number;
  id: string;
  /** StudyInstanceUIDs */
  studies: readonly string[];
  scopes: readonly ShareScope[];
  /** shown to both */
  purpose: string;
  /** the receiver's name: shown, and in the watermark */
  receiver: string;
  upload?: UploadRule | undefined;
  /** SHA-256 of the secret, hex */
  secretHash: string;
  pin?: PinRecord | undefined;
  createdAt: number;
  createdBy: string;
  expiresAt: number;
  /** how often it may be opened; null: as often as wanted */
  openingsMost: number | null;
  openings: number;
  lastOpenedAt?: number | undefined;
  /** of those who have opened it, SHA-256 each; the oldest makes room */
  sessions: readonly { readonly hash: string; readonly expiresAt: number }[];
  /** studies that came in by it (`upload.into` is `new`) */
  uploaded?: readonly string[] | undefined;
  ended?: { readonly how: 'revoked' | 'expired'; readonly at: number; readonly by: string } | undefined;
}

export interface PinRecord {
  readonly salt: Uint8Array;
  /** scrypt of PIN, salt and the link's secret: without the secret, which is kept nowhere, the PIN cannot be guessed from the index */
  readonly hash: Uint8Array;
  /** guesses that were wrong */
  wrong: number;
  /** when guesses began of which it is not known yet whether they are right (ms since 1970) */
  pending: readonly number[];
}

/** Why a link opens no more. */
export type ShareState = 'active' | 'usedUp' | 'locked' | 'expired' | 'revoked';

/** One act with a link, in the order in which they became visible. */
export interface ShareAct {
  readonly at: number;
  readonly act:
    | 'created'
    | 'opened'
    | 'wrongPin'
    | 'locked'
    | 'refused'
    | 'viewed'
    | 'downloaded'
    | 'uploaded'
    | 'revoked'
    | 'expired';
  /** subject of who did it; absent: the receiver */
  readonly by?: string | undefined;
  /** address, where it is known */
  readonly from?: string | undefined;
  readonly study?: string | undefined;
  readonly instances?: number | undefined;
  /** why it was refused */
  readonly state?: ShareState | undefined;
}

/** The link as staff sees it; neither secret nor PIN is known to anybody but who was told. */
export interface ShareView
  extends Omit<ShareRecord, 'version' | 'secretHash' | 'pin' | 'sessions' | 'uploaded' | 'ended'> {
  readonly state: ShareState;
  readonly hasPin: boolean;
  readonly wrongPins: number;
  readonly ended?: ShareRecord['ended'];
}

/** A guess of the PIN that has not come back after this time is a wrong one (ms): its process has died. */
export const GUESS_MS = 30_000;

export const sharedAt = (item: Item): ShareRecord => asRecord<ShareRecord>(item);

export const hashOf = (secret: string): string => createHash('sha256').update(secret).digest('hex');

/** @param guesses how many wrong PINs lock a link */
export function stateOf(link: ShareRecord, now: number, guesses: number): ShareState {
  if (link.ended !== undefined) return link.ended.how;
  if (link.expiresAt <= now) return 'expired';
  if (link.pin !== undefined && link.pin.wrong + forgotten(link.pin, now) >= guesses) return 'locked';
  if (link.openingsMost !== null && link.openings >= link.openingsMost) return 'usedUp';
  return 'active';
}

const forgotten = ({ pending }: PinRecord, now: number): number => pending.filter((at) => at <= now - GUESS_MS).length;

export function viewOf(link: ShareRecord, now: number, guesses: number): ShareView {
  const { version: _, secretHash: __, sessions: ___, uploaded: ____, pin, ...shown } = link;
  return { ...shown, state: stateOf(link, now, guesses), hasPin: pin !== undefined, wrongPins: pin?.wrong ?? 0 };
}

/** The link's record with what has changed, unless somebody was faster. */
export const linkWrite = (tenant: Tenant, link: ShareRecord, change: Partial<ShareRecord>): WriteOperation => ({
  kind: 'put',
  key: shareKeys.link(tenant, link.id),
  item: asItem({ ...link, ...change, version: link.version + 1 }),
  if: { version: link.version },
});

export const actWrite = (tenant: Tenant, id: string, act: ShareAct): WriteOperation => ({
  kind: 'append',
  partition: shareKeys.trail(tenant, id),
  item: asItem(act),
});
