import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DynamoRateLedger } from '#adapters/aws/dynamo-rate-ledger.ts';
import { DEFAULT_RATES } from '#api/default-rates.ts';
import { Throttle } from '#api/throttle.ts';
import type { Principal } from '#core/access.ts';
import { readFeed } from '#core/archive/feed.ts';
import { sweep } from '#core/archive/sweep.ts';
import { principalAccount, tokenAccount } from '#core/rate-accounts.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, JPEG_BASELINE, uid } from '#test/fixtures/dicom-builder.ts';
import { store, TENANT } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';
import { type Cloud, type CloudArchive, startCloud, storeTogether, TABLE_NAME } from './helpers/archive.ts';

let cloud: Cloud;
let archive: CloudArchive;
beforeAll(async () => {
  cloud = await startCloud();
  // Who reaches what is read once a second by a function (lambda/config.ts), and so not counted with each call.
  archive = cloud.open({ limits: { accessPolicyMs: 24 * 60 * 60 * 1000 } });
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

/** patterns of the page that were compared with counted calls */
const counted = new Set<string>();

/** The fewest and the most calls of an access pattern, as docs/dynamodb.md has it: `2`, `2–3`, `1 + 1`. */
function documented(pattern: string): [number, number] {
  counted.add(pattern);
  const page = readFileSync(join(import.meta.dirname, '../../docs/dynamodb.md'), 'utf8').replaceAll('\\|', '/');
  const cells = page
    .split('\n')
    .find((line) => line.startsWith(`| ${pattern} |`))!
    .split('|');
  const [from = '', to = from] = cells.at(-2)!.replace(/\(.*/, '').split('–');
  const sum = (text: string) => text.split('+').reduce((total, one) => total + Number(one), 0);
  return [sum(from), sum(to)];
}

/** of DynamoDB, since the counters were put back: command → calls */
const dynamo = (): Record<string, number> =>
  Object.fromEntries([...archive.counts.dynamo.calls].map(([name, n]) => [name.replace(/Command$/, ''), n]));
const sum = (calls: Record<string, number>): number => Object.values(calls).reduce((total, n) => total + n, 0);

const breakdown = (): string =>
  Object.values(archive.counts)
    .flatMap(({ calls }) => [...calls].map(([name, n]) => `${name} ${n}`))
    .join(', ');

const SENDER: Principal = { tenant: TENANT, subject: 'gateway:ct', roles: ['gateway'] };
const REQUEST = standIn<HttpRequest>({ body: (async function* () {})() });
/** At a moment that lasts: how much is drawn would depend on how long the engines take. */
const ratesOf = ({ dynamo: client, services: { clock } }: CloudArchive): Throttle => {
  const now = clock.now();
  return new Throttle(
    DEFAULT_RATES,
    { ...clock, now: () => now },
    {
      ledger: new DynamoRateLedger({ client, clock, tableName: TABLE_NAME, region: 'us-east-1', timeoutMs: 60_000 }),
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

describe('calls of DynamoDB, as docs/dynamodb.md has them', () => {
  const inSeries = (study: number, series: number, n: number): Uint8Array =>
    buildDicom({
      StudyInstanceUID: uid(1_000 + study),
      SeriesInstanceUID: uid(500_000 + study * 100 + series),
      SOPInstanceUID: uid(600_000 + study * 1_000 + n),
    });
  const storeAll = (objects: readonly Uint8Array[]) => storeTogether(archive.services, objects);

  test('for one instance: asked for, begun, committed', async () => {
    await store(archive.services, objectOf(70, 0));
    archive.reset();
    await store(archive.services, objectOf(70, 1));
    expect(dynamo()).toEqual({
      GetItem: documented('is this SOP Instance UID taken')[0],
      PutItem: documented('begin a store')[0],
      TransactWriteItems: documented('commit up to 12 instances')[0],
    });
  });

  test('for twelve at once, into a study that is not remembered: its record is read first', async () => {
    await store(cloud.open().services, objectOf(71, 0));
    archive.reset();
    await storeAll(Array.from({ length: 12 }, (_, i) => objectOf(71, i + 1)));
    const { GetItem, PutItem, ...commit } = dynamo();
    expect([GetItem, PutItem]).toEqual([12, 12]);
    expect(commit).toEqual({ BatchGetItem: 1, TransactWriteItems: 1 });
    expect(sum(commit)).toBe(documented('commit up to 12 instances')[1]);
  });

  test.each([
    ['one delta', 1],
    ['twelve, each of another series', 12],
  ])('beside other writers, and for the fold: %s', async (_, series) => {
    const study = 72 + series;
    await store(archive.services, inSeries(study, 0, 0));
    // The study is remembered with its series.
    await storeAll(Array.from({ length: series }, (_, i) => inSeries(study, i, 1 + i)));
    archive.services.folder.markContended(TENANT, uid(1_000 + study));
    archive.reset();
    await storeAll(Array.from({ length: series }, (_, i) => inSeries(study, i, 100 + i)));
    const calls = dynamo();
    const begun = calls.GetItem! + calls.PutItem! - 1;
    expect(begun).toBe(2 * series);
    // A turn is taken and given back; what lies there is read by shards and counted in one write.
    const fold = { PutItem: 1, Query: calls.Query ?? 0, TransactWriteItems: 1, DeleteItem: calls.DeleteItem ?? 0 };
    const [fewest, most] = documented('fold deltas, one writer at a time');
    expect([sum(fold), sum(fold)], breakdown()).toEqual([fewest, most]);
    const commit = sum(calls) - begun - sum(fold);
    expect(calls).toMatchObject({ TransactWriteItems: 2, BatchGetItem: commit - 1 });
    const [least, limit] = documented('the same beside other writers');
    expect(commit).toBeGreaterThanOrEqual(least);
    expect(commit).toBeLessThanOrEqual(limit);
  });

  test('for events behind a cursor: what nobody has read is given its place first', async () => {
    const read = async (cursor: string, limit: number) => {
      archive.reset();
      const { events, next } = await readFeed(archive.services.index, TENANT, cursor, limit);
      return { events: events.length, next, calls: sum(dynamo()) };
    };
    const end = (await read('', 1_000)).next;
    await store(archive.services, objectOf(73, 0));
    await store(archive.services, objectOf(73, 1));
    const fresh = await read(end, 100);
    expect([fresh.events, fresh.calls]).toEqual([2, documented('events that nobody has read yet')[0]]);
    const none = await read(fresh.next, 100);
    expect([none.events, none.calls]).toEqual([0, documented('events behind a cursor')[1]]);
    const full = await read(end, 1);
    expect([full.events, full.calls]).toEqual([1, documented('events behind a cursor')[0]]);
  });

  test('for rates: a lot that is drawn alone and beside others, and a token of nobody', async () => {
    const { clock } = archive.services;
    const options = { client: archive.dynamo, tableName: TABLE_NAME, clock, region: 'eu-west-1', timeoutMs: 60_000 };
    const [one, other] = [new DynamoRateLedger(options), new DynamoRateLedger(options)];
    const account = principalAccount({ tenant: TENANT, subject: 'reader' });
    const now = clock.now();
    const draw = { now, by: 1_000, notBeyond: now + 60_000 };
    archive.reset();
    await one.advance(account, 'requests', draw);
    expect(dynamo()).toEqual({ UpdateItem: documented('a lot of requests that a principal may make')[0] });
    archive.reset();
    await other.advance(account, 'requests', draw);
    expect(dynamo()).toEqual({ UpdateItem: documented('a lot of requests that a principal may make')[1] });
    archive.reset();
    await one.read(tokenAccount('of nobody'));
    expect(sum(dynamo())).toBe(documented('a token that is not valid, or seen for the first time')[0]);
    await one.advance(tokenAccount('of nobody'), 'failures', { now, by: 1 });
    expect(sum(dynamo())).toBe(documented('a token that is not valid, or seen for the first time')[1]);
  });

  test('for a sweep that finds nothing', async () => {
    archive.reset();
    await sweep(archive.services, TENANT);
    const [calls] = documented('sweep');
    expect(dynamo()).toEqual({ Query: calls - 2, GetItem: 1, PutItem: 1 });
  });
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
    ['a page far down the list', '/studies?offset=20&limit=5', 5, 'a page far down the list'],
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
    expect(most).toBeLessThanOrEqual(pattern === 'a page far down the list' ? 4 : 3);
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

test('calls of DynamoDB for the metadata of a series that is not prepared yet', async () => {
  archive.reset();
  expect((await get(`${PATH}/metadata`, 'application/dicom+json')).status).toBe(200);
  const [fewest, most] = documented('metadata of a series that is not prepared yet');
  expect(reads(), breakdown()).toBeGreaterThanOrEqual(fewest);
  expect(reads(), breakdown()).toBeLessThanOrEqual(most);
});

// What rates cost beside them is compared in dynamo-rate-ledger.test.ts.
test('the page has no access pattern that is not counted here', () => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/dynamodb.md'), 'utf8');
  const [, table = ''] = page.split('## Access patterns');
  const patterns = [...table.split(/\n###? /)[0]!.matchAll(/^\| (?!pattern|---)([^|]+?) \|/gm)].map(
    ([, name]) => name!,
  );
  expect(patterns.length).toBeGreaterThan(15);
  expect(patterns.filter((name) => !counted.has(name))).toEqual([]);
});
