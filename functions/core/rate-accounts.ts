import { createHash } from 'node:crypto';
import type { Principal } from './access.ts';
import { PacsError } from './errors.ts';
import type { Clock } from './ports/clock.ts';
import { type IndexTable, type Item, type Key, recordsIn } from './ports/index-table.ts';
import type { RateLedger, RateOutcome, RateStep, Standing } from './ports/rate-ledger.ts';

/**
 * Accounts of rates: records of the index that say when a bucket is full again. They hold no names: whose account it is shows to whoever knows.
 *
 * | account of | partition       | sort                      | record                                 |
 * |------------|-----------------|---------------------------|----------------------------------------|
 * | principal  | t\|rates        | SHA-256 of the subject    | { version, requests, bytes }           |
 * | address    | _system\|rates  | SHA-256 of the network    | { version, failures, … }               |
 * | token      | _system\|rates  | SHA-256 of the token      | { version, held }: found valid of late |
 */
export const principalAccount = ({ tenant, subject }: Pick<Principal, 'tenant' | 'subject'>): Key => ({
  partition: `${tenant}|rates`,
  sort: digestOf('principal', subject),
});
export const addressAccount = (network: string): Key => ({
  partition: '_system|rates',
  sort: digestOf('address', network),
});
export const tokenAccount = (token: string): Key => ({ partition: '_system|rates', sort: digestOf('token', token) });

const digestOf = (kind: string, text: string): string =>
  createHash('sha256').update(`${kind}\u0000${text}`).digest('base64url');

/** writers that may get in between before one gives up */
const ATTEMPTS = 50;

/** RateLedger on any IndexTable: read, and written under the version that was read. For engines where a failed condition costs next to nothing. */
export class IndexRateLedger implements RateLedger {
  readonly #index: IndexTable;

  constructor(index: IndexTable) {
    this.#index = index;
  }

  async advance(account: Key, name: string, step: RateStep): Promise<RateOutcome> {
    for (let made = 0; made < ATTEMPTS; made++) {
      const item = await this.#index.get(account);
      const to = Math.max(Number(item?.[name] ?? 0), step.now) + step.by;
      if (to > (step.notBeyond ?? Number.POSITIVE_INFINITY)) return { advanced: false, standing: standingOf(item) };
      const version = Number(item?.version ?? 0);
      const next: Item = { ...item, [name]: to, version: version + 1 };
      const condition = item === undefined ? ('absent' as const) : { version };
      const { committed } = await this.#index.write([{ kind: 'put', key: account, item: next, if: condition }], {
        durability: 'deferred',
      });
      if (committed) return { advanced: true, standing: standingOf(next) };
    }
    throw new PacsError('BUSY', 'too many use this account of rates at once');
  }

  async read(account: Key): Promise<Standing> {
    return standingOf(await this.#index.get(account));
  }
}

export function standingOf(item: Item | undefined): Standing {
  const { version: _, ...rest } = item ?? {};
  return Object.fromEntries(
    Object.entries(rest).filter((entry): entry is [string, number] => typeof entry[1] === 'number'),
  );
}

/** Accounts are kept this long after they are full: by then nobody can tell them from ones that never were (ms). */
const KEPT_MS = 24 * 60 * 60 * 1000;
const PAGE = 1_000;

/** Removes accounts that have long been full. Safe from several processes at once. @returns how many are gone */
export async function sweepRates(
  { index, clock }: { readonly index: IndexTable; readonly clock: Pick<Clock, 'now'> },
  tenant: string,
): Promise<number> {
  let swept = 0;
  for (const partition of [`${tenant}|rates`, '_system|rates']) {
    for await (const { sort, item } of recordsIn(index, { partition, limit: PAGE })) {
      if (Object.values(standingOf(item)).some((until) => until > clock.now() - KEPT_MS)) continue;
      const key = { partition, sort };
      const gone = await index.write([{ kind: 'delete', key, if: { version: Number(item.version) } }]);
      if (gone.committed) swept++;
    }
  }
  return swept;
}
