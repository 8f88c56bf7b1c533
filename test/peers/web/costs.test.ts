import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type CountedStudy, monthAfter, monthOf, usageWrites } from '#core/costs/usage-records.ts';
import { openArchive } from '#embedded/archive.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { type Nephos, startNephos } from '../helpers/nephos.ts';
import { openBrowser, openPage, picture } from './browser.ts';
import { issueToken, nothingIsWider, openSignedIn, printedToken } from './signed-in.ts';

const GIB = 1024 ** 3;
const TENANT = 'main';

let browser: Browser;
let nephos: Nephos;
let dataDir: string;
let finance: string;
let viewer: string;

/** A data folder whose counters tell of eleven months of a growing clinic. */
async function clinicOfAYear(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'nephos-costs-'));
  const archive = await openArchive({ dataDir: folder, limits: {}, policy: {} });
  const now = monthOf(Date.now());
  for (let back = 11; back >= 1; back--) {
    const month = monthAfter(now, -back);
    const grown = 12 - back;
    const tiers: CountedStudy['tiers'] = {
      default: { CT: [400 * grown, 90 * grown * GIB], MR: [900, 40 * GIB], CR: [20, 2 * GIB], SR: [30, 3_000_000] },
      ...(back > 6 && { cold: { MG: [60, 55 * GIB] } }),
    };
    await archive.services.index.write(usageWrites(TENANT, undefined, { month, tiers }, month));
  }
  await archive.close();
  return folder;
}

beforeAll(async () => {
  browser = await openBrowser();
  dataDir = await clinicOfAYear();
  const env = { NEPHOS_DISK_PRICE: '19.90 EUR', NEPHOS_LIMIT_STUDY_QUIET_MS: '200', NEPHOS_WORKERS: '1' };
  nephos = await startNephos({ auth: 'on', dataDir, env });
  const admin = await printedToken(nephos);
  finance = (await issueToken(nephos, admin, { name: 'Money', subject: 'f.inance', roles: ['finance'] })).token;
  viewer = (await issueToken(nephos, admin, { name: 'Reads', subject: 'v.viewer', roles: ['viewer'] })).token;
  const headers = { 'content-type': 'application/dicom', authorization: `Bearer ${admin}` };
  const body = new Uint8Array(buildDicom({ SOPInstanceUID: uid(3), Modality: 'XA', PatientName: 'Geheim^Gerda' }));
  expect((await fetch(`${nephos.root}/studies`, { method: 'POST', headers, body })).status).toBe(200);
  const counted = async () => {
    const answer = await fetch(`${nephos.origin}/api/costs`, { headers });
    return ((await answer.json()) as { uncountedStudies: number }).uncountedStudies;
  };
  await vi.waitFor(async () => expect(await counted()).toBe(0), { timeout: 60_000, interval: 200 });
});
afterAll(async () => {
  await browser?.close();
  await nephos?.stop();
  await rm(dataDir, { recursive: true, force: true });
});

const part = (page: Page, name: string) => page.getByRole('region', { name });

describe('the console’s page of costs', () => {
  test('is where finance begins, and what gateways report is all there is beside it', async () => {
    const { page, complaints } = await openSignedIn(browser, nephos, finance, '/');
    await page.getByRole('heading', { name: 'Costs', level: 1 }).waitFor();
    const entries = page.getByRole('navigation', { name: 'Pages' }).getByRole('link');
    expect(await entries.allTextContents()).toEqual(['Costs', 'Gateways']);
    await part(page, 'Twelve months').waitFor();
    await picture(page, 'costs');
    expect(await page.textContent('body')).not.toMatch(/Geheim|Gerda/);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('says what is stored, by modality and tier, what that costs, and what the next month is to', async () => {
    const { page } = await openSignedIn(browser, nephos, finance, '/costs');
    const stored = page.getByText('Stored', { exact: true }).locator('..');
    await stored.first().getByText('12 studies').waitFor();
    const modality = part(page, 'By modality').getByRole('row');
    expect((await modality.nth(1).allInnerTexts())[0]).toMatch(/^CT\s+26,400\s+5\.8 TiB\s+8\d %\s+\d+\.\d\d EUR$/s);
    expect(await modality.filter({ hasText: 'XA' }).count()).toBe(1);
    const tiers = part(page, 'By storage tier').getByRole('row');
    expect((await tiers.nth(2).allInnerTexts())[0]).toMatch(/^cold\s+300\s+275 GiB/s);
    await page.getByText(/19\.90 EUR a month for a terabyte \(10¹² bytes, 931 GiB\)/).waitFor();
    await page.getByText(/projected: what is stored now plus the mean growth of the last 3/).waitFor();
    const chart = page.getByRole('img', { name: /^Stored at the end of each month: 187 GiB in .* projected for / });
    expect(await chart.locator('rect').count()).toBe(13);
    expect(await chart.locator('rect.projected').count()).toBe(1);
    await page.getByText('The months as a table').click();
    expect(await page.getByRole('table', { name: 'Months' }).getByRole('row').count()).toBe(13);
    await page.context().close();
  });

  test('saves the numbers for a spreadsheet', async () => {
    const { page } = await openSignedIn(browser, nephos, finance, '/costs');
    const saved = async (button: string) => {
      const download = page.waitForEvent('download');
      await page.getByRole('button', { name: button }).click();
      const file = await download;
      return {
        name: file.suggestedFilename(),
        lines: (await readFile(await file.path(), 'utf8')).trimEnd().split('\r\n'),
      };
    };
    const months = await saved('Months (CSV)');
    expect(months.name).toBe('costs-months.csv');
    expect(months.lines).toHaveLength(13);
    expect(months.lines[0]).toMatch(/^month,stored_studies,/);
    expect(months.lines.at(-1)).toMatch(/,EUR$/);
    const parts = await saved('Tiers and modalities (CSV)');
    expect(parts.lines.some((line) => /,cold,MG,300,/.test(line))).toBe(true);
    await page.context().close();
  });

  test('is nobody’s who may not read costs', async () => {
    const { page } = await openSignedIn(browser, nephos, viewer, '/costs');
    await page.getByRole('alert').getByText('Your account may not do this').waitFor();
    expect(await page.getByRole('link', { name: 'Costs' }).count()).toBe(0);
    await page.context().close();
  });

  test('on a phone nothing is wider than the screen', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, colorScheme };
      const { page } = await openSignedIn(browser, nephos, finance, '/costs', phone);
      await part(page, 'By modality').waitFor();
      await nothingIsWider(page, 360);
      await page.getByText('The months as a table').click();
      await nothingIsWider(page, 360);
      await picture(page, `phone-${colorScheme}-costs`);
      await page.getByRole('heading', { name: 'By modality' }).scrollIntoViewIfNeeded();
      await picture(page, `phone-${colorScheme}-costs-parts`);
      await page.context().close();
    }
  });
});

test('without a price the page says amounts, and how to give one', async () => {
  const unpriced = await startNephos({ env: { NEPHOS_LIMIT_STUDY_QUIET_MS: '200', NEPHOS_WORKERS: '1' } });
  try {
    const { page } = await openPage(browser);
    await page.goto(`${unpriced.origin}/#/costs`);
    await page.getByText('Nothing has been counted yet').waitFor();
    await page.getByText('No price is known').waitFor();
    const body = new Uint8Array(buildDicom({ SOPInstanceUID: uid(3), Modality: 'XA' }));
    const headers = { 'content-type': 'application/dicom' };
    expect((await fetch(`${unpriced.root}/studies`, { method: 'POST', headers, body })).status).toBe(200);
    await expect
      .poll(
        async () => {
          await page.reload();
          await page.getByRole('heading', { name: 'Prices' }).waitFor();
          return part(page, 'By modality')
            .getByRole('row', { name: /^XA 1 / })
            .count();
        },
        { interval: 500 },
      )
      .toBe(1);
    expect(await page.textContent('main')).not.toMatch(/EUR|USD/);
    await page.context().close();
  } finally {
    await unpriced.stop();
  }
});
