import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockDataDir } from '#embedded/data-lock.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nephos-lock-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A process that holds the folder. What its lock says of it means nothing here, as from another container. */
async function holder() {
  const module = join(import.meta.dirname, '../../functions/embedded/data-lock.ts');
  const script = `import(${JSON.stringify(module)}).then(({ lockDataDir }) => lockDataDir(${JSON.stringify(folder)}))
    .then(() => { console.log('locked'); setInterval(() => {}, 1e6); });`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  writeFileSync(join(folder, 'nephos.pid'), '1 12345');
  return child;
}

/** In another container the lock's process id was nobody's: the folder was taken over from a living archive, and its stores were given up under it. */
test('a folder that an archive holds in another container is refused, and had when that one is dead', async () => {
  const child = await holder();
  // also while it stands still
  child.kill('SIGSTOP');
  await expect(lockDataDir(folder)).rejects.toThrow('is in use by another Nephos');
  await expect(lockDataDir(folder)).rejects.toThrow('is in use by another Nephos');
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(existsSync(join(folder, 'nephos.sock'))).toBe(true);
  const unlock = await lockDataDir(folder);
  await expect(lockDataDir(folder)).rejects.toThrow('in use');
  unlock();
  expect(readdirSync(folder)).toEqual([]);
});
