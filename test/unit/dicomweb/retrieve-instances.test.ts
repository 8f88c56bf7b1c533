import { unzipSync } from 'fflate';
import { beforeEach, describe, expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import { keys } from '#core/archive/records.ts';
import { dataSetToJson } from '#core/dicom/json.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import type { Services } from '#core/services.ts';
import { retrieveInstance, retrieveSeries, retrieveStudy } from '#dicomweb/retrieve-instances.ts';
import {
  type BuilderDataSet,
  buildDicom,
  DEFLATED_LE,
  EXPLICIT_BE,
  IMPLICIT_LE,
  JPEG_BASELINE,
  uid,
} from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';
import { ask, partsOf } from './asking.ts';

const STUDY = uid(1);
const ANY = 'multipart/related; type="application/dicom"; transfer-syntax=*';
const DEFAULT = 'multipart/related; type="application/dicom"';

const objectOf = (
  series: number,
  instance: number,
  extra: Record<string, string | number> = {},
  jpeg = false,
): Uint8Array =>
  buildDicom(
    {
      SeriesInstanceUID: uid(series),
      SeriesNumber: 100 - series,
      SOPInstanceUID: uid(series * 100 + instance),
      InstanceNumber: 50 - instance,
      ...extra,
    },
    jpeg ? { transferSyntaxUID: JPEG_BASELINE, frames: [Buffer.from('ffd8ffe0ffd9', 'hex')] } : {},
  );
const bytesOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

describe('a study of two series', () => {
  let services: Services;
  const objects = [objectOf(20, 1), objectOf(20, 2), objectOf(10, 1), objectOf(10, 2, {}, true)];

  beforeEach(async () => {
    services = memoryServices();
    for (const object of objects) expect((await store(services, object)).kind).toBe('stored');
  });

  test('comes back byte for byte, by SeriesNumber and InstanceNumber', async () => {
    const answer = await ask(services, retrieveStudy, { study: STUDY }, { accept: ANY });
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toMatch(/^multipart\/related; type="application\/dicom"; boundary=nephos-/);
    const parts = await partsOf(answer);
    expect(parts.map(({ body }) => bytesOf(body))).toEqual(
      [objects[1], objects[0], objects[3], objects[2]].map((o) => bytesOf(o!)),
    );
    expect(parts.map(({ headers }) => headers['content-type'])).toEqual([
      'application/dicom',
      'application/dicom',
      `application/dicom; transfer-syntax=${JPEG_BASELINE}`,
      'application/dicom',
    ]);
  });

  test('comes as stored to who asks for anything, and lossy images come as stored by default', async () => {
    for (const accept of ['*/*', DEFAULT]) {
      const parts = await partsOf(await ask(services, retrieveStudy, { study: STUDY }, { accept }));
      expect(parts).toHaveLength(4);
      expect(bytesOf(parts[2]!.body)).toBe(bytesOf(objects[3]!));
    }
  });

  test('comes by series', async () => {
    const parts = await partsOf(
      await ask(services, retrieveSeries, { study: STUDY, series: uid(20) }, { accept: ANY }),
    );
    expect(parts.map(({ body }) => bytesOf(body))).toEqual([bytesOf(objects[1]!), bytesOf(objects[0]!)]);
  });

  test('comes as a ZIP archive of files named by UIDs', async () => {
    const answer = await ask(services, retrieveStudy, { study: STUDY }, { accept: 'application/zip' });
    expect(answer.headers['content-disposition']).toBe(`attachment; filename="${STUDY}.zip"`);
    const files = unzipSync(answer.body);
    expect(Object.keys(files).sort()).toEqual([
      `DICOM/${STUDY}/${uid(10)}/${uid(1001)}.dcm`,
      `DICOM/${STUDY}/${uid(10)}/${uid(1002)}.dcm`,
      `DICOM/${STUDY}/${uid(20)}/${uid(2001)}.dcm`,
      `DICOM/${STUDY}/${uid(20)}/${uid(2002)}.dcm`,
    ]);
    expect(bytesOf(files[`DICOM/${STUDY}/${uid(20)}/${uid(2001)}.dcm`]!)).toBe(bytesOf(objects[0]!));
  });

  test('is not there under other UIDs, nor for another tenant’s instance', async () => {
    const codes = await Promise.all([
      ask(services, retrieveStudy, { study: uid(9) }, { accept: ANY }),
      ask(services, retrieveSeries, { study: STUDY, series: uid(9) }, { accept: ANY }),
      ask(services, retrieveSeries, { study: uid(9), series: uid(10) }, { accept: ANY }),
      ask(services, retrieveInstance, { study: STUDY, series: uid(20), instance: uid(1001) }, { accept: ANY }),
    ]);
    expect(codes.map(({ status }) => status)).toEqual([404, 404, 404, 404]);
  });

  test('cannot be had as one single part', async () => {
    expect((await ask(services, retrieveStudy, { study: STUDY }, { accept: 'application/dicom' })).status).toBe(406);
    expect((await ask(services, retrieveStudy, { study: STUDY }, { accept: 'image/png' })).status).toBe(406);
  });

  test('is 406 where no instance can be had in the only syntax accepted', async () => {
    const accept = 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.100';
    expect((await ask(services, retrieveStudy, { study: STUDY }, { accept })).status).toBe(406);
  });

  test('is walked in pages, each record read once', async () => {
    const { newReadMeter } = await import('#core/ports/index-table.ts');
    const { instancesOfStudy } = await import('#core/retrieve/find.ts');
    const meter = newReadMeter();
    for await (const _instance of instancesOfStudy(services, 'clinic', STUDY, meter));
    expect(meter.calls).toBe(3);
    expect(meter.records).toBe(6);
  });
});

describe('one instance alone', () => {
  let services: Services;
  const object = objectOf(10, 1);
  const params = { study: STUDY, series: uid(10), instance: uid(1001) };
  const single = { accept: 'application/dicom; transfer-syntax=*' };

  beforeEach(async () => {
    services = memoryServices();
    await store(services, object);
  });

  test('has its SHA-256 as a strong ETag, a date and a length', async () => {
    const { headers, status, body } = await ask(services, retrieveInstance, params, single);
    expect(status).toBe(200);
    expect(bytesOf(body)).toBe(bytesOf(object));
    expect(headers.etag).toMatch(/^"[0-9a-f]{64}"$/);
    expect(headers['last-modified']).toBe('Wed, 31 Jan 2024 12:00:00 GMT');
    expect(headers['content-length']).toBe(String(object.length));
    expect(headers['content-type']).toBe('application/dicom');
    expect(headers['cache-control']).toBe('private, max-age=86400, immutable');
  });

  test('is not sent again to who has it', async () => {
    const { etag } = (await ask(services, retrieveInstance, params, single)).headers;
    const status = async (headers: Record<string, string>) =>
      (await ask(services, retrieveInstance, params, { ...single, headers })).status;
    expect(await status({ 'if-none-match': etag! })).toBe(304);
    expect(await status({ 'if-none-match': `"other", W/${etag}` })).toBe(304);
    expect(await status({ 'if-none-match': '*' })).toBe(304);
    expect(await status({ 'if-none-match': '"other"' })).toBe(200);
    expect(await status({ 'if-modified-since': 'Wed, 31 Jan 2024 12:00:00 GMT' })).toBe(304);
    expect(await status({ 'if-modified-since': 'Wed, 31 Jan 2024 11:59:59 GMT' })).toBe(200);
    // the ETag decides alone when it is there
    expect(await status({ 'if-none-match': '"other"', 'if-modified-since': 'Wed, 31 Jan 2024 12:00:00 GMT' })).toBe(
      200,
    );
  });

  test.each([
    ['bytes=0-9', 206, 0, 10],
    ['bytes=128-131', 206, 128, 132],
    ['bytes=-5', 206, -5, undefined],
    ['bytes=100-', 206, 100, undefined],
    ['bytes=0-999999', 206, 0, undefined],
    ['bytes=0-1,5-6', 200, 0, undefined],
    ['bytes=9-3', 200, 0, undefined],
    ['lines=1-2', 200, 0, undefined],
  ])('can be had in part: %s', async (range, status, from, to) => {
    const answer = await ask(services, retrieveInstance, params, { ...single, headers: { range } });
    expect(answer.status).toBe(status);
    expect(bytesOf(answer.body)).toBe(bytesOf(object).slice(from, to));
    expect(answer.headers['content-length']).toBe(String(answer.body.length));
    if (status === 206) {
      const start = from < 0 ? object.length + from : from;
      expect(answer.headers['content-range']).toBe(`bytes ${start}-${start + answer.body.length - 1}/${object.length}`);
    }
  });

  test('has no bytes behind its end', async () => {
    const answer = await ask(services, retrieveInstance, params, {
      ...single,
      headers: { range: `bytes=${object.length}-` },
    });
    expect(answer.status).toBe(416);
    // An error like all others: a program reads the code.
    expect(answer.body.toString()).toBe('RANGE_NOT_SATISFIABLE');
    expect(answer.details).toEqual({ size: object.length });
  });

  test('is sent whole when If-Range names another state', async () => {
    const { etag } = (await ask(services, retrieveInstance, params, single)).headers;
    const status = async (ifRange: string) =>
      (
        await ask(services, retrieveInstance, params, {
          ...single,
          headers: { range: 'bytes=0-9', 'if-range': ifRange },
        })
      ).status;
    expect(await status(etag!)).toBe(206);
    expect(await status('"other"')).toBe(200);
    expect(await status('Wed, 31 Jan 2024 12:00:00 GMT')).toBe(206);
  });

  test('comes multipart by default, and as a ZIP', async () => {
    expect((await partsOf(await ask(services, retrieveInstance, params, {}))).map(({ body }) => bytesOf(body))).toEqual(
      [bytesOf(object)],
    );
    const zip = await ask(services, retrieveInstance, params, { accept: 'application/zip' });
    expect(Object.keys(unzipSync(zip.body))).toEqual([`DICOM/${STUDY}/${uid(10)}/${uid(1001)}.dcm`]);
  });

  test('is no longer there when its record is gone', async () => {
    await services.index.write([{ kind: 'delete', key: keys.instance('clinic', STUDY, uid(10), uid(1001)) }]);
    expect((await ask(services, retrieveInstance, params, single)).status).toBe(404);
  });
});

test('a preamble that hides a program is zeroed on the way out, and the ETag says so', async () => {
  const object = Uint8Array.from(objectOf(10, 1));
  object.set(Buffer.from('MZ\x90\x00'), 0);
  object.fill(0x55, 4, 128);
  const params = { study: STUDY, series: uid(10), instance: uid(1001) };
  const accept = 'application/dicom; transfer-syntax=*';
  const kept = memoryServices();
  await store(kept, object);
  const sanitizing = memoryServices({ policy: { sanitizePreamble: true } });
  await store(sanitizing, object);
  const before = await ask(kept, retrieveInstance, params, { accept });
  const after = await ask(sanitizing, retrieveInstance, params, { accept });
  expect(bytesOf(before.body)).toBe(bytesOf(object));
  expect(bytesOf(after.body)).toBe(`${'\0'.repeat(128)}${bytesOf(object).slice(128)}`);
  expect(after.headers.etag).not.toBe(before.headers.etag);
  const part = await ask(sanitizing, retrieveInstance, params, { accept, headers: { range: 'bytes=120-135' } });
  expect(bytesOf(part.body)).toBe(`${'\0'.repeat(8)}${bytesOf(object).slice(128, 136)}`);
  const [whole] = await partsOf(await ask(sanitizing, retrieveInstance, params, {}));
  expect(bytesOf(whole!.body)).toBe(bytesOf(after.body));
  // what is stored stays as it came
  const stored = await sanitizing.blobs.readBytes(
    (await sanitizing.blobs.list('clinic/')[Symbol.asyncIterator]().next()).value.key,
  );
  expect(bytesOf(stored)).toBe(bytesOf(object));
});

test('under a policy that lets bytes change, caches ask every time', async () => {
  const services = memoryServices({ policy: { conflict: 'replace' } });
  await store(services, objectOf(10, 1));
  const params = { study: STUDY, series: uid(10), instance: uid(1001) };
  const { headers } = await ask(services, retrieveInstance, params, { accept: 'application/dicom' });
  expect(headers['cache-control']).toBe('private, no-cache');
});

describe('an instance in another transfer syntax', () => {
  const ELE = '1.2.840.10008.1.2.1';
  const params = { study: STUDY, series: uid(2), instance: uid(3) };
  const plain = buildDicom();

  test.each([
    ['Implicit VR Little Endian', IMPLICIT_LE],
    ['Deflated Explicit VR Little Endian', DEFLATED_LE],
    ['Explicit VR Big Endian', EXPLICIT_BE],
  ])(
    '%s leaves as Explicit VR Little Endian by default and by name, as stored where any will do',
    async (_name, transferSyntaxUID) => {
      const services = memoryServices({ pixels: new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS) });
      const object = buildDicom({}, { transferSyntaxUID });
      await store(services, object);
      const dataSetOf = (bytes: Uint8Array) => {
        const { dataSet, transferSyntaxUID: syntax } = scanPart10(bytes, DEFAULT_LIMITS);
        return { syntax, json: dataSetToJson(dataSet, (path) => path) };
      };
      for (const accept of ['application/dicom', `application/dicom; transfer-syntax=${ELE}`]) {
        const { status, body, headers } = await ask(services, retrieveInstance, params, { accept });
        expect([status, headers['content-type']]).toEqual([200, 'application/dicom']);
        expect(dataSetOf(body)).toEqual({ ...dataSetOf(plain), syntax: ELE });
        expect(
          (await ask(services, retrieveInstance, params, { accept, headers: { 'if-none-match': headers.etag! } }))
            .status,
        ).toBe(304);
      }
      for (const accept of ['*/*', ANY]) {
        const [part] = await partsOf(await ask(services, retrieveInstance, params, { accept }));
        expect(bytesOf(part!.body)).toBe(bytesOf(object));
      }
      const zip = unzipSync((await ask(services, retrieveInstance, params, { accept: 'application/zip' })).body);
      expect(bytesOf(Object.values(zip)[0]!)).toBe(bytesOf(object));
    },
  );

  test('is compressed where that is asked for, each part by the best choice it can have', async () => {
    const services = memoryServices({ pixels: new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS) });
    await store(services, plain);
    await store(services, buildDicom({ SOPInstanceUID: uid(4), PixelData: undefined }));
    const accept = ['1.2.840.10008.1.2.4.100', '1.2.840.10008.1.2.4.80']
      .map((uid) => `multipart/related; type="application/dicom"; transfer-syntax=${uid}`)
      .join(', ');
    const parts = await partsOf(await ask(services, retrieveStudy, params, { accept }));
    expect(parts.map(({ headers }) => headers['content-type'])).toEqual([
      'application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80',
      'application/dicom',
    ]);
    expect(scanPart10(parts[0]!.body, DEFAULT_LIMITS).transferSyntaxUID).toBe('1.2.840.10008.1.2.4.80');
  });

  test('is left out of a study where it cannot be had so: 206', async () => {
    const services = memoryServices({ pixels: new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS) });
    await store(services, plain);
    const movie = { transferSyntaxUID: '1.2.840.10008.1.2.4.102', frames: [Buffer.from('movie!')] };
    await store(services, buildDicom({ SOPInstanceUID: uid(4), InstanceNumber: 2 }, movie));
    const accept = `multipart/related; type="application/dicom"; transfer-syntax=${ELE}`;
    const answer = await ask(services, retrieveStudy, params, { accept });
    expect([answer.status, (await partsOf(answer)).length]).toEqual([206, 1]);
    const both = await ask(services, retrieveStudy, params, { accept: `${accept}, ${ANY}; q=0.1` });
    expect([both.status, (await partsOf(both)).length]).toEqual([200, 2]);
  });

  test.each<[why: string, image: BuilderDataSet, syntax: string]>([
    ['12 bits in JPEG Baseline', { BitsAllocated: 16, BitsStored: 12, HighBit: 11 }, '1.2.840.10008.1.2.4.50'],
    [
      'colour of 16 bits in JPEG 2000 with loss',
      { BitsAllocated: 16, SamplesPerPixel: 3, PhotometricInterpretation: 'RGB', PlanarConfiguration: 0 },
      '1.2.840.10008.1.2.4.91',
    ],
    ['packed bits in JPEG-LS', { BitsAllocated: 1, BitsStored: 1, HighBit: 0 }, '1.2.840.10008.1.2.4.80'],
  ])('that cannot hold such an image is refused before the first byte: %s', async (_why, image, syntax) => {
    const services = memoryServices();
    await store(
      services,
      buildDicom({ SOPInstanceUID: uid(3), Rows: 2, Columns: 2, ...image, PixelData: new Uint8Array(24) }),
    );
    const { status, details } = await ask(services, retrieveInstance, params, {
      accept: `application/dicom; transfer-syntax=${syntax}`,
    });
    expect(status).toBe(406);
    expect(details!.transferSyntaxes).not.toContain(syntax);
    expect(details!.transferSyntaxes).toContain('1.2.840.10008.1.2.5');
  });

  test('that no codec writes is refused', async () => {
    const services = memoryServices();
    await store(services, plain);
    const accept = 'application/dicom; transfer-syntax=1.2.840.10008.1.2.4.100';
    const { status, details } = await ask(services, retrieveInstance, params, { accept });
    expect(status).toBe(406);
    expect(details!.available).toContain('application/dicom');
    // What it says can be had can be had.
    const transferSyntaxes = details!.transferSyntaxes as string[];
    expect(transferSyntaxes).toContain('1.2.840.10008.1.2.4.90');
    const pixels = new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS);
    const withCodecs = memoryServices({ pixels });
    await store(withCodecs, plain);
    for (const syntax of transferSyntaxes) {
      const one = await ask(withCodecs, retrieveInstance, params, {
        accept: `application/dicom; transfer-syntax=${syntax}`,
      });
      expect([syntax, one.status]).toEqual([syntax, 200]);
    }
  });
});
