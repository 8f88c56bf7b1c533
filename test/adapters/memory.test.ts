import { describe } from 'vitest';
import { IndexJobQueue } from '#adapters/local/index-job-queue.ts';
import { MemoryBlobStore } from '#adapters/memory/memory-blob-store.ts';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import { IndexRateLedger } from '#core/rate-accounts.ts';
import { blobStoreContract } from '#test/contract/blob-store.ts';
import { indexTableContract } from '#test/contract/index-table.ts';
import { jobQueueContract } from '#test/contract/job-queue.ts';
import { rateLedgerContract } from '#test/contract/rate-ledger.ts';

const close = async (): Promise<void> => undefined;

describe.each([{ conflictsAreCheap: false }, { conflictsAreCheap: true }])('MemoryIndexTable, %j', (options) =>
  indexTableContract(async () => ({ table: new MemoryIndexTable(options), close })),
);
describe('MemoryBlobStore', () =>
  blobStoreContract(async () => {
    const store = new MemoryBlobStore();
    return {
      store,
      archive: async (key) => store.archive(key),
      finishRestores: async () => store.finishRestores(),
      close,
    };
  }));
describe('IndexJobQueue in memory', () =>
  jobQueueContract(async (clock) => ({ queue: new IndexJobQueue(new MemoryIndexTable(), clock), close })));
describe('IndexRateLedger in memory', () =>
  rateLedgerContract(async () => {
    const index = new MemoryIndexTable();
    const ledger = () => new IndexRateLedger(index);
    return { ledgers: [ledger(), ledger(), ledger()], index, close };
  }));
