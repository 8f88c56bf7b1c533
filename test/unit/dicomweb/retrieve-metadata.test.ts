import { gunzipSync } from 'node:zlib';
import { beforeEach, describe, expect, test } from 'vitest';
import { keys, type SeriesRecord } from '#core/archive/records.ts';
import { asRecord, newReadMeter } from '#core/ports/index-table.ts';
import { seriesMetadata } from '#core/retrieve/metadata.ts';
import { prepareSeriesMetadata, sweepSeriesDocuments } from '#core/retrieve/prepare.ts';
import type { Services } from '#core/services.ts';
import type { Context } from '#dicomweb/handler.ts';
import {
  retrieveInstanceMetadata,
  retrieveSeriesMetadata,
  retrieveStudyMetadata,
} from '#dicomweb/retrieve-metadata.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { ask, partsOf, ROOT } from './asking.ts';

const STUDY = uid(1);
const JSON_TYPE = 'application/dicom+json';
const gzip = { 'accept-encoding': 'gzip' };

/** 20 × 20 pixels: too long to stand inline */
const slice = (series: number, instance: number, extra: Record<string, string | number> = {}): Uint8Array =>
  buildDicom({
    SeriesInstanceUID: uid(series),
    SeriesNumber: 100 - series,
    SOPInstanceUID: uid(series * 1_000 + instance),
    InstanceNumber: 500 - instance,
    Rows: 20,
    Columns: 20,
    ...extra,
  });

type Json = Record<string, { vr: string; Value?: unknown[]; BulkDataURI?: string }>;
const sops = (json: Json[]): unknown[] => json.map((dataSet) => dataSet['00080018']?.Value?.[0]);

describe('metadata of a study of two series', () => {
  let services: ReturnType<typeof memoryServices>;

  beforeEach(async () => {
    services = memoryServices();
    for (const [series, instance] of [
      [20, 1],
      [20, 2],
      [10, 1],
      [10, 2],
      [10, 3],
    ] as const) {
      expect((await store(services, slice(series, instance))).kind).toBe('stored');
    }
  });

  const seriesRecord = async (series: number): Promise<SeriesRecord> =>
    asRecord<SeriesRecord>((await services.index.get(keys.series(TENANT, STUDY, uid(series))))!);

  test('is a DICOM JSON array in display order, with references on the root that the client sees', async () => {
    const { status, headers, body } = await ask(
      services,
      retrieveStudyMetadata,
      { study: STUDY },
      { accept: JSON_TYPE },
    );
    expect(status).toBe(200);
    expect(headers['content-type']).toBe(JSON_TYPE);
    const json = JSON.parse(body.toString()) as Json[];
    expect(sops(json)).toEqual([uid(20002), uid(20001), uid(10003), uid(10002), uid(10001)]);
    const { BulkDataURI } = json[0]!['7FE00010']!;
    expect(BulkDataURI).toMatch(/\/bulkdata\/7FE00010\.\d+\.800$/);
    expect(
      BulkDataURI!.startsWith(`${ROOT}/studies/${STUDY}/series/${uid(20)}/instances/${uid(20002)}/bulkdata/`),
    ).toBe(true);
    expect(body.toString()).not.toContain('nephos:');
  });

  test('is there by series and by instance', async () => {
    const series = await ask(
      services,
      retrieveSeriesMetadata,
      { study: STUDY, series: uid(10) },
      { accept: JSON_TYPE },
    );
    expect(sops(JSON.parse(series.body.toString()))).toEqual([uid(10003), uid(10002), uid(10001)]);
    const params = { study: STUDY, series: uid(10), instance: uid(10001) };
    const instance = await ask(services, retrieveInstanceMetadata, params, { accept: JSON_TYPE });
    const json = JSON.parse(instance.body.toString()) as Json[];
    expect(sops(json)).toEqual([uid(10001)]);
    expect(json[0]!['7FE00010']!.BulkDataURI!.startsWith(ROOT)).toBe(true);
  });

  test('is there as DICOM XML, one part an instance', async () => {
    const accept = 'multipart/related; type="application/dicom+xml"';
    for (const [handler, params, count] of [
      [retrieveStudyMetadata, { study: STUDY }, 5],
      [retrieveSeriesMetadata, { study: STUDY, series: uid(10) }, 3],
      [retrieveInstanceMetadata, { study: STUDY, series: uid(10), instance: uid(10001) }, 1],
    ] as const) {
      const parts = await partsOf(await ask(services, handler, params, { accept }));
      expect(parts).toHaveLength(count);
      for (const { headers, body } of parts) {
        expect(headers['content-type']).toBe('application/dicom+xml');
        expect(body.toString()).toContain('<NativeDicomModel');
        expect(body.toString()).toContain(`<BulkData uri="${ROOT}/studies/`);
      }
    }
  });

  test('of one instance is one XML document, where that is asked for by name (PS3.18 §10.4.4)', async () => {
    const instance = { study: STUDY, series: uid(20), instance: uid(20_001) };
    const single = await ask(services, retrieveInstanceMetadata, instance, { accept: 'application/dicom+xml' });
    expect(single.headers).toMatchObject({ 'content-type': 'application/dicom+xml' });
    const accept = 'multipart/related; type="application/dicom+xml"';
    const [part] = await partsOf(await ask(services, retrieveInstanceMetadata, instance, { accept }));
    expect(single.body.equals(part!.body)).toBe(true);
    expect(single.headers.etag).toMatch(/^"/);
    const again = { accept: 'application/dicom+xml', headers: { 'if-none-match': single.headers.etag! } };
    expect((await ask(services, retrieveInstanceMetadata, instance, again)).status).toBe(304);
    // of several it cannot be; and browsers, which ask for XML of any kind, get JSON
    for (const [handler, params] of [
      [retrieveSeriesMetadata, { study: STUDY, series: uid(20) }],
      [retrieveStudyMetadata, { study: STUDY }],
    ] as const)
      expect((await ask(services, handler, params, { accept: 'application/dicom+xml' })).status).toBe(406);
    const browser = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };
    const { headers } = await ask(services, retrieveInstanceMetadata, instance, browser);
    expect(headers['content-type']).toBe(JSON_TYPE);
  });

  test('is not there for what does not exist', async () => {
    const status = async (...args: Parameters<typeof ask>) => (await ask(...args)).status;
    for (const accept of [JSON_TYPE, 'multipart/related; type="application/dicom+xml"']) {
      expect(await status(services, retrieveStudyMetadata, { study: uid(9) }, { accept })).toBe(404);
      expect(await status(services, retrieveSeriesMetadata, { study: STUDY, series: uid(9) }, { accept })).toBe(404);
      const params = { study: STUDY, series: uid(20), instance: uid(10001) };
      expect(await status(services, retrieveInstanceMetadata, params, { accept })).toBe(404);
    }
  });

  test('refuses what it is not', async () => {
    expect((await ask(services, retrieveStudyMetadata, { study: STUDY }, { accept: 'image/png' })).status).toBe(406);
  });

  test('has an ETag that changes with every new instance, root, form and encoding', async () => {
    const params = { study: STUDY, series: uid(10) };
    const etag = async (asked: Parameters<typeof ask>[3]) =>
      (await ask(services, retrieveSeriesMetadata, params, asked)).headers.etag;
    const first = await etag({ accept: JSON_TYPE });
    expect(first).toMatch(/^"[\w-]{27}"$/);
    expect(await etag({ accept: JSON_TYPE })).toBe(first);
    expect(await etag({ accept: JSON_TYPE, headers: gzip })).not.toBe(first);
    expect(await etag({ accept: JSON_TYPE, origin: 'http://other.example' })).not.toBe(first);
    expect(await etag({ accept: 'multipart/related; type="application/dicom+xml"' })).not.toBe(first);
    const asked = { accept: JSON_TYPE, headers: { 'if-none-match': first! } };
    expect((await ask(services, retrieveSeriesMetadata, params, asked)).status).toBe(304);
    await store(services, slice(10, 4));
    const after = await ask(services, retrieveSeriesMetadata, params, asked);
    expect(after.status).toBe(200);
    expect(JSON.parse(after.body.toString())).toHaveLength(4);
  });

  test('has no ETag while a commit is not folded in: its revision would lie', async () => {
    await services.index.write([{ kind: 'put', key: keys.delta(TENANT, STUDY, 'x'), item: { at: 1 } }]);
    const { headers, status } = await ask(services, retrieveSeriesMetadata, { study: STUDY, series: uid(10) }, {});
    expect(status).toBe(200);
    expect(headers.etag).toBeUndefined();
    expect(await prepareSeriesMetadata(services, TENANT, STUDY, uid(10))).toBe(false);
  });

  test('is compressed for a line, not for loopback, as long as nothing is prepared', async () => {
    for (let i = 5; i < 30; i++) await store(services, slice(10, i));
    const params = { study: STUDY, series: uid(10) };
    const plain = await ask(services, retrieveSeriesMetadata, params, {
      headers: gzip,
      origin: 'http://127.0.0.1:8080',
    });
    expect(plain.headers['content-encoding']).toBeUndefined();
    for (const [handler, which] of [
      [retrieveSeriesMetadata, params],
      [retrieveStudyMetadata, { study: STUDY }],
    ] as const) {
      const whole = await ask(services, handler, which);
      const packed = await ask(services, handler, which, { headers: gzip });
      expect(packed.headers['content-encoding']).toBe('gzip');
      expect(gunzipSync(packed.body).equals(whole.body)).toBe(true);
    }
    const refused = await ask(services, retrieveSeriesMetadata, params, {
      headers: { 'accept-encoding': 'gzip;q=0, br' },
    });
    expect(refused.headers['content-encoding']).toBeUndefined();
  });

  describe('prepared when the study is quiet', () => {
    const read = async (asked: Parameters<typeof ask>[3] = {}) =>
      ask(services, retrieveSeriesMetadata, { study: STUDY, series: uid(10) }, asked);

    test('says the same, from one blob and without a metadata record', async () => {
      const before = await read();
      expect(await prepareSeriesMetadata(services, TENANT, STUDY, uid(10))).toBe(true);
      const record = await seriesRecord(10);
      expect(record.prepared?.revision).toBe(record.revision);
      // Prove where it comes from: the records are gone, and another root is not in memory yet.
      for (const n of [1, 2, 3]) {
        await services.index.write([{ kind: 'delete', key: keys.metadata(TENANT, STUDY, uid(10), uid(10000 + n)) }]);
      }
      const after = await read({ origin: 'http://elsewhere.example' });
      expect(after.body.toString().replaceAll('http://elsewhere.example', 'http://pacs.example')).toBe(
        before.body.toString(),
      );
      const study = await ask(services, retrieveStudyMetadata, { study: STUDY }, { origin: 'http://third.example' });
      expect(JSON.parse(study.body.toString())).toHaveLength(5);
    });

    test('for a root, goes out as the very bytes of its blob', async () => {
      expect(await prepareSeriesMetadata(services, TENANT, STUDY, uid(10), ROOT)).toBe(true);
      const { prepared } = await seriesRecord(10);
      const blob = await services.blobs.readBytes(prepared!.blobKey);
      const { body, headers } = await read({ headers: gzip });
      expect(headers['content-encoding']).toBe('gzip');
      expect(body.equals(blob)).toBe(true);
      const other = await read({ origin: 'http://other.example' });
      expect(other.body.toString()).toContain('"BulkDataURI":"http://other.example/dicomweb/studies/');
      expect(other.body.toString()).not.toContain(ROOT);
    });

    test('is sent so on loopback too, where nothing is compressed for a request', async () => {
      const origin = 'http://127.0.0.1:8080';
      const params = { study: STUDY, series: uid(10) };
      const asked = { headers: gzip, origin };
      const plain = await ask(services, retrieveSeriesMetadata, params, asked);
      expect(plain.headers['content-encoding']).toBeUndefined();
      expect(await prepareSeriesMetadata(services, TENANT, STUDY, uid(10), `${origin}/dicomweb`)).toBe(true);
      const packed = await ask(services, retrieveSeriesMetadata, params, asked);
      expect(packed.headers['content-encoding']).toBe('gzip');
      expect(gunzipSync(packed.body).equals(plain.body)).toBe(true);
      expect(packed.headers.etag).not.toBe(plain.headers.etag);
      expect(packed.headers.vary).toContain('accept-encoding');
      const { headers } = await ask(services, retrieveSeriesMetadata, params, { origin });
      expect([headers['content-encoding'], headers.etag]).toEqual([undefined, plain.headers.etag]);
      const known = { ...gzip, 'if-none-match': packed.headers.etag! };
      expect((await ask(services, retrieveSeriesMetadata, params, { headers: known, origin })).status).toBe(304);
      // Of another revision it says nothing.
      await store(services, slice(10, 4));
      const next = await ask(services, retrieveSeriesMetadata, params, asked);
      expect(next.headers['content-encoding']).toBeUndefined();
      expect(JSON.parse(next.body.toString())).toHaveLength(4);
    });

    test('is superseded by a new instance, and its blob removed when it is prepared again', async () => {
      await prepareSeriesMetadata(services, TENANT, STUDY, uid(10));
      const old = (await seriesRecord(10)).prepared!.blobKey;
      await store(services, slice(10, 4));
      expect(JSON.parse((await read()).body.toString())).toHaveLength(4);
      expect(await prepareSeriesMetadata(services, TENANT, STUDY, uid(10))).toBe(true);
      expect(await services.blobs.head(old)).toBeUndefined();
      expect(JSON.parse((await read({ origin: 'http://new.example' })).body.toString())).toHaveLength(4);
    });

    test('twice is once, and two at a time leave one blob that the record names', async () => {
      const both = await Promise.all([1, 2].map(() => prepareSeriesMetadata(services, TENANT, STUDY, uid(10))));
      expect(both).toContain(true);
      expect(await prepareSeriesMetadata(services, TENANT, STUDY, uid(10))).toBe(true);
      const documents: string[] = [];
      for await (const { key } of services.blobs.list(`${TENANT}/`)) if (key.endsWith('.json.gz')) documents.push(key);
      expect(documents).toEqual([(await seriesRecord(10)).prepared!.blobKey]);
    });

    test('is swept when the series is gone: it holds what the objects said', async () => {
      await prepareSeriesMetadata(services, TENANT, STUDY, uid(10));
      const { blobKey } = (await seriesRecord(10)).prepared!;
      expect(await sweepSeriesDocuments(services, TENANT, STUDY, uid(10))).toBe(0);
      expect(await services.blobs.head(blobKey)).toBeDefined();
      await services.index.write([{ kind: 'delete', key: keys.series(TENANT, STUDY, uid(10)) }]);
      expect(await sweepSeriesDocuments(services, TENANT, STUDY, uid(10))).toBe(1);
      expect(await services.blobs.head(blobKey)).toBeUndefined();
    });

    test('that lost the race against a store leaves nothing behind', async () => {
      const { index } = services;
      const { query } = index;
      let raced = false;
      index.query = async (...args) => {
        const page = await query.apply(index, args);
        if (!raced && args[0].partition.includes('|metadata|')) {
          raced = true;
          await store(services, slice(10, 4));
        }
        return page;
      };
      expect(await prepareSeriesMetadata(services, TENANT, STUDY, uid(10))).toBe(false);
      expect((await seriesRecord(10)).prepared).toBeUndefined();
      for await (const { key } of services.blobs.list(`${TENANT}/`)) expect(key).not.toMatch(/json\.gz$/);
      expect(JSON.parse((await read()).body.toString())).toHaveLength(4);
    });
  });
});

test('metadata too long for the index stands in a blob and takes its place in the order', async () => {
  const services = memoryServices({ limits: { metadataInIndexBytes: 1_500 } });
  await store(services, slice(10, 1));
  await store(services, slice(10, 2, { ImageComments: 'long '.repeat(300) }));
  await store(services, slice(10, 3));
  const { body } = await ask(services, retrieveSeriesMetadata, { study: STUDY, series: uid(10) });
  expect(sops(JSON.parse(body.toString()))).toEqual([uid(10003), uid(10002), uid(10001)]);
});

describe('what stands beside the texts in the index', () => {
  /** each with pixels, and a private value too long to stand inline: two references; the last has none */
  const objects = (): Uint8Array[] => [
    ...[1, 2].map((i) => slice(10, i, { '00090010': 'NEPHOS', '00091001': 'x'.repeat(5_000) })),
    buildDicom({
      SeriesInstanceUID: uid(10),
      SOPInstanceUID: uid(10_003),
      InstanceNumber: undefined,
      PixelData: undefined,
    }),
  ];
  const params = { study: STUDY, series: uid(10) };
  const recordKeys = [1, 2, 3].map((n) => keys.metadata(TENANT, STUDY, uid(10), uid(10_000 + n)));

  const stored = async (limits: Parameters<typeof memoryServices>[0] = {}) => {
    const services = memoryServices(limits);
    for (const object of objects()) await store(services, object);
    return services;
  };

  test('says the number and where the references are', async () => {
    const { index } = await stored();
    const records = await Promise.all(recordKeys.map((key) => index.get(key)));
    expect(records.map((record) => record?.InstanceNumber)).toEqual([499, 498, null]);
    for (const record of records) {
      const text = Buffer.from(record?.json as Uint8Array).toString();
      const found = [...text.matchAll(/"BulkDataURI":"(?=nephos:\/)/g)].map(
        ({ index, 0: { length } }) => index + length,
      );
      expect(record?.references).toEqual(found);
    }
    expect(records.map((record) => (record?.references as number[] | undefined)?.length)).toEqual([2, 2, 0]);
  });

  test('is believed', async () => {
    const services = await stored();
    const [first] = recordKeys;
    const record = await services.index.get(first!);
    await services.index.write([{ kind: 'put', key: first!, item: { ...record, InstanceNumber: 1, references: [] } }]);
    const { body } = await ask(services, retrieveSeriesMetadata, params);
    expect(sops(JSON.parse(body.toString()))).toEqual([uid(10_001), uid(10_002), uid(10_003)]);
    expect(body.toString().match(/nephos:/g)).toHaveLength(2);
  });

  test('and where it does not, as in records made before, the document is the same', async () => {
    const services = await stored();
    const { body } = await ask(services, retrieveSeriesMetadata, params);
    for (const [i, key] of recordKeys.entries()) {
      const { json } = (await services.index.get(key))!;
      await services.index.write([
        { kind: 'put', key, item: { json: i === 0 ? Buffer.from(json as Uint8Array).toString() : json } },
      ]);
    }
    await store(services, slice(10, 4));
    await services.index.write([{ kind: 'delete', key: keys.metadata(TENANT, STUDY, uid(10), uid(10_004)) }]);
    const searched = await ask(services, retrieveSeriesMetadata, params);
    expect(searched.headers.etag).not.toBe(undefined);
    expect(searched.body.equals(body)).toBe(true);
    expect(body.toString().match(new RegExp(`"BulkDataURI":"${ROOT}/studies/`, 'g'))).toHaveLength(4);
  });

  test('spares a record for each text that stands in a blob', async () => {
    const services = await stored({ limits: { metadataInIndexBytes: 500 } });
    const meter = newReadMeter();
    const found: unknown[] = [];
    for await (const some of seriesMetadata(services, TENANT, STUDY, uid(10), meter))
      for (const { bytes } of some) found.push((JSON.parse(bytes.toString()) as Json)['00080018']?.Value?.[0]);
    expect(found).toEqual([uid(10_002), uid(10_001), uid(10_003)]);
    expect(meter).toMatchObject({ calls: 1, records: 3 });
  });
});

test('a document that its reader left before the end is not what the next one gets', async () => {
  const services = memoryServices();
  const numbers = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
  // more than one piece
  for (const n of numbers) await store(services, slice(10, n, { ImageComments: 'x'.repeat(60_000) }));
  const params = { study: STUDY, series: uid(10) };
  const contextOf = (services: Services): Context => ({
    request: {
      method: 'GET',
      path: '/',
      query: new URLSearchParams(),
      headers: { accept: JSON_TYPE },
      body: (async function* () {})(),
      origin: 'http://pacs.example',
    },
    params,
    services,
    principal: { tenant: TENANT, subject: 'test', roles: ['admin'] },
    root: ROOT,
    facts: {},
  });
  const left = await retrieveSeriesMetadata(contextOf(services));
  let read = 0;
  for await (const piece of left.body as AsyncIterable<Uint8Array>) {
    read += piece.length;
    break;
  }
  expect(read).toBeLessThan(Number(left.headers['content-length']));
  const { body } = await ask(services, retrieveSeriesMetadata, params, { accept: JSON_TYPE });
  expect(body).toHaveLength(Number(left.headers['content-length']));
  expect(sops(JSON.parse(body.toString()))).toEqual(numbers.map((n) => uid(10_000 + n)).reverse());
  // kept, now that somebody has had it to its end
  const again = await retrieveSeriesMetadata(contextOf(services));
  expect(Buffer.from(again.body as Uint8Array).equals(body)).toBe(true);
});

test('instances are in the order of their own numbers, not of those in private sequences before them', async () => {
  const services = memoryServices();
  for (const [n, inner] of [
    [1, 1],
    [2, 9],
    [3, 5],
  ] as const) {
    await store(
      services,
      buildDicom({
        SeriesInstanceUID: uid(10),
        SOPInstanceUID: uid(100 + n),
        InstanceNumber: 10 - n,
        ReferencedImageSequence: [{ InstanceNumber: inner }],
      }),
    );
  }
  const { body } = await ask(services, retrieveSeriesMetadata, { study: STUDY, series: uid(10) });
  expect(sops(JSON.parse(body.toString()))).toEqual([uid(103), uid(102), uid(101)]);
});

test('a series that is larger than a page is read twice, never held, and still in order', async () => {
  const services = memoryServices();
  const count = 1_050;
  for (let i = 0; i < count; i++) {
    const text = `{"00080018":{"vr":"UI","Value":["${uid(i)}"]},"00200013":{"vr":"IS","Value":[${(i * 11) % count}]}}`;
    await services.index.write([
      { kind: 'put', key: keys.metadata(TENANT, STUDY, uid(10), uid(i)), item: { json: text } },
    ]);
  }
  const meter = newReadMeter();
  const numbers: number[] = [];
  let most = 0;
  for await (const some of seriesMetadata(services, TENANT, STUDY, uid(10), meter)) {
    most = Math.max(most, some.length);
    for (const { bytes } of some) numbers.push((JSON.parse(bytes.toString()) as Json)['00200013']!.Value![0] as number);
  }
  expect(most).toBe(100);
  expect(numbers).toEqual(Array.from({ length: count }, (_, i) => i));
  expect(meter.records).toBe(2 * count);
  expect(meter.calls).toBe(2 + Math.ceil(count / 100));
});

test('instances without a number come last, by UID', async () => {
  const services = memoryServices();
  for (const [n, number] of [
    [1, undefined],
    [2, '7'],
    [3, undefined],
    [4, '-1'],
  ] as const) {
    await store(
      services,
      buildDicom({ SeriesInstanceUID: uid(10), SOPInstanceUID: uid(100 + n), InstanceNumber: number }),
    );
  }
  const { body } = await ask(services, retrieveSeriesMetadata, { study: STUDY, series: uid(10) });
  expect(sops(JSON.parse(body.toString()))).toEqual([uid(104), uid(102), uid(101), uid(103)]);
});
