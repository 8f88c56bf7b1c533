import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Nephos, startNephos } from '../helpers/nephos.ts';
import { openBrowser, picture } from './browser.ts';
import { issueToken, nothingIsWider, openSignedIn, printedToken } from './signed-in.ts';

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

const statusOf = async (token: string): Promise<number> =>
  (await fetch(`${nephos.root}/studies`, { headers: { authorization: `Bearer ${token}` } })).status;

describe('the console’s page of access tokens', () => {
  test('gives one out, shows it once, lists it without itself, and revokes it', async () => {
    const permissions = ['clipboard-read', 'clipboard-write'];
    const { page, complaints } = await openSignedIn(browser, nephos, admin, '/tokens', { permissions });
    await page.getByText('No token has been given out').waitFor();
    await page.getByRole('button', { name: 'New token' }).click();
    const form = page.getByRole('dialog', { name: 'New access token' });
    await form.getByLabel('What it is for').fill('Lung AI');
    await form.getByLabel('Acts as').fill('ai.lung');
    await form.getByRole('button', { name: 'Issue' }).click();
    await form.getByRole('alert').filter({ hasText: 'at least one role' }).waitFor();
    await form.getByRole('checkbox', { name: /^Finder find studies$/ }).check();
    await form.getByRole('checkbox', { name: /^Retriever see and fetch images$/ }).check();
    await form.getByLabel('Expires').selectOption('in 30 days');
    await form.getByRole('button', { name: 'Issue' }).click();

    const shown = page.getByRole('region', { name: 'Token for Lung AI' });
    const token = await shown.getByLabel('The token').inputValue();
    expect(await statusOf(token)).toBeLessThan(300);
    await expect.poll(() => page.evaluate('document.activeElement.textContent')).toBe('Token for Lung AI');
    await shown.getByRole('button', { name: 'Copy' }).click();
    await shown.getByText('Copied.').waitFor();
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe(token);
    await picture(page, 'token-shown');
    await shown.getByRole('button', { name: 'Done' }).click();
    expect(await page.content()).not.toContain(token);
    await page.reload();
    const row = page.getByRole('row', { name: /Lung AI/ });
    await row.waitFor();
    expect(await row.textContent()).toMatch(/ai\.lungFinder, Retriever.*by admin.*\d{4}/s);
    expect(await page.content()).not.toContain(token);
    expect(await page.evaluate('JSON.stringify(localStorage) + JSON.stringify(sessionStorage)')).not.toContain(token);

    await row.getByRole('button', { name: 'Revoke Lung AI' }).click();
    const question = page.getByRole('dialog', { name: 'Revoke Lung AI?' });
    await page.keyboard.press('Escape');
    await question.waitFor({ state: 'detached' });
    expect(await statusOf(token)).toBeLessThan(300);
    await row.getByRole('button', { name: 'Revoke Lung AI' }).click();
    await question.getByRole('button', { name: 'Revoke' }).click();
    await page.getByText('No token has been given out').waitFor();
    expect(await statusOf(token)).toBe(401);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('is copied without a clipboard, too, as on a page that does not come by https', async () => {
    const { page } = await openSignedIn(browser, nephos, admin, '/tokens');
    await page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })");
    await page.getByRole('button', { name: 'New token' }).click();
    await page.getByLabel('What it is for').fill('Reading room');
    await page.getByLabel('Acts as').fill('room.2');
    await page.getByRole('checkbox', { name: /^Viewer/ }).check();
    await page.getByRole('button', { name: 'Issue' }).click();
    await page.getByRole('button', { name: 'Copy' }).click();
    await page.getByText('Copied.').waitFor();
    await page.context().close();
  });

  test('says what the archive refuses, and the form stays', async () => {
    const { page } = await openSignedIn(browser, nephos, admin, '/tokens');
    await page.getByRole('button', { name: 'New token' }).click();
    const form = page.getByRole('dialog', { name: 'New access token' });
    await form.getByLabel('What it is for').fill('Odd');
    await form.getByLabel('Acts as').fill('<odd>');
    await form.getByRole('checkbox', { name: /^Viewer/ }).check();
    await form.getByRole('button', { name: 'Issue' }).click();
    await form
      .getByRole('alert')
      .filter({ hasText: /subject must be/i })
      .waitFor();
    expect(await form.getByLabel('What it is for').inputValue()).toBe('Odd');
    await page.context().close();
  });

  test('is not for who does not administer', async () => {
    const { token } = await issueToken(nephos, admin, { name: 'T', subject: 't.tech', roles: ['technologist'] });
    const { page } = await openSignedIn(browser, nephos, token, '/tokens');
    await page.getByRole('alert').filter({ hasText: 'Your account may not do this.' }).waitFor();
    expect(await page.getByRole('button', { name: 'New token' }).count()).toBe(0);
    const links = page.getByRole('navigation', { name: 'Pages' }).getByRole('link');
    expect(await links.allTextContents()).toEqual(['Studies', 'Worklist', 'Upload', 'Shared', 'Routing']);
    await page.context().close();
  });

  test('signs in to no account that could be changed', async () => {
    const { page } = await openSignedIn(browser, nephos, admin, '/account');
    await page.getByText('Nothing to change here').waitFor();
    expect(await page.getByRole('button', { name: 'Try again' }).count()).toBe(0);
    await page.context().close();
  });

  test.each(['light', 'dark'] as const)('fits a desk and a phone, %s', async (colorScheme) => {
    const names = { name: 'CT of the emergency department, second floor', subject: 'ct.emergency' };
    await issueToken(nephos, admin, { ...names, roles: ['sender', 'committer', 'worklistReader'], expiresInDays: 365 });
    for (const [name, viewport] of [
      ['desk', { width: 1280, height: 800 }],
      ['phone', { width: 360, height: 740 }],
    ] as const) {
      const { page, complaints } = await openSignedIn(browser, nephos, admin, '/tokens', { viewport, colorScheme });
      await page
        .getByRole('row', { name: /CT of the emergency/ })
        .first()
        .waitFor();
      await nothingIsWider(page, viewport.width);
      await picture(page, `tokens-${name}-${colorScheme}`);
      await page.getByRole('button', { name: 'New token' }).click();
      const box = (await page.getByRole('dialog').boundingBox())!;
      expect(box.x).toBeGreaterThanOrEqual(0);
      expect(box.x + box.width).toBeLessThanOrEqual(viewport.width);
      expect(box.y + box.height).toBeLessThanOrEqual(viewport.height);
      await picture(page, `token-form-${name}-${colorScheme}`);
      await page.getByLabel('What it is for').fill('Phone');
      await page.getByLabel('Acts as').fill('phone');
      await page.getByRole('checkbox', { name: /^Viewer/ }).check();
      await page.getByRole('button', { name: 'Issue' }).click();
      await page.getByLabel('The token').waitFor();
      await nothingIsWider(page, viewport.width);
      await picture(page, `token-shown-${name}-${colorScheme}`);
      expect(complaints).toEqual([]);
      await page.context().close();
    }
  });
});
