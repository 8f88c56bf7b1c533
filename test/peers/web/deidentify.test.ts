import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Nephos, startNephos } from '../helpers/nephos.ts';
import { corpus, filesBelow, hasCorpus, openBrowser, picture } from './browser.ts';
import { waitForImage } from './drawn.ts';
import { issueToken, openSignedIn, printedToken } from './signed-in.ts';

let browser: Browser;
let nephos: Nephos;
let admin: string;
let researcher: string;
let study: string;

const ask = (token: string, path: string, init: RequestInit = {}) =>
  fetch(`${nephos.origin}${path}`, { ...init, headers: { ...init.headers, authorization: `Bearer ${token}` } });

describe.runIf(hasCorpus)('a de-identified copy', () => {
  beforeAll(async () => {
    browser = await openBrowser();
    nephos = await startNephos({ auth: 'on' });
    admin = await printedToken(nephos);
    const asked = { name: 'Research', subject: 'r.searcher', roles: ['researcher'] };
    researcher = (await issueToken(nephos, admin, asked)).token;
    const headers = { 'content-type': 'application/dicom', accept: 'application/dicom+json' };
    for (const file of await filesBelow(join(corpus, 'study/ct-head-phantom/series-0201-28-slices'))) {
      const body = new Uint8Array(await readFile(file));
      const response = await ask(admin, '/dicomweb/studies', { method: 'POST', headers, body });
      expect(response.status).toBe(200);
      study = /studies\/([0-9.]+)/.exec(await response.text())![1]!;
    }
  });
  afterAll(async () => {
    await browser?.close();
    await nephos?.stop();
  });

  test('is made by an administrator in the console, and drawn for a researcher, who finds nothing else', async () => {
    const { page, complaints } = await openSignedIn(browser, nephos, admin, `/study/${study}`);
    await page.getByRole('button', { name: 'De-identified copy…' }).click();
    await page.getByLabel(/^Project/).fill('head-trial');
    await picture(page, 'deidentify-form');
    await page.getByRole('button', { name: 'Make the copy' }).click();
    await page.getByText('28 images copied.').waitFor({ timeout: 120_000 });
    await picture(page, 'deidentify-done');
    await page.getByRole('link', { name: 'Go to the copy' }).click();
    await page.waitForURL((url) => /study\/2\.25\./.test(url.hash));
    const copy = /study\/([0-9.]+)/.exec(page.url())![1]!;
    await page.getByRole('heading', { level: 1, name: /^[2-9A-Z]{12}$/ }).waitFor();
    await picture(page, 'deidentify-copy');
    expect(complaints).toEqual([]);
    await page.context().close();

    const { page: theirs } = await openSignedIn(browser, nephos, researcher, '/studies');
    await expect.poll(() => theirs.locator('tbody tr').count()).toBe(1);
    await picture(theirs, 'deidentify-researcher');
    await theirs.goto(`${nephos.origin}/viewer?StudyInstanceUIDs=${copy}`);
    await waitForImage(theirs, ({ levels, lit }) => levels > 30 && lit > 0.005);
    await picture(theirs, 'deidentify-viewer');
    await theirs.context().close();

    const found = (await (await ask(researcher, '/dicomweb/studies?includefield=all')).json()) as Record<
      string,
      { Value: string[] }
    >[];
    expect(found.map((one) => one['0020000D']!.Value[0])).toEqual([copy]);
    for (const path of [
      '',
      '/metadata',
      '/series',
      '/instances',
      '/thumbnail',
      '/rendered',
      '?accept=application/zip',
    ]) {
      const answer = await ask(researcher, `/dicomweb/studies/${study}${path}`);
      // A search that finds nothing is no error.
      const finds = answer.status === 200 ? await answer.text() : '[]';
      expect([answer.status === 200 ? 204 : answer.status, finds], path).toEqual([
        /^\/(?:series|instances)$/.test(path) ? 204 : 404,
        '[]',
      ]);
    }
  });
});
