import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { swapBytes } from '#core/pixels/samples.ts';
import { retrieveFrames, retrievePixelData } from '#dicomweb/retrieve-frames.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';
import { ask } from '#test/unit/dicomweb/asking.ts';

const EXPLICIT_BE = '1.2.840.10008.1.2.2';
const EXPLICIT_LE = '1.2.840.10008.1.2.1';
const OCTETS = { accept: 'application/octet-stream' };
const CORPUS = '../shared/testdata/dicom/sc';

async function archive(object: Uint8Array) {
  const services = memoryServices({ pixels: new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS) });
  const outcome = await store(services, object);
  if (outcome.kind !== 'stored') throw new Error(outcome.kind);
  const { StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: instance } = outcome.id;
  return { services, of: { study, series, instance } };
}

/** Every frame was swapped by itself: the last sample of an odd one was another's, and those that begin within a word were all wrong. */
describe('frames of an odd number of bytes in big endian words', () => {
  test.each([
    ['8 bits', 8, Uint8Array.from({ length: 28 }, (_, i) => i + 1)],
    ['packed bits', 1, Uint8Array.of(0xa5, 0x3c, 0x99, 0x07)],
  ])('%s: are those of the little endian object', async (_, bits, value) => {
    const image = {
      SOPInstanceUID: uid(3),
      Rows: 3,
      Columns: 3,
      NumberOfFrames: 3,
      BitsAllocated: bits,
      BitsStored: bits,
      HighBit: bits - 1,
      PixelRepresentation: 0,
      SamplesPerPixel: 1,
      PhotometricInterpretation: 'MONOCHROME2',
    };
    const of = (bytes: Uint8Array, transferSyntaxUID: string) =>
      archive(buildDicom({ ...image, PixelData: { vr: 'OW', value: bytes } as never }, { transferSyntaxUID }));
    const little = await of(value, EXPLICIT_LE);
    const big = await of(swapBytes(value, 2), EXPLICIT_BE);
    for (const frames of ['1', '2', '3']) {
      const ours = await ask(big.services, retrieveFrames, { ...big.of, frames }, OCTETS);
      const theirs = await ask(little.services, retrieveFrames, { ...little.of, frames }, OCTETS);
      expect([ours.status, ours.body]).toEqual([200, theirs.body]);
    }
    const whole = await ask(big.services, retrievePixelData, big.of, OCTETS);
    expect(whole.body).toEqual(Buffer.from(value.subarray(0, Math.ceil((27 * bits) / 8))));
  });

  test.skipIf(!existsSync(CORPUS))('an image of 3 × 3 pixels in colour', async () => {
    const frame = async (name: string): Promise<Buffer> => {
      const { services, of } = await archive(readFileSync(`${CORPUS}/${name}.dcm`));
      return (await ask(services, retrieveFrames, { ...of, frames: '1' }, OCTETS)).body;
    };
    expect(await frame('SC_rgb_small_odd_big_endian')).toEqual(await frame('SC_rgb_small_odd'));
  });
});

/** A small Buffer is a piece of memory that others have pieces of: they were swapped, too. */
test('the bytes beside a value are not swapped with it, nor the value itself', () => {
  const memory = Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]);
  expect([...swapBytes(memory.subarray(3, 7), 2)]).toEqual([5, 4, 7, 6]);
  expect([...memory]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
});
