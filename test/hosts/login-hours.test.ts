import '#test/fixtures/quiet-powertools.ts';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { createApp } from '#embedded/app.ts';
import { openArchive } from '#embedded/archive.ts';
import { readConfig } from '#embedded/config.ts';
import { createHttpHost } from '#embedded/http-host.ts';
import { openLogin } from '#embedded/issuer/login.ts';
import { createLog } from '#embedded/log.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { startAnyIssuer } from '#test/fixtures/any-issuer.ts';
import { FormBrowser } from '#test/fixtures/form-browser.ts';
import { startLambdaFront } from '#test/fixtures/lambda-front.ts';
import { memoryServices, noPixels } from '#test/fixtures/services.ts';

/**
 * A day at a workstation: the viewer stays open and asks for studies, tokens of five minutes run out a hundred times, and nobody signs in
 * again. The clocks of archive and issuer are moved on, nothing else is made up.
 */
const MINUTE_MS = 60_000;
const HOURS = 12;
const PASSWORD = 'four walnuts under a lamp';
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const close of closers.splice(0).reverse()) await close();
});

interface Clinic {
  readonly origin: string;
  /** signs in as a radiologist */
  readonly browser: FormBrowser;
  /** answers to requests for tokens, where the issuer is another program */
  readonly renewals?: () => number;
}

async function embedded(): Promise<Clinic> {
  const dataDir = await mkdtemp(join(tmpdir(), 'nephos-hours-'));
  closers.push(() => rm(dataDir, { recursive: true }));
  const config = readConfig({ NEPHOS_DATA_DIR: dataDir, NEPHOS_HTTP_PORT: '0', NEPHOS_AUTH: 'on' });
  const archive = await openArchive(config);
  closers.push(() => archive.close());
  const log = createLog('error', () => {});
  const login = await openLogin(archive, config, () => {});
  const { answer } = createApp({ archive, config, log, login });
  const server = createHttpHost({ answer, publicUrl: undefined }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { users } = login!.door!.people!;
  const { link } = await users.create('main', {
    ...{ name: 'dr-rad', displayName: 'Dr Rad', roles: ['radiologist'], createdBy: 'admin' },
  });
  const browser = new FormBrowser();
  const page = await browser.open(`${origin}/oidc/link/${link.token}`);
  await browser.submit(page, { password: PASSWORD, repeated: PASSWORD });
  await browser.submit(await browser.open(`${origin}/api/session/start?returnTo=/`), {
    name: 'dr-rad',
    password: PASSWORD,
  });
  return { origin, browser };
}

async function cloud(): Promise<Clinic> {
  let origin = '';
  const issuer = await startAnyIssuer(() => `${origin}/api/session/callback`, 300);
  closers.push(() => issuer.close());
  const config = readLambdaConfig(
    {
      ...{ NEPHOS_TENANTS: 'clinic', NEPHOS_OIDC_ISSUER: issuer.url, NEPHOS_OIDC_AUDIENCE: 'pacs-api' },
      ...{ NEPHOS_OIDC_CLIENT_ID: 'pacs-console', NEPHOS_OIDC_ROLES_CLAIM: 'groups' },
      NEPHOS_OIDC_ROLES: 'pacs-readers=radiologist',
    },
    false,
  );
  const memory = memoryServices({ pixels: noPixels });
  const clock = {
    ...memory.clock,
    now: () => Date.now(),
    randomBytes: (n: number) => crypto.getRandomValues(new Uint8Array(n)),
    sleep: async () => {},
  };
  const front = await startLambdaFront(cloudArchive(config, { ...memory, clock }, false));
  closers.push(() => front.close());
  origin = front.origin;
  const browser = new FormBrowser();
  await browser.open(`${origin}/api/session/start?returnTo=/`);
  return { origin, browser, renewals: () => issuer.grants.length };
}

test.each([
  ['embedded', embedded],
  ['cloud', cloud],
] as const)(
  '%s: who has the viewer open is not asked again for twelve hours, and then is',
  async (_, open) => {
    // Nobody signs in after, or long before, the time at which the hours begin.
    vi.useFakeTimers({ toFake: ['Date'] });
    const begin = Date.now();
    const { origin, browser, renewals } = await open();
    const asked = (): Promise<{ status: number }> => browser.step(`${origin}/dicomweb/studies?limit=1`);
    expect((await asked()).status).toBe(200);
    const before = renewals?.();
    // He reads, goes to lunch, reads: between two requests lie one to fifty minutes.
    let minutes = 0;
    for (let n = 0; minutes < HOURS * 60 - 5; n++) {
      vi.setSystemTime(begin + minutes * MINUTE_MS);
      expect((await asked()).status, `after ${minutes} minutes`).toBe(200);
      minutes += n % 50 === 49 ? 50 : 1 + (n % 5);
    }
    if (renewals) expect(renewals() - before!).toBeGreaterThan(50);
    vi.setSystemTime(begin + (HOURS * 60 + 1) * MINUTE_MS);
    expect((await asked()).status).toBe(401);
    await browser.open(`${origin}/api/session/start?returnTo=/`);
  },
  300_000,
);
