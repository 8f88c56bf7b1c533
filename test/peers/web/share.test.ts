import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unzipSync } from 'fflate';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { type Nephos, startNephos } from '../helpers/nephos.ts';
import { corpus, filesBelow, hasCorpus, openBrowser, openPage, picture } from './browser.ts';
import { waitForImage } from './drawn.ts';
import { issueToken, nothingIsWider, openSignedIn, printedToken } from './signed-in.ts';

const PHONE: BrowserContextOptions = {
  viewport: { width: 390, height: 844 },
  hasTouch: true,
  isMobile: true,
  deviceScaleFactor: 2,
};
const OTHER = uid(1);
const ANSWERED = 'application/dicom+json';

let browser: Browser;
let nephos: Nephos;
let admin: string;
let radiologist: string;
let study: string;

const ask = (token: string, path: string, init: RequestInit = {}) =>
  fetch(`${nephos.origin}${path}`, { ...init, headers: { ...init.headers, authorization: `Bearer ${token}` } });

async function send(bytes: Uint8Array): Promise<string> {
  const headers = { 'content-type': 'application/dicom', accept: ANSWERED };
  const response = await ask(admin, '/dicomweb/studies', { method: 'POST', headers, body: new Uint8Array(bytes) });
  expect(response.status).toBe(200);
  return /studies\/([0-9.]+)/.exec(await response.text())![1]!;
}

/** A link by the API; the tests of the console make theirs in the page. */
async function share(asked: Record<string, unknown>): Promise<{ id: string; url: string }> {
  const body = JSON.stringify({ receiver: 'Dr. Ida Frank', purpose: 'Second opinion', scopes: ['view'], ...asked });
  const response = await ask(radiologist, '/api/shares', { method: 'POST', body });
  expect(response.status, await response.clone().text()).toBe(201);
  return (await response.json()) as { id: string; url: string };
}
const revoke = async (id: string) =>
  expect((await ask(radiologist, `/api/shares/${id}`, { method: 'DELETE' })).status).toBe(204);

/** What the page itself gets to see of an address, with whatever cookies it has. */
const seen = (page: Page, path: string, method = 'GET'): Promise<number> =>
  page.evaluate(
    `fetch(${JSON.stringify(path)}, { method: ${JSON.stringify(method)}, headers: { accept: '*/*' } }).then(({ status }) => status)`,
  );

describe.runIf(hasCorpus)('a study that is shared by a link', () => {
  beforeAll(async () => {
    browser = await openBrowser();
    nephos = await startNephos({ auth: 'on' });
    admin = await printedToken(nephos);
    radiologist = (await issueToken(nephos, admin, { name: 'Reads', subject: 'dr.reader', roles: ['radiologist'] }))
      .token;
    for (const file of await filesBelow(join(corpus, 'study/ct-head-phantom/series-0201-28-slices')))
      study = await send(await readFile(file));
    await send(buildDicom({ SOPInstanceUID: uid(3), StudyInstanceUID: OTHER, PatientName: 'Not^Shared' }));
  });
  afterAll(async () => {
    await browser?.close();
    await nephos?.stop();
  });

  test('is opened on a phone with a PIN, drawn in the viewer under the receiver’s name, and nothing else is', async () => {
    const { url, id } = await share({ studies: [study], pin: '271828' });
    const { page, complaints } = await openPage(browser, PHONE);
    const asked: string[] = [];
    page.on('request', (request) => asked.push(`${request.url()} ${request.headers().referer ?? ''}`));
    await page.goto(url);
    await page.getByLabel(/^PIN/).waitFor();
    expect(await page.getByText('Second opinion').count(), 'the purpose stands behind the PIN').toBe(0);
    await nothingIsWider(page, 390);
    await picture(page, 'share-phone-pin');
    await page.getByLabel(/^PIN/).fill('314159');
    await page.getByRole('button', { name: 'Open' }).click();
    await page.getByText('That is not the PIN. 4 more tries are left.').waitFor();
    await picture(page, 'share-phone-wrong-pin');
    await page.getByLabel(/^PIN/).fill('271828');
    await page.getByRole('button', { name: 'Open' }).click();
    await page.getByRole('heading', { name: 'Images for Dr. Ida Frank' }).waitFor();
    await page.getByText('Second opinion').waitFor();
    await expect.poll(() => page.evaluate("document.querySelector('article img')?.naturalWidth")).toBe(128);
    expect(page.url(), 'the secret has left the address').toBe(`${nephos.origin}/s/${id}`);
    await nothingIsWider(page, 390);
    await picture(page, 'share-phone-open');
    expect(await page.getByRole('link', { name: 'Download (zip)' }).count()).toBe(0);
    const [cookie] = await page.context().cookies(`${nephos.origin}/s/${id}`);
    expect(cookie).toMatchObject({ name: 'nephos_guest', httpOnly: true, sameSite: 'Strict', path: `/s/${id}` });

    await page.getByRole('link', { name: 'Open in the viewer' }).click();
    await waitForImage(page, ({ levels, lit }) => levels > 30 && lit > 0.005);
    const watermark = page.locator('#nephos-watermark');
    await watermark.waitFor({ state: 'attached' });
    await expect.poll(() => watermark.getAttribute('aria-label')).toContain('Dr. Ida Frank');
    const box = (await watermark.boundingBox())!;
    expect(box.height).toBeGreaterThan(300);
    await picture(page, 'share-phone-viewer');
    expect(await watermarkedPixels(page)).toBeGreaterThan(200);

    // No header, and no address but the page's own, ever held the secret.
    const secret = url.split('#')[1]!;
    expect(asked.filter((one) => one.includes(secret) && !one.startsWith(`${url} `))).toEqual([]);
    expect(asked.filter((one) => one.includes('/dicomweb/') && !one.includes(`/s/${id}/dicomweb/`))).toEqual([]);

    for (const path of [
      `/s/${id}/dicomweb/studies/${OTHER}/metadata`,
      `/s/${id}/dicomweb/studies/${OTHER}/thumbnail`,
      `/s/${id}/api/shares`,
      `/s/${id}/api/audit`,
      `/s/${id}/wado?requestType=WADO`,
    ])
      expect(await seen(page, path), path).toBe(404);
    for (const path of [
      `/s/${id}/dicomweb/studies/${study}`,
      `/s/${id}/dicomweb/studies/${study}?accept=application/zip`,
    ])
      expect(await seen(page, path), path).toBe(403);
    for (const path of [`/dicomweb/studies`, `/dicomweb/studies/${study}/metadata`, '/api/session', '/api/shares'])
      expect(await seen(page, path), path).toBe(401);
    const found: unknown = await page.evaluate(
      `fetch('/s/${id}/dicomweb/studies?includefield=all').then((answer) => answer.text())`,
    );
    expect(found).toContain(study);
    expect(found).not.toContain('Not^Shared');
    expect(complaints.filter((text) => /Content Security Policy|Cross-Origin|SharedArrayBuffer/.test(text))).toEqual(
      [],
    );

    // Another study, by the address of the viewer: nothing is drawn, and the receiver sees his own page instead.
    await page.goto(`${nephos.origin}/s/${id}/viewer?StudyInstanceUIDs=${OTHER}`);
    await page.waitForTimeout(4_000);
    expect(await page.textContent('body')).not.toContain('Not^Shared');
    await picture(page, 'share-phone-other-study');
    await page.context().close();
  });

  test('is shared from the console: a link is made and copied once, listed, followed and revoked', async () => {
    const { page, complaints } = await openSignedIn(browser, nephos, radiologist, `/study/${study}`);
    await page.getByRole('button', { name: 'Share…' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel(/^Receiver/).fill('Dr. Ida Frank');
    await dialog.getByLabel(/^Purpose/).fill('Second opinion on the orbit');
    await dialog.getByLabel('have the files').check();
    expect(await dialog.getByLabel('send further images').count(), 'a radiologist may not store').toBe(0);
    await picture(page, 'share-console-form');
    await dialog.getByRole('button', { name: 'Make the link' }).click();
    const url = await dialog.getByLabel('The link', { exact: true }).inputValue();
    const pin = await dialog.getByLabel('The PIN', { exact: true }).inputValue();
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/s\/[0-9A-Z]{26}#[\w-]{43}$/);
    expect(pin).toMatch(/^\d{6}$/);
    await picture(page, 'share-console-made');
    await dialog.getByRole('button', { name: 'Done' }).click();

    const receiver = await openPage(browser, PHONE);
    await receiver.page.goto(url);
    await receiver.page.getByLabel(/^PIN/).fill(pin);
    await receiver.page.getByRole('button', { name: 'Open' }).click();
    const [download] = await Promise.all([
      receiver.page.waitForEvent('download'),
      receiver.page.getByRole('link', { name: 'Download (zip)' }).click(),
    ]);
    expect(Object.keys(unzipSync(await readFile(await download.path()))).length).toBeGreaterThanOrEqual(28);

    await page.goto(`${nephos.origin}/#/shares`);
    const rows = page.getByRole('table', { name: 'Share links' }).locator('tbody tr');
    const row = rows.filter({ hasText: 'Second opinion on the orbit' });
    await expect.poll(() => row.textContent()).toMatch(/1 of 20/);
    await row.getByRole('button', { name: /^Trail/ }).click();
    await page.getByText('Files downloaded').waitFor();
    expect(await page.getByRole('list', { name: 'Trail' }).textContent()).toMatch(
      /Made by dr\.reader.*Opened from 127\.0\.0\.1.*Files downloaded/s,
    );
    await picture(page, 'share-console-list');
    await row.getByRole('button', { name: /^Revoke/ }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
    await expect.poll(() => row.textContent()).toContain('Revoked');
    await receiver.page.evaluate('dispatchEvent(new Event("focus"))');
    await receiver.page.getByRole('heading', { name: 'You have left' }).waitFor();
    await receiver.page.goto(`${url.split('#')[0]}?again#${url.split('#')[1]}`);
    await receiver.page.getByRole('heading', { name: 'This link has been withdrawn' }).waitFor();
    await picture(receiver.page, 'share-phone-revoked');
    expect(complaints.filter((text) => !/40[16]/.test(text))).toEqual([]);
    await receiver.page.context().close();
    await page.context().close();
  });

  test('closes before the eyes of who looks at it when it is revoked', async () => {
    const { url, id } = await share({ studies: [study] });
    const { page } = await openPage(browser);
    await page.clock.install();
    await page.goto(url);
    await page.getByRole('button', { name: 'Open' }).click();
    await page.getByRole('link', { name: 'Open in the viewer' }).click();
    await waitForImage(page, ({ levels, lit }) => levels > 30 && lit > 0.005);
    await picture(page, 'share-desk-viewer');
    const address = page.url();
    await page.locator('[data-cy="return-to-work-list"]').click();
    await page.waitForTimeout(1_000);
    expect(page.url(), 'there is no list to go to').toBe(address);
    await revoke(id);
    // It looks every 20 s, whatever is done.
    await page.clock.fastForward(21_000);
    await expect.poll(() => page.url()).toBe(`${nephos.origin}/s/${id}`);
    await page.getByRole('heading', { level: 1 }).waitFor();
    await page.context().close();
  });

  test('is seen as a guest also by who is signed in, and the console goes on as it was', async () => {
    const { url, id } = await share({ studies: [study] });
    const { page } = await openSignedIn(browser, nephos, radiologist, '/studies');
    await page.goto(url);
    await page.getByRole('button', { name: 'Open' }).click();
    await page.getByRole('heading', { name: 'Images for Dr. Ida Frank' }).waitFor();
    expect(await seen(page, `/s/${id}/dicomweb/studies/${OTHER}/metadata`)).toBe(404);
    expect(await seen(page, `/dicomweb/studies/${OTHER}/metadata`)).toBe(200);
    await page.getByRole('button', { name: 'Leave' }).click();
    await page.getByRole('heading', { name: 'You have left' }).waitFor();
    expect(await seen(page, `/s/${id}/dicomweb/studies`)).toBe(401);
    await page.goto(`${nephos.origin}/#/studies`);
    await page.getByRole('heading', { name: 'Studies' }).waitFor();
    await page.context().close();
  });

  test('a selection is shared from the list, as one link', async () => {
    const { page } = await openSignedIn(browser, nephos, radiologist, '/studies');
    const rows = page.getByRole('table', { name: 'Studies' }).locator('tbody tr');
    await rows.nth(1).waitFor();
    for (const at of [0, 1]) await rows.nth(at).getByRole('checkbox').check();
    await page.getByRole('button', { name: 'Share 2 studies…' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel(/^Receiver/).fill('Tumour board');
    await dialog.getByLabel(/^Purpose/).fill('Board');
    await dialog.getByLabel(/^PIN/).fill('');
    await dialog.getByRole('button', { name: 'Make the link' }).click();
    const url = await dialog.getByLabel('The link', { exact: true }).inputValue();
    await page.context().close();
    const { page: board } = await openPage(browser, { ...PHONE, colorScheme: 'dark' });
    await board.goto(url);
    await board.getByText('Board').first().waitFor();
    await board.getByRole('button', { name: 'Open' }).click();
    await board.getByRole('link', { name: 'Open all in the viewer' }).waitFor();
    expect(await board.getByRole('article').count()).toBe(2);
    await board.waitForLoadState('networkidle');
    await nothingIsWider(board, 390);
    await picture(board, 'share-phone-two-dark');
    await board.context().close();
  });

  test('images are sent in by a phone, wait, and are accepted in the console', async () => {
    const body = JSON.stringify({
      receiver: 'Praxis Nord',
      purpose: 'Images of before',
      scopes: ['upload'],
      upload: { into: 'new', keep: 'hold' },
    });
    const made = await ask(admin, '/api/shares', { method: 'POST', body });
    const { url, id } = (await made.json()) as { url: string; id: string };
    const { page } = await openPage(browser, PHONE);
    await page.goto(url);
    await page.getByRole('heading', { name: 'You are asked for images' }).waitFor();
    await page.getByRole('button', { name: 'Open' }).click();
    const bytes = buildDicom({ SOPInstanceUID: uid(31), StudyInstanceUID: uid(30), SeriesInstanceUID: uid(32) });
    const files = [
      { name: 'IM1', mimeType: '', buffer: Buffer.from(bytes) },
      { name: 'README.txt', mimeType: 'text/plain', buffer: Buffer.from('no image') },
    ];
    await page.getByLabel('Choose files').setInputFiles(files);
    await page.getByText('1 image received, 1 other file left out.').waitFor();
    await picture(page, 'share-phone-upload');
    await nothingIsWider(page, 390);
    await page.context().close();
    expect((await ask(admin, `/dicomweb/studies/${uid(30)}/metadata`)).status).toBe(404);
    const desk = await openSignedIn(browser, nephos, admin, `/shares?id=${id}`);
    await desk.page.getByText('1 image of 1 study').waitFor();
    await picture(desk.page, 'share-console-uploads');
    await desk.page.getByRole('button', { name: 'Accept…' }).click();
    await desk.page.getByRole('dialog').getByRole('button', { name: 'Store' }).click();
    await expect.poll(async () => (await ask(admin, `/dicomweb/studies/${uid(30)}/metadata`)).status).toBe(200);
    await desk.page.context().close();
  });

  test.each([
    ['the secret was cut off', () => '', 'The address is not complete'],
    ['a letter of it is wrong', (secret: string) => `#${secret.slice(0, -2)}__`, 'There is no such link'],
  ])('the page says so when %s', async (_, fragment, heading) => {
    const { url } = await share({ studies: [study] });
    const [address, secret] = url.split('#');
    const { page } = await openPage(browser, PHONE);
    await page.goto(`${address}${fragment(secret!)}`);
    await page.getByRole('heading', { name: heading }).waitFor();
    await page.context().close();
  });
});

/** How many pixels of the page the watermark changes: seen with it and without. */
async function watermarkedPixels(page: Page): Promise<number> {
  const withIt = await page.screenshot();
  await page.addStyleTag({ content: '#nephos-watermark { visibility: hidden }' });
  await page.waitForTimeout(300);
  const without = await page.screenshot();
  const differing: unknown = await page.evaluate(
    `(async ([one, other]) => {
      const read = async (base64) => {
        const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))]));
        const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
        context.drawImage(bitmap, 0, 0);
        return context.getImageData(0, 0, bitmap.width, bitmap.height).data;
      };
      const [a, b] = [await read(one), await read(other)];
      let count = 0;
      for (let i = 0; i < a.length; i += 4) if (Math.abs(a[i] - b[i]) > 24) count++;
      return count;
    })(${JSON.stringify([withIt.toString('base64'), without.toString('base64')])})`,
  );
  return Number(differing);
}
