import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { readFeed } from '#core/archive/feed.ts';
import { keys } from '#core/archive/records.ts';
import { storeObject } from '#core/archive/store.ts';
import { asItem } from '#core/ports/index-table.ts';
import { switchesOf } from '#edge/forward/switches.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import {
  type Clinic,
  commitmentOf,
  cStore,
  dataSetsIn,
  dataSetsOf,
  drained,
  openClinic,
  status,
  TENANT,
  until,
} from './clinic.ts';

let clinic: Clinic;
afterEach(() => clinic.close());

/** Slices of one series; `study` numbers the study. */
const slices = (count: number, study = 1, overrides: Record<string, string | number> = {}): Uint8Array[] =>
  Array.from({ length: count }, (_, i) =>
    buildDicom({
      StudyInstanceUID: uid(study * 1000),
      SeriesInstanceUID: uid(study * 1000 + 1),
      SOPInstanceUID: uid(study * 1000 + 10 + i),
      InstanceNumber: i + 1,
      ...overrides,
    }),
  );
const large = (bytes: number): Uint8Array =>
  buildDicom({
    SOPInstanceUID: uid(77),
    Rows: bytes / 2048,
    Columns: 1024,
    PixelData: new Uint8Array(randomBytes(bytes)),
  });
const ok = (count: number): number[] => Array.from({ length: count }, () => 0);
const stores = (): number => clinic.line.requests.filter((line) => line.startsWith('POST /dicomweb/studies')).length;
/** SOP Instance UIDs in the order in which the archive stored them */
const arrivals = async (): Promise<string[]> =>
  (await readFeed(clinic.archive.archive.services.index, TENANT, '', 1_000)).events.flatMap(
    ({ type, SOPInstanceUID }) => (type === 'InstanceStored' ? [SOPInstanceUID!] : []),
  );

/** What has been acknowledged is in the archive, once, with its bytes; and what the gateway promises of it is true, and is all of it. */
async function expectKept(objects: readonly Uint8Array[]): Promise<void> {
  const expected = dataSetsOf(objects);
  expect(await dataSetsIn(clinic.archive.archive)).toEqual(expected);
  const { committed, others } = await commitmentOf(clinic.gateway, objects);
  expect(others).toEqual([]);
  expect(committed.toSorted()).toEqual([...expected.keys()].toSorted());
}

test('what a modality stores is in the archive, byte for byte, and the archive has vouched for it', async () => {
  clinic = await openClinic();
  const objects = slices(5);
  expect(await cStore(clinic.gateway, objects)).toEqual(ok(5));
  await drained(clinic.gateway, 5);
  // What was slow once is forgotten with the next success, which is counted before that.
  const after = await until(
    () => status(clinic.gateway),
    ({ pause }) => pause === undefined,
  );
  expect(after).toMatchObject({ pending: 0, held: 0, confirmed: 5, pause: undefined, upstream: { online: true } });
  await expectKept(objects);
  const evidence = await clinic.gateway.forwarder.evidenceOf(uid(1010));
  expect(evidence).toMatchObject({ known: true, confirmed: true, destinations: [{ evidence: 'digest' }] });
  expect(await clinic.gateway.forwarder.evidenceOf(uid(9))).toMatchObject({ known: false, confirmed: false });
});

test('while nobody can be reached, stores go on; when the line is back everything drains, once', async () => {
  clinic = await openClinic();
  await clinic.line.set({ kind: 'refused' });
  const objects = [...slices(40, 1), ...slices(40, 2)];
  expect(await cStore(clinic.gateway, objects)).toEqual(ok(80));
  const during = await until(
    () => status(clinic.gateway),
    (now) => now.pending === 80 && now.blocked > 5 && now.upstream.online === false,
  );
  expect(during).toMatchObject({ confirmed: 0, pause: { reason: expect.stringMatching(/cannot be reached/) } });
  expect((await commitmentOf(clinic.gateway, objects)).committed).toEqual([]);
  expect((await clinic.gateway.forwarder.evidenceOf(uid(1010))).confirmed).toBe(false);
  // A month later, far beyond what the cache keeps, after a restart.
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 30 * 24 * 60 * 60 * 1000, shouldAdvanceTime: true });
  try {
    await clinic.restart();
    expect(await status(clinic.gateway)).toMatchObject({ pending: 80, held: 0, confirmed: 0 });
    await clinic.line.set({ kind: 'none' });
    await drained(clinic.gateway, 80);
  } finally {
    vi.useRealTimers();
  }
  await expectKept(objects);
});

test('an answer that is lost: the archive is asked, and nothing is sent twice', async () => {
  // Answers are lost at once, or come: one that is only late would have it sent again, and rightly.
  clinic = await openClinic({ parallel: 1, timeoutMs: 30_000 });
  await clinic.line.set({ kind: 'losingAnswers' });
  const objects = slices(3);
  await cStore(clinic.gateway, objects);
  await until(
    async () => (await arrivals()).length,
    (count) => count === 3,
  );
  await until(
    () => status(clinic.gateway),
    (now) => now.blocked > 0,
  );
  const sent = stores();
  await clinic.line.set({ kind: 'none' });
  await drained(clinic.gateway, 3);
  expect(stores()).toBe(sent);
  expect(clinic.line.requests.some((line) => line.startsWith('HEAD '))).toBe(true);
  await expectKept(objects);
});

test.each([
  ['hanging', { kind: 'hanging' }],
  ['answering 500', { kind: 'answering', status: 500 }],
  ['answering 502', { kind: 'answering', status: 502 }],
  ['answering 503', { kind: 'answering', status: 503, headers: { 'retry-after': '0' } }],
  ['answering 429', { kind: 'answering', status: 429 }],
  ['answering 401', { kind: 'answering', status: 401 }],
  ['answering 404, as an address that is wrong does', { kind: 'answering', status: 404 }],
  ['cutting connections within the body', { kind: 'cutting', afterBytes: 500 }],
] as const)('an upstream that is %s costs time and nothing else', async (_, fault) => {
  clinic = await openClinic({ timeoutMs: 250 });
  await clinic.line.set(fault);
  const objects = slices(12);
  expect(await cStore(clinic.gateway, objects)).toEqual(ok(12));
  const during = await until(
    () => status(clinic.gateway),
    (now) => now.blocked >= 2 && now.pending === 12,
  );
  expect(during).toMatchObject({ confirmed: 0, held: 0, pending: 12 });
  expect(during.pause?.reason).toBeTruthy();
  await clinic.line.set({ kind: 'none' });
  await drained(clinic.gateway, 12);
  await expectKept(objects);
});

test('Retry-After is heeded', async () => {
  clinic = await openClinic();
  await clinic.line.set({ kind: 'answering', status: 503, headers: { 'retry-after': '3600' } });
  await cStore(clinic.gateway, slices(1));
  const { pause } = await until(
    () => status(clinic.gateway),
    (now) => now.pause !== undefined,
  );
  expect(pause!.until - Date.now()).toBeGreaterThan(3_500_000);
  // Somebody has put it right, and says so.
  await clinic.line.set({ kind: 'none' });
  clinic.gateway.forwarder.retryNow('cloud');
  await drained(clinic.gateway, 1);
});

// It was not: the destination stood still for an hour, and the page said that all was well.
test('a wait that the upstream has asked for is told of, although a request that was under way has gone well since', async () => {
  clinic = await openClinic({ parallel: 2, batch: { instances: 1 }, timeoutMs: 60_000 });
  const { promise: goesOn, resolve: goOn } = Promise.withResolvers<void>();
  let stored = 0;
  clinic.archive.intercept = (answer) => async (request) => {
    if (request.method !== 'POST' || request.path !== '/dicomweb/studies') return answer(request);
    if (++stored === 1) await goesOn;
    else return { response: { status: 503, headers: { 'retry-after': '3600' } }, route: undefined };
    return answer(request);
  };
  await cStore(clinic.gateway, slices(2));
  await until(
    () => status(clinic.gateway),
    ({ blocked }) => blocked === 1,
  );
  goOn();
  const after = await until(
    () => status(clinic.gateway),
    ({ sentInstances }) => sentInstances === 1,
  );
  expect(after).toMatchObject({ pending: 1, confirmed: 1, pause: { reason: 'it answered 503' } });
  expect(after.pause!.until - Date.now()).toBeGreaterThan(3_000_000);
  clinic.archive.intercept = undefined;
  clinic.gateway.forwarder.retryNow('cloud');
  await drained(clinic.gateway, 2);
});

test('a line that flaps lets everything through in the end, once', async () => {
  clinic = await openClinic({ batch: { instances: 4 } });
  const objects = slices(60);
  const flapping = (async () => {
    for (let i = 0; i < 12; i++) {
      await sleep(30);
      await clinic.line.set(i % 3 === 0 ? { kind: 'losingAnswers' } : { kind: i % 3 === 1 ? 'refused' : 'none' });
    }
    await clinic.line.set({ kind: 'none' });
  })();
  expect(await cStore(clinic.gateway, objects)).toEqual(ok(60));
  await flapping;
  await drained(clinic.gateway, 60);
  await expectKept(objects);
});

test('a line that garbles bytes brings nothing garbled into the archive, and leaves nothing held', async () => {
  const retry = { firstMs: 5, mostMs: 40, refusals: 50 };
  clinic = await openClinic({ batch: { instances: 3 }, retry, timeoutMs: 1_500 });
  await clinic.line.set({ kind: 'corrupting', oneIn: 7_001 });
  const objects = slices(30);
  expect(await cStore(clinic.gateway, objects)).toEqual(ok(30));
  await until(
    () => status(clinic.gateway),
    (now) => now.confirmed >= 10,
  );
  await clinic.line.set({ kind: 'none' });
  expect(await drained(clinic.gateway, 30)).toMatchObject({ held: 0 });
  await expectKept(objects);
});

test('over 64 kbit/s a study arrives without a time-out', async () => {
  // Its bytes take twice as long as the answer to anything may.
  const timeoutMs = 5_000;
  clinic = await openClinic({ timeoutMs });
  await clinic.line.set({ kind: 'slow', bytesPerSecond: 8_000 });
  // All in one request.
  await switchesOf(clinic.gateway).pause('cloud');
  const objects = Array.from({ length: 4 }, (_, i) =>
    buildDicom({ SOPInstanceUID: uid(300 + i), Rows: 100, Columns: 100, PixelData: new Uint8Array(20_000).fill(i) }),
  );
  expect(objects.reduce((sum, { length }) => sum + length, 0)).toBeGreaterThan((2 * timeoutMs * 8_000) / 1_000);
  await cStore(clinic.gateway, objects);
  await until(
    () => status(clinic.gateway),
    ({ pending }) => pending === 4,
  );
  await switchesOf(clinic.gateway).resume('cloud');
  expect(await drained(clinic.gateway, 4)).toMatchObject({ blocked: 0 });
  expect(stores()).toBe(1);
  await expectKept(objects);
});

test('an instance that is refused for good is held with the reason, the others go on; released, it goes too', async () => {
  clinic = await openClinic();
  const objects = slices(6);
  const { services } = clinic.archive.archive;
  // Somebody has stored other bytes under one of the UIDs.
  const other = slices(6, 1, { PatientID: 'P-2' })[2]!;
  await storeObject(
    services,
    { tenant: TENANT, source: 'STOW' },
    (async function* () {
      yield other;
    })(),
  ).outcome;
  expect(await cStore(clinic.gateway, objects)).toEqual(ok(6));
  await until(
    () => status(clinic.gateway),
    (now) => now.held === 1 && now.confirmed === 5,
  );
  const [held] = await clinic.gateway.forwarder.held('cloud', 10);
  expect(held).toMatchObject({
    SOPInstanceUID: uid(1012),
    reason: expect.stringMatching(/^it keeps it aside, for a person to decide there: .* \(0110H\)$/),
  });
  expect((await status(clinic.gateway)).failures).toMatchObject({ transient: 0, ambiguous: 0 });
  expect((await status(clinic.gateway)).failures.permanent).toBeGreaterThan(0);
  expect((await clinic.gateway.forwarder.evidenceOf(uid(1012))).confirmed).toBe(false);
  // It stays held over a restart.
  await clinic.restart();
  expect(await status(clinic.gateway)).toMatchObject({ held: 1, pending: 0 });
  // The archive's people decide for what the gateway has.
  const claim = keys.sop(TENANT, uid(1012));
  const [first] = (await services.index.query({ partition: `${TENANT}|held`, limit: 1 })).records;
  expect(first).toBeDefined();
  const { StudyInstanceUID, SeriesInstanceUID } = (await services.index.get(claim)) as Record<string, string>;
  const instance = keys.instance(TENANT, StudyInstanceUID!, SeriesInstanceUID!, uid(1012));
  await services.index.write([
    { kind: 'delete', key: claim },
    { kind: 'delete', key: instance },
    { kind: 'delete', key: keys.heldOf(TENANT, uid(1012), (first!.item as { sha256: string }).sha256) },
    { kind: 'put', key: { partition: 'test', sort: 'decided' }, item: asItem({}) },
  ]);
  expect(await clinic.gateway.forwarder.release('cloud')).toBe(1);
  expect(await drained(clinic.gateway, 6)).toMatchObject({ held: 0, confirmed: 6 });
});

test('an object that no request may hold goes by a store transaction, from where it was cut', async () => {
  clinic = await openClinic({ timeoutMs: 4_000 });
  // As behind an API gateway: no request of more than 1 MB.
  let parts = 0;
  clinic.archive.intercept = (answer) => async (request) => {
    if (Number(request.headers['content-length'] ?? 0) <= 1_000_000 || !request.path.startsWith('/dicomweb'))
      return answer(request);
    return { response: { status: 413, headers: {} }, route: undefined };
  };
  const object = large(40 * 1024 * 1024);
  await clinic.line.set({ kind: 'cutting', afterBytes: 18 * 1024 * 1024 });
  expect(await cStore(clinic.gateway, [object])).toEqual([0]);
  await until(
    () => status(clinic.gateway),
    (now) => now.blocked > 0 || now.confirmed > 0,
  );
  parts = clinic.line.requests.filter((line) => line.startsWith('PUT ')).length;
  await clinic.line.set({ kind: 'none' });
  await drained(clinic.gateway, 1);
  expect(parts).toBeGreaterThan(1);
  expect(await dataSetsIn(clinic.archive.archive)).toEqual(dataSetsOf([object]));
});

test('a batch that is too large is halved until it fits', async () => {
  clinic = await openClinic();
  clinic.archive.intercept = (answer) => async (request) =>
    Number(request.headers['content-length'] ?? 0) > 150_000
      ? { response: { status: 413, headers: {} }, route: undefined }
      : answer(request);
  const objects = Array.from({ length: 20 }, (_, i) =>
    buildDicom({ SOPInstanceUID: uid(300 + i), Rows: 100, Columns: 100, PixelData: new Uint8Array(20_000).fill(i) }),
  );
  await cStore(clinic.gateway, objects);
  await drained(clinic.gateway, 20);
  await expectKept(objects);
});

describe('order', () => {
  test('STAT goes first, then studies by their arrival, each together', async () => {
    clinic = await openClinic(
      { parallel: 1, batch: { instances: 2 } },
      { allowed: [{ aeTitle: 'CT1' }, { aeTitle: 'ER', priority: 'stat' }, { aeTitle: 'OLD', priority: 'low' }] },
    );
    await clinic.line.set({ kind: 'refused' });
    const [first, second, stat, low, ordered] = [1, 2, 3, 4, 5].map((n) => slices(4, n));
    await cStore(clinic.gateway, low!, 'OLD');
    await cStore(clinic.gateway, first!.slice(0, 2));
    await sleep(5);
    await cStore(clinic.gateway, second!);
    await cStore(clinic.gateway, first!.slice(2));
    await cStore(clinic.gateway, stat!, 'ER');
    const urgent = slices(1, 5, { StudyPriorityID: 'HIGH' });
    await cStore(clinic.gateway, urgent);
    await until(
      () => status(clinic.gateway),
      (now) => now.pending === 17,
    );
    // What was chosen before all were here has failed, as has one attempt that was chosen since: the next one goes by the order.
    const { blocked } = await status(clinic.gateway);
    await until(
      () => status(clinic.gateway),
      (now) => now.blocked >= blocked + 2,
    );
    await clinic.line.set({ kind: 'none' });
    await drained(clinic.gateway, 17);
    const studies = (await arrivals()).map((sop) => sop.slice('2.25.4711'.length, -3));
    expect(studies.join('')).toBe('33335111122224444');
    expect(ordered).toHaveLength(4);
  });
});

test('each destination has its own conditions and its own pace', async () => {
  const site = await openClinic();
  const second = await openClinic({}, {});
  clinic = site;
  try {
    const { config } = site.gateway;
    const [cloud] = config.upstreams;
    const url = `http://127.0.0.1:${second.line.port}/dicomweb`;
    await site.gateway.reload({
      ...config,
      upstreams: [
        { ...cloud, when: { not: { Modality: ['SR'], callingAETitle: ['CT*'] } } },
        { ...cloud, name: 'stroke', url, when: { Modality: ['CT'], StudyDescription: ['*head*', 'stroke'] } },
      ],
    });
    await second.line.set({ kind: 'refused' });
    const head = slices(2, 1, { StudyDescription: 'CT Head w/o' });
    const thorax = slices(2, 2);
    const report = slices(1, 3, { Modality: 'SR' });
    await cStore(site.gateway, [...head, ...thorax, ...report]);
    await drained(site.gateway, 4);
    expect((await site.gateway.forwarder.evidenceOf(uid(1010))).confirmed).toBe(false);
    expect((await site.gateway.forwarder.evidenceOf(uid(2010))).confirmed).toBe(true);
    const wanted = await until(
      () => site.gateway.forwarder.evidenceOf(uid(3010)),
      ({ known }) => known,
    );
    expect(wanted.destinations).toEqual([]);
    await second.line.set({ kind: 'none' });
    await drained(site.gateway, 2, 'stroke');
    expect(await dataSetsIn(site.archive.archive)).toEqual(dataSetsOf([...head, ...thorax]));
    expect(await dataSetsIn(second.archive.archive)).toEqual(dataSetsOf(head));
  } finally {
    await second.close();
  }
});

describe('an upstream that does not state digests', () => {
  const withoutDigests = (archive: Clinic['archive']): void => {
    archive.intercept = (answer) => async (request) => {
      const answered = await answer(request);
      const { 'repr-digest': _, ...headers } = answered.response.headers;
      const { body } = answered.response;
      const plain =
        typeof body === 'string' && body.includes('00091001') ? body.replaceAll('00091001', '00091099') : body;
      return { ...answered, response: { ...answered.response, headers, ...(plain !== undefined && { body: plain }) } };
    };
  };

  test('is asked for the object, and its data set compared', async () => {
    clinic = await openClinic();
    withoutDigests(clinic.archive);
    const objects = slices(3);
    await cStore(clinic.gateway, objects);
    await drained(clinic.gateway, 3);
    expect(await clinic.gateway.forwarder.evidenceOf(uid(1010))).toMatchObject({
      confirmed: true,
      destinations: [{ evidence: 'retrieve' }],
    });
    expect(clinic.line.requests.filter((line) => line.startsWith('GET /dicomweb/studies/'))).toHaveLength(3);
  });

  test('and answers HEAD with 404 whatever it has, as Orthanc does, is asked by GET', async () => {
    clinic = await openClinic();
    withoutDigests(clinic.archive);
    const plain = clinic.archive.intercept!;
    clinic.archive.intercept = (answer) => async (request) =>
      request.method === 'HEAD' ? { response: { status: 404, headers: {} }, route: undefined } : plain(answer)(request);
    await cStore(clinic.gateway, slices(3));
    await drained(clinic.gateway, 3);
    // An attempt is counted when it has ended, the last instance confirmed a moment before.
    await until(
      () => status(clinic.gateway),
      ({ sentInstances, held }) => sentInstances === 3 && held === 0,
    );
  });

  test('is believed where the configuration says so, and no further', async () => {
    clinic = await openClinic({ evidence: 'accepted' });
    withoutDigests(clinic.archive);
    await cStore(clinic.gateway, slices(3));
    await drained(clinic.gateway, 3);
    expect(await clinic.gateway.forwarder.evidenceOf(uid(1010))).toMatchObject({
      destinations: [{ evidence: 'accepted' }],
    });
    expect(clinic.line.requests.filter((line) => /^(GET|HEAD) .dicomweb.studies/.test(line))).toHaveLength(0);
  });

  test('whose objects come back changed has confirmed nothing', async () => {
    clinic = await openClinic();
    withoutDigests(clinic.archive);
    const plain = clinic.archive.intercept!;
    clinic.archive.intercept = (answer) => async (request) => {
      const answered = await plain(answer)(request);
      if (request.method !== 'GET') return answered;
      const chunks = await Array.fromAsync(answered.response.body as AsyncIterable<Uint8Array>);
      const body = Buffer.concat(chunks);
      body[body.length - 100]! ^= 1;
      return { ...answered, response: { ...answered.response, body } };
    };
    await cStore(clinic.gateway, slices(1));
    await until(
      () => status(clinic.gateway),
      (now) => now.held === 1,
    );
    const [held] = await clinic.gateway.forwarder.held('cloud', 1);
    expect(held?.reason).toBe('it keeps other bytes under this SOP Instance UID');
  });
});

test('a gateway that stops while it sends goes on where it was', async () => {
  clinic = await openClinic({ batch: { instances: 2 }, parallel: 2 });
  const objects = slices(40);
  await cStore(clinic.gateway, objects);
  await clinic.restart();
  await clinic.restart();
  await drained(clinic.gateway, 40);
  await expectKept(objects);
});
