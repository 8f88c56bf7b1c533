import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { multipart } from '#test/hosts/client.ts';
import { type RunningArchive, startArchive } from '#test/hosts/process.ts';
import { type Rsyslog, startRsyslog } from './helpers/rsyslog.ts';

const openssl = (...args: string[]) => promisify(execFile)('openssl', args);

let dir: string;
let archive: RunningArchive | undefined;
let repository: Rsyslog | undefined;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-rsyslog-'));
  await certificates();
});
afterEach(async () => {
  await repository?.stop('SIGKILL').catch(() => {});
  if (archive?.process.exitCode === null) await archive.kill9().catch(() => {});
  await rm(dir, { recursive: true, force: true });
});

const file = (name: string): string => join(dir, name);

/** A hospital's authority, and what it has signed: the repository's certificate, the archive's, and that of another machine. */
async function certificates(): Promise<void> {
  const fresh = ['req', '-newkey', 'rsa:2048', '-nodes'];
  await openssl(
    ...fresh,
    '-x509',
    '-keyout',
    file('ca.key'),
    '-out',
    file('ca.pem'),
    '-subj',
    '/CN=hospital',
    '-days',
    '2',
  );
  await writeFile(file('names'), 'subjectAltName=DNS:localhost,IP:127.0.0.1');
  for (const name of ['repository', 'nephos', 'other']) {
    await openssl(...fresh, '-keyout', file(`${name}.key`), '-out', file(`${name}.csr`), '-subj', `/CN=${name}`);
    const names = name === 'repository' ? ['-extfile', file('names')] : [];
    const signed = ['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial', '-days', '2'];
    await openssl('x509', '-req', '-in', file(`${name}.csr`), '-out', file(`${name}.pem`), ...signed, ...names);
  }
}

const startRepository = async (port: number): Promise<Rsyslog> => {
  const pair = { cert: file('repository.pem'), key: file('repository.key') };
  repository = await startRsyslog({ dir, port, ca: file('ca.pem'), ...pair, client: 'nephos' });
  return repository;
};
const start = async (port: number, who = 'nephos'): Promise<RunningArchive> => {
  archive = await startArchive(join(dir, 'data'), {
    NEPHOS_AUDIT_REPOSITORY: `localhost:${port}`,
    NEPHOS_AUDIT_REPOSITORY_CA: file('ca.pem'),
    NEPHOS_AUDIT_REPOSITORY_CERT: file(`${who}.pem`),
    NEPHOS_AUDIT_REPOSITORY_KEY: file(`${who}.key`),
  });
  return archive;
};
async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 2_000 && !(await isSo()); i++) await sleep(100);
  expect(await isSo()).toBe(true);
}

test('rsyslog has every act once it is back, whole and in order, whatever was done to it', async () => {
  const port = await freePort();
  const { origin } = await start(port);
  await startRepository(port);
  const look = (n: number) => fetch(`${origin}/dicomweb/studies/${uid(n)}/metadata`);
  await fetch(`${origin}/dicomweb/studies`, multipart([buildDicom()]) as RequestInit);
  await look(1);
  await look(99);
  const studies = (line: string) => /ParticipantObjectID="2\.25\.4711(\d+)"/.exec(line)?.[1];
  await until(async () => (await repository!.lines()).some((line) => line.includes('csd-code="110103"')));
  // In order: there is nothing more to write when the last is there.
  await until(async () => (await repository!.lines()).some((line) => studies(line) === '99'));
  // Killed, and away while more is done; then back with what it had.
  await repository!.stop('SIGKILL');
  for (let n = 100; n < 400; n++) await look(n);
  await sleep(7_000);
  await startRepository(port);
  await until(async () => (await repository!.lines()).some((line) => studies(line) === '399'));
  const lines = await repository!.lines();
  expect(lines.every((line) => line.startsWith('DICOM+RFC3881 \uFEFF<?xml') && line.endsWith('</AuditMessage>'))).toBe(
    true,
  );
  const seen = [...new Set(lines.map(studies).filter((one) => one !== undefined))];
  expect(seen).toEqual(['1', '99', ...Array.from({ length: 300 }, (_, i) => String(100 + i))]);
  const { said } = archive!;
  expect(said()).not.toMatch(/Doe/);
});

test('a machine that rsyslog does not know is given nothing to believe: what it could not hand over waits', async () => {
  const port = await freePort();
  await startRepository(port);
  const first = await start(port, 'other');
  await fetch(`${first.origin}/dicomweb/studies/${uid(1)}/metadata`);
  await until(async () =>
    /nephos_audit_export_failures_total [1-9]/.test(await (await fetch(`${first.origin}/metrics`)).text()),
  );
  expect(await repository!.lines()).toEqual([]);
  await first.stop();
  await start(port);
  await until(async () => (await repository!.lines()).some((line) => line.includes(`"${uid(1)}"`)));
});
