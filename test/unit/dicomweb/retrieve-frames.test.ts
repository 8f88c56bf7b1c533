import { describe, expect, test } from 'vitest';
import type { PixelEngine } from '#core/ports/pixel-engine.ts';
import { retrieveFrames, retrievePixelData } from '#dicomweb/retrieve-frames.ts';
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
const RAW_PARTS = 'multipart/related; type="application/octet-stream"';
const STORED_PARTS = 'multipart/related; type=application/octet-stream; transfer-syntax=*';
const JPEG_LS = '1.2.840.10008.1.2.4.80';
const ELE = '1.2.840.10008.1.2.1';
const PARAMS = { study: uid(1), series: uid(2), instance: uid(3) };
const LOCATION = `${ROOT}/studies/${uid(1)}/series/${uid(2)}/instances/${uid(3)}/frames`;

/** five frames of 4 × 4 pixels of 16 bits, each filled with its number */
const samples = Array.from({ length: 5 }, (_, i) => Buffer.alloc(32, i + 1));
const codestreams = ['one', 'two2', 'three', 'four', 'five!'].map((text) =>
  Buffer.from(`\xff\xd8\xff${text}\xff\xd9`, 'latin1'),
);
const padded = (bytes: Buffer): string => Buffer.concat([bytes, Buffer.alloc(bytes.length % 2)]).toString('latin1');

async function archive(
  options: BuilderOptions,
  values: BuilderDataSet = {},
  settings: Parameters<typeof memoryServices>[0] = {},
) {
  const services = memoryServices(settings);
  const reads: { key: string; offset: number; length: number }[] = [];
  const { blobs } = services;
  const { readBytes } = blobs;
  blobs.readBytes = (key, range) => {
    reads.push({ key, offset: range?.offset ?? 0, length: range?.length ?? -1 });
    return readBytes.call(blobs, key, range);
  };
  const outcome = await store(services, buildDicom({ NumberOfFrames: 5, ...values }, { frames: samples, ...options }));
  expect(outcome.kind).toBe('stored');
  reads.length = 0;
  const frames = (list: string, accept?: string, headers: Record<string, string> = {}) =>
    ask(services, retrieveFrames, { ...PARAMS, frames: list }, { ...(accept !== undefined && { accept }), headers });
  return { services, reads, frames };
}
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

describe('frames of native pixel data', () => {
  test.each([
    ['Explicit VR Little Endian', ELE],
    ['Implicit VR Little Endian', IMPLICIT_LE],
    ['Deflated Explicit VR Little Endian', DEFLATED_LE],
  ])('%s: come as they lie there, in the order of the list', async (_name, transferSyntaxUID) => {
    const { frames } = await archive({ transferSyntaxUID });
    for (const accept of [
      undefined,
      '*/*',
      RAW_PARTS,
      STORED_PARTS,
      'multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1',
    ]) {
      const answer = await frames('3,1,2,5', accept);
      expect(answer.status).toBe(200);
      const parts = await partsOf(answer);
      expect(parts.map(({ body }) => text(body))).toEqual([3, 1, 2, 5].map((n) => text(samples[n - 1]!)));
      expect(parts.map(({ headers }) => headers)).toEqual(
        [3, 1, 2, 5].map((n) => ({
          'content-type': `application/octet-stream; transfer-syntax=${ELE}`,
          'content-location': `${LOCATION}/${n}`,
        })),
      );
    }
  });

  test('one frame is one ranged read, neighbours share one', async () => {
    const { frames, reads } = await archive({});
    await frames('4', RAW);
    expect(reads.map(({ length }) => length)).toEqual([32]);
    reads.length = 0;
    await frames('1,2,3,5', RAW_PARTS);
    expect(reads.map(({ length }) => length)).toEqual([96, 32]);
    reads.length = 0;
    await frames('2,1', RAW_PARTS);
    expect(reads.map(({ length }) => length)).toEqual([32, 32]);
  });

  test('one frame alone has a strong ETag and byte ranges', async () => {
    const { frames } = await archive({});
    const { status, headers, body } = await frames('2', RAW);
    expect([status, text(body)]).toEqual([200, text(samples[1]!)]);
    expect(headers['content-type']).toBe(`application/octet-stream; transfer-syntax=${ELE}`);
    expect(headers['content-location']).toBe(`${LOCATION}/2`);
    expect(headers.etag).toMatch(/^"/);
    expect((await frames('2', RAW, { 'if-none-match': headers.etag! })).status).toBe(304);
    expect((await frames('3', RAW, { 'if-none-match': headers.etag! })).status).toBe(200);
    const part = await frames('2', RAW, { range: 'bytes=4-7' });
    expect([part.status, part.body.length]).toEqual([206, 4]);
  });

  test('several frames do not fit one part', async () => {
    const { frames } = await archive({});
    expect((await frames('1,2', RAW)).status).toBe(406);
  });

  test.each([
    ['0', 400],
    ['6', 404],
    ['1,6', 404],
    ['x', 400],
    ['1-3', 400],
    ['1,,2', 400],
    ['-1', 400],
    ['1.5', 400],
    ['1,1', 400],
    ['99999999999', 400],
  ])('the list %s is refused with %i', async (list, status) => {
    const { frames } = await archive({});
    expect((await frames(list)).status).toBe(status);
  });

  test('packed bits are moved to begin with their frame', async () => {
    // 3 frames of 3 × 3 bits: 27 bits; all ones, all zeros, all ones
    const bits = Buffer.from([0xff, 0x01, 0xfc, 0x07]);
    const values = {
      NumberOfFrames: 3,
      Rows: 3,
      Columns: 3,
      BitsAllocated: 1,
      BitsStored: 1,
      HighBit: 0,
      PixelData: { vr: 'OB', value: bits },
    };
    const { frames } = await archive({}, values);
    const parts = await partsOf(await frames('1,2,3', RAW_PARTS));
    expect(parts.map(({ body }) => body.toString('hex'))).toEqual(['ff01', '0000', 'ff01']);
    expect((await frames('3', RAW)).body.toString('hex')).toBe('ff01');
  });

  test('big endian samples leave little endian, by way of the pixel engine', async () => {
    const jobs: string[] = [];
    const pixels = {
      transcode: async (job) => {
        jobs.push(`${job.transferSyntaxUID} ${job.target.transferSyntaxUID}`);
        return {
          ...job,
          codestream: Buffer.from(job.codestream).swap16(),
          transferSyntaxUID: job.target.transferSyntaxUID,
        };
      },
    } as Partial<PixelEngine> as PixelEngine;
    const words = Buffer.from([0x01, 0x02].concat(Array(158).fill(0)));
    const { frames } = await archive(
      { transferSyntaxUID: EXPLICIT_BE },
      { PixelData: { vr: 'OW', value: words } },
      { pixels },
    );
    for (const accept of [RAW, 'application/octet-stream; transfer-syntax=*']) {
      const { body, headers } = await frames('1', accept);
      expect(body.subarray(0, 2).toString('hex')).toBe('0201');
      expect(headers['content-type']).toContain(ELE);
    }
    expect(jobs).toEqual([`${EXPLICIT_BE} ${ELE}`, `${EXPLICIT_BE} ${ELE}`]);
  });
});

describe('frames of compressed pixel data', () => {
  const jpeg: BuilderOptions = { transferSyntaxUID: JPEG_BASELINE, frames: codestreams };

  test.each([
    ['with a Basic Offset Table', {}],
    ['with an Extended Offset Table', { extendedOffsetTable: true }],
  ])('%s: come as stored under their own media type', async (_name, options) => {
    const { frames } = await archive({ ...jpeg, ...options });
    for (const [accept, type] of [
      [STORED_PARTS, 'image/jpeg'],
      ['multipart/related; type="image/jpeg"', 'image/jpeg'],
      ['multipart/related; type="image/jpeg"; transfer-syntax=*', 'image/jpeg'],
      [`multipart/related; type="image/jpeg"; transfer-syntax=${JPEG_BASELINE}`, 'image/jpeg'],
      [
        `multipart/related; type=application/octet-stream; transfer-syntax=${JPEG_BASELINE}`,
        'application/octet-stream',
      ],
      ['multipart/related; type="image/*"', 'image/jpeg'],
    ] as const) {
      const answer = await frames('5,1', accept);
      expect(answer.headers['content-type']).toContain(`type="${type}"`);
      const parts = await partsOf(answer);
      expect(parts.map(({ body }) => text(body))).toEqual([padded(codestreams[4]!), padded(codestreams[0]!)]);
      expect(parts[0]!.headers['content-type']).toBe(`${type}; transfer-syntax=${JPEG_BASELINE}`);
    }
  });

  test('one frame alone', async () => {
    const { frames, reads } = await archive(jpeg);
    const { body, headers } = await frames('2', 'image/jpeg');
    expect(text(body)).toBe(padded(codestreams[1]!));
    expect(headers['content-type']).toBe(`image/jpeg; transfer-syntax=${JPEG_BASELINE}`);
    expect(reads).toHaveLength(1);
  });

  test('a frame of several fragments is one stream', async () => {
    const fragments = [
      Buffer.from('ffd8ff01', 'hex'),
      Buffer.from('0203ffd9', 'hex'),
      Buffer.from('ffd8ff04', 'hex'),
      Buffer.from('0506ffd9', 'hex'),
    ];
    const options = { transferSyntaxUID: JPEG_BASELINE, fragments, basicOffsetTable: [0, 24] };
    const { frames } = await archive(options, { NumberOfFrames: 2 });
    const parts = await partsOf(await frames('2,1', STORED_PARTS));
    expect(parts.map(({ body }) => body.toString('hex'))).toEqual(['ffd8ff040506ffd9', 'ffd8ff010203ffd9']);
  });

  test('a long frame table stands in a blob: 16 bytes of it and one read of the object', async () => {
    const { frames, reads } = await archive(jpeg, {}, { limits: { frameTableInIndexBytes: 32 } });
    expect(text((await frames('4', 'image/jpeg')).body)).toBe(padded(codestreams[3]!));
    expect(reads.map(({ key, length }) => [key.endsWith('.frames'), length])).toEqual([
      [true, 16],
      [false, 18],
    ]);
    reads.length = 0;
    const parts = await partsOf(await frames('5,4,1', STORED_PARTS));
    expect(parts.map(({ body }) => text(body))).toEqual([4, 3, 0].map((i) => padded(codestreams[i]!)));
    expect(reads.filter(({ key }) => key.endsWith('.frames'))).toHaveLength(1);
  });

  test('are decoded or coded anew where something else is asked for', async () => {
    const jobs: string[] = [];
    const pixels = {
      transcode: async (job) => {
        jobs.push(job.target.transferSyntaxUID);
        return { ...job, codestream: Buffer.from(`made of ${text(job.codestream).slice(3, 6)}`) };
      },
    } as Partial<PixelEngine> as PixelEngine;
    const { frames } = await archive(jpeg, {}, { pixels });
    const raw = await frames('1', RAW);
    expect([raw.body.toString(), raw.headers['content-type']]).toEqual([
      'made of one',
      `${RAW}; transfer-syntax=${ELE}`,
    ]);
    const [part] = await partsOf(await frames('2', 'multipart/related; type="image/jls"'));
    expect([part!.body.toString(), part!.headers['content-type']]).toEqual([
      'made of two',
      `image/jls; transfer-syntax=${JPEG_LS}`,
    ]);
    expect(jobs).toEqual([ELE, JPEG_LS]);
  });

  test('OHIF’s provisional UID of HTJ2K finds what is stored as HTJ2K', async () => {
    const stored = '1.2.840.10008.1.2.4.202';
    const { frames } = await archive({ transferSyntaxUID: stored, frames: codestreams });
    const accept = 'multipart/related; type=image/jphc; transfer-syntax=3.2.840.10008.1.2.4.96';
    const [part] = await partsOf(await frames('1', accept));
    expect(part!.headers['content-type']).toBe(`image/jphc; transfer-syntax=${stored}`);
  });

  test('what no codec reads is 406 by name, and comes as stored by default', async () => {
    const mpeg = '1.2.840.10008.1.2.4.102';
    const { frames } = await archive(
      { transferSyntaxUID: mpeg, frames: [Buffer.from('movie!')] },
      { NumberOfFrames: 90 },
    );
    expect((await frames('1', `application/octet-stream; transfer-syntax=${ELE}`)).status).toBe(406);
    const refused = await frames('1', 'image/jpeg');
    expect([refused.status, refused.details!.transferSyntaxes]).toEqual([406, [mpeg]]);
    const { body, headers } = await frames('1', 'video/mp4');
    expect([text(body), headers['content-type']]).toEqual(['movie!', `video/mp4; transfer-syntax=${mpeg}`]);
    const [part] = await partsOf(await frames('1', undefined));
    expect([text(part!.body), part!.headers['content-type']]).toEqual(['movie!', `video/mp4; transfer-syntax=${mpeg}`]);
  });

  test('very large frames pass as a stream', async () => {
    const large = Buffer.alloc(9 * 1024 * 1024, 0x11);
    large.set(Buffer.from('ffd8ff', 'hex'));
    const { frames } = await archive({ transferSyntaxUID: JPEG_BASELINE, frames: [large] }, { NumberOfFrames: 1 });
    expect((await frames('1', 'image/jpeg')).body.equals(large)).toBe(true);
    expect((await partsOf(await frames('1', STORED_PARTS)))[0]!.body.equals(large)).toBe(true);
  });
});

test('the pixeldata resource is all frames; an object without has none', async () => {
  const { services } = await archive({});
  const parts = await partsOf(await ask(services, retrievePixelData, PARAMS, { accept: RAW_PARTS }));
  expect(parts.map(({ body }) => text(body))).toEqual(samples.map((frame) => text(frame)));
  const without = memoryServices();
  await store(
    without,
    buildDicom({
      PixelData: undefined,
      Rows: undefined,
      Columns: undefined,
      BitsAllocated: undefined,
      NumberOfFrames: undefined,
    }),
  );
  expect((await ask(without, retrievePixelData, PARAMS)).status).toBe(404);
  expect((await ask(without, retrieveFrames, { ...PARAMS, frames: '1' })).status).toBe(404);
});
