import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AuditEntry } from '#core/audit/entry.ts';
import { totpCode } from '#core/users/totp.ts';
import { FormBrowser, type Seen } from '#test/fixtures/form-browser.ts';
import { nephos, type RunningArchive, startArchive } from './process.ts';

/** The archive as it is started in a clinic: two server processes, nobody known yet. */
let dir: string;
let archive: RunningArchive;
let bootstrap: string;
const PASSWORD = 'four walnuts under a lamp';

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-login-'));
  archive = await startArchive(dir, { NEPHOS_AUTH: 'on' });
  bootstrap = /nephos_[\w-]{40,}/.exec(archive.said())![0];
});
afterAll(async () => {
  if (archive?.process.exitCode === null) await archive.kill9().catch(() => {});
  await rm(dir, { recursive: true, force: true });
});

const json = { 'content-type': 'application/json' };
const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(archive.origin + path, {
    ...init,
    headers: { authorization: `Bearer ${bootstrap}`, ...json, ...init.headers },
  });
const session = (browser: FormBrowser): Promise<Seen> => browser.step(`${archive.origin}/api/session`);
const start = (browser: FormBrowser, returnTo = '/'): Promise<Seen> =>
  browser.open(`${archive.origin}/api/session/start?returnTo=${encodeURIComponent(returnTo)}`);
const post = (browser: FormBrowser, path: string, body: object, method = 'POST'): Promise<Seen> =>
  browser.step(archive.origin + path, {
    method,
    headers: { ...json, 'sec-fetch-site': 'same-origin' },
    body: JSON.stringify(body),
  });

/** Somebody with an account, by the link that an administrator gives him. */
async function person(name: string, roles: string[]): Promise<FormBrowser> {
  const made = await ask('/api/users', { method: 'POST', body: JSON.stringify({ name, roles }) });
  expect(made.status).toBe(201);
  const { link } = (await made.json()) as { link: { url: string } };
  const browser = new FormBrowser();
  const page = await browser.open(link.url);
  expect((await browser.submit(page, { password: PASSWORD, repeated: PASSWORD })).text).toContain(
    'Your password is set',
  );
  return browser;
}

async function signIn(browser: FormBrowser, name: string, password = PASSWORD): Promise<Seen> {
  return browser.submit(await start(browser), { name, password });
}

test('the first administrator makes his account by the link that the first start prints, once', async () => {
  const link = /http\S+\/oidc\/link\/\S+/.exec(archive.said())![0];
  const browser = new FormBrowser();
  const page = await browser.open(link);
  expect(page.text).toContain('Set up this archive');
  expect((await browser.submit(page, { name: 'Chief', password: 'short', repeated: 'short' })).text).toContain(
    'at least 12 characters',
  );
  const unlike = await browser.submit(page, { name: 'Chief', password: PASSWORD, repeated: `${PASSWORD}!` });
  expect(unlike.text).toContain('not the same');
  const done = await browser.submit(page, {
    name: 'Chief',
    displayName: 'Dr <b>Chief',
    password: PASSWORD,
    repeated: PASSWORD,
  });
  expect(done.text).toContain('A full name');
  const saved = await browser.submit(page, {
    name: 'Chief',
    displayName: 'Dr Chief',
    password: PASSWORD,
    repeated: PASSWORD,
  });
  expect(saved.text).toContain('Your password is set');
  expect((await browser.open(link)).status).toBe(410);
  const again = { name: 'second', password: PASSWORD, repeated: PASSWORD };
  expect((await browser.submit(page, again)).status).toBe(410);

  const signedIn = await signIn(browser, 'chief');
  expect(signedIn.url).toBe(`${archive.origin}/`);
  expect(JSON.parse((await session(browser)).text)).toMatchObject({
    subject: 'chief',
    roles: ['admin'],
    tenant: 'main',
  });
  const cookie = [...browser.cookies.values()].find(({ name }) => name === 'nephos_session')!;
  expect(cookie.attributes).toContain('HttpOnly');
  expect(cookie.attributes).toContain('SameSite=Strict');
  // No token of the issuer has been anywhere that a script or a log could see.
  expect(browser.went.join('\n')).not.toMatch(/eyJ|access_token/);
  expect((await stat(join(dir, 'issuer-keys.json'))).mode & 0o777).toBe(0o600);
});

test('a password that is wrong says no more than that; nobody learns who has an account', async () => {
  await person('vera', ['viewer']);
  const browser = new FormBrowser();
  const page = await start(browser);
  const wrong = await browser.submit(page, { name: 'vera', password: 'not hers at all' });
  const nobody = await browser.submit(page, { name: 'nobody', password: 'not hers at all' });
  expect([wrong.status, nobody.status]).toEqual([401, 401]);
  expect(wrong.text.replaceAll('vera', '')).toBe(nobody.text.replaceAll('nobody', ''));
  expect((await session(browser)).status).toBe(401);
});

test('whoever opened a study without a session comes back to it, and nowhere else', async () => {
  const browser = await person('rad', ['radiologist']);
  const study = '/viewer?StudyInstanceUIDs=1.2.840.1';
  expect((await browser.submit(await start(browser, study), { name: 'rad', password: PASSWORD })).url).toBe(
    archive.origin + study,
  );
  for (const elsewhere of [
    '//evil.example/',
    'https://evil.example/',
    '/\\evil.example',
    '/api/session',
    '/%0d%0aX:1',
    'x',
  ])
    expect((await start(browser, elsewhere)).url, elsewhere).toMatch(new RegExp(`^${archive.origin}/(%0d%0aX:1)?$`));
});

test('signing out ends the session here and at the issuer', async () => {
  const browser = await person('otto', ['viewer']);
  await signIn(browser, 'otto');
  // Signed in at the issuer: another sign-in asks nothing.
  expect((await start(browser)).url).toBe(`${archive.origin}/`);
  const before = [...browser.cookies.values()].find(({ name }) => name === 'nephos_session')!.value;
  const out = await browser.step(`${archive.origin}/api/session`, {
    method: 'DELETE',
    headers: { 'sec-fetch-site': 'same-origin' },
  });
  const { next } = JSON.parse(out.text) as { next: string };
  expect((await browser.open(next)).url).toBe(`${archive.origin}/`);
  const stale = await fetch(`${archive.origin}/api/session`, { headers: { cookie: `nephos_session=${before}` } });
  expect(stale.status).toBe(401);
  expect((await start(browser)).text).toContain('<h1>Sign in</h1>');
});

test('whoever is disabled, or has his roles changed, notices with his next request; a new password ends all sessions but the own', async () => {
  const browser = await person('temp', ['viewer']);
  await signIn(browser, 'temp');
  const put = (body: object) => ask('/api/users/temp', { method: 'PUT', body: JSON.stringify(body) });
  expect((await put({ roles: ['radiologist'] })).status).toBe(200);
  expect(JSON.parse((await session(browser)).text)).toMatchObject({ roles: ['radiologist'] });

  const elsewhere = new FormBrowser();
  await signIn(elsewhere, 'temp');
  const other = 'seven lamps over a walnut';
  expect((await post(browser, '/api/account/password', { current: 'wrong', password: other })).status).toBe(403);
  expect((await post(browser, '/api/account/password', { current: PASSWORD, password: other })).status).toBe(204);
  expect((await session(browser)).status).toBe(200);
  expect((await session(elsewhere)).status).toBe(401);
  expect((await start(elsewhere)).text).toContain('<h1>Sign in</h1>');
  expect((await signIn(elsewhere, 'temp')).status).toBe(401);
  expect((await signIn(elsewhere, 'temp', other)).url).toBe(`${archive.origin}/`);

  expect((await put({ isDisabled: true })).status).toBe(200);
  expect((await session(browser)).status).toBe(401);
  expect((await session(elsewhere)).status).toBe(401);
  expect((await start(elsewhere)).text).toContain('<h1>Sign in</h1>');
  expect((await signIn(new FormBrowser(), 'temp', other)).status).toBe(401);
});

describe('a second factor', () => {
  test('is turned on with a code of the app, asked for at sign-in, and each code is good once', async () => {
    const browser = await person('tina', ['technologist']);
    await signIn(browser, 'tina');
    expect((await post(browser, '/api/account/totp', { current: 'wrong' })).status).toBe(403);
    const offered = JSON.parse((await post(browser, '/api/account/totp', { current: PASSWORD })).text) as {
      secret: string;
      uri: string;
    };
    expect(offered.uri).toMatch(/^otpauth:\/\/totp\/Nephos%20127\.0\.0\.1:tina\?secret=[A-Z2-7]{32}&issuer=/);
    const step = () => Math.floor(Date.now() / 30_000);
    const codes = [-2, -1, 0, 1, 2].map((by) => totpCode(offered.secret, step() + by));
    const wrong = ['000000', '000001', '000002', '000003', '000004', '000005'].find((code) => !codes.includes(code))!;
    expect((await post(browser, '/api/account/totp', { code: wrong }, 'PUT')).status).toBe(400);
    const turnedOnBy = totpCode(offered.secret, step());
    const accepted = await post(browser, '/api/account/totp', { code: turnedOnBy }, 'PUT');
    const { recoveryCodes } = JSON.parse(accepted.text) as { recoveryCodes: string[] };
    expect(recoveryCodes).toHaveLength(10);

    const another = new FormBrowser();
    const asksCode = await signIn(another, 'tina');
    expect(asksCode.text).toContain('Enter the code');
    expect((await session(another)).status).toBe(401);
    // Going past the page leads back to it.
    expect((await start(another)).text).toContain('<h1>Sign in</h1>');
    // The code that turned it on is used up; a recovery code is good once, however it is typed.
    const used = await another.submit(asksCode, { code: turnedOnBy });
    expect(used.status).toBe(401);
    const typed = recoveryCodes[0]!.toLowerCase().replaceAll('-', ' ');
    expect((await another.submit(asksCode, { code: typed })).url).toBe(`${archive.origin}/`);
    expect((await session(another)).status).toBe(200);
    const third = new FormBrowser();
    expect((await third.submit(await signIn(third, 'tina'), { code: recoveryCodes[0]! })).status).toBe(401);
    expect((await third.submit(await signIn(third, 'tina'), { code: totpCode(offered.secret, step() + 1) })).url).toBe(
      `${archive.origin}/`,
    );
    expect(JSON.parse((await third.step(`${archive.origin}/api/account`)).text)).toMatchObject({
      totp: true,
      recoveryCodes: 9,
    });
    expect((await ask('/api/users/tina/totp', { method: 'DELETE' })).status).toBe(204);
    expect((await session(third)).status).toBe(401);
    expect((await signIn(third, 'tina')).url).toBe(`${archive.origin}/`);
  });
});

describe('what is brought back from the issuer', () => {
  /** The callback's address with its code and state, not yet gone to. */
  async function callbackOf(browser: FormBrowser, name: string): Promise<string> {
    const page = await start(browser);
    const headers = { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin' };
    let seen = await browser.step(page.url, {
      method: 'POST',
      headers,
      body: new URLSearchParams({ name, password: PASSWORD }).toString(),
    });
    while (!seen.headers.get('location')!.includes('/api/session/callback'))
      seen = await browser.step(new URL(seen.headers.get('location')!, seen.url).href);
    return seen.headers.get('location')!;
  }

  test('is good once, and in the browser that began the sign-in', async () => {
    const browser = await person('uma', ['viewer']);
    const address = await callbackOf(browser, 'uma');
    const thief = new FormBrowser();
    await start(thief);
    expect((await thief.step(address)).headers.get('location')).toBe('/?signIn=over');
    expect((await session(thief)).status).toBe(401);
    expect((await browser.step(address)).headers.get('location')).toBe('/');
    expect((await session(browser)).status).toBe(200);
    browser.cookies.delete('nephos_session /');
    expect((await browser.step(address)).headers.get('location')).toBe('/?signIn=over');
  });

  test('is refused with another code, another state, or a code of another sign-in', async () => {
    const browser = await person('una', ['viewer']);
    const first = new URL(await callbackOf(browser, 'una'));
    const forged = new URL(first);
    forged.searchParams.set('code', 'x'.repeat(43));
    expect((await browser.step(forged.href)).headers.get('location')).toBe('/?signIn=refused');
    // The code is whole, but its state has been used up by the attempt before: PKCE and state go together.
    const begun = new URL((await browser.step(`${archive.origin}/api/session/start`)).headers.get('location')!);
    const mixed = new URL(first);
    mixed.searchParams.set('state', begun.searchParams.get('state')!);
    expect((await browser.step(mixed.href)).headers.get('location')).toBe('/?signIn=refused');
    expect((await session(browser)).status).toBe(401);
    const { text } = await browser.step(`${archive.origin}/api/session/callback?error=access_denied&state=y`);
    expect(text).toBe('');
  });

  test('at the issuer itself a code is good once, by its verifier, for its client and its address', async () => {
    const browser = await person('udo', ['viewer']);
    const code = new URL(await callbackOf(browser, 'udo')).searchParams.get('code')!;
    const token = (fields: Record<string, string>) =>
      fetch(`${archive.origin}/oidc/token`, {
        method: 'POST',
        body: new URLSearchParams({
          grant_type: 'authorization_code',
          client_id: 'console',
          redirect_uri: `${archive.origin}/api/session/callback`,
          code,
          ...fields,
        }),
      });
    for (const fields of [{}, { code_verifier: 'a'.repeat(43) }, { redirect_uri: `${archive.origin}/` }]) {
      const answer = await token(fields as Record<string, string>);
      expect(answer.status).toBe(400);
      expect(((await answer.json()) as { error: string }).error).toMatch(/^invalid_(grant|request)$/);
    }
    expect((await token({ client_id: 'other' })).status).toBe(401);
    const plain = `${archive.origin}/oidc/auth?client_id=console&response_type=code&scope=openid&redirect_uri=`;
    const without = await browser.open(`${plain}${archive.origin}/api/session/callback`);
    expect(without.url).toContain('signIn=');
    expect((await browser.open(`${plain}https://evil.example/`)).status).toBe(400);
  });
});

test('an account is its person’s: no token that bears the name does anything with it', async () => {
  await person('ida', ['viewer']);
  const made = await ask('/api/tokens', {
    method: 'POST',
    body: JSON.stringify({ name: 'script', subject: 'ida', roles: ['viewer'] }),
  });
  const { token } = (await made.json()) as { token: string };
  const opened = await fetch(`${archive.origin}/api/session`, {
    method: 'POST',
    headers: json,
    body: JSON.stringify({ token }),
  });
  const cookie = opened.headers.getSetCookie()[0]!.split(';')[0]!;
  for (const headers of [{ authorization: `Bearer ${token}` }, { cookie, 'sec-fetch-site': 'same-origin' }]) {
    const answer = await fetch(`${archive.origin}/api/account/password`, {
      method: 'POST',
      headers: { ...json, ...(headers as Record<string, string>) },
      body: JSON.stringify({ current: PASSWORD, password: `${PASSWORD} more` }),
    });
    expect(answer.status).toBe(403);
  }
});

test('nobody is left out: the last who may administer stays, however two of them try at once', async () => {
  await person('boss', ['admin']);
  const put = (name: string) =>
    ask(`/api/users/${name}`, { method: 'PUT', body: JSON.stringify({ roles: ['viewer'] }) });
  const both = await Promise.all([put('chief'), put('boss')]);
  expect(both.map(({ status }) => status).sort()).toEqual([200, 409]);
  const all = (await (await ask('/api/users')).json()) as { items: { name: string; roles: string[] }[] };
  expect(all.items.filter(({ roles }) => roles.includes('admin'))).toHaveLength(1);
});

test('who is locked out is let in again from the command line; the keys of the issuer are renewed while people work', async () => {
  const browser = await person('lola', ['viewer']);
  await signIn(browser, 'lola');
  const listed = await nephos(dir, 'users', 'list');
  expect(listed.output).toMatch(/^lola\s+viewer/m);
  const signingKey = async (): Promise<string> => {
    const answer = await fetch(`${archive.origin}/oidc/jwks`, { headers: { connection: 'close' } });
    return ((await answer.json()) as { keys: { kid: string }[] }).keys[0]!.kid;
  };
  const before = await signingKey();
  expect((await nephos(dir, 'keys', 'rotate-issuer')).code).toBe(0);
  await expect.poll(signingKey).not.toBe(before);
  expect((await session(browser)).status).toBe(200);
  expect((await start(browser)).url).toBe(`${archive.origin}/`);
  const { output, code } = await nephos(dir, 'users', 'link', 'lola');
  expect(code).toBe(0);
  const [path] = /\/oidc\/link\/[\w-]{43}/.exec(output)!;
  const page = await browser.open(archive.origin + path);
  expect(page.text).toContain('lola');
  await browser.submit(page, { password: `${PASSWORD} too`, repeated: `${PASSWORD} too` });
  expect((await session(browser)).status).toBe(401);
  expect((await nephos(dir, 'users', 'disable', 'lola')).code).toBe(0);
  expect((await signIn(browser, 'lola', `${PASSWORD} too`)).status).toBe(401);
  expect((await nephos(dir, 'users', 'add', 'new.one', '--roles', 'viewer')).output).toContain('/oidc/link/');
});

test('what people did at the door is in the trail: in, out, refused, and what was changed about whom', async () => {
  const { entries } = (await (await ask('/api/audit?limit=1000')).json()) as { entries: AuditEntry[] };
  expect(entries).toContainEqual(
    expect.objectContaining({ event: 'Login', outcome: 0, subject: 'chief', transaction: 'FinishSignIn' }),
  );
  expect(entries).toContainEqual(expect.objectContaining({ event: 'Logout', subject: 'otto' }));
  expect(entries).toContainEqual(
    expect.objectContaining({
      event: 'Login',
      outcome: 4,
      subject: 'vera',
      error: 'UNAUTHENTICATED',
      transaction: 'SignIn',
    }),
  );
  expect(entries).toContainEqual(
    expect.objectContaining({ event: 'Login', outcome: 4, error: 'GONE', transaction: 'FinishSignIn' }),
  );
  for (const [transaction, about] of [
    ['SetUpArchive', 'chief'],
    ['CreateUser', 'vera'],
    ['ChangeUser', 'temp'],
    ['ChangePassword', 'temp'],
    ['AcceptTotp', 'tina'],
    ['ClearUserTotp', 'tina'],
  ])
    expect(entries).toContainEqual(
      expect.objectContaining({ event: 'UserSecurityAttributes', transaction, about, outcome: 0 }),
    );
  const told = JSON.stringify(entries);
  expect(told).not.toContain(PASSWORD);
  expect(told).not.toContain('nobody at all');
});
