import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { auditPartition } from '#core/audit/trail.ts';
import { clientBySecret, listClients } from '#core/clients.ts';
import { readEnrolmentCode } from '#core/enrolment-code.ts';
import { type Archive, openArchive } from '#embedded/archive.ts';
import { authority } from '#test/fixtures/authority.ts';
import { nephos } from './process.ts';

let dir: string;
let archive: Archive;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-clients-'));
  // The archive may be running: the command line works beside it.
  archive = await openArchive({ dataDir: join(dir, 'data'), limits: {}, policy: {} });
});
afterAll(async () => {
  await archive.close();
  await rm(dir, { recursive: true, force: true });
});
const run = (...args: string[]) => nephos(join(dir, 'data'), ...args);
const listed = () => listClients(archive.services, 'main');

test('registers, replaces a secret, revokes; each of it is in the audit trail', async () => {
  const { code, output } = await run('clients', 'add', 'AI worker', '--roles', 'finder,retriever', '--days', '30');
  expect(code).toBe(0);
  const [id = '', secret = ''] = output.trim().split('\n');
  expect(await clientBySecret(archive.services, id, secret)).toMatchObject({ tenant: 'main', client: { id } });
  const second = (await run('clients', 'secret', id)).output.trim();
  const { secrets } = (await listed())[0]!;
  expect((await run('clients', 'drop-secret', id, secrets[0]!.id)).code).toBe(0);
  expect(await clientBySecret(archive.services, id, secret)).toBeUndefined();
  expect(await clientBySecret(archive.services, id, second)).toBeDefined();
  expect((await run('clients', 'list')).output).toContain(`${id}  client_secret  finder+retriever  secret `);
  expect((await run('clients', 'revoke', id)).code).toBe(0);
  expect(await listed()).toEqual([]);
  const { records } = await archive.services.index.query({ partition: auditPartition('main'), limit: 50, log: true });
  const acts = records.map(({ item }) => JSON.parse(String(item.line)));
  expect(acts.map(({ transaction }) => transaction)).toEqual([
    'clients add',
    'clients secret',
    'clients drop-secret',
    'clients revoke',
  ]);
  expect(acts[0]).toMatchObject({ door: 'command', event: 'SecurityConfiguration', outcome: 0 });
  expect(acts[0].subject).toMatch(/@command-line$/);
});

test('takes keys as files, private ones by their public half, and certificates by their fingerprint', async () => {
  const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' });
  await writeFile(join(dir, 'key.pem'), pem);
  const signed = await (await authority('hospital')).sign('worker');
  await writeFile(join(dir, 'worker.pem'), signed.cert);
  expect((await run('clients', 'add', 'a', '--roles', 'finder', '--key', join(dir, 'key.pem'))).code).toBe(0);
  expect((await run('clients', 'add', 'b', '--roles', 'finder', '--certificate', join(dir, 'worker.pem'))).code).toBe(
    0,
  );
  const clients = await listed();
  expect(clients.map(({ method }) => method).sort()).toEqual(['certificate', 'private_key_jwt']);
  expect(clients.find(({ method }) => method === 'certificate')!.certificates).toEqual([signed.fingerprint]);
  expect(JSON.stringify(clients)).not.toContain('"d"');
});

test('makes enrolment codes, and says what is wrong', async () => {
  const { output } = await run('enrol', 'north-clinic', '--minutes', '5');
  expect(readEnrolmentCode(output.split(' ')[0]!)).toBeDefined();
  for (const wrong of [
    ['clients', 'add', 'x', '--roles', 'root'],
    ['clients', 'revoke', 'nobody'],
    ['enrol', 'Not An Id'],
    ['clients', 'add', 'x', '--roles', 'finder', '--key', join(dir, 'none.pem')],
  ])
    expect([wrong, (await run(...wrong)).code]).toEqual([wrong, 2]);
});
