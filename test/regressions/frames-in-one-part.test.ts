import { expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { retrieveBulkdata } from '#dicomweb/bulkdata.ts';
import { retrievePixelData } from '#dicomweb/retrieve-frames.ts';
import { retrieveInstance } from '#dicomweb/retrieve-instances.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';
import { ask } from '#test/unit/dicomweb/asking.ts';

const ELE = '1.2.840.10008.1.2.1';
const RLE = '1.2.840.10008.1.2.5';
const EXPLICIT_BE = '1.2.840.10008.1.2.2';
const ENCAPSULATED_UNCOMPRESSED = '1.2.840.10008.1.2.1.98';
/** retired, and in no decoder */
const JPEG_HIERARCHICAL = '1.2.840.10008.1.2.4.59';
const OCTETS = 'application/octet-stream';
const image = {
  Rows: 2,
  Columns: 2,
  BitsAllocated: 8,
  BitsStored: 8,
  HighBit: 7,
  PixelRepresentation: 0,
  SamplesPerPixel: 1,
  PhotometricInterpretation: 'MONOCHROME2',
  NumberOfFrames: 3,
};
const header = new Uint8Array(64);
header.set([1, 0, 0, 0, 64]);
const rle = (...samples: number[]): Buffer => Buffer.concat([header, Buffer.from([3, ...samples, 0])]);
const frames = [rle(1, 2, 3, 4), rle(5, 6, 7, 8), rle(9, 10, 11, 12)];
const samples = Buffer.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
const of = { study: uid(1), series: uid(2), instance: uid(3), bulk: '7FE00010' };

async function archive(object: Uint8Array, limits = {}) {
  const services = memoryServices({ pixels: new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS), limits });
  expect((await store(services, object)).kind).toBe('stored');
  return services;
}

/** All frames of a compressed object could be had as parts alone: who asked for one part was refused (406). */
test('the frames of a compressed object in one part are its samples', async () => {
  const services = await archive(buildDicom(image, { transferSyntaxUID: RLE, frames }));
  for (const handler of [retrievePixelData, retrieveBulkdata]) {
    for (const accept of [OCTETS, `${OCTETS}; transfer-syntax=${ELE}`, `${OCTETS}; transfer-syntax=*`]) {
      const answer = await ask(services, handler, of, { accept });
      expect([answer.status, answer.headers['content-type'], answer.headers['content-length']]).toEqual([
        200,
        `${OCTETS}; transfer-syntax=${ELE}`,
        '12',
      ]);
      expect(answer.body).toEqual(samples);
      const again = { accept, headers: { 'if-none-match': answer.headers.etag! } };
      expect((await ask(services, handler, of, again)).status).toBe(304);
    }
    expect((await ask(services, handler, of)).headers['content-type']).toMatch(/^multipart\/related/);
    expect((await ask(services, handler, of, { accept: `${OCTETS}; transfer-syntax=${RLE}` })).status).toBe(406);
  }
});

test('they are those of the object decompressed, packed bits and big endian words too', async () => {
  const bits = { ...image, Rows: 3, Columns: 3, BitsAllocated: 1, BitsStored: 1, HighBit: 0 };
  const words = { ...image, BitsAllocated: 16, BitsStored: 16, HighBit: 15 };
  const three = (bytes: number[]): Buffer[] => [1, 2, 3].map((n) => Buffer.from(bytes.map((byte) => byte * n)));
  for (const object of [
    buildDicom(bits, { transferSyntaxUID: ENCAPSULATED_UNCOMPRESSED, frames: three([0x55, 0x01]) }),
    buildDicom(words, { transferSyntaxUID: EXPLICIT_BE, frames: three([1, 2, 3, 4, 5, 6, 7, 8]) }),
    buildDicom(words, { transferSyntaxUID: ELE, frames: three([1, 2, 3, 4, 5, 6, 7, 8]) }),
  ]) {
    const services = await archive(object);
    const { status, body } = await ask(services, retrievePixelData, of, { accept: OCTETS });
    expect(status).toBe(200);
    const plain = await ask(services, retrieveInstance, of, { accept: `application/dicom; transfer-syntax=${ELE}` });
    const at = plain.body.length - body.length - (body.length % 2);
    expect(plain.body.subarray(at, at + body.length)).toEqual(body);
  }
});

test('what nobody here can decode is refused, and what is more than one response holds', async () => {
  const unknown = await archive(buildDicom(image, { transferSyntaxUID: JPEG_HIERARCHICAL, frames }));
  expect((await ask(unknown, retrievePixelData, of, { accept: OCTETS })).status).toBe(406);
  const small = await archive(buildDicom(image, { transferSyntaxUID: RLE, frames }), { responseBytes: 11 });
  expect((await ask(small, retrievePixelData, of, { accept: OCTETS })).status).toBe(413);
});

test('a spoiled first frame is said before the first byte', async () => {
  const spoiled = [Buffer.from(frames[0]!).fill(0xff, 4, 8), ...frames.slice(1)];
  const services = await archive(buildDicom(image, { transferSyntaxUID: RLE, frames: spoiled }));
  expect((await ask(services, retrievePixelData, of, { accept: OCTETS })).status).toBe(409);
});
