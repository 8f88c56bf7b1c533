import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zipSync } from 'fflate';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { type Nephos, startNephos } from '../helpers/nephos.ts';
import { corpus, dropFiles, filesBelow, hasCorpus, openBrowser, openPage, picture, store } from './browser.ts';
import { printedToken } from './signed-in.ts';

let browser: Browser;
let folder: string;
beforeAll(async () => {
  browser = await openBrowser();
  folder = await mkdtemp(join(tmpdir(), 'nephos-console-'));
});
afterAll(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});

describe.runIf(hasCorpus)('the console of an archive that is open to its own machine', () => {
  let nephos: Nephos;
  beforeAll(async () => {
    nephos = await startNephos();
  });
  afterAll(() => nephos?.stop());

  test('an empty archive says how to fill it', async () => {
    const { page } = await openPage(browser);
    await page.goto(nephos.origin);
    await page.getByText('The archive is empty').waitFor();
    expect(await page.getByRole('button', { name: 'Sign out' }).count()).toBe(0);
    await page.context().close();
  });

  test('a dropped folder is stored, what is no image is skipped, the study is found', async () => {
    const disc = join(folder, 'CD');
    await mkdir(disc);
    await cp(join(corpus, 'study/ct-head-phantom/series-0201-28-slices'), join(disc, 'DICOM'), { recursive: true });
    await writeFile(join(disc, 'README.txt'), 'not an image');
    const { page, complaints } = await openPage(browser);
    await page.goto(nephos.origin);
    await page.getByText('The archive is empty').waitFor();
    await dropFiles(page, [disc]);
    await page.getByRole('button', { name: 'Stored 28' }).waitFor();
    await page.getByRole('button', { name: 'Skipped 1' }).click();
    await page.getByText('CD/README.txt').waitFor();
    await page.getByText('1 study found').waitFor();
    await picture(page, 'upload');
    await page.getByRole('region', { name: '1 study found' }).getByRole('link').first().click();
    await page.getByRole('link', { name: /STD BRAIN/ }).waitFor();
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('files and a zip by the buttons: already there, in conflict, damaged', async () => {
    const { page } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/upload`);
    const [first, second] = await filesBelow(join(corpus, 'study/ct-head-phantom/series-0201-28-slices'));
    const damaged = Buffer.from(await readFile(first!)).subarray(0, 600);
    const changed = Buffer.from(await readFile(second!));
    changed[changed.length - 1]! ^= 1;
    const zip = join(folder, 'disc.zip');
    await writeFile(
      zip,
      zipSync({ 'IM/again.dcm': await readFile(first!), 'IM/changed.dcm': changed, 'IM/damaged.dcm': damaged }),
    );
    await page.getByLabel('Choose files').setInputFiles([zip, join(corpus, 'us/us-rgb.dcm')]);
    await page.getByText('4 files ·').waitFor();
    await page.getByRole('button', { name: 'Held in quarantine 1' }).waitFor();
    await page.getByRole('button', { name: 'Refused 1' }).waitFor();
    await page.getByRole('button', { name: 'Already there 1' }).waitFor();
    await page.getByRole('button', { name: 'Stored 1' }).waitFor();
    await page.context().close();
  });

  test('the list is filtered, sorted and kept in its address', async () => {
    const { page, complaints } = await openPage(browser);
    await page.goto(nephos.origin);
    const rows = page.getByRole('table', { name: 'Studies' }).locator('tbody tr');
    await rows.nth(1).waitFor();
    expect(await rows.count()).toBe(2);
    await page.getByLabel('Description').fill('TRAUMA');
    await expect.poll(() => rows.count()).toBe(1);
    expect(page.url()).toContain('description=TRAUMA');
    expect(new URL(page.url()).search).toBe('');
    await page.reload();
    await expect.poll(() => rows.count()).toBe(1);
    expect(await page.getByLabel('Description').inputValue()).toBe('TRAUMA');
    await page.getByRole('button', { name: 'Clear filters' }).click();
    await expect.poll(() => rows.count()).toBe(2);
    await page.goBack();
    await expect.poll(() => rows.count()).toBe(1);
    await page.goForward();
    await page.locator('summary', { hasText: 'All' }).click();
    await page.getByRole('checkbox', { name: 'US', exact: true }).check();
    await expect.poll(() => rows.count()).toBe(1);
    await page.getByRole('checkbox', { name: 'US', exact: true }).uncheck();
    await expect.poll(() => rows.count()).toBe(2);
    await page.getByLabel('Patient name').fill('nobody at all');
    await page.getByText('No study matches these filters').waitFor();
    await page.getByRole('link', { name: 'Clear the filters' }).click();
    await page.getByRole('button', { name: 'Study date' }).click();
    await page.getByRole('columnheader', { name: 'Study date' }).and(page.locator('[aria-sort=ascending]')).waitFor();
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('a study that comes in shows itself', async () => {
    const { page } = await openPage(browser);
    await page.goto(nephos.origin);
    const rows = page.getByRole('table', { name: 'Studies' }).locator('tbody tr');
    await rows.first().waitFor();
    const before = await rows.count();
    await store(nephos.root, [join(corpus, 'us/us-multiframe-30-jpeg-baseline.dcm')]);
    await expect.poll(() => rows.count()).toBe(before + 1);
    await page.context().close();
  });

  test('a study: pictures, frames, tags, download', async () => {
    const { page, complaints } = await openPage(browser);
    const { study } = await store(nephos.root, [join(corpus, 'us/us-multiframe-30-jpeg-baseline.dcm')]);
    await page.goto(`${nephos.origin}/#/study/${study}`);
    await page.getByRole('img', { name: /frame 1 of 30/ }).waitFor();
    await expect.poll(() => page.evaluate("document.querySelector('.preview img')?.naturalWidth")).toBe(320);
    await page.getByLabel('Frame').fill('7');
    await page.getByRole('img', { name: /frame 7 of 30/ }).waitFor();
    await expect
      .poll(() => page.evaluate("document.querySelector('.series-card img')?.naturalWidth"))
      .toBeGreaterThan(0);
    await picture(page, 'study');
    await page.getByRole('link', { name: 'Tags' }).click();
    await page.getByRole('cell', { name: 'PhotometricInterpretation' }).waitFor();
    await page.getByLabel('Search tags').fill('sonosite');
    await page.getByRole('cell', { name: 'Manufacturer', exact: true }).waitFor();
    await page.getByLabel('Search tags').fill('0028,0010');
    await page.getByRole('row', { name: /Rows US 240/ }).waitFor();
    expect(await page.locator('.tag-list tbody tr').count()).toBe(1);
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.locator('.instance-head').getByRole('link', { name: 'Download' }).click(),
    ]);
    const original = await readFile(join(corpus, 'us/us-multiframe-30-jpeg-baseline.dcm'));
    expect(original.equals(await readFile(await download.path()))).toBe(true);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('a report is read, a document opened, where there is no picture to look at', async () => {
    const { page, complaints } = await openPage(browser);
    const report = await store(nephos.root, [join(corpus, 'sr/test-SR.dcm')]);
    await page.goto(`${nephos.origin}/#/study/${report.study}`);
    await page.getByRole('region', { name: 'Report' }).getByText('COMPLETE').waitFor();
    await picture(page, 'report');
    const document = await store(nephos.root, [join(corpus, 'encapsulated/encapsulated-pdf.dcm')]);
    await page.goto(`${nephos.origin}/#/study/${document.study}`);
    const link = page.getByRole('link', { name: 'Open the document' });
    const opened = await fetch(new URL((await link.getAttribute('href'))!, nephos.origin));
    expect(opened.headers.get('content-type')).toBe('application/pdf');
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('an image that comes in while somebody deletes another is not taken for it', async () => {
    const object = (n: number, InstanceNumber: number) =>
      Buffer.from(
        buildDicom({ StudyInstanceUID: uid(50), SeriesInstanceUID: uid(51), SOPInstanceUID: uid(n), InstanceNumber }),
      );
    await store(nephos.root, [object(62, 2)]);
    const { page } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/study/${uid(50)}`);
    const images = page.getByRole('list', { name: 'Images' }).getByRole('listitem');
    await images.getByText('2', { exact: true }).waitFor();
    await page.locator('.instance-head').getByRole('button', { name: 'Delete…' }).click();
    const question = page.getByRole('dialog', { name: 'Move this image to the trash?' });
    await question.getByLabel('Reason').fill('blurred');
    await store(nephos.root, [object(61, 1)]);
    // Behind the question the list grows, and begins with the newcomer.
    await expect.poll(() => page.locator('.instance-list ol > li').count()).toBe(2);
    expect(await question.getByLabel('Reason').inputValue()).toBe('blurred');
    await question.getByRole('button', { name: 'Move to the trash' }).click();
    await question.waitFor({ state: 'detached' });
    const statusOf = async (n: number) =>
      (await fetch(`${nephos.root}/studies/${uid(50)}/series/${uid(51)}/instances/${uid(n)}/metadata`)).status;
    expect([await statusOf(61), await statusOf(62)]).toEqual([200, 404]);
    await fetch(`${nephos.root}/studies/${uid(50)}?reason=test`, { method: 'DELETE' });
    await page.context().close();
  });

  test('what is deleted goes to the trash and comes back', async () => {
    const { page } = await openPage(browser);
    const { study } = await store(nephos.root, [join(corpus, 'us/us-multiframe-30-jpeg-baseline.dcm')]);
    await page.goto(`${nephos.origin}/#/study/${study}`);
    await page.locator('.patient-header').getByRole('button', { name: 'Delete…' }).click();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.locator('.patient-header').getByRole('button', { name: 'Delete…' }).click();
    await page.getByLabel('Reason').fill('wrong patient');
    await page.getByRole('button', { name: 'Move to the trash' }).click();
    await page.getByRole('heading', { name: 'Studies' }).waitFor();
    expect((await fetch(`${nephos.root}/studies/${study}/metadata`)).status).toBe(404);
    await page.goto(`${nephos.origin}/#/trash`);
    await page.getByText('wrong patient').waitFor();
    // Whoever wants something back looks for a patient, not for a UID.
    await page.getByRole('row', { name: /^PLA/ }).getByText('wrong patient').waitFor();
    await picture(page, 'trash');
    await page
      .getByRole('row', { name: /wrong patient/ })
      .getByRole('button', { name: 'Restore' })
      .click();
    await expect.poll(async () => (await fetch(`${nephos.root}/studies/${study}/metadata`)).status).toBe(200);
    await page.context().close();
  });

  test('images that the disk has spoiled are named on every page, and listed with whose they are', async () => {
    const { page, complaints } = await openPage(browser);
    const pass = {
      startedAt: Date.UTC(2026, 1, 3, 8),
      endedAt: Date.UTC(2026, 1, 5, 9),
      objects: 48_211,
      bytes: 2.6e10,
    };
    const of = (PatientName: string, modality: string) => ({
      '00100010': { vr: 'PN', Value: [{ Alphabetic: PatientName }] },
      '00080061': { vr: 'CS', Value: [modality] },
      '00080020': { vr: 'DA', Value: ['20260201'] },
    });
    const spoiled = (n: number, problem: string, attributes?: object) => ({
      ...{ StudyInstanceUID: `1.2.${n}`, SeriesInstanceUID: `1.3.${n}`, SOPInstanceUID: `1.4.${n}` },
      ...{ blobKey: `main/1.2.${n}/1.3.${n}/1.4.${n}.01JKXYZ.dcm`, problem, foundAt: pass.endedAt, attributes },
    });
    const items = [
      spoiled(1, 'altered', of('LIND^ANNA', 'CT')),
      spoiled(2, 'missing', of('BERG^NILS', 'MR')),
      spoiled(3, 'unreadable'),
    ];
    await page.route('**/api/verification', (route) => route.fulfill({ json: { damaged: 3, pass } }));
    await page.route('**/api/verification/damaged*', (route) => route.fulfill({ json: { items } }));
    await page.goto(`${nephos.origin}/#/studies`);
    await page
      .getByRole('link', { name: /Integrity/ })
      .getByText('3', { exact: true })
      .waitFor();
    await page.getByRole('link', { name: /Integrity/ }).click();
    await page.getByText('3 images damaged').waitFor();
    await page.getByRole('row', { name: /LIND, ANNA.*bytes are not those that arrived/ }).waitFor();
    await page.getByRole('row', { name: /BERG, NILS.*file is missing/ }).waitFor();
    await page.getByText('48,211 images (24.2 GB) read').waitFor();
    await picture(page, 'integrity');
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('a list that somebody has gone through further does not begin again under his eyes', async () => {
    const { page } = await openPage(browser);
    const entry = (id: string) => ({
      id,
      level: 'study',
      kind: 'deleted',
      instanceCount: 1,
      StudyInstanceUID: id,
      reason: `wrong ${id}`,
      deletedAt: '2026-01-02T03:04:05Z',
      purgeAt: null,
    });
    const asked: string[] = [];
    let answers = Promise.resolve();
    // What else happens in the archive has the list loaded anew, too.
    await page.route('**/api/events', (route) => route.abort());
    await page.route(/\/api\/trash/, async (route) => {
      if (route.request().method() !== 'GET') return route.fulfill({ status: 404 });
      const after = new URL(route.request().url()).searchParams.get('after') ?? '';
      asked.push(after);
      if (after !== '') await answers;
      const json = after === '' ? { items: [entry('1.1')], next: 'behind' } : { items: [entry('1.2')], next: null };
      return route.fulfill({ json });
    });
    await page.goto(`${nephos.origin}/#/trash`);
    await page.getByRole('button', { name: 'Show more' }).click();
    await page.getByText('wrong 1.2').waitFor();
    asked.length = 0;
    await page
      .getByRole('row', { name: /wrong 1\.1/ })
      .getByRole('button', { name: 'Restore' })
      .click();
    await page.getByRole('alert').waitFor();
    await expect.poll(() => asked.slice(0, 2)).toEqual(['', 'behind']);
    await page.getByText('wrong 1.2').waitFor();
    expect(await page.getByRole('button', { name: 'Show more' }).count()).toBe(0);

    // Nor is lost what somebody has just asked for, and has not come yet.
    await page.reload();
    const answered = Promise.withResolvers<void>();
    answers = answered.promise;
    asked.length = 0;
    await page.getByRole('button', { name: 'Show more' }).click();
    await expect.poll(() => asked).toContain('behind');
    await page.getByRole('button', { name: 'Restore' }).click();
    await page.getByRole('alert').waitFor();
    answered.resolve();
    await page.getByText('wrong 1.2').waitFor();
    expect(await page.getByRole('button', { name: 'Show more' }).count()).toBe(0);
    await page.context().close();
  });

  test('a conflict is compared and decided', async () => {
    const { page, complaints } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/quarantine`);
    await page.getByRole('table', { name: 'Quarantine' }).getByText('HEAD').first().waitFor();
    await picture(page, 'quarantine-list');
    await page
      .getByRole('link', { name: /^Compare HEAD/ })
      .first()
      .click();
    await page.getByRole('heading', { name: /tags? differs?|No tag differs/ }).waitFor();
    // Whose image it is stands on either side, also where that is no difference.
    expect(await page.locator('.side').getByText('HEAD · PLASTIC').count()).toBe(2);
    await picture(page, 'quarantine');
    await page.getByRole('button', { name: 'Keep what is in the archive…' }).click();
    await page.getByLabel('Reason').fill('the first is right');
    await page.getByRole('button', { name: 'Discard' }).click();
    await page.getByText('Nothing is held').waitFor();
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('on a phone nothing is wider than the screen', async () => {
    const { study } = await store(nephos.root, [join(corpus, 'us/us-multiframe-30-jpeg-baseline.dcm')]);
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page } = await openPage(browser, { viewport: { width: 360, height: 740 }, hasTouch: true, colorScheme });
      for (const [path, shown] of [
        ['/studies', page.getByRole('table', { name: 'Studies' }).getByRole('row').nth(1)],
        [`/study/${study}`, page.locator('.preview [data-state=shown] img')],
        [`/study/${study}?show=tags`, page.getByRole('cell', { name: 'PhotometricInterpretation' })],
        ['/upload', page.getByText('Choose files')],
        ['/quarantine', page.getByText('Nothing is held')],
        ['/trash', page.getByRole('heading', { name: 'Trash' })],
        ['/integrity', page.getByText('No image is known to be damaged')],
      ] as const) {
        await page.goto(`${nephos.origin}/#${path}`);
        await shown.waitFor();
        expect(await page.evaluate('document.documentElement.scrollWidth'), path).toBeLessThanOrEqual(360);
        await picture(page, `phone-${colorScheme}-${path.replace(/\W+/g, '-')}`);
      }
      await page.context().close();
    }
  });

  test('everything is reached by the keyboard', async () => {
    const { page } = await openPage(browser);
    await page.goto(nephos.origin);
    await page.getByRole('table', { name: 'Studies' }).locator('tbody tr').first().waitFor();
    await page.keyboard.press('Tab');
    await expect.poll(() => page.evaluate('document.activeElement.textContent')).toContain('Skip to the content');
    await page.keyboard.press('Enter');
    expect(await page.evaluate('document.activeElement.tagName')).toBe('MAIN');
    await page.getByLabel('Patient name').focus();
    for (let presses = 0; presses < 60; presses++) {
      await page.keyboard.press('Tab');
      if (await page.evaluate('document.activeElement.matches(".study-list .patient a")')) break;
    }
    await page.keyboard.press('Enter');
    await page.getByRole('link', { name: 'Open in viewer' }).waitFor();
    await expect.poll(() => page.evaluate('document.activeElement.tagName')).toBe('H1');
    await page.context().close();
  });
});

describe('the console of an archive with access control', () => {
  test('asks for the token, keeps none of it, and signs out', async () => {
    const nephos = await startNephos({ auth: 'on' });
    try {
      const token = await printedToken(nephos);
      const { page } = await openPage(browser);
      await page.goto(nephos.origin);
      await page.getByLabel('Access token').fill('guessed');
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByRole('alert').filter({ hasText: 'does not know this token' }).waitFor();
      await page.getByLabel('Access token').fill(token);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByText('The archive is empty').waitFor();
      expect(
        await page.evaluate('document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)'),
      ).not.toContain(token);
      expect(await page.context().cookies()).toMatchObject([{ httpOnly: true, sameSite: 'Strict' }]);
      await page.reload();
      await page.getByText('The archive is empty').waitFor();
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByLabel('Access token').waitFor();
      expect(await page.context().cookies()).toEqual([]);
      await page.context().close();
    } finally {
      await nephos.stop();
    }
  });
});
