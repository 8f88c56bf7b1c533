import { copyFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type PeerCertificate } from 'node:tls';
import { generate } from 'selfsigned';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type RunningArchive, startArchive } from './process.ts';

let dir: string;
let archive: RunningArchive | undefined;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-https-'));
});
afterEach(async () => {
  await archive?.kill9();
  await rm(dir, { recursive: true, force: true });
});

const paths = () => ({ NEPHOS_TLS_CERT: join(dir, 'cert.pem'), NEPHOS_TLS_KEY: join(dir, 'key.pem') });

/** Puts a certificate in place as an ACME client does: both files written beside, then renamed. */
async function putCertificate(commonName: string): Promise<string> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: commonName }], { keySize: 2048 });
  await writeFile(join(dir, 'new-cert'), cert);
  await writeFile(join(dir, 'new-key'), key);
  await rename(join(dir, 'new-key'), paths().NEPHOS_TLS_KEY);
  await rename(join(dir, 'new-cert'), paths().NEPHOS_TLS_CERT);
  return cert;
}

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
}
const ask = (url: string): Promise<Answer> =>
  new Promise((resolve, reject) => {
    get(url, { rejectUnauthorized: false, agent: false }, async (response) => {
      let body = '';
      for await (const chunk of response) body += chunk;
      resolve({ status: response.statusCode!, headers: response.headers, body });
    }).on('error', reject);
  });
const certificateOf = (origin: string): Promise<PeerCertificate> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(origin);
    const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate());
      socket.destroy();
    }).on('error', reject);
  });

test('with a certificate the archive speaks HTTPS, tells browsers to stay there, and takes a renewed one without a restart', async () => {
  await putCertificate('first.example');
  archive = await startArchive(join(dir, 'data'), { ...paths(), NEPHOS_WORKERS: '1' });
  expect(archive.origin).toMatch(/^https:/);
  const { status, headers, body } = await ask(`${archive.origin}/healthz`);
  expect([status, JSON.parse(body).status]).toEqual([200, 'ok']);
  expect(headers['strict-transport-security']).toMatch(/^max-age=\d{8}/);
  expect((await certificateOf(archive.origin)).subject.CN).toBe('first.example');
  await expect(fetch(archive.origin.replace('https', 'http'))).rejects.toThrow();
  const old = connect({
    ...new URL(archive.origin),
    host: '127.0.0.1',
    port: Number(new URL(archive.origin).port),
    maxVersion: 'TLSv1.1',
  });
  await expect(new Promise((_, reject) => old.on('error', reject))).rejects.toThrow();

  await putCertificate('second.example');
  let name = '';
  for (let i = 0; i < 600 && name !== 'second.example'; i++) {
    await sleep(100);
    name = String((await certificateOf(archive.origin)).subject.CN);
  }
  expect(name).toBe('second.example');
  // A broken one is refused, and what served before goes on.
  await writeFile(paths().NEPHOS_TLS_CERT, 'no certificate');
  await sleep(1_500);
  expect((await certificateOf(archive.origin)).subject.CN).toBe('second.example');
});

test('a certificate without its key, or that of another, is told at the start', async () => {
  await putCertificate('one.example');
  await expect(startArchive(join(dir, 'data'), { NEPHOS_TLS_CERT: paths().NEPHOS_TLS_CERT })).rejects.toThrow(
    'NEPHOS_TLS_CERT and NEPHOS_TLS_KEY go together',
  );
  await copyFile(paths().NEPHOS_TLS_KEY, join(dir, 'old-key'));
  await putCertificate('two.example');
  await copyFile(join(dir, 'old-key'), paths().NEPHOS_TLS_KEY);
  await expect(startArchive(join(dir, 'data'), paths())).rejects.toThrow(/exit code 2.*cert\.pem/s);
});
