import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ABORT } from 'lmdb';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';

/**
 * While it writes its list of free pages, LMDB read on in a page of that list from which it had just taken the only record. What it found there
 * it called MDB_BAD_TXN, MDB_NOTFOUND and other things; and the same transaction on the same list failed each time it was made anew (decision 0211).
 */
interface Db {
  transaction(work: () => void): Promise<void>;
  transactionSync(work: () => unknown): unknown;
}
const fault = vi.hoisted(() => ({ code: 0, isIn: false }));

vi.mock('lmdb', async (original) => {
  const lmdb = await original<typeof import('lmdb')>();
  const open = (options: object): Db => {
    const db = lmdb.open(options as Parameters<typeof lmdb.open>[0]) as unknown as Db;
    const transaction = db.transaction.bind(db);
    const transactionSync = db.transactionSync.bind(db);
    // Any other transaction that is committed leaves another list of free pages.
    db.transactionSync = (work) => {
      const result = transactionSync(work);
      fault.isIn = false;
      return result;
    };
    db.transaction = async (work) => {
      if (!fault.isIn) return transaction(work);
      transactionSync(() => {
        work();
        return ABORT;
      });
      const commitError = Promise.reject(Object.assign(new Error('LMDB took it back'), { code: fault.code }));
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
  folder = mkdtempSync(join(tmpdir(), 'nephos-same-free-pages-'));
  index = await LmdbIndexTable.open(join(folder, 'index'));
});
afterEach(async () => {
  await index.close();
  rmSync(folder, { recursive: true });
});

test.each([
  ['MDB_BAD_TXN', -30_782],
  ['MDB_NOTFOUND', -30_798],
  ['MDB_PAGE_NOTFOUND', -30_797],
  ['MDB_CORRUPTED', -30_796],
  ['MDB_BAD_VALSIZE', -30_781],
  ['MDB_PROBLEM', -30_779],
])('a write that is alone is made anew on another list of free pages: %s', async (_, code) => {
  Object.assign(fault, { code, isIn: true });
  expect(await index.write([{ kind: 'put', key: { partition: 'p', sort: 'a' }, item: { n: 1 } }])).toEqual({
    committed: true,
  });
  expect(await index.query({ partition: 'p', limit: 9 })).toEqual({
    records: [{ sort: 'a', item: { n: 1 } }],
    more: false,
  });
});

test('a disk that is full is no such fault', async () => {
  Object.assign(fault, { code: -30_792, isIn: true });
  const writing = index.write([{ kind: 'put', key: { partition: 'p', sort: 'a' }, item: { n: 1 } }]);
  await expect(writing).rejects.toThrow('LMDB took it back');
  fault.isIn = false;
});
