import { describe } from 'vitest';
import { IndexJobQueue } from '#adapters/local/index-job-queue.ts';
import { MemoryBlobStore } from '#adapters/memory/memory-blob-store.ts';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import { blobStoreContract } from '#test/contract/blob-store.ts';
import { indexTableContract } from '#test/contract/index-table.ts';
import { jobQueueContract } from '#test/contract/job-queue.ts';

const close = async (): Promise<void> => undefined;

describe('MemoryIndexTable', () => indexTableContract(async () => ({ table: new MemoryIndexTable(), close })));
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
