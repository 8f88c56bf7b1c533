import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { totpCode } from '#core/users/totp.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { type Nephos, startNephos } from '../helpers/nephos.ts';
import { corpus, filesBelow, hasCorpus, openBrowser, openPage, picture } from './browser.ts';
import { waitForImage } from './drawn.ts';
import { nothingIsWider, printedToken } from './signed-in.ts';

const PHONE: BrowserContextOptions = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
const PASSWORD = 'a lighthouse with nine doors';
const OTHER = 'nine doors and a lighthouse keeper';

let browser: Browser;
let nephos: Nephos;
let admin: string;
beforeAll(async () => {
  browser = await openBrowser();
  nephos = await startNephos({ auth: 'on' });
  admin = await printedToken(nephos);
});
afterAll(async () => {
  await browser?.close();
  await nephos?.stop();
});

async function send(bytes: Uint8Array): Promise<string> {
  const headers = {
    authorization: `Bearer ${admin}`,
    'content-type': 'application/dicom',
    accept: 'application/dicom+json',
  };
  const response = await fetch(`${nephos.root}/studies`, { method: 'POST', headers, body: new Uint8Array(bytes) });
  return /studies\/([0-9.]+)/.exec(await response.text())![1]!;
}

async function fillSignIn(page: Page, name: string, password: string): Promise<void> {
  await page.getByLabel('User name').fill(name);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

async function signInAt(page: Page, name: string, password: string): Promise<void> {
  await page.getByRole('link', { name: 'Sign in', exact: true }).click();
  await fillSignIn(page, name, password);
}

/** What a script of the page could get at. */
const withinReach = (page: Page): Promise<string> =>
  page.evaluate('document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + location.href');

describe('people who sign in by password', () => {
  test('the first one makes his account by the printed link, without scripts, and works in the console', async () => {
    const link = await vi.waitUntil(
      async () => /http\S+\/oidc\/link\/\S+/.exec(await readFile(nephos.logFile, 'utf8'))?.[0],
      { timeout: 60_000 },
    );
    const { page, complaints } = await openPage(browser, { javaScriptEnabled: false });
    await page.goto(link);
    await picture(page, 'login-setup');
    await page.getByLabel('User name').fill('chief');
    await page.getByLabel('Your full name').fill('Dr. Chief');
    await page.getByLabel('Password', { exact: true }).fill('password1234');
    await page.getByLabel('The same password again').fill('password1234');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('alert').filter({ hasText: 'among the first' }).waitFor();
    expect(await page.getByLabel('User name').inputValue()).toBe('chief');
    await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
    await page.getByLabel('The same password again').fill(PASSWORD);
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('heading', { name: 'Your password is set' }).waitFor();
    await page.getByRole('link', { name: 'Sign in' }).click();
    await fillSignIn(page, 'chief', 'wrong wrong wrong');
    await page.getByRole('alert').filter({ hasText: 'is not right' }).waitFor();
    await picture(page, 'login-refused');
    await fillSignIn(page, 'Chief', PASSWORD);
    await page.waitForURL(`${nephos.origin}/`);
    // Wrong guesses are answered 401: nothing else was complained of.
    expect(complaints.filter((text) => !/401|400/.test(text))).toEqual([]);
    await page.context().close();

    const console_ = await openPage(browser);
    await console_.page.goto(`${nephos.origin}/#/people`);
    await picture(console_.page, 'login-console');
    await signInAt(console_.page, 'chief', PASSWORD);
    await console_.page.getByRole('heading', { name: 'People' }).waitFor();
    expect(new URL(console_.page.url()).hash).toBe('#/people');
    expect(await withinReach(console_.page)).not.toMatch(/nephos_login|eyJ/);
    const cookies = await console_.page.context().cookies();
    expect(cookies.every(({ httpOnly }) => httpOnly)).toBe(true);
    await console_.page.context().close();
  });

  test('who types a token is not taken away from it by what else there is to offer', async () => {
    const { page } = await openPage(browser);
    const typed = Promise.withResolvers<void>();
    await page.route('**/api/session/options', async (route) => {
      await typed.promise;
      await route.continue();
    });
    await page.goto(nephos.origin);
    const token = page.getByLabel('Access token');
    await token.pressSequentially('neph');
    typed.resolve();
    await page.getByRole('link', { name: 'Sign in', exact: true }).waitFor();
    await page.keyboard.type('os_1');
    expect(await token.inputValue()).toBe('nephos_1');
    await page.context().close();
  });

  test('an administrator adds somebody, gives him a link, and locks him out at once', async () => {
    const { page } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/people`);
    await signInAt(page, 'chief', PASSWORD);
    await page.getByRole('button', { name: 'New person' }).click();
    const form = page.getByRole('dialog', { name: 'New person' });
    await form.getByLabel('User name').fill('r.reader');
    await form.getByLabel('Full name').fill('Rita Reader');
    await form.getByRole('checkbox', { name: /^Radiologist/ }).check();
    await picture(page, 'login-new-person');
    await form.getByRole('button', { name: 'Add' }).click();
    const url = await page
      .getByRole('region', { name: 'Link for r.reader' })
      .getByLabel('The link', { exact: true })
      .inputValue();
    await picture(page, 'login-people');

    const own = await openPage(browser);
    await own.page.goto(url);
    await own.page.getByText('Rita Reader').waitFor();
    await own.page.getByLabel('Password', { exact: true }).fill(PASSWORD);
    await own.page.getByLabel('The same password again').fill(PASSWORD);
    await own.page.getByRole('button', { name: 'Save' }).click();
    await own.page.getByRole('link', { name: 'Sign in' }).click();
    await fillSignIn(own.page, 'r.reader', PASSWORD);
    await own.page.getByRole('heading', { name: 'Studies' }).waitFor();
    expect(await own.page.getByRole('link', { name: 'People' }).count()).toBe(0);

    await page.getByRole('button', { name: 'Done' }).click();
    await page.reload();
    await page.getByRole('button', { name: 'Change r.reader' }).click();
    const change = page.getByRole('dialog', { name: 'r.reader' });
    await change.getByRole('checkbox', { name: 'May sign in' }).uncheck();
    await change.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Disabled').waitFor();
    await own.page.reload();
    await own.page.getByRole('link', { name: 'Sign in', exact: true }).waitFor();
    await signInAt(own.page, 'r.reader', PASSWORD);
    await own.page.getByRole('alert').waitFor();

    await page.getByRole('button', { name: 'Change r.reader' }).click();
    await change.getByRole('checkbox', { name: 'May sign in' }).check();
    await change.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Disabled').waitFor({ state: 'detached' });
    await own.page.context().close();
    await page.context().close();
  });

  test('on a phone: a second factor from the console, asked for at the next sign-in, and out again for good', async () => {
    const { page } = await openPage(browser, PHONE);
    await page.goto(nephos.origin);
    await nothingIsWider(page, 390);
    await signInAt(page, 'r.reader', PASSWORD);
    await page.getByRole('heading', { name: 'Studies' }).waitFor();
    await page.getByRole('link', { name: 'r.reader' }).click();
    await page.getByRole('heading', { name: 'Your account' }).waitFor();
    await page.getByRole('button', { name: 'Turn on' }).click();
    const part = page.getByRole('region', { name: 'Second factor' });
    await part.getByLabel('Your password').fill(PASSWORD);
    await part.getByRole('button', { name: 'Go on' }).click();
    await page.getByAltText('The key as a QR code').waitFor();
    await nothingIsWider(page, 390);
    await picture(page, 'login-phone-qr');
    const secret = (await page.locator('code.key').textContent())!.replaceAll(' ', '');
    await part.getByLabel('Code').fill(totpCode(secret, Math.floor(Date.now() / 30_000)));
    await part.getByRole('button', { name: 'Turn on' }).click();
    await page.getByRole('heading', { name: 'Your recovery codes' }).waitFor();
    await picture(page, 'login-phone-recovery');
    const recovery = (await page.locator('.recovery code').first().textContent())!;
    await page.getByRole('button', { name: 'I have kept them' }).click();
    await page.getByText('10 recovery codes').waitFor();

    await part.getByRole('heading').waitFor();
    const password = page.getByRole('region', { name: 'Password' });
    await password.getByLabel('Current password').fill(PASSWORD);
    await password.getByLabel('New password', { exact: true }).fill(OTHER);
    await password.getByLabel('Repeat the new password').fill(OTHER);
    await password.getByRole('button', { name: 'Change password' }).click();
    await page.getByText('Password changed.').waitFor();
    await picture(page, 'login-phone-account');

    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('link', { name: 'Sign in', exact: true }).waitFor();
    const left = (await page.context().cookies()).map(({ name }) => name);
    expect(left.filter((name) => /session|issuer/.test(name))).toEqual([]);
    await picture(page, 'login-phone-signed-out');
    await signInAt(page, 'r.reader', OTHER);
    await page.getByRole('heading', { name: 'Enter the code' }).waitFor();
    await nothingIsWider(page, 390);
    await picture(page, 'login-phone-code');
    // None of those that are right about now.
    const step = Math.floor(Date.now() / 30_000);
    const right = Array.from({ length: 40 }, (_, at) => totpCode(secret, step - 10 + at));
    await page.getByLabel('Code').fill(['000000', '111111', '222222'].find((code) => !right.includes(code))!);
    await page.getByRole('button', { name: 'Go on' }).click();
    await page.getByRole('alert').filter({ hasText: 'not right' }).waitFor();
    await page.getByLabel('Code').fill(recovery.toLowerCase());
    await page.getByRole('button', { name: 'Go on' }).click();
    await page.getByRole('heading', { name: 'Studies' }).waitFor();
    await page.context().close();
  });

  test('a session that ends while somebody is at work is begun anew where he was', async () => {
    const { page } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/people`);
    await signInAt(page, 'chief', PASSWORD);
    await page.getByRole('heading', { name: 'People' }).waitFor();
    await page.context().clearCookies({ name: 'nephos_session' });
    await page.getByRole('button', { name: 'New person' }).click();
    const form = page.getByRole('dialog', { name: 'New person' });
    await form.getByLabel('User name').fill('late');
    await form.getByLabel('Full name').fill('Too Late');
    await form.getByRole('checkbox', { name: /^Viewer/ }).check();
    await form.getByRole('button', { name: 'Add' }).click();
    await page.getByText('Your session has ended').waitFor();
    // Still known to the issuer: nothing is asked again.
    await page.getByRole('link', { name: 'Sign in', exact: true }).click();
    await page.getByRole('heading', { name: 'People' }).waitFor();
    await page.context().close();
  });
});

describe.runIf(hasCorpus)('the viewer, opened without a session', () => {
  test.each([
    ['on a screen', {}],
    ['on a phone', PHONE],
  ] as const)('%s: asks who it is, comes back to the study and draws it', async (where, options) => {
    let study = '';
    for (const file of await filesBelow(join(corpus, 'study/ct-head-phantom/series-0201-28-slices')))
      study = await send(await readFile(file));
    await send(buildDicom({ SOPInstanceUID: uid(3) }));
    const { page } = await openPage(browser, options);
    await page.goto(`${nephos.origin}/viewer?StudyInstanceUIDs=${study}`);
    await page.getByLabel('User name').waitFor();
    await picture(page, `login-viewer-${where.replaceAll(' ', '-')}`);
    await fillSignIn(page, 'chief', PASSWORD);
    await page.waitForURL(`${nephos.origin}/viewer?StudyInstanceUIDs=${study}`);
    await waitForImage(page, ({ levels, lit }) => levels > 30 && lit > 0.005);
    await page.context().close();
  });
});
