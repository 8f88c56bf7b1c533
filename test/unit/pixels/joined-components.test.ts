import { afterAll, describe, expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import {
  HTJ2K,
  HTJ2K_LOSSLESS,
  HTJ2K_LOSSLESS_RPCL,
  JPEG_2000,
  JPEG_2000_LOSSLESS,
} from '#core/dicom/transfer-syntaxes.ts';
import { Codecs, MONOCHROME2 } from '#core/pixels/codecs.ts';
import { readJpeg2000Header } from '#core/pixels/codestream.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { CPRL, joinComponents, LRCP } from '#core/pixels/joined-components.ts';
import type { DecodedFrame, ImageDescription } from '#core/ports/pixel-engine.ts';
import { findInstance } from '#core/retrieve/find.ts';
import { canTranscode } from '#core/retrieve/objects.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { image, native, phantom } from '#test/fixtures/pixels/frames.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

/** JPEG 2000 colour of more than 8 bits a sample, which the modules write wrong: three gray codestreams, joined. */

const engine = new InProcessPixelEngine(codecModule(), { decodedFrameBytes: 64 * 1024 * 1024 });
afterAll(() => engine.close());

const colour = (bits: number, more: Partial<ImageDescription> = {}): DecodedFrame =>
  phantom(image({ SamplesPerPixel: 3, BitsAllocated: 16, BitsStored: bits, ...more }));
const encode = (frame: DecodedFrame, transferSyntaxUID: string) =>
  engine.transcode({ ...native(frame), target: { transferSyntaxUID } });

describe.each([
  ['JPEG 2000', JPEG_2000_LOSSLESS],
  ['HTJ2K', HTJ2K_LOSSLESS],
])('%s', (_, syntax) => {
  test.each([
    [16, {}],
    [12, {}],
    [9, {}],
    [8, {}],
    [16, { PixelRepresentation: 1 }],
    [12, { PixelRepresentation: 1 }],
    [16, { PhotometricInterpretation: 'YBR_FULL' }],
    [16, { Rows: 2, Columns: 2 }],
    [16, { Rows: 37, Columns: 101 }],
    [12, { Rows: 300, Columns: 3 }],
  ] as const)('%i bits %j come back as they were', async (bits, more) => {
    const frame = colour(bits, more);
    const encoded = await encode(frame, syntax);
    const header = readJpeg2000Header(encoded.codestream);
    expect(header).toMatchObject({ components: 3, componentTransform: false });
    expect(encoded.image.PhotometricInterpretation).toBe(frame.image.PhotometricInterpretation);
    expect(encoded.codestream.length % 2).toBe(0);
    const decoded = await engine.decode(encoded);
    expect(Buffer.compare(decoded.samples, frame.samples)).toBe(0);
    expect(decoded.image).toMatchObject({ BitsAllocated: 16, BitsStored: bits, SamplesPerPixel: 3 });
  });

  test('what stands above the stored bits, in one component alone, comes back too', async () => {
    const frame = colour(12);
    new Uint16Array(frame.samples.buffer)[4] = 0xf123;
    const decoded = await engine.decode(await encode(frame, syntax));
    expect(Buffer.compare(decoded.samples, frame.samples)).toBe(0);
  });
});

describe('of codestreams of one component', () => {
  const codecs = new Codecs(codecModule());
  const gray = (more: Partial<ImageDescription> = {}, progression = CPRL): Uint8Array => {
    const { samples, image: of } = phantom(image({ BitsAllocated: 16, BitsStored: 12, ...more }));
    const context = {
      columns: of.Columns,
      rows: of.Rows,
      bitsAllocated: 16,
      bitsStored: of.BitsStored,
      samplesPerPixel: 1,
      signed: false,
      photometric: MONOCHROME2,
    };
    return codecs.encode('Jpeg2000', samples, context, { lossy: false, progression });
  };
  const refused = expect.objectContaining({ code: 'UNSUPPORTED_TRANSFER_SYNTAX' });

  test('those that are not alike, or in another progression, are not joined', () => {
    const one = gray();
    const three = joinComponents([one, one, one]);
    expect(readJpeg2000Header(three)).toMatchObject({ components: 3, columns: 64, rows: 48, bits: 12 });
    for (const parts of [[], [one, gray({ Rows: 47 })], [one, gray({ BitsStored: 11 })], [gray({}, LRCP)], [three]])
      expect(() => joinComponents(parts)).toThrow(refused);
  });

  test('nor is one that is cut short', () => {
    const one = gray();
    for (const end of [0, 4, 60, one.length - 4]) expect(() => joinComponents([one.subarray(0, end)])).toThrow(refused);
  });
});

test.each([
  [JPEG_2000_LOSSLESS, true],
  [HTJ2K_LOSSLESS, true],
  [JPEG_2000, false],
  [HTJ2K, false],
  [HTJ2K_LOSSLESS_RPCL, false],
])('an object of it can be had in %s: %s', async (transferSyntaxUID, expected) => {
  const services = memoryServices();
  const SOPInstanceUID = uid(7);
  await store(
    services,
    buildDicom({ SOPInstanceUID, SamplesPerPixel: 3, PhotometricInterpretation: 'RGB', BitsAllocated: 16 }),
  );
  const instance = await findInstance(services, TENANT, uid(1), uid(2), SOPInstanceUID);
  expect(canTranscode(instance, transferSyntaxUID)).toBe(expected);
});

test.each([
  ['with loss', JPEG_2000],
  ['with loss', HTJ2K],
  ['resolution by resolution', HTJ2K_LOSSLESS_RPCL],
])('%s it is refused, with the reason', async (reason, syntax) => {
  await expect(encode(colour(12), syntax)).rejects.toMatchObject({
    code: 'UNSUPPORTED_TRANSFER_SYNTAX',
    message: expect.stringContaining(reason),
  });
});
