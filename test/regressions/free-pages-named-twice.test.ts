import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ABORT, open } from 'lmdb';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FREE_SPACE } from '#adapters/local/lmdb-file.ts';

/**
 * lmdb-js' list of free pages, kept in memory from one transaction to the next, came to name a page twice: commits failed, or the process was ended
 * by an assertion. These transactions are such that without FREE_SPACE the 1,555th is refused: `freelist entry 1392 had bad/duplicate entries`.
 */
let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nephos-free-pages-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const TRANSACTIONS = 1_700;
const KEYS = 50_000;
/** Marsaglia's xorshift of 64 bits: the same numbers each time. */
function numbers(seed: bigint): (below: number) => number {
  const WORD = (1n << 64n) - 1n;
  let state = ((seed * 0x9e3779b97f4a7c15n) & WORD) | 1n;
  const next = (): bigint => {
    state ^= (state << 13n) & WORD;
    state ^= state >> 7n;
    state ^= (state << 17n) & WORD;
    return state;
  };
  for (let i = 0; i < 5; i++) next();
  return (below) => Number((next() >> 11n) % BigInt(below));
}

/** Transactions of records of 20 bytes to 230 kB, with removals, some of them empty, some taken back; and what is to be there afterwards. */
function work(): { readonly wrong: number; readonly records: number } {
  const db = open<Buffer, Buffer>({
    path: join(folder, 'index'),
    noSubdir: true,
    overlappingSync: false,
    noSync: true,
    eventTurnBatching: false,
    keyEncoding: 'binary',
    encoding: 'binary',
    ...FREE_SPACE,
  });
  const bytes = Buffer.alloc(400_000);
  const keyOf = (n: number): Buffer => {
    const key = Buffer.alloc(4);
    key.writeUInt32BE(n);
    return key;
  };
  const expected = new Map<number, number>();
  try {
    for (let t = 0; t < TRANSACTIONS; t++) {
      const draw = numbers(2n * 1_000_003n + BigInt(t));
      const sizeOf = (): number => {
        const r = draw(100);
        return r < 60
          ? 20 + draw(200)
          : r < 95
            ? 200 + draw(1800)
            : r < 99
              ? 2000 + draw(30_000)
              : 30_000 + draw(200_000);
      };
      const kind = draw(100);
      const count = kind < 8 ? 0 : kind < 50 ? 1 + draw(12) : kind < 95 ? 20 + draw(200) : 500 + draw(3000);
      const isTakenBack = draw(100) < 3;
      const base = draw(KEYS);
      const changes: [key: number, bytes: number][] = [];
      db.transactionSync(() => {
        for (let i = 0; i < count; i++) {
          const isRemoval = draw(100) > 85;
          let key = kind % 2 === 1 ? (base + draw(200)) % KEYS : draw(KEYS);
          if (i > 0 && draw(100) < 20) key = changes[draw(i)]![0];
          const size = isRemoval ? 0 : sizeOf();
          if (isRemoval) db.removeSync(keyOf(key));
          else {
            draw(1);
            db.putSync(keyOf(key), bytes.subarray(0, size));
          }
          changes.push([key, size]);
        }
        return isTakenBack ? ABORT : undefined;
      });
      if (!isTakenBack) for (const [key, size] of changes) expected.set(key, size);
    }
    let wrong = 0;
    for (const [key, size] of expected) wrong += Number((db.get(keyOf(key))?.length ?? 0) !== size);
    return { wrong, records: expected.size };
  } finally {
    void db.close();
  }
}

test('pages that were given back are used again, each once: every record is as it was written', () => {
  const { wrong, records } = work();
  expect(records).toBeGreaterThan(10_000);
  expect(wrong).toBe(0);
}, 120_000);
