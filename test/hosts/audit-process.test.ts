import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { AuditEntry } from '#core/audit/entry.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { multipart } from './client.ts';
import { nephos, type RunningArchive, startArchive } from './process.ts';

let dir: string;
let archive: RunningArchive | undefined;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-audit-'));
});
afterEach(async () => {
  await archive?.kill9();
  await rm(dir, { recursive: true, force: true });
});

test('who signs in, stores, looks and is turned away is in the trail; the trail is sealed, exported and checked elsewhere', async () => {
  const data = join(dir, 'data');
  archive = await startArchive(data, { NEPHOS_AUTH: 'on' });
  const token = /nephos_[\w-]{40,}/.exec(archive.said())![0];
  const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(archive!.origin + path, { ...init, headers: { authorization: `Bearer ${token}`, ...init.headers } });
  const json = { 'content-type': 'application/json' };
  for (const body of [{ token: 'nephos_wrong' }, { token }]) {
    const init = { method: 'POST', headers: json, body: JSON.stringify(body) };
    expect((await fetch(`${archive.origin}/api/session`, init)).status).toBe(body.token === token ? 200 : 401);
  }
  expect((await fetch(`${archive.origin}/dicomweb/studies`)).status).toBe(401);
  const { method, headers, body } = multipart([buildDicom({ SOPInstanceUID: uid(3), PatientID: 'PAT-7' })]);
  expect((await ask('/dicomweb/studies', { method, headers, body } as RequestInit)).status).toBe(200);
  expect((await ask(`/dicomweb/studies/${uid(1)}/metadata`)).status).toBe(200);

  const trail = async (): Promise<AuditEntry[]> =>
    ((await (await ask('/api/audit')).json()) as { entries: AuditEntry[] }).entries;
  // The last of it was answered while its entry was being written.
  await expect
    .poll(trail, { timeout: 60_000 })
    .toContainEqual(expect.objectContaining({ event: 'InstancesAccessed', studies: [uid(1)] }));
  const entries = await trail();
  const told = entries.filter(({ event }) => event !== 'ApplicationStart' && event !== 'AuditLogUsed');
  expect(told).toMatchObject([
    { event: 'Login', outcome: 4, subject: 'nobody', error: 'UNAUTHENTICATED', from: '127.0.0.1' },
    { event: 'Login', outcome: 0, subject: 'admin' },
    { event: 'Query', outcome: 4, subject: 'nobody', error: 'UNAUTHENTICATED' },
    { event: 'InstancesTransferred', outcome: 0, subject: 'admin', studies: [uid(1)], instances: 1 },
    { event: 'InstancesAccessed', outcome: 0, subject: 'admin', studies: [uid(1)] },
  ]);
  expect(JSON.stringify(entries)).not.toContain('PAT-7');
  const found = await (await ask(`/api/audit?study=${uid(1)}&event=InstancesAccessed&format=dicom`)).text();
  expect(found.trimEnd().split('\n')).toHaveLength(1);
  expect(found).toContain('ParticipantObjectID="PAT-7"');
  const bundle = (await (await ask(`/api/audit?subject=admin&format=fhir`)).json()) as { entry: unknown[] };
  expect(bundle.entry.length).toBeGreaterThanOrEqual(4);
  expect((await ask('/api/audit?event=Nonsense')).status).toBe(400);

  await archive.stop();
  // A folder without an archive has no trail: who has mistyped its name must not hear that all is well.
  const nowhere = await nephos(join(data, '..', 'unused'), 'audit', 'verify');
  expect(nowhere).toMatchObject({ code: 2, output: expect.stringContaining('there is no index of an archive') });
  const whole = await nephos(data, 'audit', 'verify');
  expect(whole).toMatchObject({ code: 0 });
  const head = /newest seal ([0-9a-f]{64})/.exec(whole.output)![1]!;
  const copy = join(dir, 'copy');
  expect(await nephos(data, 'audit', 'export', '--to', copy)).toMatchObject({ code: 0 });
  const keys = ['--keys', join(data, 'audit-keys')];
  expect(await nephos(data, 'audit', 'verify', copy, ...keys, '--expect', head)).toMatchObject({ code: 0 });
  // A slow machine has sealed its start by itself.
  const segments = (await readdir(copy)).sort().map((name) => join(copy, name));
  const texts = await Promise.all(segments.map((path) => readFile(path, 'utf8')));
  const at = texts.findIndex((text) => text.includes('"subject":"admin"'));
  await writeFile(segments[at]!, texts[at]!.replace('"subject":"admin"', '"subject":"other"'));
  const altered = await nephos(data, 'audit', 'verify', copy, ...keys);
  expect(altered).toMatchObject({ code: 1 });
  expect(altered.output).toMatch(new RegExp(`^altered: segment ${at}, entry \\d`));
}, 300_000);
