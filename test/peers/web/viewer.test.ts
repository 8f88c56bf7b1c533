import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Nephos, startNephos } from '../helpers/nephos.ts';
import {
  corpus,
  filesBelow,
  hasCorpus,
  openBrowser,
  openPage,
  PATIENCE_MS,
  picture,
  store,
  withStudy,
} from './browser.ts';
import { waitForImage } from './drawn.ts';

const STUDIES = [
  { name: 'CT', path: 'study/ct-head-phantom/series-0201-28-slices', slices: true },
  { name: 'MR', path: 'series/mr-ge-t1-130-slices', slices: true },
  { name: 'JPEG-LS CT', path: 'study/ct-head-phantom/series-0202-140-slices', slices: true },
  { name: 'multi-frame US', path: 'us/us-multiframe-30-jpeg-baseline.dcm', slices: true },
  { name: 'JPEG 2000 CR', path: 'cr-dx/RG3_J2KR.dcm', slices: false },
  { name: 'HTJ2K', path: 'transfer-syntax/htj2k/HTJ2KLossless_08_RGB.dcm', slices: false },
];

const BARE = /htj2k/;

/** The files of a path; those that hold pixels alone get a study. */
async function objectsOf(path: string): Promise<(string | Buffer)[]> {
  const files = await filesBelow(join(corpus, path));
  if (!BARE.test(path)) return files;
  return Promise.all(files.map(async (file) => withStudy(await readFile(file), '1.2.826.0.1.3680043.10.1.20')));
}

describe.runIf(hasCorpus)('OHIF reads from the archive', () => {
  let nephos: Nephos;
  let browser: Browser;
  beforeAll(async () => {
    nephos = await startNephos();
    browser = await openBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    await nephos?.stop();
  });

  test.each(STUDIES)('$name is drawn', async ({ name, path, slices }) => {
    const { study, series } = await store(nephos.root, await objectsOf(path));
    const { page, complaints } = await openPage(browser);
    await page.goto(`${nephos.origin}/viewer?StudyInstanceUIDs=${study}&SeriesInstanceUIDs=${series}`);
    const first = await waitForImage(page, ({ levels, lit }) => levels > 30 && lit > 0.005);
    await picture(page, `viewer-${name.replace(/\W+/g, '-').toLowerCase()}`);
    if (slices) {
      await page.mouse.move(640, 420);
      // The viewer may lay the series out anew when it knows more of it, and begins with the first image again: who reads turns the wheel on.
      const turned = async (): Promise<string> => {
        await page.mouse.wheel(0, 300);
        return (await waitForImage(page, ({ levels }) => levels > 30)).print;
      };
      await expect.poll(turned, { timeout: PATIENCE_MS }).not.toBe(first.print);
    }
    expect(complaints.filter((text) => /Content Security Policy|Cross-Origin|SharedArrayBuffer/.test(text))).toEqual(
      [],
    );
    expect(await page.evaluate('crossOriginIsolated')).toBe(true);
    await page.context().close();
  });

  test('the arrow leads back to the list of the console, as it was left', async () => {
    await store(nephos.root, [join(corpus, 'us/us-rgb.dcm')]);
    const { page } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/studies?modality=US`);
    await page
      .getByRole('link', { name: /in the viewer$/ })
      .first()
      .click();
    await waitForImage(page, ({ levels }) => levels > 30);
    await page.locator('[data-cy="return-to-work-list"]').click();
    await page.waitForURL(`${nephos.origin}/#/studies?modality=US`);
    await page.getByRole('heading', { name: 'Studies' }).waitFor();
  });
});
