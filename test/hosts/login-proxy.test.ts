import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newMasterKey } from '#adapters/local/key-ring.ts';
import { FormBrowser } from '#test/fixtures/form-browser.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { type RunningArchive, startArchive } from './process.ts';

const PUBLIC = 'https://pacs.example';
const PASSWORD = 'a lighthouse with nine doors';
let dir: string;
let archive: RunningArchive;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-proxy-'));
});
afterEach(async () => {
  await archive?.kill9();
  await rm(dir, { recursive: true, force: true });
});

test('behind a proxy that ends TLS, in an archive that is encrypted: everything is at the public address, cookies are secure, and no header of a client changes that', async () => {
  const keyFile = join(dir, 'master.key');
  await writeFile(keyFile, `${newMasterKey()}\n`, { mode: 0o600 });
  const port = await freePort();
  archive = await startArchive(join(dir, 'data'), {
    NEPHOS_AUTH: 'on',
    NEPHOS_PUBLIC_URL: PUBLIC,
    NEPHOS_ENCRYPTION_KEY_FILE: keyFile,
    // The archive says its public address, not where it listens.
    NEPHOS_HTTP_PORT: String(port),
  });
  const inside = `http://127.0.0.1:${port}`;
  const browser = new FormBrowser(((url: string, init: RequestInit) =>
    fetch(url.replace(PUBLIC, inside), {
      ...init,
      headers: {
        ...init.headers,
        'x-forwarded-host': 'evil.example',
        'x-forwarded-proto': 'http',
        forwarded: 'host=evil.example',
      },
    })) as typeof globalThis.fetch);
  const link = /http\S+\/oidc\/link\/\S+/.exec(archive.said())![0];
  expect(link.startsWith(`${PUBLIC}/`)).toBe(true);
  await browser.submit(await browser.open(link), { name: 'chief', password: PASSWORD, repeated: PASSWORD });
  const page = await browser.open(`${PUBLIC}/api/session/start`);
  expect(page.url.startsWith(`${PUBLIC}/oidc/interaction/`)).toBe(true);
  expect((await browser.submit(page, { name: 'chief', password: PASSWORD })).url).toBe(`${PUBLIC}/`);
  expect(JSON.parse((await browser.step(`${PUBLIC}/api/session`)).text)).toMatchObject({ subject: 'chief' });
  for (const { name, attributes } of browser.cookies.values()) {
    expect(attributes, name).toMatch(/secure/i);
    expect(attributes, name).toMatch(/httponly/i);
  }
  expect(browser.cookies.size).toBeGreaterThanOrEqual(3);
  expect(browser.went.every((url) => url.startsWith(PUBLIC))).toBe(true);
  const discovered = await browser.step(`${PUBLIC}/oidc/.well-known/openid-configuration`);
  expect(discovered.text).not.toContain('evil.example');
  expect(JSON.parse(discovered.text)).toMatchObject({
    issuer: `${PUBLIC}/oidc`,
    token_endpoint: `${PUBLIC}/oidc/token`,
  });
});
