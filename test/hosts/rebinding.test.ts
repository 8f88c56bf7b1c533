import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '#test/fixtures/free-port.ts';
import { type RunningArchive, startArchive } from './process.ts';
import { RawConnection, readResponses } from './raw-http.ts';

let dir: string;
let archive: RunningArchive;
let port: number;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-rebinding-'));
  port = await freePort();
  const env = { NEPHOS_WORKERS: '1', NEPHOS_HTTP_PORT: String(port), NEPHOS_PUBLIC_URL: 'http://pacs.clinic.test' };
  archive = await startArchive(dir, env);
});
afterAll(async () => {
  await archive?.stop();
  await rm(dir, { recursive: true, force: true });
});

async function statusFor(host: string, path: string): Promise<number | undefined> {
  const connection = await RawConnection.open(port);
  connection.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nSec-Fetch-Site: same-origin\r\nConnection: close\r\n\r\n`);
  await connection.closed;
  return readResponses(connection.heard).statuses[0];
}

/** A page of evil.test, whose name was made to lead to 127.0.0.1, is of one origin with us for its browser. */
test('without access control a page of the internet cannot come in by a name that leads to loopback', async () => {
  for (const path of ['/dicomweb/studies', '/api/session', '/metrics', '/'])
    for (const host of ['evil.test', 'evil.test:8080', '127.0.0.1.evil.test'])
      expect(await statusFor(host, path), `${host} ${path}`).toBe(403);
  for (const host of ['127.0.0.1:8080', 'localhost', '[::1]:8080', 'PACS.clinic.test'])
    expect(await statusFor(host, '/dicomweb/studies'), host).toBe(200);
});
