import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FormBrowser, type Seen } from '#test/fixtures/form-browser.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { type RunningArchive, startArchive } from '#test/hosts/process.ts';
import { peersDir } from './helpers/orthanc.ts';

/**
 * The archive as a client of an issuer that shares no code with it: Canaille (Python, Authlib), found by discovery, which keeps people, their
 * passwords and groups. oidc-provider, which the other suites use as a foreign issuer, is also our own.
 */
let dir: string;
let issuer: ChildProcess;
let said: Interface;
let archive: RunningArchive;
let issuerOrigin: string;

async function tell(command: string): Promise<void> {
  const answered = new Promise((resolve) => said.once('line', resolve));
  issuer.stdin!.write(`${command}\n`);
  await answered;
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-issuer-'));
  const [issuerPort, port] = [await freePort(), await freePort()];
  issuerOrigin = `http://127.0.0.1:${issuerPort}`;
  const script = fileURLToPath(new URL('../../scripts/peers/clinic-issuer.py', import.meta.url));
  const redirect = `http://127.0.0.1:${port}/api/session/callback`;
  issuer = spawn(join(peersDir, 'issuer/bin/python'), [script, String(issuerPort), redirect], {
    cwd: dir,
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  said = createInterface(issuer.stdout!);
  await new Promise((resolve, reject) => {
    said.once('line', resolve);
    issuer.once('exit', () => reject(new Error('the issuer does not start (scripts/install-peers)')));
  });
  await tell('groups pacs-readers cafeteria');
  archive = await startArchive(join(dir, 'data'), {
    NEPHOS_AUTH: 'on',
    NEPHOS_HTTP_PORT: String(port),
    NEPHOS_OIDC_ISSUER: issuerOrigin,
    NEPHOS_OIDC_AUDIENCE: 'pacs-console',
    NEPHOS_OIDC_CLIENT_ID: 'pacs-console',
    NEPHOS_OIDC_SCOPES: 'openid profile groups offline_access',
    NEPHOS_OIDC_ROLES_CLAIM: 'groups',
    NEPHOS_OIDC_ROLES: 'pacs-readers=radiologist,pacs-admins=admin',
  });
});
afterAll(async () => {
  if (archive?.process.exitCode === null) await archive.kill9().catch(() => {});
  issuer?.kill();
  await rm(dir, { recursive: true, force: true });
});

const valueIn = (page: string, name: string): string | undefined => {
  const input = [...page.matchAll(/<input[^>]*>/g)].map(([tag]) => tag).find((tag) => tag.includes(`name="${name}"`));
  return input === undefined ? undefined : (/value="([^"]*)"/.exec(input)?.[1] ?? '');
};

/** Goes through the issuer's pages until it is back at the archive, or nothing more can be filled in. */
async function signIn(browser: FormBrowser, password: string): Promise<Seen> {
  let seen = await browser.open(`${archive.origin}/api/session/start?returnTo=%2F%3Fafter%3Dlogin`);
  for (let page = 0; page < 5 && seen.url.startsWith(issuerOrigin); page++) {
    const token = valueIn(seen.text, 'csrf_token');
    const [field, value] = valueIn(seen.text, 'password') === undefined ? ['login', 'ida'] : ['password', password];
    if (token === undefined || (page > 0 && field === 'login')) break;
    const body = new URLSearchParams({ csrf_token: token, [field]: value, answer: 'accept' });
    seen = await browser.open(seen.url, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', referer: seen.url, origin: issuerOrigin },
      body: body.toString(),
    });
  }
  return seen;
}
const session = async (browser: FormBrowser): Promise<unknown> => {
  const { status, text } = await browser.step(`${archive.origin}/api/session`);
  return status === 200 ? JSON.parse(text) : status;
};
const PASSWORD = 'four walnuts under a lamp';

describe('people of a clinic with an identity provider of its own', () => {
  test('sign in there, and have the roles that its groups stand for', async () => {
    const browser = new FormBrowser();
    const seen = await signIn(browser, PASSWORD);
    expect(seen.url).toBe(`${archive.origin}/?after=login`);
    expect(await session(browser)).toMatchObject({ subject: 'ida', roles: ['radiologist'], hasAccount: false });
    expect((await browser.step(`${archive.origin}/dicomweb/studies`)).status).toBeLessThan(300);
    expect((await browser.step(`${archive.origin}/api/tokens`)).status).toBe(403);
    const sent = new URL(browser.went.find((url) => url.includes('/oauth/authorize'))!).searchParams;
    expect([sent.get('code_challenge_method'), sent.get('response_type')]).toEqual(['S256', 'code']);
    expect(sent.get('nonce')).toMatch(/.{20,}/);
  });

  test('with a wrong password do not come back', async () => {
    const browser = new FormBrowser();
    expect((await signIn(browser, 'nine walnuts')).url).toContain(issuerOrigin);
    expect(await session(browser)).toBe(401);
  });

  test('have other roles when they are in other groups, and none where those mean nothing here', async () => {
    await tell('groups pacs-admins');
    const administrator = new FormBrowser();
    await signIn(administrator, PASSWORD);
    expect(await session(administrator)).toMatchObject({ roles: ['admin'] });
    await tell('groups cafeteria');
    const guest = new FormBrowser();
    await signIn(guest, PASSWORD);
    expect(await session(guest)).toMatchObject({ roles: [], permits: [] });
    expect((await guest.step(`${archive.origin}/dicomweb/studies`)).status).toBe(403);
    await tell('groups pacs-readers');
  });

  test('sign in by a key that the issuer has exchanged since: it is fetched, and the archive is not started anew', async () => {
    await tell('rotate');
    const browser = new FormBrowser();
    await signIn(browser, PASSWORD);
    expect(await session(browser)).toMatchObject({ subject: 'ida', roles: ['radiologist'] });
  });

  test('sign out here, and are sent to the issuer to sign out there', async () => {
    const browser = new FormBrowser();
    await signIn(browser, PASSWORD);
    const out = await browser.step(`${archive.origin}/api/session`, {
      method: 'DELETE',
      headers: { 'sec-fetch-site': 'same-origin' },
    });
    expect(JSON.parse(out.text).next).toMatch(new RegExp(`^${issuerOrigin}/oauth/end_session\\?`));
    expect(await session(browser)).toBe(401);
  });
});
