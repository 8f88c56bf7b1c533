import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import type * as files from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { alignedBytes } from '#test/contract/packed-blobs.ts';

const disk = vi.hoisted(() => ({ takesBytes: Number.POSITIVE_INFINITY }));

vi.mock('node:fs/promises', async (importOriginal) => {
  const real = await importOriginal<typeof files>();
  const open: typeof real.open = async (...where) => {
    const file = await real.open(...where);
    const write = file.write.bind(file) as (
      bytes: Uint8Array,
      offset: number,
      length: number,
      position: number,
    ) => Promise<{ bytesWritten: number; buffer: Uint8Array }>;
    const short: typeof write = (bytes, offset, length, position) =>
      write(bytes, offset, Math.min(length, disk.takesBytes), position);
    return Object.assign(file, { write: short });
  };
  return { ...real, open };
});

/** Of a write that has no room the system takes the beginning, and says so: the end of an object was not written, and zeros stood in its place. */
test('objects of a pack that is written anew are whole where the disk takes less of a write than it was given', async () => {
  const root = mkdtempSync(join(tmpdir(), 'nephos-short-'));
  const objects = Array.from({ length: 6 }, (_, n) => alignedBytes(50_000 + n));
  const writing = await FsBlobStore.open(root);
  const keys: string[] = [];
  for (const [n, bytes] of objects.entries())
    keys.push((await writing.packed!.append(`clinic/1.2/1.3/1.4.${n}.V.dcm`, bytes)).key);
  for (const key of keys) writing.packed!.settled(key);
  await writing.close();

  const store = await FsBlobStore.open(root);
  await store.delete(keys[0]!);
  const [pack] = readdirSync(join(root, 'blobs/clinic/1.2'));
  disk.takesBytes = 7_000;
  for await (const _ of store.packed!.unsettled(0, Date.now() + 1)) expect.unreachable();
  disk.takesBytes = Number.POSITIVE_INFINITY;
  expect(readdirSync(join(root, 'blobs/clinic/1.2'))).toEqual([pack]);
  expect(await store.head(keys[0]!)).toBeUndefined();
  for (const [n, key] of keys.entries())
    if (n > 0) expect(Buffer.compare(await store.readBytes(key), objects[n]!)).toBe(0);
  await store.close();
  rmSync(root, { recursive: true });
});
