import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DynamoRateLedger } from '#adapters/aws/dynamo-rate-ledger.ts';
import { DEFAULT_RATES } from '#api/default-rates.ts';
import { Throttle } from '#api/throttle.ts';
import type { Principal } from '#core/access.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, JPEG_BASELINE, uid } from '#test/fixtures/dicom-builder.ts';
import { store, TENANT } from '#test/fixtures/services.ts';
import { type Cloud, type CloudArchive, startCloud, TABLE_NAME } from './helpers/archive.ts';

let cloud: Cloud;
let archive: CloudArchive;
beforeAll(async () => {
  cloud = await startCloud();
  // Who reaches what is read once a second by a function (lambda/config.ts), and so not counted with each call.
  archive = cloud.open({ limits: { accessPolicyMs: 60_000 } });
  await get('/studies?limit=1', 'application/dicom+json');
});
afterAll(() => cloud.stop());

const objectOf = (study: number, n: number): Uint8Array =>
  buildDicom({
    StudyInstanceUID: uid(1_000 + study),
    SeriesInstanceUID: uid(2_000 + study),
    SOPInstanceUID: uid(100_000 + study * 1_000 + n),
    PatientName: 'Budget^Bertha',
    PatientID: 'B-1',
    StudyDate: '20240102',
    InstanceNumber: n,
  });

/** Calls but for the entry in the audit trail: one for the first of acts that are repeated, whatever they read. */
const reads = (): number => {
  const audit = archive.counts.dynamo.calls.get('TransactWriteItemsCommand') ?? 0;
  expect(audit).toBeLessThanOrEqual(1);
  return archive.calls() - audit;
};

/** The fewest and the most calls of an access pattern, as docs/dynamodb.md has it: `2`, `2–3`, `1 + 1`. */
function documented(pattern: string): [number, number] {
  const page = readFileSync(join(import.meta.dirname, '../../docs/dynamodb.md'), 'utf8').replaceAll('\\|', '/');
  const cells = page
    .split('\n')
    .find((line) => line.startsWith(`| ${pattern} |`))!
    .split('|');
  const [from = '', to = from] = cells.at(-2)!.replace(/\(.*/, '').split('–');
  const sum = (text: string) => text.split('+').reduce((total, one) => total + Number(one), 0);
  return [sum(from), sum(to)];
}

const breakdown = (): string =>
  Object.values(archive.counts)
    .flatMap(({ calls }) => [...calls].map(([name, n]) => `${name} ${n}`))
    .join(', ');

const SENDER: Principal = { tenant: TENANT, subject: 'gateway:ct', roles: ['gateway'] };
const REQUEST = { body: (async function* () {})() } as unknown as HttpRequest;
/** At a moment that lasts: how much is drawn would depend on how long the engines take. */
const ratesOf = ({ dynamo: client, services: { clock } }: CloudArchive): Throttle => {
  const now = clock.now();
  return new Throttle(
    DEFAULT_RATES,
    { ...clock, now: () => now },
    {
      ledger: new DynamoRateLedger({ client, clock, tableName: TABLE_NAME, region: 'us-east-1', timeoutMs: 5_000 }),
      onFailure: (error) => expect.fail(String(error)),
    },
  );
};

describe('calls of AWS for one instance stored', () => {
  test.each([
    ['one after another', 1],
    ['as one request of a gateway brings them', 64],
  ])('%s', async (_, together) => {
    const study = together;
    await store(archive.services, objectOf(study, 0)); // the study and its words are known from now on
    archive.reset();
    const count = 64;
    const throttle = ratesOf(archive);
    for (let at = 1; at <= count; at += together) {
      // What its sender may send is asked for as well.
      await throttle.admit(REQUEST, SENDER);
      const batch = Array.from({ length: together }, (_, i) => store(archive.services, objectOf(study, at + i)));
      for (const outcome of await Promise.all(batch)) expect(outcome.kind).toBe('stored');
    }
    // Lots of 20, 40 and 80 requests: 0.05 of a call for an instance that is sent alone, less where a request brings many.
    const draws = archive.counts.dynamo.calls.get('UpdateItemCommand') ?? 0;
    expect(draws).toBe(together === 1 ? 3 : 1);
    expect((archive.calls() - draws) / count, breakdown()).toBeLessThanOrEqual(4);
    if (together > 1) expect(archive.calls() / count, breakdown()).toBeLessThanOrEqual(4);
  });
});

test('calls of AWS for one instance, of a study that four functions store at the same time', async () => {
  const study = 90;
  const functions = Array.from({ length: 4 }, () => cloud.open());
  await store(archive.services, objectOf(study, 0));
  await Promise.all(
    functions.map(async ({ services }, f) => {
      for (let round = 0; round < 2; round++) {
        const request = Array.from({ length: 25 }, (_, i) =>
          store(services, objectOf(study, 1 + f * 50 + round * 25 + i)),
        );
        for (const outcome of await Promise.all(request)) expect(outcome.kind).toBe('stored');
      }
    }),
  );
  const calls = functions.reduce((sum, one) => sum + one.calls(), 0);
  expect(calls / 200).toBeLessThanOrEqual(4);
});

const STUDY = 5;
const PATH = `/studies/${uid(1_000 + STUDY)}/series/${uid(2_000 + STUDY)}`;

async function get(path: string, accept: string): Promise<HttpResponse> {
  const url = new URL(`http://pacs.example/dicomweb${path}`);
  const { response } = await new Router(archive.services, '/dicomweb', DICOMWEB_ROUTES).handle({
    method: 'GET',
    path: url.pathname,
    query: url.searchParams,
    headers: { accept },
    origin: url.origin,
    principal: { tenant: TENANT, subject: 'test', roles: ['admin'] },
    body: (async function* () {})(),
  });
  const { body } = response;
  if (body !== undefined && typeof body === 'object' && Symbol.asyncIterator in body)
    for await (const _ of body as AsyncIterable<Uint8Array>);
  return response;
}

describe('calls of AWS for one page of a search', () => {
  beforeAll(async () => {
    for (let study = 10; study < 40; study++) await store(archive.services, objectOf(study, 1));
    await Promise.all(Array.from({ length: 30 }, (_, n) => store(archive.services, objectOf(STUDY, n))));
  });

  test.each([
    ['the study list', '/studies?limit=25', 25, 'study list, first page'],
    [
      'the study list of a day',
      '/studies?StudyDate=20240102&limit=25',
      25,
      'study list by patient, accession, day, modality',
    ],
    [
      'the studies of a patient',
      '/studies?PatientID=B-1&limit=25',
      25,
      'study list by patient, accession, day, modality',
    ],
    ['a name from its beginning', '/studies?PatientName=Budget*&limit=25', 25, 'a name or a word'],
    ['a word of a name', '/studies?PatientName=*bertha*&limit=25', 25, 'a name or a word'],
    [
      'CT studies',
      '/studies?ModalitiesInStudy=CT&StudyDate=20240101-20240131&limit=25',
      25,
      'study list by patient, accession, day, modality',
    ],
    ['one study by its UID', `/studies?StudyInstanceUID=${uid(1_000 + STUDY)}`, 1, 'one study by its UID'],
    ['the series of a study', `/studies/${uid(1_000 + STUDY)}/series`, 1, 'series of a study'],
    ['the instances of a series', `${PATH}/instances`, 30, 'instances of a series'],
  ] as [string, string, number, string][])('%s', async (_, path, results, pattern) => {
    archive.reset();
    const { status, body } = await get(path, 'application/dicom+json');
    expect(status).toBe(200);
    expect(JSON.parse(typeof body === 'string' ? body : Buffer.from(body as Uint8Array).toString())).toHaveLength(
      results,
    );
    const [fewest, most] = documented(pattern);
    expect(most).toBeLessThanOrEqual(3);
    expect(reads(), breakdown()).toBeGreaterThanOrEqual(fewest);
    expect(reads(), breakdown()).toBeLessThanOrEqual(most);
  });
});

describe('calls of AWS for one frame', () => {
  const frames = Array.from({ length: 600 }, (_, i) => Buffer.from(`\xff\xd8\xff frame ${i} \xff\xd9`, 'latin1'));
  const many = uid(77_777);
  beforeAll(async () => {
    const bytes = buildDicom(
      {
        StudyInstanceUID: uid(1_000 + STUDY),
        SeriesInstanceUID: uid(2_000 + STUDY),
        SOPInstanceUID: many,
        NumberOfFrames: frames.length,
        SamplesPerPixel: 1,
        BitsAllocated: 8,
        BitsStored: 8,
        HighBit: 7,
      },
      { transferSyntaxUID: JPEG_BASELINE, frames },
    );
    // a small frame table stands in the index: this one does not
    const outcome = await store(
      { ...archive.services, limits: { ...archive.services.limits, frameTableInIndexBytes: 1_024 } },
      bytes,
    );
    expect(outcome.kind).toBe('stored');
  });

  test('of a slice', async () => {
    archive.reset();
    const { status } = await get(
      `${PATH}/instances/${uid(100_000 + STUDY * 1_000 + 3)}/frames/1`,
      'application/octet-stream',
    );
    expect(status).toBe(200);
    expect(documented('one frame')).toEqual([2, 2]);
    expect(reads(), breakdown()).toBe(2);
  });

  test('of a multi-frame object, its table in a blob of its own: one call more for the table, however many frames', async () => {
    archive.reset();
    const list = Array.from({ length: 100 }, (_, i) => i + 301).join();
    const accept = 'multipart/related; type="image/jpeg"; transfer-syntax=*';
    expect((await get(`${PATH}/instances/${many}/frames/${list}`, accept)).status).toBe(200);
    expect(reads(), breakdown()).toBeLessThanOrEqual(3);
    expect(archive.calls() / 100).toBeLessThanOrEqual(2);
  });
});
