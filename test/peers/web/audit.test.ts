import { readFile } from 'node:fs/promises';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { type Nephos, startNephos } from '../helpers/nephos.ts';
import { openBrowser, picture } from './browser.ts';
import { issueToken, nothingIsWider, openSignedIn, printedToken, revokeToken, signIn } from './signed-in.ts';

const STUDY = uid(1);
const LOGINS = 230;

let browser: Browser;
let nephos: Nephos;
let admin: string;
let auditor: { id: string; token: string };
let viewer: { id: string; token: string };
beforeAll(async () => {
  browser = await openBrowser();
  nephos = await startNephos({ auth: 'on' });
  admin = await printedToken(nephos);
  auditor = await issueToken(nephos, admin, { name: 'Audits', subject: 'a.auditor', roles: ['auditor'] });
  viewer = await issueToken(nephos, admin, { name: 'Reads', subject: 'v.viewer', roles: ['viewer'] });
  const ask = (token: string, path: string, init: RequestInit = {}) =>
    fetch(`${nephos.origin}${path}`, { ...init, headers: { ...init.headers, authorization: `Bearer ${token}` } });
  const headers = { 'content-type': 'application/dicom', accept: 'application/dicom+json' };
  const body = new Uint8Array(buildDicom({ SOPInstanceUID: uid(3), StudyInstanceUID: STUDY, PatientID: 'P-1' }));
  expect((await ask(admin, '/dicomweb/studies', { method: 'POST', headers, body })).status).toBe(200);
  for (let i = 0; i < LOGINS; i++) {
    const opened = await fetch(`${nephos.origin}/api/session`, {
      method: 'POST',
      body: JSON.stringify({ token: admin }),
    });
    expect(opened.status).toBe(200);
  }
  expect((await ask(viewer.token, '/dicomweb/studies?PatientName=Doe*')).status).toBeLessThan(300);
  expect((await ask(viewer.token, `/dicomweb/studies/${STUDY}/metadata`)).status).toBe(200);
  expect((await ask(viewer.token, `/dicomweb/studies/${STUDY}?reason=x`, { method: 'DELETE' })).status).toBe(403);
  // Looks are answered while their entries are being written.
  const looks = async (): Promise<number> =>
    ((await (await ask(auditor.token, '/api/audit?subject=v.viewer')).json()) as { entries: unknown[] }).entries.length;
  await vi.waitFor(async () => expect(await looks()).toBe(3), { timeout: 60_000 });
});
afterAll(async () => {
  await browser?.close();
  await nephos?.stop();
});

const rowsOf = (page: Page) => page.getByRole('table', { name: 'Audit trail' }).locator('tbody tr');
const whoOf = (page: Page) => page.getByLabel('Who');

describe('the console’s page of the audit trail', () => {
  test('says who did what, from where, to which study, and how it ended', async () => {
    const { page, complaints } = await openSignedIn(browser, nephos, admin, '/audit?who=v.viewer');
    const looked = rowsOf(page).filter({ hasText: 'RetrieveStudyMetadata' });
    await looked.waitFor();
    expect(await looked.textContent()).toMatch(
      /\d\d \w{3} \d{4} \d\d:\d\d:\d\dv\.viewerViewer127\.0\.0\.1webAccess to images or data.*Done/s,
    );
    const refused = rowsOf(page).filter({ hasText: 'Refused' });
    expect(await refused.textContent()).toMatch(/forbidden/);
    expect(await rowsOf(page).filter({ hasText: 'by PatientName' }).count()).toBe(1);
    expect(await page.textContent('main')).not.toContain('Doe');
    await looked.getByRole('link', { name: STUDY }).click();
    await page.getByRole('link', { name: 'Open in viewer' }).waitFor();
    expect(page.url()).toContain(`#/study/${STUDY}`);
    expect(complaints.filter((text) => !text.includes('406'))).toEqual([]);
    await page.context().close();
  });

  test('begins with the newest, goes on to the oldest, and turns round', async () => {
    const { page } = await openSignedIn(browser, nephos, auditor.token, '/audit');
    await rowsOf(page).nth(99).waitFor();
    expect(await rowsOf(page).count()).toBe(100);
    expect(await rowsOf(page).filter({ hasText: 'v.viewer' }).count()).toBeGreaterThan(0);
    for (const count of [200, 201]) {
      await page.getByRole('button', { name: 'Show earlier' }).click();
      await expect.poll(() => rowsOf(page).count()).toBeGreaterThanOrEqual(count);
    }
    expect(await page.getByRole('button', { name: 'Show earlier' }).count()).toBe(0);
    expect(await rowsOf(page).last().textContent()).toContain('Archive started');
    await page.getByRole('combobox', { name: 'Order' }).selectOption('Oldest first');
    await expect.poll(() => rowsOf(page).first().textContent()).toContain('Archive started');
    expect(await rowsOf(page).count()).toBe(100);
    await page.context().close();
  });

  test('keeps what is typed while entries arrive', async () => {
    const { page } = await openSignedIn(browser, nephos, auditor.token, '/audit');
    await rowsOf(page).first().waitFor();
    const typed = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    await page.route(/\/api\/audit\?/, async (route) => {
      asked.resolve();
      await typed.promise;
      await route.continue();
    });
    const refresh = page.getByRole('button', { name: 'Refresh' });
    await refresh.click();
    await asked.promise;
    await whoOf(page).fill('v.viewer');
    typed.resolve();
    await expect.poll(() => refresh.isEnabled()).toBe(true);
    expect(await whoOf(page).inputValue()).toBe('v.viewer');
    await whoOf(page).press('Enter');
    await expect.poll(() => rowsOf(page).count()).toBe(3);
    await page.context().close();
  });

  test('is narrowed down, and its address keeps how', async () => {
    const { page, complaints } = await openSignedIn(browser, nephos, auditor.token, '/audit');
    await whoOf(page).fill('v.viewer');
    await whoOf(page).press('Enter');
    await expect.poll(() => rowsOf(page).count()).toBe(3);
    await page.getByLabel('Outcome').selectOption('Refused');
    await expect.poll(() => rowsOf(page).count()).toBe(1);
    await page.reload();
    await rowsOf(page).first().waitFor();
    expect(await rowsOf(page).count()).toBe(1);
    expect(await whoOf(page).inputValue()).toBe('v.viewer');
    expect(new URL(page.url()).search).toBe('');
    await page.goBack();
    await expect.poll(() => rowsOf(page).count()).toBe(3);
    await page.getByRole('button', { name: 'Clear filters' }).click();
    await page.getByLabel('Study Instance UID').fill(STUDY);
    await page.getByLabel('Study Instance UID').press('Enter');
    await page.getByLabel('What').selectOption('Access to images or data');
    await expect.poll(() => rowsOf(page).count()).toBeGreaterThan(0);
    await expect.poll(() => rowsOf(page).filter({ hasNotText: STUDY }).count()).toBe(0);
    await page.getByLabel('From', { exact: true }).fill('2030-01-01T00:00');
    await page.getByText('No entry matches these filters').waitFor();
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('is exported as it is filtered: JSON, DICOM, FHIR', async () => {
    const { page } = await openSignedIn(browser, nephos, auditor.token, '/audit?event=Login&who=admin');
    await rowsOf(page).first().waitFor();
    const save = async (format: string) => {
      const [download] = await Promise.all([
        page.waitForEvent('download'),
        page.getByRole('button', { name: format, exact: true }).click(),
      ]);
      return { name: download.suggestedFilename(), text: await readFile(await download.path(), 'utf8') };
    };
    const json = await save('JSON');
    expect(json.name).toMatch(/^audit-\d{4}-\d\d-\d\d\.json$/);
    const { entries } = JSON.parse(json.text) as { entries: { event: string; subject: string }[] };
    expect(entries.length).toBeGreaterThanOrEqual(LOGINS);
    expect(new Set(entries.map(({ event, subject }) => `${event} ${subject}`))).toEqual(new Set(['Login admin']));
    const dicom = await save('DICOM XML');
    expect(dicom.text.match(/<AuditMessage/g)).toHaveLength(entries.length);
    const fhir = JSON.parse((await save('FHIR')).text);
    expect(fhir).toMatchObject({ resourceType: 'Bundle', type: 'collection' });
    expect(fhir.entry).toHaveLength(entries.length);
    await page.context().close();
  });

  test('is there for who may read it; others see neither entry nor page', async () => {
    const audits = await openSignedIn(browser, nephos, auditor.token, '/');
    await audits.page.getByRole('heading', { name: 'Audit trail' }).waitFor();
    const links = audits.page.getByRole('navigation', { name: 'Pages' }).getByRole('link');
    expect(await links.allTextContents()).toEqual(['Audit']);
    await audits.page.context().close();

    const reads = await openSignedIn(browser, nephos, viewer.token, '/');
    await reads.page.getByRole('heading', { name: 'Studies' }).waitFor();
    const pages = reads.page.getByRole('navigation', { name: 'Pages' }).getByRole('link');
    expect(await pages.allTextContents()).toEqual(['Studies']);
    await reads.page.goto(`${nephos.origin}/#/audit`);
    await reads.page.getByRole('alert').filter({ hasText: 'Your account may not do this.' }).waitFor();
    await reads.page.context().close();
  });

  test.each(['light', 'dark'] as const)('fits a desk and a phone, %s', async (colorScheme) => {
    const desk = await openSignedIn(browser, nephos, admin, '/audit', { colorScheme });
    await rowsOf(desk.page).first().waitFor();
    await nothingIsWider(desk.page, 1280);
    await picture(desk.page, `audit-desk-${colorScheme}`);
    await desk.page.context().close();
    const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, colorScheme };
    const { page, complaints } = await openSignedIn(browser, nephos, admin, '/audit?who=v.viewer', phone);
    await rowsOf(page).first().waitFor();
    await nothingIsWider(page, 360);
    await picture(page, `audit-phone-${colorScheme}`);
    await page.getByRole('table').scrollIntoViewIfNeeded();
    await page.evaluate("document.querySelector('.table-frame').scrollIntoView()");
    await picture(page, `audit-phone-rows-${colorScheme}`);
    expect(complaints).toEqual([]);
    await page.context().close();
  });
});

describe('the menu of a narrow screen', () => {
  test('has every page behind one button, and goes when it is done with', async () => {
    const phone = { viewport: { width: 360, height: 740 }, hasTouch: true };
    const { page, complaints } = await openSignedIn(browser, nephos, admin, '/audit?who=v.viewer', phone);
    const nav = page.getByRole('navigation', { name: 'Pages' });
    const menu = page.getByRole('button', { name: 'Menu' });
    expect(await nav.isVisible()).toBe(false);
    await menu.click();
    const links = await nav.getByRole('link').all();
    expect(links).toHaveLength(15);
    for (const link of links) {
      const box = (await link.boundingBox())!;
      expect(box.x + box.width).toBeLessThanOrEqual(360);
      expect(box.height).toBeGreaterThanOrEqual(36);
    }
    await nothingIsWider(page, 360);
    await picture(page, 'menu-phone');
    await page.keyboard.press('Escape');
    expect(await nav.isVisible()).toBe(false);
    expect(await page.evaluate('document.activeElement.textContent')).toContain('Menu');
    await menu.click();
    await nav.getByRole('link', { name: 'Trash' }).click();
    await page.getByText('The trash is empty').waitFor();
    expect(await nav.isVisible()).toBe(false);
    expect(await menu.getAttribute('aria-expanded')).toBe('false');
    expect(complaints).toEqual([]);
    await page.context().close();
  });
});

describe('a session that ends while somebody is at work', () => {
  test('leads to the sign-in, and from there back to where it was', async () => {
    const shift = { name: 'Shift', subject: 's.shift', roles: ['viewer', 'auditor'] };
    const first = await issueToken(nephos, admin, shift);
    const second = await issueToken(nephos, admin, shift);
    const { page } = await openSignedIn(browser, nephos, first.token, '/audit?outcome=4&who=v.viewer');
    await rowsOf(page).first().waitFor();
    const address = page.url();
    await revokeToken(nephos, admin, first.id);
    await page.getByRole('button', { name: 'Refresh' }).click();
    await page.getByText('Your session has ended').waitFor();
    await picture(page, 'session-ended');
    await signIn(page, second.token);
    await rowsOf(page).first().waitFor();
    expect(page.url()).toBe(address);
    expect(await rowsOf(page).filter({ hasNotText: 'v.viewer' }).count()).toBe(0);

    // Who signs out on purpose leaves nothing of his behind for the next.
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Access token').waitFor();
    expect(await page.getByText('Your session has ended').count()).toBe(0);
    await expect.poll(() => new URL(page.url()).hash).toBe('#/');
    await page.context().close();
  });

  test('is noticed by pictures, too', async () => {
    const { id, token } = await issueToken(nephos, admin, { name: 'Looks', subject: 'l.look', roles: ['viewer'] });
    const { page } = await openSignedIn(browser, nephos, token, '/studies');
    await page.getByRole('table', { name: 'Studies' }).locator('tbody tr').first().waitFor();
    await revokeToken(nephos, admin, id);
    await page.goto(`${nephos.origin}/#/study/${STUDY}`);
    await page.getByText('Your session has ended').waitFor();
    expect(page.url()).toContain(`#/study/${STUDY}`);
    await page.context().close();
  });
});
