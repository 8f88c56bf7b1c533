import type * as fs from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { markDeleted } from '#adapters/local/pack-holes.ts';

const SIZE = 50_000;
/** what happens at the step in which a pack that was written anew takes the place of the old one */
const atRename = vi.hoisted(() => ({ before: (_path: string) => {}, behind: (_path: string) => {} }));

vi.mock('node:fs', async (importOriginal) => {
  const real = await importOriginal<typeof fs>();
  return {
    ...real,
    renameSync(from: string, to: string) {
      atRename.before(to);
      real.renameSync(from, to);
      atRename.behind(to);
    },
  };
});

/**
 * Every server process looks after packs, at about the same time. One that began to copy a pack when another had just put its copy in place
 * took along what was deleted while the first was copying, before the first had marked it: the object was there again.
 */
test('what is deleted while two processes write a pack anew one behind the other is gone', async () => {
  const root = mkdtempSync(join(tmpdir(), 'nephos-anew-'));
  const real = await vi.importActual<typeof fs>('node:fs');
  let store = await FsBlobStore.open(root);
  const keys: string[] = [];
  for (const n of [1, 2, 3]) {
    const { key } = await store.packed!.append(`clinic/1.2.3/1.9/1.4.${n}.V.dcm`, Buffer.alloc(SIZE, n));
    store.packed!.settled(key);
    keys.push(key);
  }
  await store.close();
  store = await FsBlobStore.open(root);
  await store.delete(keys[0]!);
  const [, page] = /-([0-9a-z]+)\.dcm$/.exec(keys[1]!)!;
  atRename.before = (path) => {
    const fd = real.openSync(path, 'r+');
    markDeleted(fd, Number.parseInt(page!, 36) * 4096, SIZE);
    real.closeSync(fd);
  };
  atRename.behind = (path) => {
    const copy = join(root, 'incoming', 'another');
    real.copyFileSync(path, copy);
    real.renameSync(copy, path);
  };
  for await (const _ of store.packed!.unsettled(0, Date.now() + 1)) expect.unreachable();
  const left: string[] = [];
  for await (const { key } of store.list('')) left.push(key);
  expect(left).toEqual([keys[2]]);
  await store.close();
  rmSync(root, { recursive: true });
});
