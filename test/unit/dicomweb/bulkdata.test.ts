import { describe, expect, test } from 'vitest';
import {
  retrieveBulkdata,
  retrieveInstanceBulkdata,
  retrieveSeriesBulkdata,
  retrieveSeriesPixelData,
  retrieveStudyBulkdata,
} from '#dicomweb/bulkdata.ts';
import { retrieveInstance, retrieveSeries, retrieveStudy } from '#dicomweb/retrieve-instances.ts';
import { retrieveInstanceMetadata } from '#dicomweb/retrieve-metadata.ts';
import {
  type BuilderDataSet,
  type BuilderOptions,
  buildDicom,
  DEFLATED_LE,
  EXPLICIT_BE,
  IMPLICIT_LE,
  JPEG_BASELINE,
  uid,
} from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';
import { ask, partsOf, ROOT } from './asking.ts';

const RAW = 'application/octet-stream';
const PARAMS = { study: uid(1), series: uid(2), instance: uid(3) };
const INSTANCE = `${ROOT}/studies/${uid(1)}/series/${uid(2)}/instances/${uid(3)}`;
const PIXELS = Buffer.from(Array.from({ length: 800 }, (_, i) => i % 251));
const LARGE: BuilderDataSet = { Rows: 20, Columns: 20, PixelData: { vr: 'OW', value: PIXELS } };

async function archive(values: BuilderDataSet, options: BuilderOptions = {}) {
  const services = memoryServices();
  expect((await store(services, buildDicom(values, options))).kind).toBe('stored');
  const get = (bulk: string, accept = RAW, headers: Record<string, string> = {}) =>
    ask(services, retrieveBulkdata, { ...PARAMS, bulk }, { accept, headers });
  /** last segment of the tag's BulkDataURI, found as a client finds it */
  const segmentOf = async (tag: string): Promise<string> => {
    const { body } = await ask(services, retrieveInstanceMetadata, PARAMS);
    const uri = (JSON.parse(body.toString())[0][tag] as { BulkDataURI: string }).BulkDataURI;
    expect(uri.startsWith(`${INSTANCE}/bulkdata/`)).toBe(true);
    return uri.slice(`${INSTANCE}/bulkdata/`.length);
  };
  return { services, get, segmentOf };
}

describe('a BulkDataURI resolves', () => {
  test.each([
    ['Explicit VR Little Endian', {}],
    ['Implicit VR Little Endian', { transferSyntaxUID: IMPLICIT_LE }],
    ['Deflated Explicit VR Little Endian', { transferSyntaxUID: DEFLATED_LE }],
  ])('to the value, from %s', async (_name, options) => {
    const { get, segmentOf } = await archive(LARGE, options);
    const segment = await segmentOf('7FE00010');
    const { status, headers, body } = await get(segment);
    expect(status).toBe(200);
    expect(body.equals(PIXELS)).toBe(true);
    expect(headers['content-type']).toBe(RAW);
    expect(headers['content-length']).toBe('800');
    const part = await get(segment, RAW, { range: 'bytes=10-19' });
    expect([part.status, part.headers['content-range']]).toEqual([206, 'bytes 10-19/800']);
    expect(part.body.equals(PIXELS.subarray(10, 20))).toBe(true);
    expect((await get(segment, RAW, { range: 'bytes=800-' })).status).toBe(416);
    expect((await get(segment, RAW, { 'if-none-match': headers.etag! })).status).toBe(304);
  });

  test('as a part, which is the default', async () => {
    const { get, segmentOf } = await archive(LARGE);
    const segment = await segmentOf('7FE00010');
    for (const accept of ['*/*', `multipart/related; type="${RAW}"`]) {
      const parts = await partsOf(await get(segment, accept));
      expect(parts.map(({ headers }) => headers)).toEqual([
        { 'content-type': RAW, 'content-location': `${INSTANCE}/bulkdata/${segment}` },
      ]);
      expect(parts[0]!.body.equals(PIXELS)).toBe(true);
    }
  });

  test('big endian words to little endian ones, ranges that cut a word included', async () => {
    const { get, segmentOf } = await archive(LARGE, { transferSyntaxUID: EXPLICIT_BE });
    const segment = await segmentOf('7FE00010');
    const swapped = Buffer.from(PIXELS).swap16();
    expect((await get(segment)).body.equals(swapped)).toBe(true);
    for (const [from, to] of [
      [0, 0],
      [1, 6],
      [3, 4],
      [799, 799],
      [1, 799],
    ] as const) {
      const { body } = await get(segment, RAW, { range: `bytes=${from}-${to}` });
      expect(body.toString('hex')).toBe(swapped.subarray(from, to + 1).toString('hex'));
    }
  });

  test('by its tag alone, short values that stand inline included', async () => {
    const { get } = await archive({
      ...LARGE,
      '00091010': { vr: 'OB', value: Buffer.from('abcd') },
      '00090010': 'NEPHOS',
    });
    expect((await get('7fe00010')).body.equals(PIXELS)).toBe(true);
    expect((await get('00091010')).body.toString()).toBe('abcd');
  });

  test('inside sequences', async () => {
    const waveform = Buffer.alloc(600, 7);
    const values = {
      WaveformSequence: [{ WaveformBitsAllocated: 16 }, { WaveformData: { vr: 'OW', value: waveform } }],
    };
    const { get } = await archive(values);
    expect((await get('54000100-2-54001010')).body.equals(waveform)).toBe(true);
    expect((await get('54000100/2/54001010')).body.equals(waveform)).toBe(true);
  });

  test.each([
    '00100010',
    '00091010',
    '7FE00010.0.10',
    '7FE00010.5.10',
    '7FE00010.400.99999999',
    'nonsense',
    '54000100-1-54001010',
    '../../x',
  ])('or is 404: %s', async (bulk) => {
    const { get } = await archive(LARGE);
    expect((await get(bulk)).status).toBe(404);
  });
});

describe('an encapsulated document', () => {
  const pdf = Buffer.from(`%PDF-1.4 ${'x'.repeat(400)}\n`);
  const values = (type: string): BuilderDataSet => ({
    SOPClassUID: '1.2.840.10008.5.1.4.1.1.104.1',
    PixelData: undefined,
    MIMETypeOfEncapsulatedDocument: type,
    EncapsulatedDocument: { vr: 'OB', value: pdf },
  });

  test('comes under its own media type', async () => {
    const { get, segmentOf } = await archive(values('application/pdf'));
    for (const segment of [await segmentOf('00420011'), '00420011']) {
      for (const accept of ['application/pdf', 'text/html,*/*;q=0.8']) {
        const { headers, body } = await get(segment, accept);
        expect(headers['content-type']).toBe('application/pdf');
        expect(body.subarray(0, pdf.length).equals(pdf)).toBe(true);
      }
      expect((await get(segment, RAW)).headers['content-type']).toBe(RAW);
    }
  });

  test('that a browser would run is handed out as bytes only', async () => {
    const { get } = await archive(values('text/html'));
    expect((await get('00420011', 'text/html')).status).toBe(406);
    expect((await get('00420011', 'text/html,*/*;q=0.8')).headers['content-type']).toMatch(/^multipart\/related/);
  });
});

describe('all bulk data', () => {
  test('of an instance and of a study, each part at its URL', async () => {
    const { services, segmentOf } = await archive({
      ...LARGE,
      '00090010': 'NEPHOS',
      '00091020': { vr: 'OB', value: Buffer.alloc(300, 5) },
    });
    const locations = [
      `${INSTANCE}/bulkdata/${await segmentOf('00091020')}`,
      `${INSTANCE}/bulkdata/${await segmentOf('7FE00010')}`,
    ];
    for (const [handler, params] of [
      [retrieveInstanceBulkdata, PARAMS],
      [retrieveStudyBulkdata, { study: uid(1) }],
    ] as const) {
      const parts = await partsOf(await ask(services, handler, params));
      expect(parts.map(({ headers }) => headers['content-location'])).toEqual(locations);
      expect(parts.map(({ body }) => body.length)).toEqual([300, 800]);
    }
  });

  test('compressed pixel data as frames', async () => {
    const frames = ['ffd8ff01ffd9', 'ffd8ff02ffd9'].map((hex) => Buffer.from(hex, 'hex'));
    const { services, get, segmentOf } = await archive(
      { NumberOfFrames: 2 },
      { transferSyntaxUID: JPEG_BASELINE, frames },
    );
    const accept = `multipart/related; type="${RAW}"; transfer-syntax=*`;
    const answers = [
      await get(await segmentOf('7FE00010'), accept),
      await ask(services, retrieveSeriesPixelData, PARAMS, { accept }),
      await ask(services, retrieveStudyBulkdata, PARAMS, { accept }),
    ];
    for (const answer of answers) {
      const parts = await partsOf(answer);
      expect(parts.map(({ headers }) => headers['content-location'])).toEqual([
        `${INSTANCE}/frames/1`,
        `${INSTANCE}/frames/2`,
      ]);
      expect(parts.map(({ body }) => body.toString('hex'))).toEqual(['ffd8ff01ffd9', 'ffd8ff02ffd9']);
    }
  });

  test('of a study, a series and an object also by their own addresses, as it once was (PS3.18 §10.4.4)', async () => {
    const services = memoryServices();
    await store(services, buildDicom({ Rows: 4, Columns: 4, IconImageSequence: [{ PixelData: new Uint8Array(16) }] }));
    const accept = 'multipart/related; type="application/octet-stream"';
    for (const [handler, own, params] of [
      [retrieveStudy, retrieveStudyBulkdata, { study: uid(1) }],
      [retrieveSeries, retrieveSeriesBulkdata, { study: uid(1), series: uid(2) }],
      [retrieveInstance, retrieveInstanceBulkdata, PARAMS],
    ] as const) {
      const parts = await partsOf(await ask(services, handler, params, { accept }));
      expect(parts.length).toBeGreaterThan(0);
      expect(parts).toEqual(await partsOf(await ask(services, own, params, { accept })));
      const { headers } = await ask(services, handler, params, { accept: '*/*' });
      expect(headers['content-type']).toContain('type="application/dicom"');
    }
  });

  test('is 404 where there is none', async () => {
    const { services } = await archive({ PixelData: undefined });
    expect((await ask(services, retrieveStudyBulkdata, PARAMS)).status).toBe(404);
    expect((await ask(services, retrieveSeriesPixelData, PARAMS)).status).toBe(404);
  });
});
