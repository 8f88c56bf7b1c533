import { afterAll, describe, expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import type { InstanceRecord } from '#core/archive/records.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { PIXEL_SYNTAXES } from '#core/pixels/syntaxes.ts';
import { transcodeFrame, transcodeInstance } from '#core/pixels/transcode.ts';
import { findInstance } from '#core/retrieve/find.ts';
import { readFrame } from '#core/retrieve/frames.ts';
import type { Services } from '#core/services.ts';
import { type BuilderDataSet, buildDicom, EXPLICIT_BE, EXPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';
import { image, phantom } from '#test/fixtures/pixels/frames.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const pixels = new InProcessPixelEngine(codecModule(), { decodedFrameBytes: 64 * 1024 * 1024 });
afterAll(() => pixels.close());

const UID = '1.2.840.10008.1.2';

async function stored(bytes: Uint8Array): Promise<{ services: Services; instance: InstanceRecord }> {
  const services = memoryServices({ pixels });
  const outcome = await store(services, bytes);
  expect(outcome.kind, JSON.stringify(outcome)).toBe('stored');
  const scanned = scanPart10(bytes, services.limits).dataSet;
  const value = (tag: string): string => scanned[tag]!.Value![0] as string;
  return {
    services,
    instance: await findInstance(services, TENANT, value('0020000D'), value('0020000E'), value('00080018')),
  };
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const held: Uint8Array[] = [];
  for await (const chunk of chunks) held.push(Uint8Array.from(chunk));
  return new Uint8Array(Buffer.concat(held));
}

const of = image({ BitsAllocated: 16, BitsStored: 12 });
const frames = [1, 2, 3].map((n) => {
  const { samples } = phantom(of);
  new Uint16Array(samples.buffer)[n] = n;
  return samples;
});
const cine = (overrides: BuilderDataSet = {}): BuilderDataSet => ({
  Rows: of.Rows,
  Columns: of.Columns,
  NumberOfFrames: '3',
  PixelData: new Uint8Array(Buffer.concat(frames)),
  ...overrides,
});

describe('a whole object in another transfer syntax', () => {
  const targets = Object.keys(PIXEL_SYNTAXES).filter(
    (target) => PIXEL_SYNTAXES[target]!.encodes && PIXEL_SYNTAXES[target]!.lossless,
  );

  test.each(targets)('%s holds the same frames and the same patient', async (target) => {
    const { services, instance } = await stored(buildDicom(cine({ PatientName: 'Müller^Jörg' })));
    const bytes = await collect(transcodeInstance(services, instance, target));
    const scanned = scanPart10(bytes, services.limits);
    expect(scanned.transferSyntaxUID).toBe(target);
    expect(scanned.dataSet['00100010']?.Value).toStrictEqual([{ Alphabetic: 'Müller^Jörg' }]);
    expect(scanned.pixels?.frames).toBe(3);
    expect(scanned.warnings).toStrictEqual([]);
    const again = await stored(bytes);
    for (const [i, samples] of frames.entries()) {
      const frame = await transcodeFrame(again.services, again.instance, i + 1, EXPLICIT_LE);
      expect(Buffer.compare(frame, samples), `frame ${i + 1}`).toBe(0);
    }
  });

  test('colour by plane becomes JPEG 2000 and says YBR_RCT, colour by pixel', async () => {
    const planes = new Uint8Array(of.Rows * of.Columns * 3).map((_, i) => (i / 20) & 255);
    const colour = {
      SamplesPerPixel: 3,
      PhotometricInterpretation: 'RGB',
      PlanarConfiguration: 1,
      BitsAllocated: 8,
      BitsStored: 8,
      HighBit: 7,
    };
    const { services, instance } = await stored(
      buildDicom(cine({ ...colour, NumberOfFrames: undefined, PixelData: { vr: 'OB', value: planes } as never })),
    );
    const { dataSet } = scanPart10(
      await collect(transcodeInstance(services, instance, `${UID}.4.90`)),
      services.limits,
    );
    expect(dataSet['00280004']?.Value).toStrictEqual(['YBR_RCT']);
    expect(dataSet['00280006']?.Value).toStrictEqual([0]);
    expect(dataSet['00282110']).toBeUndefined();
  });

  test('loss is written down, and stays written down', async () => {
    const eight = phantom(image()).samples;
    const { services, instance } = await stored(
      buildDicom(
        cine({
          BitsAllocated: 8,
          BitsStored: 8,
          HighBit: 7,
          NumberOfFrames: undefined,
          PixelData: { vr: 'OB', value: eight } as never,
        }),
      ),
    );
    const lossy = await collect(transcodeInstance(services, instance, `${UID}.4.50`));
    const { dataSet } = scanPart10(lossy, services.limits);
    expect(dataSet['00282110']?.Value).toStrictEqual(['01']);
    expect(dataSet['00282114']?.Value).toStrictEqual(['ISO_10918_1']);
    expect(dataSet['00282112']?.Value?.[0]).toBeGreaterThan(1);
    const back = await stored(lossy);
    const plain = scanPart10(
      await collect(transcodeInstance(back.services, back.instance, EXPLICIT_LE)),
      services.limits,
    );
    expect(plain.dataSet['00282110']?.Value).toStrictEqual(['01']);
  });

  test('big endian words become little endian ones', async () => {
    const { services, instance } = await stored(
      buildDicom(cine({ PixelData: new Uint8Array(Buffer.from(Buffer.concat(frames)).swap16()) }), {
        transferSyntaxUID: EXPLICIT_BE,
      }),
    );
    const again = await stored(await collect(transcodeInstance(services, instance, EXPLICIT_LE)));
    const expected = await transcodeFrame(services, instance, 2, EXPLICIT_LE);
    expect(Buffer.compare(await readFrame(again.services, again.instance, 2), expected)).toBe(0);
  });

  test.each([
    ['colour by plane', { SamplesPerPixel: 3, PlanarConfiguration: 1, PhotometricInterpretation: 'RGB' }, 8, 'OB'],
    ['8 bits in words', {}, 8, 'OW'],
    ['packed bits in words', {}, 1, 'OW'],
    ['32 bits', {}, 32, 'OW'],
  ])('%s: big endian and back, the samples lie as they did, and each frame is the same', async (_, more, bits, vr) => {
    const bytes = (of.Rows * of.Columns * bits * ('SamplesPerPixel' in more ? 3 : 1)) >> 3;
    const value = Uint8Array.from({ length: 2 * bytes }, (_, i) => (i * 7 + (i >> 5)) & 255);
    const { services, instance } = await stored(
      buildDicom({
        ...more,
        Rows: of.Rows,
        Columns: of.Columns,
        NumberOfFrames: '2',
        BitsAllocated: bits,
        BitsStored: bits,
        HighBit: bits - 1,
        PixelData: { vr, value } as never,
      }),
    );
    const big = await stored(await collect(transcodeInstance(services, instance, EXPLICIT_BE)));
    expect(big.instance.transferSyntaxUID).toBe(EXPLICIT_BE);
    const back = await stored(await collect(transcodeInstance(big.services, big.instance, EXPLICIT_LE)));
    for (const number of [1, 2]) {
      const frame = await readFrame(services, instance, number);
      expect(Buffer.compare(await readFrame(back.services, back.instance, number), frame)).toBe(0);
      const decoded = await transcodeFrame(big.services, big.instance, number, EXPLICIT_LE);
      if (!('PlanarConfiguration' in more)) expect(Buffer.compare(decoded, frame)).toBe(0);
    }
  });

  test('frames of packed bits that begin inside a byte are laid end to end again', async () => {
    const bits = { Rows: 3, Columns: 5, BitsAllocated: 1, BitsStored: 1, HighBit: 0, NumberOfFrames: '3' };
    const packed = Uint8Array.of(0xa5, 0x3c, 0x99, 0x77, 0x5a, 0x0f);
    const { services, instance } = await stored(
      buildDicom({ ...bits, PixelData: { vr: 'OB', value: packed } as never }),
    );
    const rle = await stored(await collect(transcodeInstance(services, instance, `${UID}.5`)));
    const back = await stored(await collect(transcodeInstance(rle.services, rle.instance, EXPLICIT_LE)));
    expect(back.instance.pixels).toMatchObject({ kind: 'native', frames: 3, frameLengthBits: 15 });
    for (const n of [1, 2, 3]) {
      expect(await readFrame(back.services, back.instance, n)).toStrictEqual(await readFrame(services, instance, n));
    }
  });

  test('what a syntax cannot hold is refused before the first byte', async () => {
    const { services, instance } = await stored(buildDicom(cine()));
    await expect(collect(transcodeInstance(services, instance, `${UID}.4.50`))).rejects.toMatchObject({
      code: 'UNSUPPORTED_TRANSFER_SYNTAX',
    });
    expect(uid(1)).toBe(instance.StudyInstanceUID);
  });
});
