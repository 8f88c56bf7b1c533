import type * as fs from 'node:fs';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { PACK_LIMITS } from '#adapters/local/packs.ts';

const disk = vi.hoisted(() => ({ isFull: false }));

vi.mock('node:fs', async (importOriginal) => {
  const real = await importOriginal<typeof fs>();
  const unlessFull =
    <A extends unknown[], R>(call: (...args: A) => R) =>
    (...args: A): R => {
      if (disk.isFull) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
      return call(...args);
    };
  return { ...real, writeSync: unlessFull(real.writeSync), writeFileSync: unlessFull(real.writeFileSync) };
});

const append = async (store: FsBlobStore, study: string): Promise<string> =>
  (await store.packed!.append(`clinic/${study}/1.9/1.4.V.dcm`, Buffer.from(study))).key;

/** The note that a pack is closed could not be written: stores that were committed failed by it, and in a timer it ended the process. */
test('a pack may be closed while the disk is full: it is noted when there is space again', async () => {
  const root = mkdtempSync(join(tmpdir(), 'nephos-full-'));
  const store = await FsBlobStore.open(root, { limits: { ...PACK_LIMITS, openPacks: 1 } });
  const [first, second] = [await append(store, '1.1'), await append(store, '1.2')];
  disk.isFull = true;
  // Closed when the second was opened; now that it is settled as well, nothing is left to be done with it.
  store.packed!.settled(first);
  await expect(append(store, '1.3')).rejects.toMatchObject({ code: 'OUT_OF_SPACE' });
  disk.isFull = false;
  store.packed!.settled(second);
  store.packed!.settled(await append(store, '1.4'));
  await store.close();
  expect(readdirSync(join(root, 'incoming'))).toEqual([]);

  const other = await FsBlobStore.open(root);
  for await (const _ of other.packed!.unsettled(0, Date.now() + 1)) expect.unreachable();
  expect(Buffer.from(await other.readBytes(first)).toString()).toBe('1.1');
  await other.close();
  rmSync(root, { recursive: true });
});
