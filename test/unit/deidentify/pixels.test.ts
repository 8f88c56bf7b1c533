import { describe, expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import { blackOutNative, maskStoredBits } from '#core/deidentify/blackout.ts';
import { aroundRegions } from '#core/deidentify/judge.ts';
import type { PixelRule } from '#core/deidentify/profile.ts';
import { JPEG_LS_LOSSLESS, RLE_LOSSLESS } from '#core/dicom/transfer-syntaxes.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import type { ImageDescription } from '#core/ports/pixel-engine.ts';
import { deidentified } from '#test/fixtures/deidentified.ts';
import { buildDicom, EXPLICIT_LE, JPEG_BASELINE } from '#test/fixtures/dicom-builder.ts';
import { chunked } from '#test/fixtures/services.ts';

const GRAY: ImageDescription = {
  Rows: 4,
  Columns: 6,
  SamplesPerPixel: 1,
  PhotometricInterpretation: 'MONOCHROME2',
  PlanarConfiguration: 0,
  BitsAllocated: 8,
  BitsStored: 8,
  HighBit: 7,
  PixelRepresentation: 0,
};
const RECTANGLE = { left: 1, top: 1, width: 2, height: 2 };
const blackedOut = async (image: ImageDescription, bytes: Uint8Array, size: number): Promise<number[]> => [
  ...Buffer.concat(await Array.fromAsync(blackOutNative(chunked(bytes, size), image, [RECTANGLE]))),
];

describe('native pixels that are blacked out', () => {
  const frame = [7, 7, 7, 7, 7, 7, 7, 0, 0, 7, 7, 7, 7, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7, 7];
  test.each([1, 5, 24, 100])('in every frame, in chunks of %i bytes', async (size) => {
    expect(await blackedOut(GRAY, new Uint8Array(48).fill(7), size)).toEqual([...frame, ...frame]);
  });

  test('of 16 bits with a sign: the smallest value; MONOCHROME1: the largest', async () => {
    const signed = { ...GRAY, BitsAllocated: 16, BitsStored: 12, HighBit: 11, PixelRepresentation: 1 };
    const bytes = await blackedOut(signed, new Uint8Array(48).fill(7), 3);
    expect(bytes.slice(14, 18)).toEqual([0, 0xf8, 0, 0xf8]);
    const inverse = await blackedOut({ ...GRAY, PhotometricInterpretation: 'MONOCHROME1' }, new Uint8Array(24), 24);
    expect(inverse.slice(6, 10)).toEqual([0, 255, 255, 0]);
  });

  test('of colour, by pixel and by plane; black is not zero in YBR', async () => {
    const colour = { ...GRAY, SamplesPerPixel: 3, PhotometricInterpretation: 'YBR_FULL' };
    const byPixel = await blackedOut(colour, new Uint8Array(72).fill(7), 10);
    expect(byPixel.slice(18, 30)).toEqual([7, 7, 7, 0, 128, 128, 0, 128, 128, 7, 7, 7]);
    const byPlane = await blackedOut({ ...colour, PlanarConfiguration: 1 }, new Uint8Array(72).fill(7), 10);
    expect([byPlane[7], byPlane[24 + 7], byPlane[48 + 7], byPlane[6]]).toEqual([0, 128, 128, 7]);
  });

  test('of a rectangle that reaches beyond the image, what of it is inside', async () => {
    const rectangle = { left: 4, top: 3, width: 100, height: 100 };
    const bytes = Buffer.concat(
      await Array.fromAsync(blackOutNative(chunked(new Uint8Array(24).fill(7)), GRAY, [rectangle])),
    );
    expect([...bytes.subarray(18)]).toEqual([7, 7, 7, 7, 0, 0]);
  });

  test('bits above the stored ones go, the sign stays', async () => {
    const image = { ...GRAY, BitsAllocated: 16, BitsStored: 12, HighBit: 11, PixelRepresentation: 1 };
    const source = Buffer.alloc(6);
    source.writeUInt16LE(0x1005, 0);
    source.writeUInt16LE(0x0801, 2);
    source.writeUInt16LE(0xffff, 4);
    const masked = Buffer.concat(await Array.fromAsync(maskStoredBits(chunked(source, 1), image)));
    expect([masked.readInt16LE(0), masked.readInt16LE(2), masked.readInt16LE(4)]).toEqual([5, -2047, -1]);
  });
});

test('around the regions of an ultrasound image nothing is left out and nothing is inside', () => {
  const region = (x0: number, y0: number, x1: number, y1: number) => ({
    '00186018': { vr: 'UL', Value: [x0] },
    '0018601A': { vr: 'UL', Value: [y0] },
    '0018601C': { vr: 'UL', Value: [x1] },
    '0018601E': { vr: 'UL', Value: [y1] },
  });
  const regions = [region(2, 2, 5, 4), region(5, 3, 7, 6)];
  const around = aroundRegions({
    '00280010': { vr: 'US', Value: [8] },
    '00280011': { vr: 'US', Value: [10] },
    '00186011': { vr: 'SQ', Value: regions },
  })!;
  for (let y = 0; y < 8; y++)
    for (let x = 0; x < 10; x++) {
      const isInside = (x >= 2 && x <= 5 && y >= 2 && y <= 4) || (x >= 5 && x <= 7 && y >= 3 && y <= 6);
      const times = around.filter(
        (r) => x >= r.left && x < r.left + r.width && y >= r.top && y < r.top + r.height,
      ).length;
      expect(times, `${x},${y}`).toBe(isInside ? 0 : 1);
    }
});

describe('Clean Pixel Data', () => {
  const pixels = new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS);
  const size = { Rows: 16, Columns: 16, BitsAllocated: 8, BitsStored: 8, HighBit: 7 };
  const marked = { ...size, BurnedInAnnotation: 'YES', Manufacturer: 'ACME' };
  const samples = Uint8Array.from({ length: 256 }, (_, i) => (i % 200) + 1);
  const rule: PixelRule = {
    Manufacturer: 'ACME',
    Rows: 16,
    Columns: 16,
    blackout: [{ left: 0, top: 0, width: 16, height: 3 }],
  };
  const profile = { cleanPixelData: true, pixelRules: [rule] };
  const image = { ...GRAY, Rows: 16, Columns: 16 };
  const expected = Buffer.from(samples).fill(0, 0, 48);

  test('blacks out by the rule for such images, and says so', async () => {
    const { dataSet, bytes } = await deidentified(buildDicom(marked, { frames: [samples] }), profile);
    const { offset, length } = dataSet['7FE00010']!.bulk!;
    expect(bytes.subarray(offset, offset + length).equals(expected)).toBe(true);
    expect(dataSet['00280301']?.Value).toEqual(['NO']);
    const methods = dataSet['00120064']?.Value?.map(
      (item) => (item as { '00080100': { Value: string[] } })['00080100'].Value[0],
    );
    expect(methods).toEqual(['113100', '113101']);
  });

  test('refuses what no rule is for, and does nothing where the option is off', async () => {
    const other = buildDicom({ ...marked, Manufacturer: 'Other' }, { frames: [samples] });
    expect((await deidentified(other, profile)).refused).toEqual(['BURNED_IN_ANNOTATION']);
    const off = { ...profile, cleanPixelData: false };
    expect((await deidentified(buildDicom(marked, { frames: [samples] }), off)).refused).toEqual([
      'BURNED_IN_ANNOTATION',
    ]);
  });

  test.each([RLE_LOSSLESS, JPEG_LS_LOSSLESS])('frames compressed without loss (%s) are so again', async (syntax) => {
    const encode = (codestream: Uint8Array) =>
      pixels.transcode({ codestream, transferSyntaxUID: EXPLICIT_LE, image, target: { transferSyntaxUID: syntax } });
    const frames = [(await encode(samples)).codestream, (await encode(samples)).codestream];
    const object = buildDicom({ ...marked, NumberOfFrames: 2 }, { transferSyntaxUID: syntax, frames });
    const { dataSet, bytes } = await deidentified(object, profile, { pixels });
    const bulk = dataSet['7FE00010']!.bulk!;
    expect(bulk.encapsulated).toBe(true);
    // Item headers: the empty offset table, then each frame.
    const first = bytes.readUInt32LE(bulk.offset + 12);
    const codestream = bytes.subarray(bulk.offset + 16, bulk.offset + 16 + first);
    const decoded = await pixels.decode({ codestream, transferSyntaxUID: syntax, image });
    expect(Buffer.from(decoded.samples).equals(expected)).toBe(true);
  });

  test('frames compressed with loss are not compressed a second time', async () => {
    const lossy = await pixels.transcode({
      codestream: samples,
      transferSyntaxUID: EXPLICIT_LE,
      image,
      target: { transferSyntaxUID: JPEG_BASELINE },
    });
    const object = buildDicom(marked, { transferSyntaxUID: JPEG_BASELINE, frames: [lossy.codestream] });
    const { dataSet, bytes } = await deidentified(object, profile, { pixels });
    const { offset, length } = dataSet['7FE00010']!.bulk!;
    expect(length).toBe(256);
    const before = await pixels.decode({ codestream: lossy.codestream, transferSyntaxUID: JPEG_BASELINE, image });
    expect(bytes.subarray(offset, offset + 256).equals(Buffer.from(before.samples).fill(0, 0, 48))).toBe(true);
  });

  test('keeps of an ultrasound image its regions alone', async () => {
    const regions = [
      { RegionLocationMinX0: 4, RegionLocationMinY0: 4, RegionLocationMaxX1: 11, RegionLocationMaxY1: 11 },
    ];
    const us = buildDicom(
      { ...size, SOPClassUID: '1.2.840.10008.5.1.4.1.1.6.1', Modality: 'US', SequenceOfUltrasoundRegions: regions },
      { frames: [samples] },
    );
    expect((await deidentified(us)).refused).toEqual(['ULTRASOUND_UNCLEANED']);
    const { dataSet, bytes } = await deidentified(us, { cleanPixelData: true });
    const { offset } = dataSet['7FE00010']!.bulk!;
    const at = (x: number, y: number): number => bytes[offset + 16 * y + x]!;
    expect([at(3, 4), at(4, 4), at(11, 11), at(12, 11), at(4, 12)]).toEqual([0, samples[68], samples[187], 0, 0]);
  });
});
