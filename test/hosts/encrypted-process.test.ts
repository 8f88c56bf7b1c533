import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { bareEnvironment } from '#test/fixtures/bare-environment.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { multipart } from './client.ts';
import { type RunningArchive, startArchive } from './process.ts';

let dir = '';
let running: RunningArchive | undefined;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-encrypted-'));
});
afterEach(async () => {
  await running?.kill9();
  await rm(dir, { recursive: true, force: true });
});

test('an encrypted archive: stored, killed, read again, checked, its keys rotated; nothing on the disk in clear; then forgotten', async () => {
  const data = join(dir, 'data');
  const keyFile = join(dir, 'master.key');
  const env = { NEPHOS_ENCRYPTION_KEY_FILE: keyFile };
  const nephos = (...args: string[]): Promise<{ code: number; out: string }> =>
    new Promise((resolve) => {
      const options = { env: { ...bareEnvironment, NEPHOS_DATA_DIR: data, ...env } };
      execFile(process.execPath, ['functions/embedded/cli.ts', ...args], options, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), out: stdout + stderr }),
      );
    });
  expect((await nephos('keys', 'new', '--to', keyFile)).code).toBe(0);

  const objects = Array.from({ length: 12 }, (_, n) =>
    buildDicom({ SOPInstanceUID: uid(1_000 + n), InstanceNumber: n, InstitutionName: 'Saint Nowhere' }),
  );
  const fetched = async (n: number): Promise<Buffer> => {
    const path = `studies/${uid(1)}/series/${uid(2)}/instances/${uid(1_000 + n)}`;
    const headers = { accept: 'application/dicom; transfer-syntax=*' };
    return Buffer.from(await (await fetch(`${running!.origin}/dicomweb/${path}`, { headers })).arrayBuffer());
  };
  running = await startArchive(data, env);
  const stored = await Promise.all(
    objects.map((object) => fetch(`${running!.origin}/dicomweb/studies`, multipart([object]) as RequestInit)),
  );
  expect(new Set(stored.map(({ status }) => status))).toEqual(new Set([200]));
  await running.kill9();

  expect((await nephos('verify')).code).toBe(0);
  expect((await nephos('keys', 'rotate', 'main')).code).toBe(0);
  let files = 0;
  for (const entry of await readdir(join(data, 'blobs'), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    files++;
    expect((await readFile(join(entry.parentPath, entry.name))).includes('Saint Nowhere')).toBe(false);
  }
  expect(files).toBeGreaterThanOrEqual(objects.length);

  await expect(startArchive(data)).rejects.toThrow(/NEPHOS_ENCRYPTION_KEY_FILE/);
  running = await startArchive(data, env);
  expect((await fetched(3)).includes(Buffer.from(objects[3]!))).toBe(true);
  expect((await nephos('keys', 'shred', 'main', '--confirm', 'main')).code).toBe(2); // it is running
  await running.stop();

  expect((await nephos('keys', 'shred', 'main', '--confirm', 'main')).code).toBe(0);
  const verified = await nephos('verify');
  expect(verified.code).toBe(1);
  expect(verified.out).toContain(`0 objects intact`);
});
