import { expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { retrieveInstance, retrieveStudy } from '#dicomweb/retrieve-instances.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';
import { ask, partsOf } from '#test/unit/dicomweb/asking.ts';

const RLE = '1.2.840.10008.1.2.5';
const image = {
  Rows: 2,
  Columns: 2,
  BitsAllocated: 8,
  BitsStored: 8,
  HighBit: 7,
  PixelRepresentation: 0,
  SamplesPerPixel: 1,
  PhotometricInterpretation: 'MONOCHROME2',
};
const header = new Uint8Array(64);
header.set([1, 0, 0, 0, 64]);
const whole = Buffer.concat([header, Buffer.from([3, 1, 2, 3, 4, 0])]);
/** one segment, at an offset behind the end */
const spoiled = Buffer.from(whole).fill(0xff, 4, 8);

/** The answer broke off at the spoiled image, or before its first byte: of the whole study nothing could be used. */
test('an image that cannot be decoded leaves as stored among the others of its study, and alone', async () => {
  const services = memoryServices({ pixels: new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS) });
  const objects = [whole, spoiled, whole].map((frame, i) =>
    buildDicom(
      { SOPInstanceUID: uid(330 + i), InstanceNumber: i + 1, ...image },
      { transferSyntaxUID: RLE, frames: [frame] },
    ),
  );
  for (const object of objects) expect((await store(services, object)).kind).toBe('stored');

  const study = await ask(
    services,
    retrieveStudy,
    { study: uid(1) },
    { accept: 'multipart/related; type="application/dicom"' },
  );
  expect(study.status).toBe(200);
  const parts = await partsOf(study);
  expect(parts.map(({ headers }) => headers['content-type'])).toEqual([
    'application/dicom',
    `application/dicom; transfer-syntax=${RLE}`,
    'application/dicom',
  ]);
  expect(Buffer.from(parts[1]!.body).equals(objects[1]!)).toBe(true);

  const params = { study: uid(1), series: uid(2), instance: uid(331) };
  const alone = await ask(services, retrieveInstance, params, { accept: 'application/dicom' });
  expect([alone.status, alone.headers['content-type']]).toEqual([200, `application/dicom; transfer-syntax=${RLE}`]);
  expect(alone.body.equals(objects[1]!)).toBe(true);
  const again = { accept: 'application/dicom', headers: { 'if-none-match': alone.headers.etag! } };
  expect((await ask(services, retrieveInstance, params, again)).status).toBe(304);

  // Who names a syntax is not given another.
  const named = 'application/dicom; transfer-syntax=1.2.840.10008.1.2.1';
  expect((await ask(services, retrieveInstance, params, { accept: named })).status).toBe(409);
});
