import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';
import { type Act, type Archive, acts, anArchive, http } from './tenant-steps.ts';

async function compare(alone: Archive, shared: Archive, some: readonly Act[]): Promise<void> {
  for (const [isOurs, ours, theirs] of some) {
    if (isOurs) expect(await shared('a', ours)).toBe(await alone('a', ours));
    else {
      await shared('b', theirs);
      await alone('nobody', http('GET', '/healthz'));
    }
  }
}

test('whatever a tenant does, the other one is answered as if it were alone', async () => {
  await fc.assert(
    fc.asyncProperty(acts, (some) => compare(anArchive(), anArchive(), some)),
    { numRuns: 60 },
  );
});

test('on the stores of the embedded host too', async () => {
  await fc.assert(
    fc.asyncProperty(acts, async (some) => {
      const folder = await mkdtemp(join(tmpdir(), 'nephos-tenants-'));
      const opened: { close(): Promise<void> }[] = [];
      const archiveIn = async (name: string): Promise<Archive> => {
        const index = await LmdbIndexTable.open(join(folder, name, 'index'));
        opened.push(index);
        const blobs = await FsBlobStore.open(join(folder, name));
        opened.push(blobs);
        return anArchive({ index, blobs, landing: blobs });
      };
      try {
        await compare(await archiveIn('alone'), await archiveIn('shared'), some);
      } finally {
        for (const store of opened) await store.close();
        await rm(folder, { recursive: true });
      }
    }),
    { numRuns: 4 },
  );
});
