import { copyFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { multipart } from './client.ts';
import { nephos, startArchive } from './process.ts';

const dir = await mkdtemp(join(tmpdir(), 'nephos-old-index-'));
afterAll(() => rm(dir, { recursive: true, force: true }));
const ENV = { NEPHOS_WORKERS: '1', NEPHOS_AUTH: 'off' };

/** An archive started on yesterday's copy of its index took today's objects for stores that had been cut off, and removed them. */
test('an archive does not start on an index that is older than its objects; a rebuild makes one of all of them', async () => {
  const data = join(dir, 'data');
  const index = join(data, 'index');
  const copy = join(dir, 'index-of-yesterday');
  const runWith = async (numbers: readonly number[], kill: boolean): Promise<void> => {
    const archive = await startArchive(data, ENV);
    for (const n of numbers) {
      const request = multipart([buildDicom({ SOPInstanceUID: uid(n) })]);
      const { status } = await fetch(`${archive.origin}/dicomweb/studies`, request as RequestInit);
      expect(status).toBe(200);
    }
    if (kill) await archive.kill9();
    else await archive.stop();
  };
  await runWith([11], false);
  await copyFile(index, copy);
  await runWith([12], false);
  await runWith([13], false);
  await runWith([14], true);
  await copyFile(copy, index);

  await expect(startArchive(data, ENV)).rejects.toThrow(/older than the objects beside it/);
  expect(await nephos(data, 'sweep')).toMatchObject({ code: 2, output: expect.stringContaining('nephos rebuild') });
  const rebuilt = await nephos(data, 'rebuild');
  expect(rebuilt).toMatchObject({ code: 0, output: expect.stringContaining('4 instances') });
  expect(rebuilt.output).toContain('the audit trail is taken from its segments');
  expect((await nephos(data, 'audit', 'verify')).code).toBe(0);

  const archive = await startArchive(data, ENV);
  const answer = await fetch(`${archive.origin}/dicomweb/instances?includefield=00080018`);
  const found = (await answer.json()) as { '00080018': { Value: string[] } }[];
  expect(found.map((one) => one['00080018'].Value[0]).sort()).toEqual([11, 12, 13, 14].map(uid).sort());
  await archive.stop();
  expect(await nephos(data, 'verify')).toMatchObject({ code: 0, output: expect.stringContaining('4 objects intact') });
  expect((await readdir(data)).filter((name) => name.startsWith('index.before'))).toHaveLength(1);
});
