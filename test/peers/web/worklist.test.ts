import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dataSet, ended, scheduled, started } from '#test/fixtures/worklist.ts';
import { type Nephos, startNephos } from '../helpers/nephos.ts';
import { openBrowser, openPage, picture } from './browser.ts';

let browser: Browser;
let nephos: Nephos;
beforeAll(async () => {
  [browser, nephos] = await Promise.all([openBrowser(), startNephos()]);
});
afterAll(async () => {
  await browser?.close();
  await nephos?.stop();
});

const send = async (method: string, path: string, body: unknown): Promise<void> => {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${nephos.origin}/api${path}`, { method, headers, body: JSON.stringify(body) });
  expect(response.status, await response.text()).toBe(200);
};

test('a step is scheduled, changed, taken off the list and put back', async () => {
  const { page, complaints } = await openPage(browser);
  await page.goto(`${nephos.origin}/#/worklist`);
  await page.getByText('Nothing is scheduled').waitFor();
  await page.getByRole('button', { name: 'Schedule' }).click();
  const form = page.getByRole('dialog', { name: 'Schedule a step' });
  await form.getByLabel('Family name').fill('Doe');
  await form.getByLabel('Given name').fill('Jane');
  await form.getByLabel('MRN', { exact: true }).fill('P-77');
  await form.getByLabel('Birth date').fill('1970-01-02');
  await form.getByLabel('Sex').selectOption('female');
  await form.getByLabel('Modality', { exact: false }).selectOption('MR');
  await form.getByLabel('Station AE title').fill('MR1');
  await form.getByLabel('Date', { exact: true }).fill('2030-05-06');
  await form.getByLabel('Time').fill('09:30');
  await form.getByLabel('Description').fill('MR knee left');
  await picture(page, 'worklist-form');
  await form.getByRole('button', { name: 'Save' }).click();
  const row = page.getByRole('row', { name: /Doe, Jane/ });
  await row.getByText('MR knee left').waitFor();
  expect(await row.textContent()).toMatch(/09:30.*06 May 2030.*P-77 · female · 02 Jan 1970.*MR1.*Scheduled/s);

  await row.getByRole('button', { name: 'Edit the step of Doe, Jane' }).click();
  const change = page.getByRole('dialog', { name: 'Change a scheduled step' });
  expect(await change.getByLabel('Time').inputValue()).toBe('09:30');
  await change.getByLabel('Time').fill('10:45');
  await change.getByRole('button', { name: 'Save' }).click();
  await row.getByText('10:45').waitFor();

  await row.getByRole('button', { name: /Take the step/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Take off' }).click();
  await page.getByText('Nothing is scheduled').waitFor();
  await page.getByRole('checkbox', { name: /past and finished/ }).check();
  await row.getByText('Taken off').waitFor();
  expect(page.url()).toContain('over=1');
  await row.getByRole('button', { name: /Put the step/ }).click();
  await row.getByText('Scheduled').waitFor();
  expect(complaints).toEqual([]);
  await page.context().close();
});

test('what the modality reports is seen: in progress, completed, images that are missing', async () => {
  await send('POST', '/worklist', scheduled({ PatientName: 'Müller^Jürgen' }));
  await send(
    'POST',
    '/worklist',
    scheduled(
      { StudyInstanceUID: '1.2.4', PatientName: 'Roe^Richard' },
      { Modality: 'US', ScheduledStationAETitle: 'US1' },
    ),
  );
  const { page, complaints } = await openPage(browser);
  await page.goto(`${nephos.origin}/#/worklist?over=1`);
  const row = page.getByRole('row', { name: /Müller, Jürgen/ });
  await row.getByText('Scheduled').waitFor();
  await send('PUT', '/procedure-steps/1.2.3.99?source=CT1', started());
  await row.getByText('In progress').waitFor();
  await send('POST', '/procedure-steps/1.2.3.99', ended(['1.2.3.1.1', '1.2.3.1.2']));
  await row.getByText('Completed').waitFor();
  await row.getByText('by CT1, 2 of 2 images missing').waitFor();
  await send('PUT', '/procedure-steps/1.2.4.99?source=US1', started({}, { StudyInstanceUID: '1.2.4' }));
  await page
    .getByRole('row', { name: /Roe, Richard/ })
    .getByText('In progress')
    .waitFor();
  await picture(page, 'worklist');
  expect(complaints).toEqual([]);
  await page.context().close();
});

test('the list is filtered, and its address keeps the filters', async () => {
  const { page } = await openPage(browser);
  await page.goto(`${nephos.origin}/#/worklist?over=1`);
  const rows = page.getByRole('table', { name: 'Worklist' }).locator('tbody tr');
  await rows.nth(2).waitFor();
  await page.getByLabel('Patient name').fill('muller');
  await expect.poll(() => rows.count()).toBe(1);
  await page.reload();
  await expect.poll(() => rows.count()).toBe(1);
  await page.getByRole('button', { name: 'Clear filters' }).click();
  await page.getByRole('checkbox', { name: /past and finished/ }).check();
  await rows.nth(2).waitFor();
  await page.getByLabel('Modality').selectOption('MR');
  await expect.poll(() => rows.count()).toBe(1);
  await page.getByLabel('Modality').selectOption('All');
  await page.getByLabel('Day').fill('2030-05-06');
  await expect.poll(() => rows.count()).toBe(1);
  await page.getByLabel('Station').fill('nobody');
  await page.getByText('No scheduled step matches these filters').waitFor();
  await page.context().close();
});

test('what the archive refuses is said, and the form stays', async () => {
  const { page } = await openPage(browser);
  await page.goto(`${nephos.origin}/#/worklist`);
  await page.getByRole('button', { name: /Edit the step of Doe/ }).click();
  const form = page.getByRole('dialog');
  const [item] = (
    (await (await fetch(`${nephos.origin}/api/worklist?PatientName=Doe*`)).json()) as {
      items: { id: string; item: object }[];
    }
  ).items;
  await send('PUT', `/worklist/${item!.id}`, { ...item!.item, ...dataSet({ AccessionNumber: 'NEW' }) });
  await form.getByRole('button', { name: 'Save' }).click();
  await form.getByText(/changed meanwhile/).waitFor();
  await page.keyboard.press('Escape');
  await form.waitFor({ state: 'detached' });
  await page.context().close();
});

test('on a phone the list is cards that fit, and the form can be filled', async () => {
  const { page, complaints } = await openPage(browser, { viewport: { width: 375, height: 700 } });
  await page.goto(`${nephos.origin}/#/worklist?over=1`);
  await page.getByRole('row', { name: /Doe, Jane/ }).waitFor();
  const width = () => page.evaluate<number>('document.documentElement.scrollWidth');
  expect(await width()).toBeLessThanOrEqual(375);
  await picture(page, 'worklist-phone');
  await page.getByRole('button', { name: /Edit the step of Doe/ }).click();
  const box = await page.getByRole('dialog').boundingBox();
  expect(box!.x).toBeGreaterThanOrEqual(0);
  expect(box!.x + box!.width).toBeLessThanOrEqual(375);
  await picture(page, 'worklist-form-phone');
  expect(complaints).toEqual([]);
  await page.context().close();
});
