import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Authority, authority, replaceFile, type Signed } from '#test/fixtures/authority.ts';
import { nephos, type RunningArchive, startArchive } from './process.ts';

let dir: string;
let archive: RunningArchive | undefined;
let hospital: Authority;
let server: Signed;
let token: string;
const file = (name: string): string => join(dir, name);

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-mtls-'));
  hospital = await authority('hospital');
  server = await hospital.sign('archive');
  await writeFile(file('cert.pem'), server.cert);
  await writeFile(file('key.pem'), server.key);
  await writeFile(file('clients.pem'), hospital.cert);
  archive = await startArchive(join(dir, 'archive'), {
    NEPHOS_AUTH: 'on',
    NEPHOS_WORKERS: '1',
    NEPHOS_TLS_CERT: file('cert.pem'),
    NEPHOS_TLS_KEY: file('key.pem'),
    NEPHOS_TLS_CLIENT_CA: file('clients.pem'),
  });
  token = (await nephos(join(dir, 'archive'), 'token')).output.trim();
});
afterEach(async () => {
  if (archive?.process.exitCode === null) await archive.kill9().catch(() => {});
  await rm(dir, { recursive: true, force: true });
});

interface Asked {
  readonly certificate?: Signed | undefined;
  readonly token?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: object;
}

/** On a connection of its own: what it shows, it shows once. */
const ask = (path: string, { certificate, token: bearer, method = 'GET', headers = {}, body }: Asked = {}) =>
  new Promise<{ status: number; json: { id: string; subject: string; roles: string[] } }>((resolve, reject) => {
    const sent = request(
      `${archive!.origin}${path}`,
      {
        method,
        agent: false,
        ca: hospital.cert,
        ...(certificate && { cert: certificate.cert, key: certificate.key }),
        headers: { ...headers, ...(bearer && { authorization: `Bearer ${bearer}` }) },
      },
      async (response) => {
        let text = '';
        for await (const chunk of response) text += chunk;
        resolve({ status: response.statusCode!, json: text === '' ? undefined : JSON.parse(text) });
      },
    ).on('error', reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
const register = async (certificates: string[], roles = ['finder']) =>
  (
    await ask('/api/clients', {
      token,
      method: 'POST',
      body: { name: 'worker', roles, method: 'certificate', certificates },
    })
  ).json;

test('a machine with a certificate is whom it is registered as, by fingerprint or by a name in it, and nobody otherwise', async () => {
  const byPrint = await hospital.sign('ai worker');
  const byName = await hospital.sign('integration', 'hl7.hospital.example');
  const stranger = await hospital.sign('stranger', 'other.hospital.example');
  const foreign = await (await authority('elsewhere')).sign('ai worker', 'hl7.hospital.example');
  expect((await ask('/dicomweb/studies', { certificate: byPrint })).status).toBe(401);

  const { id } = await register([byPrint.fingerprint]);
  await register(['DNS:hl7.hospital.example'], ['retriever']);
  expect(await ask('/api/session', { certificate: byPrint })).toMatchObject({
    status: 200,
    json: { subject: `client:${id}`, roles: ['finder'] },
  });
  expect((await ask('/dicomweb/studies', { certificate: byPrint })).status).toBe(200);
  expect((await ask('/api/clients', { certificate: byPrint })).status).toBe(403);
  expect((await ask('/api/session', { certificate: byName })).json.roles).toEqual(['retriever']);
  for (const certificate of [stranger, foreign, undefined])
    expect((await ask('/dicomweb/studies', { certificate })).status).toBe(401);
  // Whoever has no certificate, or one that nobody signed, still has his token.
  for (const certificate of [undefined, foreign])
    expect((await ask('/dicomweb/studies', { certificate, token })).status).toBe(200);

  // A browser that has the certificate shows it for whatever page makes it ask.
  const acrossSites = { certificate: byPrint, method: 'POST', headers: { 'sec-fetch-site': 'cross-site' } };
  expect((await ask('/dicomweb/studies', acrossSites)).status).toBe(403);

  const twice = await ask('/api/clients', {
    token,
    method: 'POST',
    body: { name: 'other', roles: ['finder'], method: 'certificate', certificates: [byPrint.fingerprint] },
  });
  expect(twice.status).toBe(409);
  await ask(`/api/clients/${id}`, { token, method: 'DELETE' });
  expect((await ask('/dicomweb/studies', { certificate: byPrint })).status).toBe(401);
});

test('another authority of clients is taken up while the archive runs', async () => {
  const successor = await authority('successor');
  const worker = await successor.sign('worker');
  await register([worker.fingerprint]);
  expect((await ask('/dicomweb/studies', { certificate: worker })).status).toBe(401);
  await replaceFile(file('clients.pem'), successor.cert);
  await expect
    .poll(async () => (await ask('/dicomweb/studies', { certificate: worker })).status, { timeout: 60_000 })
    .toBe(200);
});
