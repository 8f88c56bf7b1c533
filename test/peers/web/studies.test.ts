import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { type Nephos, startNephos } from '../helpers/nephos.ts';
import { openBrowser, openPage, picture, store } from './browser.ts';
import { issueToken, openSignedIn, printedToken } from './signed-in.ts';

let browser: Browser;
beforeAll(async () => {
  browser = await openBrowser();
});
afterAll(() => browser?.close());

const slice = (n: number, more: Record<string, string | number> = {}) =>
  Buffer.from(buildDicom({ SOPInstanceUID: uid(5_000 + n), InstanceNumber: n, ...more }));

describe('the list of studies', () => {
  let nephos: Nephos;
  beforeAll(async () => {
    nephos = await startNephos();
    await store(nephos.root, [
      slice(1),
      slice(2, {
        StudyInstanceUID: uid(91),
        SeriesInstanceUID: uid(92),
        StudyDate: '20250304',
        AccessionNumber: 'B-2',
      }),
    ]);
  });
  afterAll(() => nephos?.stop());

  test('a filter that is left for the next one counts, and no field shows another filter than the list has', async () => {
    const { page } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/studies?accession=A-1`);
    const rows = page.getByRole('table', { name: 'Studies' }).locator('tbody tr');
    await rows.first().waitFor();
    // At once, as by hands that know the page: before the pause after which what is typed counts.
    await page.getByLabel('Accession').fill('');
    await page.getByLabel('Study date from').fill('2025-03-01');
    await page.getByText('B-2').waitFor();
    await expect.poll(() => new URL(page.url()).hash).toBe('#/studies?from=2025-03-01');
    await page.getByLabel('Patient name').fill('nobody');
    await page.getByRole('button', { name: 'Clear filters' }).click();
    await expect.poll(() => rows.count()).toBe(2);
    expect(await page.getByLabel('Patient name').inputValue()).toBe('');
    await page.context().close();
  });

  test('the arrows lead from image to image, over the end of a page of them, and to nowhere at either end', async () => {
    const { study } = await store(
      nephos.root,
      Array.from({ length: 52 }, (_, at) => slice(100 + at, { StudyInstanceUID: uid(93), SeriesInstanceUID: uid(94) })),
    );
    const { page } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/study/${study}`);
    const before = page.getByRole('button', { name: 'Image before' });
    const after = page.getByRole('button', { name: 'Image after' });
    await page.getByRole('img', { name: 'Image 100', exact: true }).waitFor();
    expect(await before.isDisabled()).toBe(true);
    await page.getByRole('link', { name: /^149/ }).click();
    await page.getByRole('img', { name: 'Image 149' }).waitFor();
    await after.click();
    await page.getByRole('img', { name: 'Image 150' }).waitFor();
    await after.click();
    await page.getByRole('img', { name: 'Image 151' }).waitFor();
    expect(await after.isDisabled()).toBe(true);
    await before.click();
    await before.click();
    await page.getByRole('img', { name: 'Image 149' }).waitFor();
    await page.context().close();
  });

  test('a study of reports alone is read on its own page: the viewer would stay black', async () => {
    await store(nephos.root, [
      slice(400, {
        StudyInstanceUID: uid(97),
        SeriesInstanceUID: uid(98),
        SOPClassUID: '1.2.840.10008.5.1.4.1.1.88.22',
        Modality: 'SR',
        PatientName: 'Report^Only',
      }),
    ]);
    const { page } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/studies?name=report`);
    await page.getByRole('link', { name: 'View Report, Only, 1 object' }).click();
    await page.getByRole('region', { name: 'Report' }).waitFor();
    expect(await page.getByRole('link', { name: 'Open in viewer' }).count()).toBe(0);
    await page.context().close();
  });

  test('accession numbers and patient IDs that differ at their ends alone are shown whole, on the desk and on a phone', async () => {
    const twins = ['1', '2'].map((last) => ({
      AccessionNumber: `200805041717310${last}`,
      PatientID: `${'9'.repeat(40)}${last}`,
    }));
    await store(
      nephos.root,
      twins.map((twin, n) =>
        slice(500 + n, { StudyInstanceUID: uid(200 + n), SeriesInstanceUID: uid(210 + n), ...twin }),
      ),
    );
    for (const viewport of [
      { width: 1440, height: 900 },
      { width: 390, height: 844 },
    ]) {
      const { page } = await openPage(browser, { viewport });
      await page.goto(`${nephos.origin}/#/studies?mrn=${'9'.repeat(40)}`);
      const cells = page.locator('.study-list tbody td:is(.mrn, .accession)');
      await expect.poll(() => cells.count()).toBe(4);
      const cut = await page.evaluate<string[]>(`
        [...document.querySelectorAll('.study-list tbody td:is(.mrn, .accession)')]
          .filter((cell) => cell.scrollWidth > cell.clientWidth)
          .map((cell) => cell.textContent)`);
      await picture(page, `long-numbers-${viewport.width}`);
      expect({ width: viewport.width, cut }).toEqual({ width: viewport.width, cut: [] });
      await page.context().close();
    }
  });

  test('the calendar button of a date field shows that it has the focus', async () => {
    const { page } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/worklist`);
    const day = page.getByLabel('Day');
    await day.focus();
    // Month, day, year and the button: the focus is on one after the other.
    for (let part = 0; part < 4; part++) {
      const { type, outline } = await page.evaluate<{ type: string; outline: string }>(
        '({ type: document.activeElement.type, outline: getComputedStyle(document.activeElement).outlineStyle })',
      );
      expect({ part, type, outline }).toEqual({ part, type: 'date', outline: 'solid' });
      await page.keyboard.press('Tab');
    }
    await page.context().close();
  });

  test('a name as long as a name may be covers nothing', async () => {
    const name = `${'A'.repeat(63)}^${'B'.repeat(60)}`;
    const { study } = await store(nephos.root, [
      slice(300, { StudyInstanceUID: uid(95), SeriesInstanceUID: uid(96), PatientName: name }),
    ]);
    const { page } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/study/${study}`);
    const heading = await page.getByRole('heading', { level: 1 }).filter({ hasText: 'AAAA' }).boundingBox();
    const button = await page.getByRole('link', { name: 'Open in viewer' }).boundingBox();
    expect(heading!.x + heading!.width).toBeLessThanOrEqual(button!.x);
    await page.context().close();
  });
});

test('who may not delete or change the worklist is not offered it', async () => {
  const nephos = await startNephos({ auth: 'on' });
  try {
    const admin = await printedToken(nephos);
    const body = buildDicom();
    const headers = { authorization: `Bearer ${admin}`, 'content-type': 'application/dicom' };
    const stored = await fetch(`${nephos.root}/studies`, { method: 'POST', headers, body: new Uint8Array(body) });
    expect(stored.status).toBe(200);
    const { token } = await issueToken(nephos, admin, { name: 'r', subject: 'r.reader', roles: ['radiologist'] });
    const { page } = await openSignedIn(browser, nephos, token, `/study/${uid(1)}`);
    await page.getByRole('button', { name: 'Share…' }).waitFor();
    await page.getByRole('link', { name: 'Download series' }).waitFor();
    expect(await page.getByRole('button', { name: /Delete/ }).count()).toBe(0);
    await page.goto(`${nephos.origin}/#/worklist`);
    await page.getByText('Nothing is scheduled').waitFor();
    expect(await page.getByRole('button', { name: 'Schedule' }).count()).toBe(0);
    await page.context().close();
  } finally {
    await nephos.stop();
  }
});
