import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { CloudArchive } from '#lambda/archive.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { logger } from '#lambda/observe.ts';
import { type AnyIssuer, startAnyIssuer } from '#test/fixtures/any-issuer.ts';
import { FormBrowser, type Seen } from '#test/fixtures/form-browser.ts';
import { type LambdaFront, startLambdaFront } from '#test/fixtures/lambda-front.ts';
import { memoryServices, noPixels } from '#test/fixtures/services.ts';

/** The functions of the cloud, with an issuer that a deployment names by its context: people of a clinic, none of them kept here. */
let issuer: AnyIssuer;
let front: LambdaFront;
let archive: CloudArchive;
let browser: FormBrowser;
let ahead = 0;

beforeAll(async () => {
  issuer = await startAnyIssuer(() => `${front.origin}/api/session/callback`, 120);
  const config = readLambdaConfig(
    {
      NEPHOS_TENANTS: 'clinic',
      NEPHOS_OIDC_ISSUER: issuer.url,
      NEPHOS_OIDC_AUDIENCE: 'pacs-api',
      NEPHOS_OIDC_CLIENT_ID: 'pacs-console',
      NEPHOS_OIDC_ROLES_CLAIM: 'groups',
      NEPHOS_OIDC_ROLES: 'pacs-readers=radiologist,pacs-admins=admin',
    },
    false,
  );
  const memory = memoryServices({ pixels: noPixels });
  const clock = {
    ...memory.clock,
    now: () => Date.now() + ahead,
    randomBytes: (n: number) => crypto.getRandomValues(new Uint8Array(n)),
    sleep: async () => {},
  };
  archive = cloudArchive(config, { ...memory, clock }, false);
  front = await startLambdaFront(archive);
});
afterAll(async () => {
  await front?.close();
  await issuer?.close();
});
beforeEach(() => {
  // Tokens run out when `ahead` says so, and not while a busy machine signs in.
  vi.useFakeTimers({ toFake: ['Date'] });
  browser = new FormBrowser();
  issuer.isOpen = true;
  ahead = 0;
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const session = async (): Promise<Seen> => browser.step(`${front.origin}/api/session`);
const start = (returnTo = '/'): Promise<Seen> =>
  browser.open(`${front.origin}/api/session/start?returnTo=${encodeURIComponent(returnTo)}`);

describe('people who sign in at the issuer of their clinic', () => {
  test('come back with a session, the roles their groups stand for, and no token', async () => {
    expect((await session()).status).toBe(401);
    const seen = await start('/viewer?StudyInstanceUIDs=1.2.3');
    expect(seen.url).toBe(`${front.origin}/viewer?StudyInstanceUIDs=1.2.3`);
    expect(JSON.parse((await session()).text)).toMatchObject({
      ...{ tenant: 'clinic', subject: 'u-1', roles: ['radiologist'], keepsPeople: false, hasAccount: false },
    });
    // Behind the authorizer as well.
    expect((await browser.step(`${front.origin}/api/events`)).status).toBe(200);
    expect((await browser.step(`${front.origin}/api/tokens`)).status).toBe(403);
    expect(browser.went.join('\n')).not.toMatch(/eyJ|access_token=/);
    expect([...browser.cookies.values()].map(({ value }) => value).join()).not.toContain('eyJ');
    const options = await browser.step(`${front.origin}/api/session/options`);
    expect(JSON.parse(options.text)).toEqual({ signIn: true, people: false });
    for (const path of ['/api/users', '/api/account'])
      expect([403, 404]).toContain((await browser.step(front.origin + path)).status);
  });

  test('stay signed in as long as the issuer renews their tokens, with the roles it says by then', async () => {
    await start();
    const before = issuer.grants.length;
    issuer.person = { sub: 'u-1', groups: ['pacs-admins'] };
    ahead = 110_000;
    expect(JSON.parse((await session()).text)).toMatchObject({ roles: ['admin'] });
    expect(issuer.grants.length).toBe(before + 1);
    issuer.isOpen = false;
    ahead = 220_000;
    expect((await session()).status).toBe(401);
    expect((await browser.step(`${front.origin}/api/events`)).status).toBe(401);
    issuer.person = { sub: 'u-1', groups: ['pacs-readers'] };
  });

  test('of no group that means anything here see nothing', async () => {
    issuer.person = { sub: 'u-2', groups: ['cafeteria'] };
    await start();
    expect(JSON.parse((await session()).text)).toMatchObject({ subject: 'u-2', roles: [], permits: [] });
    expect((await browser.step(`${front.origin}/dicomweb/studies`)).status).toBe(403);
    issuer.person = { sub: 'u-1', groups: ['pacs-readers'] };
  });

  test('sign out here and are sent to the issuer to sign out there', async () => {
    await start();
    const out = await browser.step(`${front.origin}/api/session`, {
      method: 'DELETE',
      headers: { 'sec-fetch-site': 'same-origin' },
    });
    const next = new URL((JSON.parse(out.text) as { next: string }).next);
    expect(next.origin).toBe(issuer.url);
    expect(next.searchParams.get('post_logout_redirect_uri')).toBe(`${front.origin}/`);
    expect((await session()).status).toBe(401);
    // Until he goes there, his session at the issuer holds: it lets him in without a question. Then it is over there, too.
    const logins = issuer.logins;
    await start();
    expect(issuer.logins).toBe(logins);
    expect((await browser.submit(await browser.open(next.href), { logout: 'yes' })).url).toBe(`${front.origin}/`);
    await start();
    expect(issuer.logins).toBe(logins + 1);
  });

  test('begin again where the issuer cannot be reached, or sends back what was not asked for', async () => {
    const began = await browser.step(`${front.origin}/api/session/start`);
    const state = new URL(began.headers.get('location')!).searchParams.get('state')!;
    const warned = vi.spyOn(logger, 'warn');
    const back = await browser.step(
      `${front.origin}/api/session/callback?code=made-up&state=${state}&iss=${issuer.url}`,
    );
    expect(back.headers.get('location')).toBe('/?signIn=refused');
    // The browser is not told why; whoever runs the archive is, without what the issuer or the browser said.
    expect(warned.mock.calls).toMatchObject([['sign-in-refused', { failure: { message: 'the issuer refuses' } }]]);
    expect(JSON.stringify(warned.mock.calls)).not.toContain('made-up');
    expect(
      (await browser.step(`${front.origin}/api/session/callback?code=x&state=${state}`)).headers.get('location'),
    ).toBe('/?signIn=over');
    expect((await session()).status).toBe(401);
  });
});
