import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { IndexJobQueue } from '#adapters/local/index-job-queue.ts';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';
import { IndexRateLedger } from '#core/rate-accounts.ts';
import { blobStoreContract } from '#test/contract/blob-store.ts';
import { indexTableContract } from '#test/contract/index-table.ts';
import { jobQueueContract } from '#test/contract/job-queue.ts';
import { rateLedgerContract } from '#test/contract/rate-ledger.ts';

const newFolder = (): string => mkdtempSync(join(tmpdir(), 'nephos-local-'));

const openTable = async () => {
  const folder = newFolder();
  const table = await LmdbIndexTable.open(join(folder, 'index.lmdb'));
  const close = async (): Promise<void> => {
    await table.close();
    rmSync(folder, { recursive: true });
  };
  return { table, close };
};

const openStore = (hotBytes: number) => async () => {
  const folder = newFolder();
  const store = await FsBlobStore.open(folder, { hotBytes });
  const close = async (): Promise<void> => {
    await store.close();
    rmSync(folder, { recursive: true });
  };
  return { store, close };
};

describe('LmdbIndexTable', () => indexTableContract(openTable));
test('a long scan of LmdbIndexTable lets others have their turn', async () => {
  const { table, close } = await openTable();
  let turns = 0;
  const ticking = setInterval(() => turns++, 0);
  for (let i = 0; i < 20_000; i++) await table.get({ partition: 'p', sort: 'a' });
  clearInterval(ticking);
  expect(turns).toBeGreaterThan(3);
  await close();
});

describe('FsBlobStore', () => blobStoreContract(openStore(0)));
describe('FsBlobStore that keeps what is asked for again', () => blobStoreContract(openStore(16 * 1024 * 1024)));
describe('IndexJobQueue on LMDB', () =>
  jobQueueContract(async (clock) => {
    const { table, close } = await openTable();
    return { queue: new IndexJobQueue(table, clock), close };
  }));
describe('IndexRateLedger on LMDB', () =>
  rateLedgerContract(async () => {
    const folder = newFolder();
    // Two handles of one file; under one write lock, as of two processes.
    const tables = [
      await LmdbIndexTable.open(join(folder, 'index')),
      await LmdbIndexTable.open(join(folder, 'index')),
    ] as const;
    const [first, second] = tables.map((table) => new IndexRateLedger(table)) as [IndexRateLedger, IndexRateLedger];
    return {
      ledgers: [first, second, first],
      index: tables[0],
      async close() {
        for (const table of tables) await table.close();
        rmSync(folder, { recursive: true });
      },
    };
  }));
