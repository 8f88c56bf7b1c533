import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { FormBrowser } from '#test/fixtures/form-browser.ts';
import { scheduled, started } from '#test/fixtures/worklist.ts';
import { multipart } from './client.ts';
import { nephos, type RunningArchive, startArchive } from './process.ts';

/** An archive with all that people decide in it. */
let dir: string;
let data: string;
let archive: RunningArchive;
let bootstrap: string;
let secretOfClient: { id: string; secret: string };
let secretOfLink: { id: string; secret: string };
let before: Record<string, unknown>;
const PASSWORD = 'four walnuts under a lamp';
const ENV = { NEPHOS_AUTH: 'on', NEPHOS_WORKERS: '1' };

const ask = async (path: string, body?: object, method = body ? 'POST' : 'GET'): Promise<unknown> => {
  const answer = await fetch(archive.origin + path, {
    method,
    headers: { authorization: `Bearer ${bootstrap}`, 'content-type': 'application/json', connection: 'close' },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  expect(answer.status, `${method} ${path}: ${text}`).toBeLessThan(300);
  return text === '' ? undefined : JSON.parse(text);
};

const LISTS = [
  '/api/users',
  '/api/tokens',
  '/api/clients',
  '/api/access',
  '/api/shares',
  '/api/gateways',
  '/api/worklist',
  '/api/procedure-steps',
  '/api/deidentification-projects',
  '/dicomweb/studies?includefield=00201208',
];
async function told(): Promise<Record<string, unknown>> {
  const lists: Record<string, unknown> = {};
  for (const path of LISTS) lists[path] = await ask(path);
  // when a token was last used, and the port, are of the moment
  return JSON.parse(
    JSON.stringify(lists)
      .replace(/"lastUsedAt":[^,}]+,?/g, '')
      .replaceAll(archive.origin, ''),
  );
}

async function signsIn(password: string): Promise<number> {
  const browser = new FormBrowser();
  const form = await browser.open(`${archive.origin}/api/session/start?returnTo=%2F`);
  await browser.submit(form, { name: 'ida', password });
  return (await browser.step(`${archive.origin}/api/session`)).status;
}

async function everybodyComesIn(): Promise<void> {
  expect(await told()).toEqual(before);
  expect(await signsIn(PASSWORD)).toBe(200);
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: secretOfClient.id,
    client_secret: secretOfClient.secret,
  });
  expect((await fetch(`${archive.origin}/api/token`, { method: 'POST', body: form })).status).toBe(200);
  const { id, secret } = secretOfLink;
  const opening = { method: 'POST', body: JSON.stringify({ secret }) };
  expect((await fetch(`${archive.origin}/s/${id}/api/guest/opening`, opening)).status).toBe(200);
  expect((await nephos(data, 'audit', 'verify')).code).toBe(0);
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-rebuild-'));
  data = join(dir, 'data');
  archive = await startArchive(data, ENV);
  bootstrap = /nephos_[\w-]{40,}/.exec(archive.said())![0];
  const objects = multipart([11, 12].map((n) => buildDicom({ SOPInstanceUID: uid(n), InstanceNumber: n })));
  const headers = { ...objects.headers, authorization: `Bearer ${bootstrap}` };
  const stored = await fetch(`${archive.origin}/dicomweb/studies`, { ...objects, headers } as RequestInit);
  expect(stored.status).toBe(200);
  const { link } = (await ask('/api/users', { name: 'ida', roles: ['radiologist'] })) as { link: { url: string } };
  const browser = new FormBrowser();
  await browser.submit(await browser.open(link.url), { password: PASSWORD, repeated: PASSWORD });
  await ask('/api/tokens', { name: 'robot', subject: 'robot', roles: ['viewer'] });
  secretOfClient = (await ask('/api/clients', {
    name: 'AI',
    roles: ['finder'],
    method: 'client_secret',
  })) as typeof secretOfClient;
  await ask('/api/grants', { to: { subject: 'ida' }, rules: [{ modalities: ['CT'] }] });
  await ask('/api/restrictions', { patient: { id: 'VIP-1' }, reason: 'known to all' });
  const share = (await ask('/api/shares', {
    studies: [uid(1)],
    scopes: ['view'],
    receiver: 'Dr. Ida Frank',
    purpose: 'Second opinion',
  })) as { id: string; url: string };
  secretOfLink = { id: share.id, secret: share.url.split('#')[1]! };
  await ask('/api/worklist', scheduled({ StudyInstanceUID: uid(1) }));
  await ask(`/api/procedure-steps/${uid(900)}`, started(), 'PUT');
  before = await told();
  for (const [path, list] of Object.entries(before)) {
    const filled = JSON.stringify(list).length > 30;
    expect(filled, path).toBe(!/gateways|deidentification/.test(path));
  }
});

afterAll(async () => {
  if (archive?.process.exitCode === null) await archive.kill9().catch(() => {});
  await rm(dir, { recursive: true, force: true });
});

const restart = async (): Promise<void> => {
  archive = await startArchive(data, ENV);
  expect(archive.said()).not.toMatch(/nephos_|oidc\/link/);
};

test('a backup is made while the archive runs, for its owner’s eyes, and of nothing that an object tells', async () => {
  const backup = join(dir, 'records');
  expect(await nephos(data, 'backup', '--to', backup)).toMatchObject({
    code: 0,
    output: expect.stringMatching(/^\d+ records written/),
  });
  expect((await stat(backup)).mode & 0o777).toBe(0o600);
  expect((await readdir(dir)).sort()).toEqual(['data', 'records']);
  const bytes = (await readFile(backup)).toString('latin1');
  expect(bytes).toContain('VIP-1');
  for (const derived of ['main|study|', 'main|instances|', 'main|x|list', 'main|audit\0'])
    expect(bytes).not.toContain(derived);
  expect(await nephos(data, 'backup', '--to', backup)).toMatchObject({ code: 2 });
});

test('rebuilding keeps what no object tells, and the index before; not while the archive runs', async () => {
  expect(await nephos(data, 'rebuild')).toMatchObject({ code: 2, output: expect.stringContaining('in use') });
  const entries = ((await ask('/api/audit?limit=1000')) as { entries: unknown[] }).entries.length;
  await archive.kill9();
  expect(await nephos(data, 'rebuild')).toMatchObject({
    code: 0,
    output: expect.stringMatching(/\d+ records kept\n2 instances, 0 held.*index\.before-/s),
  });
  await restart();
  await everybodyComesIn();
  expect(((await ask('/api/audit?limit=1000')) as { entries: unknown[] }).entries.length).toBeGreaterThan(entries);
});

test('a lost index is not taken for an empty archive; with a backup everybody comes in again', async () => {
  await archive.kill9();
  for (const name of ['index', 'index-lock']) await rm(join(data, name), { force: true });
  await expect(startArchive(data, ENV)).rejects.toThrow(/objects but no index/);
  expect(await nephos(data, 'rebuild')).toMatchObject({ code: 2, output: expect.stringContaining('--objects-alone') });
  expect(existsSync(join(data, 'index'))).toBe(false);
  expect(await nephos(data, 'rebuild', '--from', join(dir, 'records'))).toMatchObject({ code: 0 });
  // Nothing is left beside the backup, nor of the way to the new index.
  expect((await readdir(dir)).sort()).toEqual(['data', 'records']);
  expect((await readdir(data)).filter((name) => /rebuilding/.test(name))).toEqual([]);
  await restart();
  await everybodyComesIn();
});

test('a damaged index: said, left as it is, and put right from the backup', async () => {
  await archive.kill9();
  await writeFile(join(data, 'index'), 'no index at all'.repeat(800));
  expect(await nephos(data, 'rebuild')).toMatchObject({ code: 2, output: expect.stringContaining('cannot be read') });
  expect(await nephos(data, 'rebuild', '--from', join(dir, 'records'))).toMatchObject({ code: 0 });
  await restart();
  await everybodyComesIn();
});

test('from the objects alone: the studies, and nobody who may see them but by a new token', async () => {
  await archive.kill9();
  expect(await nephos(data, 'rebuild', '--objects-alone')).toMatchObject({
    code: 0,
    output: expect.stringMatching(/^2 instances/),
  });
  archive = await startArchive(data, ENV);
  const headers = { authorization: `Bearer ${bootstrap}` };
  expect((await fetch(`${archive.origin}/dicomweb/studies`, { headers })).status).toBe(401);
  bootstrap = (await nephos(data, 'token')).output.trim();
  const studies = '/dicomweb/studies?includefield=00201208';
  expect(JSON.stringify(await ask(studies)).replaceAll(archive.origin, '')).toBe(JSON.stringify(before[studies]));
});
