import type * as fs from 'node:fs';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { giveBackHoles } from '#adapters/local/pack-holes.ts';
import { alignedBytes } from '#test/contract/packed-blobs.ts';

/** The calls that the disk fails. */
const failing = new Set<'readSync' | 'unlinkSync'>();

vi.mock('node:fs', async (importOriginal) => {
  const real = await importOriginal<typeof fs>();
  const mayFail = (name: 'readSync' | 'unlinkSync') => ({
    [name]: (...args: unknown[]): unknown => {
      if (failing.has(name)) throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
      return (real[name] as (...args: unknown[]) => unknown)(...args);
    },
  });
  return { ...real, ...mayFail('readSync'), ...mayFail('unlinkSync') };
});

let root = '';
let store: FsBlobStore;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'nephos-unreadable-'));
  store = await FsBlobStore.open(root);
});
afterEach(async () => {
  failing.clear();
  await store.close();
  rmSync(root, { recursive: true });
});

const handles = (): number => readdirSync('/proc/self/fd').length;
const stored = () => store.packed!.append('clinic/1.2.3/1.9/1.4.V.dcm', alignedBytes(20_000));

/** Whoever looks at the study asks again and again: after some hours the archive could open nothing any more. */
test.runIf(process.platform === 'linux')('each attempt to read the object gives its file handle back', async () => {
  const { key } = await stored();
  failing.add('readSync');
  const before = handles();
  for (let attempt = 0; attempt < 20; attempt++) await expect(store.readBytes(key)).rejects.toThrow('EIO');
  expect(handles()).toBe(before);
  failing.clear();
  expect(await store.readBytes(key)).toHaveLength(20_000);
});

test.runIf(process.platform === 'linux')('so does each attempt to write the pack anew', async () => {
  await stored();
  const folder = join(root, 'blobs', 'clinic', '1.2.3');
  const pack = join(folder, readdirSync(folder).find((name) => name.endsWith('.tar'))!);
  failing.add('readSync').add('unlinkSync');
  const before = handles();
  for (let attempt = 0; attempt < 20; attempt++)
    await expect(giveBackHoles(pack, join(root, 'incoming', `anew-${attempt}`))).rejects.toThrow('EIO');
  expect(handles()).toBe(before);
});
