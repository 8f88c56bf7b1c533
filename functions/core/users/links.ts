import { createHash } from 'node:crypto';
import { putExpiring, unexpired } from '../expiring.ts';
import type { Clock } from '../ports/clock.ts';
import type { IndexTable, Key, WriteOperation } from '../ports/index-table.ts';

const TOKEN_BYTES = 32;
/** Of the very first person, who chooses his own name. */
const SETUP = '';

/** A way in that works once: whoever holds it chooses a password. The link itself is nowhere: it was shown once. */
export interface Link {
  readonly tenant: string;
  /** undefined: the first administrator is made by it */
  readonly name: string | undefined;
  readonly digest: string;
  /** removes the link; the write that it is part of fails where somebody else has used it */
  readonly use: WriteOperation;
}

export interface NewLink {
  /** the secret part of the address: 43 characters of base64url */
  readonly token: string;
  readonly digest: string;
  readonly expiresAt: number;
  readonly write: readonly WriteOperation[];
}

/** @param name undefined: for the first administrator */
export function newLink(clock: Clock, tenant: string, name: string | undefined, lifeMs: number): NewLink {
  const token = Buffer.from(clock.randomBytes(TOKEN_BYTES)).toString('base64url');
  const digest = digestOf(token);
  const expiresAt = clock.now() + lifeMs;
  const write = putExpiring(clock, keyOf(digest), { item: { tenant, name: name ?? SETUP }, expiresAt });
  return { token, digest, expiresAt, write };
}

/** The link, where it is there and has not run out. Whether it is still the one of its person is for the caller to see. */
export async function findLink(
  { index, clock }: { readonly index: IndexTable; readonly clock: Clock },
  token: string,
): Promise<Link | undefined> {
  if (!/^[\w-]{43}$/.test(token)) return undefined;
  const digest = digestOf(token);
  const key = keyOf(digest);
  const record = unexpired(await index.get(key), clock);
  if (record === undefined) return undefined;
  return {
    tenant: String(record.tenant),
    name: record.name === SETUP ? undefined : String(record.name),
    digest,
    use: { kind: 'delete', key, if: { version: record.version } },
  };
}

export const dropLink = (digest: string): WriteOperation => ({ kind: 'delete', key: keyOf(digest) });

const keyOf = (digest: string): Key => ({ partition: `_system|link|${digest}`, sort: 'link' });
const digestOf = (token: string): string => createHash('sha256').update(token).digest('hex');
