import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ABORT } from 'lmdb';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';

/** LMDB took a transaction back for a fault of its own (MDB_BAD_TXN), and everybody who waited for it was refused, a store as 503. */
interface Db {
  transaction(work: () => void): Promise<void>;
  transactionSync(work: () => unknown): unknown;
}
const BAD_TRANSACTION = -30_782;
/** `onSameList`: it is met until another transaction has left another list of free pages */
const faults = vi.hoisted(() => ({ left: 0, code: 0, onSameList: false }));

vi.mock('lmdb', async (original) => {
  const lmdb = await original<typeof import('lmdb')>();
  const open = (options: object): Db => {
    const db = lmdb.open(options as Parameters<typeof lmdb.open>[0]) as unknown as Db;
    const transaction = db.transaction.bind(db);
    const transactionSync = db.transactionSync.bind(db);
    db.transactionSync = (work) => {
      const result = transactionSync(work);
      if (faults.onSameList) faults.left = 0;
      return result;
    };
    // As when it fails: everything is done and taken back, and the promise says so.
    db.transaction = async (work) => {
      if (faults.left === 0) return transaction(work);
      faults.left--;
      transactionSync(() => {
        work();
        return ABORT;
      });
      const commitError = Promise.reject(Object.assign(new Error('LMDB took it back'), { code: faults.code }));
      commitError.catch(() => {});
      throw Object.assign(new Error('Commit failed (see commitError for details)'), { commitError });
    };
    return db;
  };
  return { ...lmdb, open };
});

let folder = '';
let index: LmdbIndexTable;
beforeEach(async () => {
  Object.assign(faults, { left: 0, code: BAD_TRANSACTION, onSameList: false });
  folder = mkdtempSync(join(tmpdir(), 'nephos-taken-back-'));
  index = await LmdbIndexTable.open(join(folder, 'index'));
});
afterEach(async () => {
  await index.close();
  rmSync(folder, { recursive: true });
});

const key = (sort: string) => ({ partition: 'p', sort });
const writeThree = () =>
  Promise.all([
    index.write([{ kind: 'put', key: key('a'), item: { n: 1 }, if: 'absent' }]),
    index.write([{ kind: 'add', key: key('b'), increments: { n: 5 } }]),
    index.write([{ kind: 'put', key: key('a'), item: { n: 2 }, if: 'absent' }]),
  ]);

test('it is made anew, for all who wait, and everything is there once', async () => {
  faults.left = 2;
  expect(await writeThree()).toEqual([{ committed: true }, { committed: true }, { committed: false, failed: [0] }]);
  expect(faults.left).toBe(0);
  expect(await index.getMany([key('a'), key('b')])).toEqual([{ n: 1 }, { n: 5 }]);
});

test('who waits is told when it fails again and again, and it alone', async () => {
  faults.left = 7;
  const [first, second, third] = await Promise.allSettled([
    index.write([{ kind: 'put', key: key('a'), item: { n: 1 }, if: 'absent' }]),
    index.write([{ kind: 'add', key: key('b'), increments: { n: 5 } }]),
    index.write([{ kind: 'put', key: key('a'), item: { n: 2 }, if: 'absent' }]),
  ]);
  expect(first).toMatchObject({
    status: 'rejected',
    reason: { message: expect.stringContaining('LMDB took it back') },
  });
  expect([second, third]).toMatchObject([{ value: { committed: true } }, { value: { committed: true } }]);
  expect(await index.getMany([key('a'), key('b')])).toEqual([{ n: 2 }, { n: 5 }]);
});

test('what a write does in place of its operations is worked out anew with it, from these operations', async () => {
  await index.write([{ kind: 'put', key: key('a'), item: { version: 7 } }]);
  faults.left = 1;
  const asked: (readonly number[])[] = [];
  const outcome = await index.write(
    [
      { kind: 'put', key: key('new'), item: { n: 1 }, if: 'absent' },
      { kind: 'put', key: key('a'), item: { version: 2 }, if: { version: 1 } },
    ],
    {
      instead: (failed, read) => {
        asked.push(failed);
        const { version } = read(key('a')) as { version: number };
        return [{ kind: 'put', key: key('a'), item: { version: version + 1 }, if: { version } }];
      },
    },
  );
  expect(outcome).toEqual({ committed: true });
  expect(asked).toEqual([[1], [1]]);
  expect(await index.get(key('a'))).toEqual({ version: 8 });
});

test('a write that was fine when it was taken back, and fails when it is made anew, is not acknowledged', async () => {
  await index.write([{ kind: 'put', key: key('a'), item: { n: 1 } }]);
  faults.left = 1;
  let asked = 0;
  const writing = index.write([{ kind: 'put', key: key('a'), item: { n: 2 }, if: 'absent' }], {
    instead: () => {
      if (++asked === 2) throw new Error('not any more');
      return [{ kind: 'put', key: key('b'), item: { n: 2 } }];
    },
  });
  await expect(writing).rejects.toThrow('not any more');
  expect(await index.getMany([key('a'), key('b')])).toEqual([{ n: 1 }, undefined]);
});

/**
 * Made anew on the same list of free pages it failed each time, and called it MDB_NOTFOUND and other things (decision 0211).
 */
test.each([
  ['MDB_BAD_TXN', -30_782],
  ['MDB_NOTFOUND', -30_798],
  ['MDB_PAGE_NOTFOUND', -30_797],
  ['MDB_CORRUPTED', -30_796],
  ['MDB_BAD_VALSIZE', -30_781],
  ['MDB_PROBLEM', -30_779],
])('a write that is alone is made anew on another list of free pages: %s', async (_, code) => {
  Object.assign(faults, { left: Number.POSITIVE_INFINITY, code, onSameList: true });
  expect(await index.write([{ kind: 'put', key: { partition: 'p', sort: 'a' }, item: { n: 1 } }])).toEqual({
    committed: true,
  });
  expect(await index.query({ partition: 'p', limit: 9 })).toEqual({
    records: [{ sort: 'a', item: { n: 1 } }],
    more: false,
  });
});

test('a disk that is full is no such fault', async () => {
  Object.assign(faults, { left: 1, code: -30_792 });
  const writing = index.write([{ kind: 'put', key: { partition: 'p', sort: 'a' }, item: { n: 1 } }]);
  await expect(writing).rejects.toThrow('LMDB took it back');
});
