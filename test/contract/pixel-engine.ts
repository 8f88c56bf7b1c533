import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PIXEL_SYNTAXES } from '#core/pixels/syntaxes.ts';
import type { DecodedFrame, PixelEngine } from '#core/ports/pixel-engine.ts';
import { EXPLICIT_LE, FOREIGN_FRAMES, image, native, phantom } from '#test/fixtures/pixels/frames.ts';

const UID = '1.2.840.10008.1.2';
const LOSSLESS = Object.keys(PIXEL_SYNTAXES).filter(
  (uid) => PIXEL_SYNTAXES[uid]!.lossless && PIXEL_SYNTAXES[uid]!.encodes,
);
const LOSSY = Object.keys(PIXEL_SYNTAXES).filter(
  (uid) => !PIXEL_SYNTAXES[uid]!.lossless && PIXEL_SYNTAXES[uid]!.encodes,
);

const GRAYS = [0, 1].flatMap((PixelRepresentation) =>
  [
    [8, 8],
    [8, 5],
    [16, 10],
    [16, 12],
    [16, 16],
  ].map(([BitsAllocated, BitsStored]) =>
    image({ BitsAllocated: BitsAllocated!, BitsStored: BitsStored!, PixelRepresentation }),
  ),
);
const COLOURS = [
  image({ SamplesPerPixel: 3 }),
  image({ SamplesPerPixel: 3, PhotometricInterpretation: 'YBR_FULL' }),
  image({ PhotometricInterpretation: 'PALETTE COLOR' }),
];

const largestDifference = (a: DecodedFrame, b: DecodedFrame): number => {
  const wide = a.image.BitsAllocated === 16;
  const values = ({ samples }: DecodedFrame): ArrayLike<number> =>
    wide ? new Uint16Array(samples.slice().buffer) : samples;
  const [x, y] = [values(a), values(b)];
  let most = 0;
  for (let i = 0; i < x.length; i++) most = Math.max(most, Math.abs(x[i]! - y[i]!));
  return most;
};

/** Every sentence of core/ports/pixel-engine.ts, for whatever `open` gives. */
export function pixelEngineContract(open: (limits: { decodedFrameBytes: number }) => PixelEngine): void {
  let engine: PixelEngine;
  beforeAll(() => {
    engine = open({ decodedFrameBytes: 64 * 1024 * 1024 });
  });
  afterAll(() => engine.close());

  describe('decoding what others encoded', () => {
    test.each(FOREIGN_FRAMES)('$name', async ({ frame, samples, tolerance, decodedAs }) => {
      const decoded = await engine.decode(frame);
      expect(decoded.image.PhotometricInterpretation).toBe(decodedAs);
      const expected = { samples, image: decoded.image };
      expect(decoded.samples.length).toBe(samples.length);
      expect(largestDifference(decoded, expected)).toBeLessThanOrEqual(tolerance);
    });
  });

  describe('lossless syntaxes are exact both ways', () => {
    test.each(LOSSLESS)('%s', async (transferSyntaxUID) => {
      const tried = [...GRAYS, ...COLOURS];
      for (const of of tried) {
        const frame = phantom(of);
        const encoded = await engine.encode({ frame, target: { transferSyntaxUID } });
        expect(encoded.codestream.length % 2, 'fragments have even length').toBe(0);
        const decoded = await engine.decode(encoded);
        expect(decoded.image).toStrictEqual(of);
        expect(Buffer.compare(decoded.samples, frame.samples), JSON.stringify(of)).toBe(0);
      }
    });

    test('bits above BitsStored, where an old overlay lies, survive', async () => {
      const of = image({ BitsAllocated: 16, BitsStored: 12 });
      const frame = phantom(of);
      const cells = new Uint16Array(frame.samples.buffer);
      for (let i = 0; i < cells.length; i += 7) cells[i]! |= 0x8000;
      for (const suffix of ['.5', '.4.70', '.4.80', '.4.90', '.4.201', '.4.110']) {
        const encoded = await engine.encode({ frame, target: { transferSyntaxUID: UID + suffix } });
        const decoded = await engine.decode(encoded);
        expect(Buffer.compare(decoded.samples, frame.samples), suffix).toBe(0);
      }
    });

    test('HTJ2K of more than one tile row keeps its colours without a component transform too', async () => {
      const frame = phantom(image({ SamplesPerPixel: 3, Rows: 130, Columns: 70 }));
      const encoded = await engine.encode({ frame, target: { transferSyntaxUID: `${UID}.4.202` } });
      expect(encoded.image.PhotometricInterpretation).toBe('YBR_RCT');
      expect(Buffer.compare((await engine.decode(encoded)).samples, frame.samples)).toBe(0);
    });
  });

  describe('lossy syntaxes come close', () => {
    test.each(LOSSY)('%s', async (transferSyntaxUID) => {
      const smooth = phantom(image({ Rows: 64, Columns: 64 }));
      smooth.samples.forEach((_, i) => {
        smooth.samples[i] = (i % 64) * 2 + Math.floor(i / 64);
      });
      const encoded = await engine.encode({ frame: smooth, target: { transferSyntaxUID, quality: 95 } });
      expect(encoded.codestream.length).toBeLessThan(smooth.samples.length);
      expect(largestDifference(await engine.decode(encoded), smooth)).toBeLessThanOrEqual(16);
    });

    test('JPEG Baseline of colour says YBR_FULL_422 and comes back as RGB', async () => {
      const red = { samples: new Uint8Array(64 * 48 * 3), image: image({ SamplesPerPixel: 3 }) };
      for (let i = 0; i < red.samples.length; i += 3) red.samples[i] = 200;
      const encoded = await engine.encode({ frame: red, target: { transferSyntaxUID: `${UID}.4.50` } });
      expect(encoded.image.PhotometricInterpretation).toBe('YBR_FULL_422');
      const decoded = await engine.decode(encoded);
      expect(decoded.image.PhotometricInterpretation).toBe('RGB');
      expect(largestDifference(decoded, red)).toBeLessThanOrEqual(3);
    });
  });

  describe('native pixels', () => {
    test('big endian words, planes and packed bits become one layout', async () => {
      const words = await engine.decode({
        codestream: Uint8Array.of(0x01, 0x02, 0x03, 0x04),
        transferSyntaxUID: `${UID}.2`,
        image: image({ Rows: 1, Columns: 2, BitsAllocated: 16 }),
      });
      expect([...words.samples]).toStrictEqual([2, 1, 4, 3]);
      const planes = await engine.decode({
        codestream: Uint8Array.of(1, 2, 11, 12, 21, 22),
        transferSyntaxUID: EXPLICIT_LE,
        image: image({ Rows: 1, Columns: 2, SamplesPerPixel: 3, PlanarConfiguration: 1 }),
      });
      expect([...planes.samples]).toStrictEqual([1, 11, 21, 2, 12, 22]);
      expect(planes.image.PlanarConfiguration).toBe(0);
      const bits = await engine.decode({
        codestream: Uint8Array.of(0b0000_0101),
        transferSyntaxUID: EXPLICIT_LE,
        image: image({ Rows: 1, Columns: 4, BitsAllocated: 1 }),
      });
      expect([...bits.samples]).toStrictEqual([1, 0, 1, 0]);
      const subsampled = await engine.decode({
        codestream: Uint8Array.of(10, 20, 100, 200),
        transferSyntaxUID: EXPLICIT_LE,
        image: image({ Rows: 1, Columns: 2, SamplesPerPixel: 3, PhotometricInterpretation: 'YBR_FULL_422' }),
      });
      expect([...subsampled.samples]).toStrictEqual([10, 100, 200, 20, 100, 200]);
      expect(subsampled.image.PhotometricInterpretation).toBe('YBR_FULL');
    });

    test('segmentations stay packed when they are compressed and decompressed', async () => {
      const of = image({ Rows: 5, Columns: 7, BitsAllocated: 1 });
      const packed = Uint8Array.of(0xa5, 0x0f, 0x33, 0xff, 0x07);
      for (const suffix of ['.1.98', '.5', '.8.1']) {
        const target = { transferSyntaxUID: UID + suffix };
        const compressed = await engine.transcode({
          codestream: packed,
          transferSyntaxUID: EXPLICIT_LE,
          image: of,
          target,
        });
        const back = await engine.transcode({ ...compressed, target: { transferSyntaxUID: EXPLICIT_LE } });
        expect(Buffer.from(back.codestream).equals(Buffer.from(packed)), suffix).toBe(true);
        expect(back.image.BitsAllocated).toBe(1);
      }
    });
  });

  describe('refusals', () => {
    const code = (promise: Promise<unknown>): Promise<unknown> =>
      promise.then(
        () => 'done',
        (error) => error.code,
      );

    test('a codestream cut short, of another size, or of noise is UNREADABLE_DATASET, and the next job works', async () => {
      const frame = phantom(image({ BitsAllocated: 16, BitsStored: 12 }));
      for (const suffix of ['.1.98', '.5', '.8.1', '.4.70', '.4.80', '.4.90', '.4.110', '.4.201']) {
        const encoded = await engine.encode({ frame, target: { transferSyntaxUID: UID + suffix } });
        const half = encoded.codestream.slice(0, encoded.codestream.length >> 1);
        const cut = await code(engine.decode({ ...encoded, codestream: half }));
        expect(cut, suffix).toBe('UNREADABLE_DATASET');
        const other = { ...encoded, image: { ...encoded.image, Rows: encoded.image.Rows + 1 } };
        expect(await code(engine.decode(other)), suffix).toBe('UNREADABLE_DATASET');
        const noise = Uint8Array.from({ length: 500 }, (_, i) => (i * 37) & 255);
        expect(await code(engine.decode({ ...encoded, codestream: noise })), suffix).toBe('UNREADABLE_DATASET');
        expect(await code(engine.decode({ ...encoded, codestream: new Uint8Array(0) })), suffix).toBe(
          'UNREADABLE_DATASET',
        );
        expect(Buffer.compare((await engine.decode(encoded)).samples, frame.samples), suffix).toBe(0);
      }
    });

    test('an image that the syntax cannot hold, or a syntax without a codec, is UNSUPPORTED_TRANSFER_SYNTAX', async () => {
      const twelve = phantom(image({ BitsAllocated: 16, BitsStored: 12 }));
      expect(await code(engine.encode({ frame: twelve, target: { transferSyntaxUID: `${UID}.4.50` } }))).toBe(
        'UNSUPPORTED_TRANSFER_SYNTAX',
      );
      expect(await code(engine.encode({ frame: twelve, target: { transferSyntaxUID: `${UID}.4.100` } }))).toBe(
        'UNSUPPORTED_TRANSFER_SYNTAX',
      );
      expect(await code(engine.decode({ ...native(twelve), transferSyntaxUID: `${UID}.4.102` }))).toBe(
        'UNSUPPORTED_TRANSFER_SYNTAX',
      );
    });

    test('an image larger than the limit is TOO_LARGE before a byte is allocated', async () => {
      const of = image({ Rows: 65_535, Columns: 65_535 });
      expect(
        await code(engine.decode({ codestream: new Uint8Array(4), transferSyntaxUID: EXPLICIT_LE, image: of })),
      ).toBe('TOO_LARGE');
    });
  });

  describe('rendering', () => {
    const SOI = [0xff, 0xd8];
    const PNG = [0x89, 0x50];

    test('gives a JPEG or a PNG of the size asked for, and leaves its input alone', async () => {
      const frame = native(phantom(image({ BitsAllocated: 16, BitsStored: 12 })));
      const before = frame.codestream.slice();
      const fit = { width: 32, height: 32, enlarge: true };
      const jpeg = await engine.render({ ...frame, presentation: { mediaType: 'image/jpeg', fit } });
      expect([...jpeg.bytes.subarray(0, 2)]).toStrictEqual(SOI);
      expect([jpeg.columns, jpeg.rows]).toStrictEqual([32, 24]);
      const png = await engine.render({ ...frame, presentation: { mediaType: 'image/png' } });
      expect([...png.bytes.subarray(0, 2)]).toStrictEqual(PNG);
      expect([png.columns, png.rows]).toStrictEqual([64, 48]);
      expect(Buffer.compare(frame.codestream, before)).toBe(0);
    });

    test('animates frames as a GIF', async () => {
      const frames = [1, 2, 3].map(() => native(phantom(image())));
      const gif = await engine.animate({ frames, presentation: { mediaType: 'image/jpeg' }, delayMs: 100 });
      expect(Buffer.from(gif.bytes.subarray(0, 6)).toString()).toBe('GIF89a');
    });
  });

  test('many jobs at once are all done', async () => {
    const frame = phantom(image());
    const results = await Promise.all(
      Array.from({ length: 20 }, () => engine.encode({ frame, target: { transferSyntaxUID: `${UID}.4.80` } })),
    );
    expect(new Set(results.map(({ codestream }) => Buffer.from(codestream).toString('base64'))).size).toBe(1);
  });
}
