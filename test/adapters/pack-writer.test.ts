import { closeSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openPack, Pack } from '#adapters/local/pack-writer.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nephos-pack-writer-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const OBJECT = Buffer.alloc(1500, 'object');

function newPack(named: Promise<void>) {
  const path = join(folder, 'p.tar');
  const closed = vi.fn();
  const pack = new Pack('p', 60_000, { open: () => ({ fd: openPack(path), named }), closed, idle: () => {} });
  return { pack, path, closed };
}

test('the first object is written while the name of its file is made durable, and told of when both are', async () => {
  const name = Promise.withResolvers<void>();
  const { pack, path, closed } = newPack(name.promise);
  const told = vi.fn();
  const first = pack.append('first.dcm', OBJECT).then(told);
  await vi.waitFor(() => expect(statSync(path).size).toBeGreaterThan(OBJECT.length));
  const second = pack.append('second.dcm', OBJECT);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(told).not.toHaveBeenCalled();
  name.resolve();
  await first;
  expect(told).toHaveBeenCalledWith(0);
  expect(await second).toBe(pack.bytes / 2);
  expect(statSync(path).size).toBe(pack.bytes);
  pack.settle();
  pack.settle();
  pack.retire();
  expect(closed).toHaveBeenCalledOnce();
});

test('a name that does not become durable fails what was written under it, and nothing of that stays', async () => {
  const name = Promise.withResolvers<void>();
  const { pack, path, closed } = newPack(name.promise);
  const first = pack.append('first.dcm', OBJECT);
  const failed = expect(first).rejects.toThrow('the disk is gone');
  await vi.waitFor(() => expect(statSync(path).size).toBeGreaterThan(OBJECT.length));
  name.reject(new Error('the disk is gone'));
  await failed;
  expect(statSync(path).size).toBe(0);
  expect(pack.isClosed).toBe(true);
  await vi.waitFor(() => expect(closed).toHaveBeenCalledOnce());
});

test('a file that cannot be opened fails its object', async () => {
  const path = join(folder, 'p.tar');
  closeSync(openPack(path)); // it is there already
  const { pack, closed } = newPack(Promise.resolve());
  await expect(pack.append('first.dcm', OBJECT)).rejects.toThrow('EEXIST');
  await vi.waitFor(() => expect(closed).toHaveBeenCalledOnce());
});
