import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bareEnvironment } from '#test/fixtures/bare-environment.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { keyObject } from '#test/fixtures/key-object.ts';
import { CLIENT_ID, type FakeRecordSystem, startRecordSystem } from '#test/fixtures/record-system.ts';
import { multipart } from '#test/hosts/client.ts';
import { nephos as command } from '#test/hosts/process.ts';
import { type Nephos, projectRoot, startNephos } from '../helpers/nephos.ts';
import { openBrowser, openPage, picture } from './browser.ts';

let browser: Browser;
let nephos: Nephos;
let ehr: FakeRecordSystem;
let admin: string;
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-machines-'));
  browser = await openBrowser();
  const port = await freePort();
  ehr = await startRecordSystem([`http://127.0.0.1:${port}/launch`]);
  ehr.resources = { 'Patient/p1': { identifier: [{ system: 'urn:mrn', value: 'MRN-SECRET-1' }] } };
  const issuers = [{ issuer: ehr.issuer, clientId: CLIENT_ID, signIn: ['viewer'] }];
  nephos = await startNephos({ auth: 'on', port, env: { NEPHOS_SMART_ISSUERS: JSON.stringify(issuers) } });
  admin = (await command(nephos.dataDir, 'token')).output.trim();
  for (const [n, PatientID, AccessionNumber] of [
    [1, 'MRN-SECRET-1', 'A1'],
    [2, 'MRN-SECRET-1', 'A2'],
    [3, 'MRN-3', 'A3'],
  ] as const) {
    const object = buildDicom({
      StudyInstanceUID: uid(n),
      SeriesInstanceUID: uid(10 + n),
      SOPInstanceUID: uid(100 + n),
      StudyDescription: `Study ${n}`,
      StudyDate: `2024010${n}`,
      PatientID,
      AccessionNumber,
    });
    const marked = keyObject({ study: n, instance: 900 + n, PatientID }, [[n, 10 + n, 100 + n]]);
    const stored = n === 3 ? [object, marked] : [object];
    const { headers, body } = multipart(
      stored.map((one) => ({ headers: { 'Content-Type': 'application/dicom' }, body: one })),
    );
    const response = await fetch(`${nephos.root}/studies`, {
      method: 'POST',
      headers: { ...headers, authorization: `Bearer ${admin}` },
      body: Buffer.from(body),
    });
    expect(response.status).toBe(200);
  }
});
afterAll(async () => {
  await browser?.close();
  await nephos?.stop();
  await ehr?.close();
  await rm(dir, { recursive: true, force: true });
});

/** A browser whose session is there already, however people sign in. */
async function openAs(token: string | undefined): Promise<Page> {
  const { page } = await openPage(browser);
  if (token !== undefined) {
    const response = await fetch(`${nephos.origin}/api/session`, { method: 'POST', body: JSON.stringify({ token }) });
    const [name = '', value = ''] = response.headers.getSetCookie()[0]!.split(';', 1)[0]!.split(/=(.*)/s);
    await page.context().addCookies([{ name, value, url: nephos.origin, httpOnly: true, sameSite: 'Strict' }]);
  }
  return page;
}
const run = (args: string[], env: Record<string, string>): Promise<{ code: number; said: string }> =>
  new Promise((resolve) => {
    const options = { cwd: projectRoot, env: { ...bareEnvironment, ...env } };
    execFile(process.execPath, ['edge-gateway/main.ts', ...args], options, (error, out, said) =>
      resolve({ code: error ? Number(error.code ?? 1) : 0, said: out + said }),
    );
  });

describe('the console’s page of machines', () => {
  test('registers one, shows its secret once, gives it a second, and revokes it', async () => {
    const page = await openAs(admin);
    await page.goto(`${nephos.origin}/#/clients`);
    await page.getByText('No machine has been registered').waitFor();
    await page.getByRole('button', { name: 'New client' }).click();
    const form = page.getByRole('dialog', { name: 'New machine client' });
    await form.getByLabel('Name').fill('AI triage');
    await form.getByRole('checkbox', { name: 'Finder' }).check();
    await form.getByRole('button', { name: 'Register' }).click();
    const shown = page.getByRole('region', { name: 'Secret of AI triage' });
    const secret = await shown.getByLabel('The secret', { exact: true }).inputValue();
    const id = await shown.locator('code').last().textContent();
    const ask = async (with_: string) =>
      (
        await fetch(`${nephos.origin}/api/token`, {
          method: 'POST',
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
          body: new URLSearchParams({
            grant_type: 'client_credentials',
            client_id: id!,
            client_secret: with_,
          }).toString(),
        })
      ).status;
    expect(await ask(secret)).toBe(200);
    await picture(page, 'client-secret');
    await shown.getByRole('button', { name: 'Done' }).click();
    expect(await page.content()).not.toContain(secret);
    await page.getByRole('button', { name: 'Another secret for AI triage' }).click();
    const second = await shown.getByLabel('The secret', { exact: true }).inputValue();
    expect([await ask(secret), await ask(second)]).toEqual([200, 200]);
    await page
      .getByRole('button', { name: /^Take back the secret/ })
      .first()
      .click();
    await expect.poll(() => ask(secret)).toBe(401);
    expect(await ask(second)).toBe(200);
    await page.getByRole('button', { name: 'Revoke AI triage' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
    await page.getByText('No machine has been registered').waitFor();
    expect(await ask(second)).toBe(401);
    await page.context().close();
  });
});

describe('a gateway', () => {
  test('is invited in the console, enrols by the command that it shows, and is listed among the machines', async () => {
    const page = await openAs(admin);
    await page.goto(`${nephos.origin}/#/gateways`);
    await page.getByRole('button', { name: 'Enrol a gateway' }).click();
    const form = page.getByRole('dialog', { name: 'Enrol a gateway' });
    await form.getByLabel('Gateway').fill('north-clinic');
    await form.getByRole('button', { name: 'Make a code' }).click();
    const shown = page.getByRole('region', { name: 'Code for north-clinic' });
    const line = (await shown.locator('code').textContent())!;
    await picture(page, 'enrolment-code');
    const [, , , , , archive, ...more] = line.trim().split(/\s+/);
    expect(more, 'the code is no part of a command').toEqual([]);
    const code = await shown.getByRole('textbox', { name: 'The code' }).inputValue();
    const enrolled = await run(['enrol', archive!, code], { NEPHOS_DATA_DIR: join(dir, 'edge') });
    expect(enrolled).toMatchObject({ code: 0, said: expect.stringContaining('This gateway is north-clinic') });
    await page.goto(`${nephos.origin}/#/clients`);
    await page.getByRole('row', { name: /north-clinic.*the key it enrolled with/ }).waitFor();
    await page.context().close();
  });
});

describe('another program', () => {
  test('has a study shown by Invoke Image Display: the viewer opens, and no id of the patient stays in the address or the history', async () => {
    const page = await openAs(admin);
    await page.goto(`${nephos.origin}/iid?requestType=STUDY&accessionNumber=A1`);
    await page.waitForURL(`**/viewer?StudyInstanceUIDs=${uid(1)}`);
    await page.goto(`${nephos.origin}/iid?requestType=PATIENT&patientID=MRN-SECRET-1%5E%5E%5EH&mostRecentResults=1`);
    await page.waitForURL(`**/viewer?StudyInstanceUIDs=${uid(2)}`);
    await page.goBack();
    expect(page.url()).not.toContain('MRN-SECRET');
    expect(await page.evaluate('JSON.stringify(sessionStorage)')).not.toContain('MRN-SECRET');
    await page.context().close();
  });

  test('lets a person choose among several, and says so when there is nothing, or the request is wrong', async () => {
    const page = await openAs(admin);
    await page.goto(`${nephos.origin}/iid?requestType=PATIENT&patientID=MRN-SECRET-1`);
    await page.getByRole('heading', { name: 'Which study?' }).waitFor();
    expect(page.url()).toBe(`${nephos.origin}/`);
    await picture(page, 'iid-choice');
    await page.getByRole('link', { name: /Study 1/ }).click();
    await page.waitForURL(`**/viewer?StudyInstanceUIDs=${uid(1)}`);
    await page.goto(`${nephos.origin}/iid?requestType=STUDY&accessionNumber=NONE`);
    await page.getByText('The archive has no study that was asked for').waitFor();
    await page.goto(`${nephos.origin}/iid?requestType=PATIENT&patientID=*`);
    await page.getByRole('alert').filter({ hasText: 'patientID' }).waitFor();
    await page.context().close();
  });

  test('has nothing but the key images shown, where it asks for these', async () => {
    const page = await openAs(admin);
    await page.goto(`${nephos.origin}/iid?requestType=STUDY&studyUID=${uid(3)}&keyImagesOnly=true`);
    await page.getByRole('heading', { name: 'Key images' }).waitFor();
    const image = page.getByRole('img', { name: '1 of 1' });
    await image.waitFor();
    await expect.poll(() => image.evaluate((one) => (one as unknown as { naturalWidth: number }).naturalWidth)).toBe(4);
    expect(await page.getByRole('img').count()).toBe(1);
    await picture(page, 'iid-key-images');
    await page.getByRole('link', { name: 'Open all images' }).click();
    await page.waitForURL(`**/viewer?StudyInstanceUIDs=${uid(3)}`);
    // For diagnosis: without loss, and the page says what a picture is not. The viewer asks for pictures of its own until it is gone.
    await page.goto('about:blank');
    const drawn = page.waitForResponse((response) => response.url().includes('/rendered'));
    await page.goto(
      `${nephos.origin}/iid?requestType=STUDY&studyUID=${uid(3)}&keyImagesOnly=true&diagnosticQuality=true&viewerType=IHE_BIR`,
    );
    await page.getByText('Drawn without loss').waitFor();
    expect((await drawn).headers()['content-type']).toBe('image/png');
    await page.goto(`${nephos.origin}/iid?requestType=STUDY&studyUID=${uid(1)}&keyImagesOnly=true`);
    await page.getByText('No images of this study are marked').waitFor();
    await page.context().close();
  });

  test('goes on where it was once somebody has signed in', async () => {
    const page = await openAs(undefined);
    await page.goto(`${nephos.origin}/iid?requestType=STUDY&studyUID=${uid(3)}`);
    await page.getByRole('heading', { name: 'Nephos' }).waitFor();
    expect(page.url()).not.toContain(uid(3));
    const response = await fetch(`${nephos.origin}/api/session`, {
      method: 'POST',
      body: JSON.stringify({ token: admin }),
    });
    const [name = '', value = ''] = response.headers.getSetCookie()[0]!.split(';', 1)[0]!.split(/=(.*)/s);
    await page.context().addCookies([{ name, value, url: nephos.origin, httpOnly: true, sameSite: 'Strict' }]);
    await page.reload();
    await page.waitForURL(`**/viewer?StudyInstanceUIDs=${uid(3)}`);
    await page.context().close();
  });

  test('launches by SMART: through the record system’s login into the viewer, signed in by it, on the study of its screen', async () => {
    ehr.context = { patient: 'p1', study: uid(2) };
    const page = await openAs(undefined);
    await page.goto(`${nephos.origin}/launch?iss=${encodeURIComponent(ehr.issuer)}&launch=${ehr.launch}`);
    await page.waitForURL(`**/viewer?StudyInstanceUIDs=${uid(2)}`);
    const session = await page.evaluate(() => fetch('/api/session').then((response) => response.json()));
    expect(session).toMatchObject({
      subject: `ehr:practitioner-7@${ehr.issuer.replace('http://', '')}`,
      roles: ['viewer'],
    });
    await page.goto(`${nephos.origin}/launch?iss=https%3A%2F%2Felsewhere.example&launch=x`);
    await page.getByRole('alert').filter({ hasText: 'not registered' }).waitFor();
    await page.context().close();
  });
});
