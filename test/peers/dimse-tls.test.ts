import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ARCHIVE_POLICY } from '#dimse/archive.ts';
import { createDimseServer, type DimseServer } from '#dimse/server.ts';
import { tlsOptions } from '#embedded/dicom-host.ts';
import { run, runOk } from './helpers/programs.ts';

/** What the archive and the gateway offer on their TLS ports, as OpenSSL sees it: the BCP 195 profile (PS3.15 B.9). */
let dir: string;
let server: DimseServer;
let lines: string[];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-bcp195-'));
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  const subject = ['-subj', '/CN=127.0.0.1', '-days', '2', '-nodes', '-newkey', 'rsa:2048'];
  await runOk('openssl', ['req', '-x509', ...subject, '-keyout', key, '-out', cert]);
  lines = [];
  server = createDimseServer({
    aeTitle: 'NEPHOS',
    checkCalledAETitle: false,
    allowed: 'any',
    maxAssociations: 4,
    policy: ARCHIVE_POLICY,
    services: new Map(),
    tls: tlsOptions({ cert, key }),
    onEnd: ({ error }) => lines.push(error?.message ?? 'released'),
  });
  server.server.listen(0, '127.0.0.1');
  await once(server.server, 'listening');
});
afterAll(async () => {
  await server?.close(0);
  await rm(dir, { recursive: true, force: true });
});

/** Protocol and cipher that come of an attempt; undefined: there was none. */
async function agreed(...options: string[]): Promise<string | undefined> {
  const before = lines.length;
  const { port } = server.server.address() as AddressInfo;
  const { stdout } = await run('bash', [
    '-c',
    'exec openssl s_client -brief -connect "$0" "$@" </dev/null 2>&1',
    `127.0.0.1:${port}`,
    ...options,
  ]);
  // The client is gone before the server has heard of it.
  await expect.poll(() => lines.length).toBe(before + 1);
  const [, protocol] = /Protocol version: (\S+)/.exec(stdout) ?? [];
  const [, cipher] = /Ciphersuite: (\S+)/.exec(stdout) ?? [];
  return protocol && `${protocol} ${cipher}`;
}
/** Old algorithms are tried even where this OpenSSL would not by itself. */
const OLD = (cipher: string): string[] => ['-cipher', `${cipher}:@SECLEVEL=0`];

describe('the BCP 195 profile', () => {
  test.each(['TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_128_GCM_SHA256'])(
    'TLS 1.3 with %s',
    async (suite) => expect(await agreed('-tls1_3', '-ciphersuites', suite)).toBe(`TLSv1.3 ${suite}`),
  );

  test.each([
    'ECDHE-RSA-AES256-GCM-SHA384',
    'ECDHE-RSA-AES128-GCM-SHA256',
    'DHE-RSA-AES256-GCM-SHA384',
    'DHE-RSA-AES128-GCM-SHA256',
  ])('TLS 1.2 with %s', async (suite) => expect(await agreed('-tls1_2', '-cipher', suite)).toBe(`TLSv1.2 ${suite}`));

  test('of all that TLS 1.2 has, the strongest', async () => {
    expect(await agreed('-tls1_2')).toBe('TLSv1.2 ECDHE-RSA-AES256-GCM-SHA384');
  });

  test.each<[string, string[]]>([
    ['TLS 1.0', ['-tls1', ...OLD('ALL')]],
    ['TLS 1.1', ['-tls1_1', ...OLD('ALL')]],
    ['no forward secrecy', ['-tls1_2', ...OLD('AES128-GCM-SHA256:AES256-GCM-SHA384')]],
    ['CBC', ['-tls1_2', ...OLD('ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA:AES128-SHA')]],
    ['no encryption', ['-tls1_2', ...OLD('eNULL')]],
    ['no authentication', ['-tls1_2', ...OLD('aNULL')]],
  ])('%s is refused, with one line', async (_what, options) => {
    const before = lines.length;
    expect(await agreed(...options)).toBeUndefined();
    expect(lines.slice(before)).toEqual(['the TLS handshake failed']);
  });
});
