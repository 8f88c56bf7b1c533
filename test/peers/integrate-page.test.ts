import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { type Nephos, projectRoot, startNephos } from './helpers/nephos.ts';
import { issueToken, printedToken } from './web/signed-in.ts';

let nephos: Nephos;
let folder: string;
beforeAll(async () => {
  nephos = await startNephos({ auth: 'on' });
  folder = await mkdtemp(join(tmpdir(), 'nephos-integrate-'));
});
afterAll(async () => {
  await nephos?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** docs/integrate.md, with the roles that it names. */
const page = () => readFile(join(projectRoot, 'docs/integrate.md'), 'utf8');

test('the commands of the page do as they stand what it says of them', async () => {
  const text = await page();
  const roles = /clients add "My client" --roles (\S+)/.exec(text)?.[1]?.split(',') ?? [];
  const admin = await printedToken(nephos);
  const registered = await fetch(`${nephos.origin}/api/clients`, {
    method: 'POST',
    headers: { authorization: `Bearer ${admin}` },
    body: JSON.stringify({ name: 'My client', roles, method: 'client_secret' }),
  });
  expect(registered.status).toBe(201);
  const { id, secret } = (await registered.json()) as { id: string; secret: string };
  await writeFile(join(folder, 'image.dcm'), buildDicom({ PatientName: 'Doe^Jane', StudyDate: '20240305' }));

  const blocks = [...text.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, commands]) => commands!);
  expect(blocks.length).toBeGreaterThan(4);
  const { stdout } = await promisify(execFile)('bash', ['-e', '-o', 'pipefail', '-c', blocks.join('\necho\n')], {
    cwd: folder,
    env: { PATH: process.env.PATH, ARCHIVE: nephos.origin, CLIENT_ID: id, CLIENT_SECRET: secret },
  });
  const answers = stdout.split('\n').filter((line) => line !== '');
  const stored = answers.find((line) => line.includes('"00081199"'));
  expect(stored).toContain(uid(1));
  expect(answers.filter((line) => line.startsWith('[{'))[0]).toContain('Doe^Jane');
  expect(answers.some((line) => line.startsWith('{"events":') && line.includes('InstanceStored'))).toBe(true);
  expect(answers.some((line) => line.startsWith('{"items":[]'))).toBe(true);
  const committed = answers.findLast((line) => line.includes('"00081199"'));
  expect(committed).not.toBe(stored);
  expect(committed).not.toContain('"00081198"');
  expect(JSON.parse(await readFile(join(folder, 'metadata.json'), 'utf8'))).toHaveLength(1);
  expect((await stat(join(folder, 'study.zip'))).size).toBeGreaterThan(0);
});

test('a client that follows and schedules sees no image, and nobody’s name but those it schedules', async () => {
  const names = { name: 'RIS', subject: 'ris' };
  const { token } = await issueToken(nephos, await printedToken(nephos), {
    ...names,
    roles: ['follower', 'scheduler'],
  });
  const status = async (path: string) =>
    (await fetch(`${nephos.origin}${path}`, { headers: { authorization: `Bearer ${token}` } })).status;
  expect(await status('/api/events')).toBe(200);
  expect(await status('/api/worklist')).toBe(200);
  for (const path of ['/dicomweb/studies', `/dicomweb/studies/${uid(1)}`, '/api/routing', '/api/users'])
    expect(await status(path), path).toBe(403);
});
