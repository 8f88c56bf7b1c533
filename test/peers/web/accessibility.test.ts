import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { AxeResults } from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { type Nephos, startNephos } from '../helpers/nephos.ts';
import { openBrowser, openPage, store } from './browser.ts';

/** WCAG 2.2 to level AA, as far as axe can tell, and its rules of good practice. */
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

let browser: Browser;
let nephos: Nephos;
let axe: string;
beforeAll(async () => {
  [browser, nephos, axe] = await Promise.all([
    openBrowser(),
    startNephos(),
    readFile(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8'),
  ]);
  const name = 'Yamada_without_any_blank_in_it_for_sixty_letters_and_then_some^Tarou=山田^太郎';
  await store(nephos.root, [
    Buffer.from(buildDicom({ PatientName: name })),
    Buffer.from(buildDicom({ SOPInstanceUID: uid(31), StudyInstanceUID: uid(32), SeriesInstanceUID: uid(33) })),
  ]);
  // The same UID with another header: something is held.
  const again = await fetch(`${nephos.root}/studies`, {
    method: 'POST',
    headers: { 'content-type': 'application/dicom' },
    body: new Uint8Array(buildDicom({ PatientName: name, StudyDescription: 'CT Abdomen' })),
  });
  expect(again.status).toBe(409);
});
afterAll(async () => {
  await browser?.close();
  await nephos?.stop();
});

/** Each page, and what is on it when it has been drawn whole. */
const PAGES: readonly (readonly [path: string, drawn: string])[] = [
  ['/studies', '.study-list tbody tr'],
  [`/study/${uid(1)}`, '.preview [data-state="shown"]'],
  [`/study/${uid(1)}?show=tags`, '.tag-list tbody tr'],
  ['/worklist', '.notice.empty'],
  ['/upload', '.drop-zone'],
  ['/shares', '.notice.empty'],
  ['/quarantine', '.quarantine tbody tr'],
  ['/trash', '.notice.empty'],
  ['/integrity', '.notice.empty'],
  ['/costs', '.costs'],
  ['/gateways', '.notice.empty'],
  ['/access', '.notice.empty'],
  ['/audit', '.audit tbody tr'],
];

const VIEWS = [
  ['in the light', { colorScheme: 'light' }],
  ['in the dark', { colorScheme: 'dark' }],
  ['on a phone of 360 pixels', { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true }],
  ['at 200 %', { viewport: { width: 640, height: 400 } }],
] as const;

describe.each(VIEWS)('the console %s', (_, options) => {
  test('can be read and used by everybody, and nothing is wider than the screen', async () => {
    // The archive lets no foreign script into its pages: the rules are one.
    const { page } = await openPage(browser, { ...options, bypassCSP: true, reducedMotion: 'reduce' });
    const problems: string[] = [];
    for (const [path, drawn] of PAGES) {
      await page.goto(`${nephos.origin}/#${path}`);
      await page.locator(drawn).first().waitFor();
      // What is loaded again is paler for the moment.
      await page.waitForFunction('!document.querySelector("[data-loading], [aria-busy=true]")');
      problems.push(...(await problemsOf(page)).map((problem) => `${path}: ${problem}`));
    }
    expect(problems).toEqual([]);
    await page.context().close();
  });
});

/** Pages with dialogs, and the button that opens each. */
const DIALOGS: readonly (readonly [path: string, button: RegExp])[] = [
  [`/study/${uid(1)}`, /^Share/],
  [`/study/${uid(1)}`, /^De-identified copy/],
  ['/worklist', /^Schedule/],
  ['/access', /^New grant/],
  ['/access', /^Restrict a patient/],
  ['/gateways', /^Enrol a gateway/],
];

test('on a phone a dialog is no wider than the screen, and its fields neither overlap nor stand out of it', async () => {
  const { page } = await openPage(browser, {
    viewport: { width: 360, height: 740 },
    isMobile: true,
    hasTouch: true,
    bypassCSP: true,
    reducedMotion: 'reduce',
  });
  const problems: string[] = [];
  for (const [path, button] of DIALOGS) {
    await page.goto(`${nephos.origin}/#${path}`);
    await page.getByRole('button', { name: button }).first().click();
    await page.getByRole('dialog').waitFor();
    const found = [...(await problemsOf(page)), ...((await page.evaluate(STAND_OUT)) as string[])];
    problems.push(...found.map((problem) => `${path} ${button}: ${problem}`));
    await page.keyboard.press('Escape');
  }
  expect(problems).toEqual([]);
  await page.context().close();
});

/** Fields of the dialog that reach beyond it, or over another one; runs within the page. */
const STAND_OUT = `(() => {
  const dialog = document.querySelector('dialog[open]').getBoundingClientRect();
  const fields = [...document.querySelectorAll('dialog[open] :is(input, select, textarea):not([type=checkbox])')];
  const boxes = fields.map((field) => field.getBoundingClientRect());
  return fields
    .filter((_, at) => {
      const box = boxes[at];
      const covers = boxes.some(
        (other, index) =>
          index !== at && box.left < other.right && other.left < box.right && box.top < other.bottom && other.top < box.bottom,
      );
      return covers || box.right > dialog.right || box.left < dialog.left;
    })
    .map((field) => field.outerHTML.slice(0, 80));
})()`;

async function problemsOf(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const { violations } = (await page.evaluate(
    `axe.run(document, { runOnly: ${JSON.stringify(RULES)} })`,
  )) as AxeResults;
  const width = (await page.evaluate('document.documentElement.scrollWidth - innerWidth')) as number;
  return [
    ...violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`),
    ...(width > 0 ? [`wider than the screen by ${width} pixels`] : []),
  ];
}
