import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zipSync } from 'fflate';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { type Nephos, startNephos } from '../helpers/nephos.ts';
import { dropFiles, openBrowser, openPage, picture } from './browser.ts';
import { issueToken, openSignedIn, printedToken, signIn } from './signed-in.ts';

let browser: Browser;
let folder: string;
let files: string[];
beforeAll(async () => {
  browser = await openBrowser();
  folder = await mkdtemp(join(tmpdir(), 'nephos-upload-'));
  files = [];
  for (let number = 1; number <= 40; number++) {
    const path = join(folder, `IM${String(number).padStart(2, '0')}.dcm`);
    await writeFile(path, buildDicom({ SOPInstanceUID: uid(1_000 + number), InstanceNumber: number }));
    files.push(path);
  }
});
afterAll(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});

const outcome = (page: Page, name: string) => page.getByRole('button', { name, exact: true });

describe('an upload over a bad line', () => {
  let nephos: Nephos;
  beforeAll(async () => {
    nephos = await startNephos();
  });
  afterAll(() => nephos?.stop());

  test('while there is no connection files wait, and go on by themselves when it is back', async () => {
    const { page } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/upload`);
    await page.getByLabel('Choose files').waitFor({ state: 'attached' });
    await page.context().setOffline(true);
    await dropFiles(page, files);
    await page.getByText('The archive cannot be reached').waitFor();
    await picture(page, 'upload-offline');
    expect(await outcome(page, 'Refused 40').count()).toBe(0);
    await page.context().setOffline(false);
    await outcome(page, 'Stored 40').waitFor();
    await page.getByText('40 files · ').filter({ hasText: '40 stored' }).waitFor();
    expect(await page.getByText('The archive cannot be reached').count()).toBe(0);
    await page.context().close();
  });

  test('an archive that is busy for a moment is asked again', async () => {
    const { page } = await openPage(browser);
    let refusals = 3;
    await page.route('**/dicomweb/studies', (route) =>
      refusals-- > 0 ? route.fulfill({ status: 503, body: '' }) : route.continue(),
    );
    await page.goto(`${nephos.origin}/#/upload`);
    await page.getByLabel('Choose files').setInputFiles(files);
    await outcome(page, 'Already there 40').waitFor();
    await page.context().close();
  });

  test('what waits can be cancelled, and says that it was not stored', async () => {
    const { page } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/upload`);
    await page.route('**/dicomweb/studies', (route) => route.abort());
    await page.getByLabel('Choose files').setInputFiles(files);
    await page.getByText('The archive cannot be reached').waitFor();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByText('40 files · ').filter({ hasText: '40 cancelled' }).waitFor();
    expect(await page.getByRole('progressbar', { name: 'Upload' }).getAttribute('value')).toBe('0');
    await page.unroute('**/dicomweb/studies');
    await page.getByRole('button', { name: 'Retry what failed' }).click();
    await outcome(page, 'Already there 40').waitFor();
    await page.context().close();
  });

  test('an object beyond a limit, and a zip that is cut, say what is wrong with them', async () => {
    const { page } = await openPage(browser);
    const deep = join(folder, 'deep.dcm');
    const cut = join(folder, 'disc.zip');
    await writeFile(deep, nested(300));
    await writeFile(cut, zipSync({ a: [new Uint8Array(1_000), { level: 0 }] }).subarray(0, 900));
    await page.goto(`${nephos.origin}/#/upload`);
    await page.getByLabel('Choose files').setInputFiles([deep, cut]);
    await page.getByText('beyond a limit of the archive: the object exceeds the limit sequenceDepth').waitFor();
    await page.getByText('not a zip file that can be read').waitFor();
    await page.context().close();
  });

  test('whoever closes the page while files are on their way is asked', async () => {
    const { page } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/upload`);
    await page.route('**/dicomweb/studies', (route) => route.abort());
    await page.getByLabel('Choose files').setInputFiles(files);
    await page.getByText('The archive cannot be reached').waitFor();
    // Browsers ask only where somebody has done something on the page.
    await page.getByRole('heading', { name: 'Upload' }).click();
    const asked = page.waitForEvent('dialog');
    await page.close({ runBeforeUnload: true });
    const dialog = await asked;
    expect(dialog.type()).toBe('beforeunload');
    await dialog.accept();
    await page.context().close();
  });
});

test('a session that ends in the middle of an upload: it goes on when the same person has signed in, for nobody else', async () => {
  const nephos = await startNephos({ auth: 'on' });
  try {
    const admin = await printedToken(nephos);
    const issue = (subject: string) => issueToken(nephos, admin, { name: subject, subject, roles: ['technologist'] });
    const mine = await issue('t.tech');
    const other = await issue('s.else');
    const { page } = await openSignedIn(browser, nephos, mine.token, '/upload');
    const end = () => page.route('**/dicomweb/studies', (route) => route.fulfill({ status: 401, body: '' }));
    await end();
    await page.getByLabel('Choose files').setInputFiles(files);
    await page.getByText('40 files of your upload wait until then').waitFor();
    await picture(page, 'upload-signed-out');
    await page.unroute('**/dicomweb/studies');
    await signIn(page, mine.token);
    await outcome(page, 'Stored 40').waitFor();

    // Of three requests that are under way two are told when somebody has signed in again: that ends nothing.
    const [sent, late] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let requests = 0;
    await page.route('**/dicomweb/studies', async (route) => {
      const number = ++requests;
      if (number > 3) return route.continue();
      if (number === 3) sent.resolve();
      await (number === 1 ? sent : late).promise;
      return route.fulfill({ status: 401, body: '' });
    });
    await page.getByLabel('Choose files').setInputFiles(files);
    await page.getByText('40 files of your upload wait until then').waitFor();
    await signIn(page, mine.token);
    late.resolve();
    await outcome(page, 'Already there 40').waitFor();
    expect(await page.getByLabel('Access token').count()).toBe(0);
    await page.unroute('**/dicomweb/studies');

    await end();
    await page.getByLabel('Choose files').setInputFiles(files.slice(0, 5));
    await page.getByText('5 files of your upload wait until then').waitFor();
    await page.unroute('**/dicomweb/studies');
    await signIn(page, other.token);
    await page.getByLabel('Choose files').waitFor({ state: 'attached' });
    expect(await page.getByRole('region', { name: 'Files' }).count()).toBe(0);
    await page.context().close();
  } finally {
    await nephos.stop();
  }
});

/** An object with a sequence in a sequence in a sequence… */
function nested(depth: number): Uint8Array {
  const head = buildDicom({ SOPInstanceUID: uid(999), PixelData: undefined });
  const open = Buffer.from('08004011' + '5351' + '0000' + 'ffffffff' + 'feff00e0' + 'ffffffff', 'hex');
  const close = Buffer.from('feff0de0' + '00000000' + 'feffdde0' + '00000000', 'hex');
  return Buffer.concat([head, ...Array(depth).fill(open), ...Array(depth).fill(close)]);
}
