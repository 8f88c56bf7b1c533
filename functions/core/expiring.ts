import { createHash } from 'node:crypto';
import type { Clock } from './ports/clock.ts';
import type { Condition, IndexTable, Item, Key, WriteOperation } from './ports/index-table.ts';

/** Where to find what is over, in the order of its end. */
const PARTITION = '_system|expiring';
/** records of one page of a sweep */
const PAGE = 100;

/**
 * Records that end by themselves: sign-ins, codes, sessions, counts of failures. Whoever reads one compares `expiresAt` himself; the sweep
 * only gives the room back. `version` is another with every write, so that the sweep never removes what has been written anew meanwhile.
 */
export interface ExpiringItem extends Item {
  /** ms since 1970 */
  readonly expiresAt: number;
  readonly version: number;
}

/** The operations that put a record which ends. */
export function putExpiring(
  clock: Clock,
  key: Key,
  { item, expiresAt, ...options }: { readonly item: Item; readonly expiresAt: number; readonly if?: Condition },
): WriteOperation[] {
  return [
    { kind: 'put', key, item: { ...item, expiresAt, version: newVersionNumber(clock) }, ...options },
    expiryOf(key, expiresAt),
  ];
}

/** The operation that has a record swept, for records under keys that are never used again. */
export const expiryOf = (key: Key, expiresAt: number): WriteOperation => ({
  kind: 'put',
  key: { partition: PARTITION, sort: `${timeText(expiresAt)}|${digestOf(key)}` },
  item: { partition: key.partition, sort: key.sort },
});

/** The record, where it is there and not over. */
export function unexpired(item: Item | undefined, clock: Pick<Clock, 'now'>): ExpiringItem | undefined {
  return typeof item?.expiresAt === 'number' && item.expiresAt > clock.now() ? (item as ExpiringItem) : undefined;
}

/** Removes what is over. Safe from several processes at once. @returns how many records are gone */
export async function sweepExpired({
  index,
  clock,
}: {
  readonly index: IndexTable;
  readonly clock: Clock;
}): Promise<number> {
  let swept = 0;
  for (;;) {
    const page = await index.query({ partition: PARTITION, to: timeText(clock.now()), limit: PAGE });
    for (const { sort, item } of page.records) {
      const key = { partition: String(item.partition), sort: String(item.sort) };
      const pointer = { kind: 'delete', key: { partition: PARTITION, sort } } as const;
      const record = await index.get(key);
      const isOver = typeof record?.expiresAt === 'number' && record.expiresAt <= clock.now();
      const version = record?.version;
      const condition = typeof version === 'number' ? { if: { version } } : {};
      const outcome = isOver ? await index.write([pointer, { kind: 'delete', key, ...condition }]) : undefined;
      if (outcome?.committed) swept++;
      // Gone before, or written anew: then it has another pointer.
      else await index.write([pointer]);
    }
    if (!page.more) return swept;
  }
}

/** A number that nobody has written before: 48 random bits. */
const newVersionNumber = (clock: Clock): number => Buffer.from(clock.randomBytes(6)).readUIntBE(0, 6);

const timeText = (ms: number): string => String(Math.max(0, Math.floor(ms))).padStart(15, '0');
const digestOf = ({ partition, sort }: Key): string =>
  createHash('sha256').update(`${partition}\u0000${sort}`).digest('base64url').slice(0, 22);
