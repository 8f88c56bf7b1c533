import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { checked } from '#edge/config.ts';
import { type Gateway, openGateway } from '#edge/gateway.ts';
import { statusSideOf } from '#edge/status/status-side.ts';
import { createLog } from '#embedded/log.ts';
import { type Nephos, startNephos } from '../helpers/nephos.ts';
import { openBrowser, openPage, picture } from './browser.ts';

let browser: Browser;
let nephos: Nephos;
let dir: string;
beforeAll(async () => {
  browser = await openBrowser();
  nephos = await startNephos();
  dir = await mkdtemp(join(tmpdir(), 'nephos-gateways-'));
});
afterAll(async () => {
  await browser?.close();
  await nephos?.stop();
  await rm(dir, { recursive: true, force: true });
});

const report = (id: string, members: object = {}) => {
  const queue = {
    upstream: 'cloud',
    link: 'online',
    paused: false,
    waiting: 0,
    waitingBytes: 0,
    oldestAt: null,
    held: 0,
  };
  const body = {
    version: '0.1.0',
    startedAt: Date.now(),
    everySeconds: 86_400,
    aeTitle: 'NEPHOS',
    queues: [queue],
    disk: { freeBytes: 2e12, cacheBytes: 4e10, daysLeft: 21.4 },
    modalities: [
      { aeTitle: 'CT_EMERGENCY', lastSeenAt: Date.now() - 60_000, objects: 2_310 },
      { aeTitle: 'MR_3T', lastSeenAt: Date.now() - 3_600_000, objects: 840 },
    ],
    configuration: { number: null },
    ...members,
  };
  return fetch(`${nephos.origin}/api/gateways/${id}`, { method: 'PUT', body: JSON.stringify(body) });
};
const queueOf = (members: object) => ({
  queues: [
    {
      upstream: 'cloud',
      link: 'online',
      paused: false,
      waiting: 1_200,
      waitingBytes: 6e8,
      oldestAt: Date.now() - 7_200_000,
      held: 0,
      ...members,
    },
  ],
});
const nothingIsWider = async (page: Page, width: number): Promise<void> =>
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);

describe('the console’s page of gateways', () => {
  test('says so when there is none', async () => {
    const { page } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/gateways`);
    await page.getByText('No gateway has reported yet').waitFor();
    await page.context().close();
  });

  test('shows what each is like, by the worst there is to say of it', async () => {
    await report('north-clinic');
    await report('south-clinic', queueOf({ link: 'offline', lastError: 'it cannot be reached: ECONNREFUSED' }));
    await report('harbour-radiology', {
      ...queueOf({ held: 3 }),
      configuration: { number: 4, refused: { number: 5, reason: 'the signature is wrong' } },
    });
    await report('old-town', { everySeconds: 1, ...queueOf({ paused: true }) });
    const { page, complaints } = await openPage(browser);
    await page.goto(nephos.origin);
    await page.getByRole('link', { name: 'Gateways' }).click();
    await page.getByRole('heading', { name: 'Gateways' }).waitFor();
    const row = (id: string) => page.getByRole('row').filter({ hasText: id });
    await row('north-clinic').getByText('Well').waitFor();
    await row('south-clinic').getByText('Line down').waitFor();
    await row('south-clinic').getByText('1,200 objects').waitFor();
    await row('south-clinic').getByText('ECONNREFUSED').waitFor();
    await row('harbour-radiology').getByText('3 held').waitFor();
    await row('harbour-radiology').getByText('Configuration 5 refused: the signature is wrong').waitFor();
    await row('north-clinic').getByText('2 AE titles').click();
    await row('north-clinic').getByText('CT_EMERGENCY').waitFor();
    await expect
      .poll(
        async () => {
          await page.reload();
          await row('old-town').waitFor();
          return row('old-town').getByText('Not heard of').count();
        },
        { interval: 300 },
      )
      .toBe(1);
    await picture(page, 'gateways');
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('on a phone nothing is wider than the screen', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page } = await openPage(browser, { viewport: { width: 360, height: 740 }, hasTouch: true, colorScheme });
      await page.goto(`${nephos.origin}/#/gateways`);
      await page.getByText('harbour-radiology').first().waitFor();
      await nothingIsWider(page, 360);
      await picture(page, `phone-${colorScheme}-gateways`);
      await page.context().close();
    }
  });

  test('forgets one that has been taken down, when that is confirmed', async () => {
    const { page } = await openPage(browser);
    await page.goto(`${nephos.origin}/#/gateways`);
    await page.getByRole('button', { name: 'Forget old-town' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Forget' }).click();
    await expect.poll(() => page.getByText('old-town').count()).toBe(0);
    expect((await fetch(`${nephos.origin}/api/gateways/old-town`)).status).toBe(404);
    await page.context().close();
  });
});

describe('the gateway’s own status page', () => {
  let gateway: Gateway;
  let origin: string;
  beforeAll(async () => {
    const config = checked(
      {
        dataDir: join(dir, 'edge'),
        dicom: { port: 0 },
        http: { port: 0 },
        disk: { reserveBytes: 0 },
        heartbeat: { id: 'north-clinic', everySeconds: 3600 },
        upstreams: [{ name: 'cloud', url: nephos.root }],
      },
      'the test',
    );
    gateway = await openGateway(config, { log: createLog('error', () => {}) });
    await vi.waitFor(() => expect(statusSideOf(gateway).httpPort).toBeGreaterThan(0));
    origin = `http://127.0.0.1:${statusSideOf(gateway).httpPort}`;
    statusSideOf(gateway).activity.stored('CT_EMERGENCY', 500_000);
  });
  afterAll(() => gateway?.close());

  test('says in words how it is, and a button pauses', async () => {
    const { page, complaints } = await openPage(browser);
    await page.goto(`${origin}/`);
    await page.getByText('All is well; nothing waits.').waitFor();
    await page.getByRole('rowheader', { name: 'CT_EMERGENCY' }).waitFor();
    await picture(page, 'gateway-status');
    // A page that loads itself anew forgets what was done last; one that has been stopped stays so.
    await page.getByRole('link', { name: 'Stop loading this page anew' }).click();
    await page.getByRole('link', { name: 'Load this page anew' }).waitFor();
    await page.getByRole('button', { name: 'Pause: cloud' }).click();
    await page.getByRole('status').getByText('Nothing more is sent to cloud until it is resumed.').waitFor();
    await page.getByRole('button', { name: 'Resume: cloud' }).click();
    await page.getByRole('status').getByText('cloud is sent to again.').waitFor();
    await page.getByRole('link', { name: 'Load this page anew' }).waitFor();
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('on a phone nothing is wider than the screen', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page } = await openPage(browser, { viewport: { width: 360, height: 740 }, hasTouch: true, colorScheme });
      await page.goto(`${origin}/status?refresh=off`);
      await nothingIsWider(page, 360);
      await picture(page, `phone-${colorScheme}-gateway-status`);
      await page.context().close();
    }
  });
});
