import type * as fs from 'node:fs';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { startOf } from '#adapters/local/living-process.ts';
import { lockDataDir } from '#embedded/data-lock.ts';

/** what another process does before this one takes a dead one's file away */
const meanwhile = vi.hoisted(() => ({ happens: (_path: string): unknown => undefined }));

vi.mock('node:fs', async (importOriginal) => {
  const real = await importOriginal<typeof fs>();
  return {
    ...real,
    renameSync(from: string, to: string) {
      meanwhile.happens(from);
      real.renameSync(from, to);
    },
  };
});

/** Both had seen the dead one's file; the second removed the first one's in its place, and both opened the folder. */
test('of two that find the lock of a dead process, one has the folder', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-lock-'));
  const lock = join(folder, 'nephos.pid');
  writeFileSync(lock, `${process.pid} 1`);
  const another = `${process.ppid} ${startOf(process.ppid)}`;
  meanwhile.happens = (path) => path === lock && writeFileSync(path, another);
  await expect(lockDataDir(folder)).rejects.toThrow(`in use by another Nephos (process ${process.ppid})`);
  expect(readFileSync(lock, 'utf8')).toBe(another);
  expect(readdirSync(folder)).toEqual(['nephos.pid']);

  writeFileSync(lock, `${process.pid} 1`);
  meanwhile.happens = () => undefined;
  const unlock = await lockDataDir(folder);
  expect(readFileSync(lock, 'utf8')).toBe(`${process.pid} ${startOf(process.pid)}`);
  await expect(lockDataDir(folder)).rejects.toThrow('in use');
  unlock();
  expect(readdirSync(folder)).toEqual([]);
  rmSync(folder, { recursive: true });
});
