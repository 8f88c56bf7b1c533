import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Database, open } from 'lmdb';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FREE_SPACE } from '#adapters/local/lmdb-file.ts';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';

/**
 * LMDB itself, none of it replaced: after these transactions the next one fails, each time it is made anew, with "Invalid null txn id" or "Invalid zero size key",
 * "mdb_page_alloc error" and MDB_NOTFOUND or MDB_BAD_VALSIZE (decision 0211). Whoever waited for it was refused.
 */
let folder = '';
let raw: Database<Buffer, Buffer>;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nephos-empty-page-'));
  raw = open<Buffer, Buffer>({
    path: join(folder, 'index'),
    noSubdir: true,
    overlappingSync: false,
    noSync: true,
    eventTurnBatching: false,
    mapSize: 2 ** 36,
    keyEncoding: 'binary',
    encoding: 'binary',
    ...FREE_SPACE,
  });
});
afterEach(async () => {
  await raw.close();
  rmSync(folder, { recursive: true });
});

const SEED = 8n;
const TRANSACTIONS_BEFORE = 4_261;
const KEYS = 3_000;
const ITEM = { a: 'x'.repeat(1_492) };
const VALUE = Buffer.from(JSON.stringify(ITEM));
const OPERATIONS_PER_WRITE = 50;

/** Marsaglia's xorshift of 64 bits: the same numbers each time. */
function numbers(): (below: number) => number {
  const WORD = (1n << 64n) - 1n;
  let state = ((SEED * 0x9e3779b97f4a7c15n) & WORD) | 1n;
  const draw = (below: number): number => {
    state ^= (state << 13n) & WORD;
    state ^= state >> 7n;
    state ^= (state << 17n) & WORD;
    return Number((state >> 11n) % BigInt(below));
  };
  for (let i = 0; i < 9; i++) draw(1);
  return draw;
}

const sortOf = (n: number): string => String.fromCharCode(33 + (n >> 6), 33 + (n & 63));
const keyOf = (n: number): Buffer => Buffer.from(`p\0${sortOf(n)}`);

/** Puts of one transaction each, while a snapshot is held for some transactions at a time. @returns the keys of the transaction after them */
function work(): number[] {
  const draw = numbers();
  raw.transactionSync(() => {
    for (let n = 0; n < KEYS; n++) raw.putSync(keyOf(n), VALUE);
  });
  let snapshot: { done(): void } | undefined;
  let heldUntil = 0;
  for (let t = 0; ; t++) {
    if (t >= heldUntil) {
      snapshot?.done();
      raw.resetReadTxn();
      snapshot = raw.useReadTransaction();
      heldUntil = t + 1 + (draw(2) === 0 ? draw(20) : draw(3));
    }
    const kind = draw(100);
    const count = kind < 5 ? 1 + draw(10) : kind < 75 ? 90 + draw(91) : 180 + draw(1000);
    const keys = Array.from({ length: count }, () => draw(KEYS));
    if (t === TRANSACTIONS_BEFORE) return keys;
    raw.transactionSync(() => {
      for (const n of keys) raw.putSync(keyOf(n), VALUE);
    });
  }
}

test('a transaction is kept where LMDB reads older free pages from a page it has just emptied', async () => {
  const keys = work();
  const index = await LmdbIndexTable.open(join(folder, 'index'));
  const writes = [];
  for (let at = 0; at < keys.length; at += OPERATIONS_PER_WRITE) {
    const puts = [...new Set(keys.slice(at, at + OPERATIONS_PER_WRITE))].map(
      (n) => ({ kind: 'put', key: { partition: 'p', sort: sortOf(n) }, item: ITEM }) as const,
    );
    writes.push(index.write(puts));
  }
  const outcomes = await Promise.all(writes);
  expect(outcomes.every(({ committed }) => committed)).toBe(true);
  await index.close();
}, 120_000);
