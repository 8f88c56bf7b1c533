import { describe, expect, test } from 'vitest';
import { alignBits, frameRange, stripItemHeaders, stripItemHeadersStream, tableEntry } from '#core/dicom/frames.ts';
import { Part10Scanner, scanPart10 } from '#core/dicom/scanner.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { collectGarbage } from '#test/fixtures/collect-garbage.ts';
import { type BuilderDataSet, type BuilderOptions, buildDicom, JPEG_BASELINE } from '#test/fixtures/dicom-builder.ts';

/** What a reader would get for each frame, in hex. */
function framesOf(bytes: Uint8Array): { frames: string[]; warnings: string[] } {
  const { pixels, warnings } = scanPart10(bytes, DEFAULT_LIMITS);
  if (pixels === undefined) throw new Error('no pixel data was found');
  const frames: string[] = [];
  for (let n = 1; n <= pixels.frames; n++) {
    const range = frameRange(pixels, n)!;
    const run = bytes.subarray(range.offset, range.offset + range.length);
    frames.push(Buffer.from(range.fragments ? stripItemHeaders(run) : run).toString('hex'));
  }
  return { frames, warnings };
}

const jpeg = (attributes: BuilderDataSet, options: BuilderOptions) =>
  framesOf(buildDicom({ BitsAllocated: 8, ...attributes }, { transferSyntaxUID: JPEG_BASELINE, ...options }));

const bytesOf = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'));
const START = 'ffd8ffe0';
const END = 'ffd9';

describe('native frames', () => {
  test('lie one after the other', () => {
    const frames = [Uint8Array.of(1, 2), Uint8Array.of(3, 4), Uint8Array.of(5, 6)];
    const bytes = buildDicom({ NumberOfFrames: 3, Rows: 1, Columns: 1 }, { frames });
    expect(framesOf(bytes)).toEqual({ frames: ['0102', '0304', '0506'], warnings: [] });
  });

  test('of one bit a pixel may begin inside a byte', () => {
    // 3 frames of 3 × 1 bits: 101, 011, 110, least significant bit first
    const bytes = buildDicom(
      { Rows: 1, Columns: 3, BitsAllocated: 1, BitsStored: 1, HighBit: 0, NumberOfFrames: 3 },
      { frames: [Uint8Array.of(0b11110101, 0b0)] },
    );
    const { pixels } = scanPart10(bytes, DEFAULT_LIMITS);
    const frames = [1, 2, 3].map((n) => {
      const { offset, length, bitOffset } = frameRange(pixels!, n)!;
      return alignBits(bytes.subarray(offset, offset + length), bitOffset, 3)[0];
    });
    expect(frames).toEqual([0b101, 0b110, 0b011]);
  });

  test('of subsampled colour take two bytes a pixel', () => {
    const bytes = buildDicom(
      { SamplesPerPixel: 3, BitsAllocated: 8, PhotometricInterpretation: 'YBR_FULL_422', NumberOfFrames: 2 },
      { frames: [new Uint8Array(32), new Uint8Array(32).fill(7)] },
    );
    expect(framesOf(bytes)).toEqual({ frames: ['00'.repeat(32), '07'.repeat(32)], warnings: [] });
  });

  test('that are missing or cut short are noted, and not offered', () => {
    const bytes = buildDicom(
      { NumberOfFrames: 50, Rows: 1, Columns: 2 },
      { frames: [bytesOf('01020304'), bytesOf('0506')] },
    );
    expect(framesOf(bytes)).toEqual({ frames: ['01020304', '0506'], warnings: ['PIXEL_DATA_TOO_SHORT'] });
  });

  test('without Rows and Columns are one', () => {
    const bytes = buildDicom({ Rows: undefined }, { frames: [bytesOf('01020304')] });
    expect(framesOf(bytes)).toEqual({ frames: ['01020304'], warnings: ['FRAME_SIZE_UNKNOWN'] });
  });

  test('of floating point', () => {
    const bytes = buildDicom({
      Rows: 1,
      Columns: 1,
      NumberOfFrames: 2,
      BitsAllocated: 32,
      FloatPixelData: { vr: 'OF', value: new Uint8Array(8) },
    });
    expect(scanPart10(bytes, DEFAULT_LIMITS).pixels).toMatchObject({
      tag: '7FE00008',
      vr: 'OF',
      frames: 2,
      frameLengthBits: 32,
    });
  });

  test('no frame 0, none behind the last', () => {
    const { pixels } = scanPart10(buildDicom(), DEFAULT_LIMITS);
    expect([0, 2, 1.5, -1].map((n) => frameRange(pixels!, n))).toEqual([undefined, undefined, undefined, undefined]);
  });
});

describe('encapsulated frames', () => {
  const a = bytesOf(`${START}0102${END}`);
  const b = bytesOf(`${START}0304050607${END}00`);
  const hex = [a, b].map((frame) => Buffer.from(frame).toString('hex'));

  test('are found by the Basic Offset Table, by the extended one, and without any', () => {
    for (const options of [{}, { extendedOffsetTable: true }, { basicOffsetTable: [] }]) {
      expect(jpeg({ NumberOfFrames: 2 }, { frames: [a, b], ...options })).toEqual({ frames: hex, warnings: [] });
    }
  });

  const first = [bytesOf(`${START}01`).subarray(0, 4), bytesOf(`0203${END}`)];
  const second = [bytesOf(`${START}0405`), bytesOf('0607'), bytesOf(`08${END}00`)];
  const joined = [`${START}0203${END}`, `${START}0405060708${END}00`];

  test('in several fragments each: by table, else by where a stream begins', () => {
    const fragments = [...first, ...second];
    const starts = [0, 8 + 4 + 8 + 4];
    expect(jpeg({ NumberOfFrames: 2 }, { fragments, basicOffsetTable: starts })).toEqual({
      frames: joined,
      warnings: [],
    });
    expect(jpeg({ NumberOfFrames: 2 }, { fragments })).toEqual({ frames: joined, warnings: [] });
  });

  test('a fragment that merely looks like a start does not begin a frame, when the one before has not ended', () => {
    const fragments = [bytesOf(`${START}0102`), bytesOf(`${START}03${END}00`), bytesOf(`${START}${END}`)];
    expect(jpeg({ NumberOfFrames: 2 }, { fragments }).frames).toEqual([
      `${START}0102${START}03${END}00`,
      `${START}${END}`,
    ]);
  });

  test('one frame is all fragments', () => {
    expect(jpeg({}, { fragments: [...first, ...second] }).frames).toEqual([joined.join('')]);
  });

  test('a wrong offset table is noticed and done without', () => {
    for (const basicOffsetTable of [[0, 5], [0, 4000], [0, 0], [7, 22], [0], [0, 22, 44]]) {
      const result = jpeg({ NumberOfFrames: 2 }, { fragments: [a, b], basicOffsetTable });
      expect(result).toEqual({ frames: hex, warnings: ['BASIC_OFFSET_TABLE_WRONG'] });
    }
  });

  test('more fragments than frames, and no way to tell: all are still offered', () => {
    const fragments = ['01', '02', '03', '04'].map((byte) => bytesOf(byte + byte));
    expect(jpeg({ NumberOfFrames: 2 }, { fragments })).toEqual({
      frames: ['01010202', '03030404'],
      warnings: ['FRAMES_DIFFER_FROM_FRAGMENTS'],
    });
    expect(jpeg({ NumberOfFrames: 3 }, { fragments }).frames).toEqual(['01010202' + '03030404']);
    expect(jpeg({ NumberOfFrames: 9 }, { fragments }).frames).toHaveLength(4);
  });

  test('a video is one stream, however many frames it shows', () => {
    const bytes = buildDicom(
      { NumberOfFrames: 50 },
      { transferSyntaxUID: '1.2.840.10008.1.2.4.102', fragments: [a, b] },
    );
    expect(framesOf(bytes).frames).toEqual([hex.join('')]);
  });

  test('the bytes of a delimiter inside a fragment do not end it', () => {
    const frame = bytesOf(`${START}feffdde000000000${END}`);
    expect(jpeg({}, { frames: [frame] }).frames).toEqual([Buffer.from(frame).toString('hex')]);
  });

  test('no fragments at all', () => {
    expect(jpeg({}, { fragments: [] })).toEqual({ frames: [], warnings: ['NO_FRAGMENTS'] });
  });

  test('a compressed transfer syntax with plain pixel data is noted', () => {
    const bytes = buildDicom({}, { fileMeta: { TransferSyntaxUID: JPEG_BASELINE } });
    expect(framesOf(bytes).warnings).toEqual(['PIXEL_DATA_NOT_ENCAPSULATED']);
    expect(framesOf(bytes).frames).toHaveLength(1);
  });
});

describe('a pyramid of 200,000 frames in 5 GB', () => {
  test('costs its frame table and no more', async () => {
    const empty = Buffer.from(
      buildDicom({ NumberOfFrames: 200_000 }, { transferSyntaxUID: JPEG_BASELINE, fragments: [] }),
    );
    const item = Buffer.alloc(8 + 25_000);
    item.set(bytesOf('feff00e0a8610000ffd8ff'));
    const scanner = new Part10Scanner(DEFAULT_LIMITS);
    scanner.push(empty.subarray(0, -8));
    for (let i = 0; i < 200_000; i++) scanner.push(item);
    scanner.push(empty.subarray(-8));
    const { pixels, size } = scanner.end();
    expect(size).toBeGreaterThan(5e9);
    expect(frameRange(pixels!, 200_000)).toMatchObject({ offset: size - 8 - item.length, length: item.length });
    expect(pixels).toMatchObject({ kind: 'fragments', frames: 200_000, table: { length: 3_200_000 } });
    const { arrayBuffers } = await collectGarbage();
    expect(frameRange(pixels!, 1)?.length).toBe(item.length);
    expect(arrayBuffers).toBeLessThan(256 * 1024 * 1024);
  });
});

describe('a run of items', () => {
  const run = bytesOf('feff00e002000000aabb' + 'feff00e004000000ccddeeff');

  test('is stripped of headers, also when it comes in pieces', async () => {
    expect(Buffer.from(stripItemHeaders(run)).toString('hex')).toBe('aabbccddeeff');
    for (let size = 1; size <= run.length; size++) {
      const pieces = async function* () {
        for (let at = 0; at < run.length; at += size) yield run.subarray(at, at + size);
      };
      const parts: Uint8Array[] = [];
      for await (const part of stripItemHeadersStream(pieces())) parts.push(part);
      expect(Buffer.concat(parts).toString('hex')).toBe('aabbccddeeff');
    }
  });

  test('that is none is refused', () => {
    expect(() => stripItemHeaders(run.subarray(1))).toThrow('frame table');
    expect(() => stripItemHeaders(run.subarray(0, 12))).toThrow('frame table');
  });

  test('a table may be read entry by entry, beyond 4 GiB', () => {
    const table = new Uint8Array(32);
    new DataView(table.buffer).setBigUint64(16, 5_000_000_000n, true);
    new DataView(table.buffer).setBigUint64(24, 77n, true);
    expect(tableEntry(table, 2)).toEqual({ offset: 5_000_000_000, length: 77 });
    expect(tableEntry(table.subarray(16, 32), 1)).toEqual({ offset: 5_000_000_000, length: 77 });
  });
});
