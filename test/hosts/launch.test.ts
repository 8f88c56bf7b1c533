import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readSmartIssuers } from '#adapters/smart/settings.ts';
import { storeObject } from '#core/archive/store.ts';
import { type ArchiveSite, startArchiveSite, TENANT } from '#test/edge/clinic.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { CLIENT_ID, type FakeRecordSystem, startRecordSystem } from '#test/fixtures/record-system.ts';
import { chunked } from '#test/fixtures/services.ts';

let folder: string;
let ehr: FakeRecordSystem;
let site: ArchiveSite;
let token: string;
/** The archive stands behind a proxy under this name: the EHR's redirects need not reach it. */
const ORIGIN = 'https://pacs.example';
const SECRET = 'kept-in-a-file-of-the-archive-alone';

async function start(members: object = {}, secret?: string): Promise<void> {
  folder = await mkdtemp(join(tmpdir(), 'nephos-launch-'));
  ehr = await startRecordSystem([`${ORIGIN}/launch`], secret);
  site = await startArchiveSite(folder, {
    NEPHOS_AUTH: 'on',
    NEPHOS_SMART_ISSUERS: JSON.stringify([{ issuer: ehr.issuer, clientId: CLIENT_ID, ...members }]),
  });
  site.intercept = (answer) => (request) => answer({ ...request, origin: ORIGIN });
  token = (await site.archive.tokens.bootstrap(TENANT))!;
  for (const [n, PatientID, AccessionNumber] of [
    [1, 'MRN-1', 'A1'],
    [2, 'MRN-1', 'A2'],
    [3, 'MRN-2', 'A3'],
  ] as const) {
    const bytes = buildDicom({
      StudyInstanceUID: uid(n),
      SeriesInstanceUID: uid(10 + n),
      SOPInstanceUID: uid(100 + n),
      PatientID,
      AccessionNumber,
    });
    await storeObject(
      site.archive.services,
      { tenant: TENANT, source: 'T', StudyInstanceUID: undefined },
      chunked(bytes),
    ).outcome;
  }
  ehr.resources = {
    'Patient/p1': {
      resourceType: 'Patient',
      identifier: [
        { system: 'urn:ssn', value: '999-99' },
        { system: 'urn:hospital:mrn', value: 'MRN-1', type: { coding: [{ code: 'MR' }] } },
      ],
    },
    'ImagingStudy/i3': {
      resourceType: 'ImagingStudy',
      identifier: [{ system: 'urn:dicom:uid', value: `urn:oid:${uid(3)}` }],
    },
    'ImagingStudy/i1': {
      resourceType: 'ImagingStudy',
      identifier: [{ system: 'urn:dicom:uid', value: `urn:oid:${uid(1)}` }],
    },
    'ServiceRequest/s2': { resourceType: 'ServiceRequest' },
  };
}
async function stop(): Promise<void> {
  await site.close();
  await ehr.close();
  await rm(folder, { recursive: true });
}

/** A browser: its cookies, by host, and what it is told. */
class Browser {
  readonly #cookies = new Map<string, Map<string, string>>();

  async send(url: string, init: RequestInit = {}): Promise<Response> {
    const { host } = new URL(url);
    const jar = this.#cookies.get(host) ?? new Map<string, string>();
    this.#cookies.set(host, jar);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, {
      redirect: 'manual',
      ...init,
      headers: { ...(init.headers as object), cookie },
    });
    for (const line of response.headers.getSetCookie()) {
      const [name, value] = line.split(';', 1)[0]!.split(/=(.*)/s) as [string, string];
      if (/max-age=0/i.test(line) || value === '') jar.delete(name);
      else jar.set(name, value);
    }
    return response;
  }

  async post(path: string, body: object, headers: Record<string, string> = {}) {
    const response = await this.send(`http://127.0.0.1:${site.port}/api${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin', ...headers },
      body: JSON.stringify(body),
    });
    return { status: response.status, json: (await response.json().catch(() => ({}))) as Said };
  }

  /** Follows the EHR's redirects until it sends the browser back to us. */
  async signInThere(next: string): Promise<Record<string, string>> {
    let url = next;
    for (let i = 0; i < 10; i++) {
      const response = await this.send(url);
      const location = new URL(response.headers.get('location') ?? '', url);
      if (location.origin === ORIGIN) return Object.fromEntries(location.searchParams);
      url = location.href;
    }
    throw new Error('the record system does not come to an end');
  }

  async launch() {
    const begun = await this.post('/launches', { iss: ehr.issuer, launch: ehr.launch });
    expect(begun.status).toBe(200);
    const { code, state } = await this.signInThere(begun.json.next);
    return { code, state, ended: await this.post('/launches/return', { code, state }) };
  }

  readonly open = (id: string) => this.post('/launches/open', { id }, { authorization: `Bearer ${token}` });
}
const uids = (json: { studies: { StudyInstanceUID: string }[] }) =>
  json.studies.map(({ StudyInstanceUID }) => StudyInstanceUID).sort();

interface Said {
  readonly next: string;
  readonly id: string;
  readonly signedIn: boolean;
  readonly isExact: boolean;
  readonly studies: { StudyInstanceUID: string }[];
}

describe('a launch from a record system, whose people sign in here', () => {
  beforeEach(() => start());
  afterEach(stop);

  test('opens the patient on its screen, by the identifier that is PatientID, for whoever has signed in', async () => {
    ehr.context = { patient: 'p1', need_patient_banner: true };
    const browser = new Browser();
    const { ended } = await browser.launch();
    expect(ended).toMatchObject({ status: 200, json: { signedIn: false } });
    expect(ehr.asked).toMatchObject({ aud: ehr.issuer, launch: ehr.launch, code_challenge_method: 'S256' });
    expect(ehr.asked.scope).toContain('launch openid fhirUser');
    expect((await browser.post('/launches/open', { id: ended.json.id })).status).toBe(401);
    const opened = await browser.open(ended.json.id);
    expect(uids(opened.json)).toEqual([uid(1), uid(2)].sort());
    expect(opened.json.isExact).toBe(false);
    expect((await browser.open(ended.json.id)).status).toBe(401);
  });

  test('opens the study on its screen, named by its resource, by an identifier, or by the EHR itself', async () => {
    const contexts = [
      { fhirContext: [{ reference: 'ImagingStudy/i3' }] },
      { imagingStudy: 'i3' },
      { study: uid(3) },
      { fhirContext: [{ type: 'ImagingStudy', identifier: { system: 'urn:dicom:uid', value: `urn:oid:${uid(3)}` } }] },
      { fhirContext: [{ identifier: { system: 'urn:acc', value: 'A3', type: { coding: [{ code: 'ACSN' }] } } }] },
    ];
    for (const context of contexts) {
      ehr.context = context;
      const browser = new Browser();
      const { ended } = await browser.launch();
      const { json } = await browser.open(ended.json.id);
      expect([context, uids(json), json.isExact]).toEqual([context, [uid(3)], true]);
    }
  });

  test('shows no study of another patient than the one on the screen', async () => {
    ehr.context = { patient: 'p1', fhirContext: [{ reference: 'ImagingStudy/i3' }] };
    const browser = new Browser();
    const { ended } = await browser.launch();
    expect((await browser.open(ended.json.id)).json).toMatchObject({ studies: [], isExact: false });
  });

  test('is refused for another browser, twice, from elsewhere, and for a record system that nobody registered', async () => {
    ehr.context = { patient: 'p1' };
    const victim = new Browser();
    const begun = await victim.post('/launches', { iss: ehr.issuer, launch: ehr.launch });
    const { code, state } = await victim.signInThere(begun.json.next);
    // A link with somebody else's code and state shows his patient to nobody.
    expect((await new Browser().post('/launches/return', { code, state })).status).toBe(401);
    expect((await victim.post('/launches/return', { code, state: 'another' })).status).toBe(401);
    expect((await victim.post('/launches/return', { code, state }, { 'sec-fetch-site': 'cross-site' })).status).toBe(
      403,
    );
    const ended = await victim.post('/launches/return', { code, state });
    expect(ended.status).toBe(200);
    expect((await victim.post('/launches/return', { code, state })).status).toBe(401);
    expect((await new Browser().open(ended.json.id)).status).toBe(401);
    for (const iss of ['https://elsewhere.example/fhir', 'http://169.254.169.254/latest', ''])
      expect([400, 403]).toContain((await victim.post('/launches', { iss, launch: 'x' })).status);
    expect(
      (await victim.post('/launches', { iss: ehr.issuer, launch: 'x' }, { 'sec-fetch-site': 'cross-site' })).status,
    ).toBe(403);
  });

  test('is told as what it is where nobody can know whose images are meant', async () => {
    ehr.context = { patient: 'p9' };
    expect((await new Browser().launch()).ended.status).toBe(404);
    ehr.context = {};
    const browser = new Browser();
    const { ended } = await browser.launch();
    expect((await browser.open(ended.json.id)).status).toBe(404);
  });
});

describe('a launch from a record system that signs people in', () => {
  beforeEach(() =>
    start({ clientSecret: SECRET, signIn: ['viewer'], patientIdentifierSystem: 'urn:hospital:mrn' }, SECRET),
  );
  afterEach(stop);

  /** Two record systems may call two people the same. */
  const person = (): string => `ehr:practitioner-7@${ehr.issuer.replace('http://', '')}`;

  test('opens with the rights of its people, under their name there', async () => {
    ehr.context = { patient: 'p1', fhirContext: [{ reference: 'ImagingStudy/i1' }] };
    const browser = new Browser();
    const { ended } = await browser.launch();
    expect(ended.json.signedIn).toBe(true);
    const opened = await browser.post('/launches/open', { id: ended.json.id });
    expect(uids(opened.json)).toEqual([uid(1)]);
    const session = await (await browser.send(`http://127.0.0.1:${site.port}/api/session`)).json();
    expect(session).toMatchObject({ tenant: TENANT, subject: person(), roles: ['viewer'] });
    const trail = await fetch(`http://127.0.0.1:${site.port}/api/audit`, {
      headers: { authorization: `Bearer ${token}` },
    });
    const text = JSON.stringify(await trail.json());
    expect(text).toContain('"transaction":"OpenLaunched"');
    expect(text).toContain(`"subject":"${person()}"`);
    expect(text).not.toMatch(/MRN-1|launch-4711/);
  });
});

test('record systems are registered by configuration, which says what is wrong', () => {
  const row = { issuer: 'https://ehr.example/fhir/', clientId: 'nephos' };
  expect(readSmartIssuers(JSON.stringify([row]), ['main'])).toMatchObject([
    { issuer: 'https://ehr.example/fhir', tenant: 'main', signIn: [] },
  ]);
  for (const [bad, said] of [
    ['{', 'no JSON'],
    ['{}', 'a list'],
    [JSON.stringify([{ ...row, issuer: 'http://ehr.example' }]), 'https'],
    [JSON.stringify([{ ...row, clientId: '' }]), 'clientId'],
    [JSON.stringify([{ ...row, tenant: 'other' }]), 'tenant'],
    [JSON.stringify([{ ...row, signIn: ['root'] }]), 'signIn'],
    [JSON.stringify([{ ...row, secret: 'x' }]), 'secret'],
  ] as const)
    expect(() => readSmartIssuers(bad, ['main'])).toThrow(said);
});
