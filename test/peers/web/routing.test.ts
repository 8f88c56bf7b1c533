import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ctStudy } from '#test/bench/data.ts';
import { stow } from '../helpers/dicomweb.ts';
import { type Nephos, startNephos } from '../helpers/nephos.ts';
import { openBrowser, openPage, picture } from './browser.ts';

let browser: Browser;
let nephos: Nephos;
let elsewhere: Server;
/** what the other archive answers waits for this */
let answers = Promise.resolve();
const study = ctStudy(4400, 3);

beforeAll(async () => {
  elsewhere = createServer((request, response) => {
    request.resume().on('end', () => void answers.then(() => response.writeHead(401).end()));
  });
  await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}`;
  browser = await openBrowser();
  nephos = await startNephos({
    env: {
      NEPHOS_ROUTING_HOSTS: `${origin},https://*.reading.example`,
      NEPHOS_ROUTING_NETWORKS: '127.0.0.1',
      NEPHOS_LIMIT_STUDY_QUIET_MS: '500',
      NEPHOS_LIMIT_ROUTING_FIRST_RETRY_MS: '100',
      NEPHOS_LIMIT_ROUTING_MOST_RETRY_MS: '500',
      NEPHOS_LIMIT_ROUTING_GIVE_UP_MS: '1500',
    },
  });
});
afterAll(async () => {
  await browser?.close();
  await nephos?.stop();
  elsewhere?.close().closeAllConnections();
});

const nothingIsWider = async (page: Page, width: number): Promise<void> =>
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);

const deliveries = async (): Promise<object[]> => {
  const path = `/api/routing/deliveries?study=${study.StudyInstanceUID}`;
  return ((await (await fetch(`${nephos.origin}${path}`)).json()) as { items: object[] }).items;
};
/** The page looks anew every quarter of a minute; a person does it as soon as the study is held. */
const untilHeld = async (row: Locator): Promise<void> => {
  await expect.poll(deliveries).toMatchObject([{ state: 'held' }]);
  await row.page().reload();
  await row.waitFor();
};

describe('the console’s page of routing', () => {
  test('makes destinations and rules, and says what is wrong with them', async () => {
    const { page, complaints } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/routing`);
    await page.getByText('No destination yet').waitFor();
    const dialog = page.getByRole('dialog');

    await page.getByRole('button', { name: 'New destination' }).click();
    await dialog.getByLabel('Name', { exact: true }).fill('second-site');
    await dialog.getByLabel(/DICOMweb address/).fill('https://somewhere.else/dicom-web');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog
      .getByRole('alert')
      .getByText(/does not let it send to that host/)
      .waitFor();
    await dialog.getByLabel(/DICOMweb address/).fill('https://north.reading.example/dicom-web');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page
      .getByRole('row', { name: /second-site/ })
      .getByText('Well')
      .waitFor();

    const { port } = elsewhere.address() as AddressInfo;
    await page.getByRole('button', { name: 'New destination' }).click();
    await dialog.getByLabel('Name', { exact: true }).fill('reading-service');
    await dialog.getByLabel(/DICOMweb address/).fill(`http://127.0.0.1:${port}/dicomweb`);
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('row', { name: /reading-service/ }).waitFor();

    await page.getByRole('button', { name: 'New rule' }).click();
    await dialog.getByLabel('Name', { exact: true }).fill('ct-to-readers');
    await dialog.getByLabel('Sends').selectOption({ label: 'the whole study as soon as one instance is of these' });
    await dialog.getByRole('button', { name: 'Add a condition' }).click();
    await dialog.getByLabel(/is one of/).fill('CT, MR');
    await dialog.getByLabel('second-site').setChecked(false);
    await dialog.getByLabel('reading-service').setChecked(true);
    await dialog.getByRole('button', { name: 'Save' }).click();
    const row = page.getByRole('row', { name: /ct-to-readers/ });
    await row.getByText('Modality CT or MR').waitFor();
    await row.getByText('the whole study').waitFor();

    // What another has changed meanwhile is not overwritten.
    await row.getByRole('button', { name: 'Change ct-to-readers' }).click();
    const changed = { when: 'quiet', order: 7, condition: { Modality: ['CT'] }, destinations: ['reading-service'] };
    const put = { method: 'PUT', body: JSON.stringify(changed) };
    expect((await fetch(`${nephos.origin}/api/routing/rules/ct-to-readers`, put)).status).toBe(200);
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog
      .getByRole('alert')
      .getByText(/somebody has changed it meanwhile/i)
      .waitFor();
    await page.keyboard.press('Escape');
    expect(complaints.filter((text) => !/403|412/.test(text))).toEqual([]);
    await page.context().close();
  });

  test('shows what could not be sent and why, tries rules, and lets a person decide', async () => {
    const files = study.slices.map(({ header, pixels }) => Buffer.concat([header, pixels]));
    expect((await stow(nephos.root, files)).status).toBe(200);
    const { page } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/routing`);
    const held = page
      .getByRole('table', { name: /Held/ })
      .getByRole('row', { name: new RegExp(study.StudyInstanceUID) });
    // Whoever looks at the page need not load it to see what has happened meanwhile.
    await held.waitFor();
    await held.getByText('it answered 401').waitFor();
    const destination = page.getByRole('table', { name: 'Destinations' }).getByRole('row', { name: /reading-service/ });
    await destination.getByText('Not taken').waitFor();

    await page.getByLabel(/Which rules match a study/).fill(study.StudyInstanceUID);
    await page.getByRole('button', { name: 'Try', exact: true }).click();
    await page.getByText('3 of 3 instances to reading-service').waitFor();
    await nothingIsWider(page, 1280);
    await picture(page, 'routing');
    await page.setViewportSize({ width: 390, height: 844 });
    await nothingIsWider(page, 390);
    await picture(page, 'routing-phone');
    await page.setViewportSize({ width: 1280, height: 800 });

    // Tried again, it is refused again, and in the end nobody wants it.
    const answered = Promise.withResolvers<void>();
    answers = answered.promise;
    await held.getByRole('button', { name: 'Try again' }).click();
    await held.waitFor({ state: 'detached' });
    answered.resolve();
    await untilHeld(held);
    await held.getByRole('button', { name: 'Give up…' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Give up' }).click();
    await held.waitFor({ state: 'detached' });
    expect(await deliveries()).toMatchObject([{ state: 'done', held: 0, discarded: 3 }]);
    // … until somebody asks for it again.
    await page.getByLabel(/Which rules match a study/).fill(study.StudyInstanceUID);
    await page.getByRole('button', { name: 'Try', exact: true }).click();
    await page.getByLabel(/Send all of it/).selectOption('reading-service');
    await page.getByRole('button', { name: 'Send it' }).click();
    await page
      .getByRole('status')
      .filter({ hasText: 'The study is sent to reading-service.' })
      .waitFor({ state: 'attached' });
    await untilHeld(held);
    await page.context().close();
  });

  test('says so where the archive may send nowhere', async () => {
    const closed = await startNephos();
    const { page } = await openPage(browser);
    await page.goto(`${closed.origin}/#/routing`);
    await page.getByText('This archive sends nothing on by itself').waitFor();
    await page.context().close();
    await closed.stop();
  });
});
