import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { deidentifyObject, type SourceObject } from '#core/deidentify/object.ts';
import { readProfile } from '#core/deidentify/profile.ts';
import { Pseudonyms } from '#core/deidentify/pseudonyms.ts';
import { Part10Scanner } from '#core/dicom/scanner.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { type LargeObject, largeObject } from '#test/bench/large-data.ts';
import { noPixels } from '#test/fixtures/services.ts';

/** What is promised is 5e9; the suite takes less. */
const BYTES = Number(process.env.NEPHOS_BIG_BYTES ?? 200e6);
const FRAME_BYTES = 512 * 512 * 2;
/** native pixel data has a length of 32 bits */
const NATIVE_BYTES = Math.min(BYTES, 4.2e9);

/** What may have been read and not yet be written: chunks on their way through the parts of the pipeline, and the object's header. */
const AHEAD_BYTES = 8 * 1024 * 1024;

/** An object that nobody holds; counts what was taken from it since the last complete reading began. */
function lazily(object: LargeObject) {
  const counted = { taken: 0 };
  const source: SourceObject = {
    blobKey: 'large',
    blobs: {
      async *read(_, { offset, length = object.sizeBytes - offset } = { offset: 0 }) {
        counted.taken = 0;
        let at = 0;
        const end = offset + length;
        for (const piece of object.pieces()) {
          const from = Math.max(offset - at, 0);
          const to = Math.min(end - at, piece.length);
          at += piece.length;
          if (from >= to) {
            if (at >= end) return;
            continue;
          }
          counted.taken += to - from;
          yield piece.subarray(from, to);
        }
      },
      async readBytes() {
        throw new Error('no single frame is asked for');
      },
    },
  };
  return { source, counted };
}

const RULES = {
  accepted: { Modality: 'OT', accept: true },
  blackedOut: { Modality: 'OT', blackout: [{ left: 0, top: 0, width: 512, height: 10 }] },
};

describe(`a copy of an object of ${BYTES / 1e6} MB`, () => {
  test.each([
    ['native', 'accepted', false],
    ['native', 'blackedOut', false],
    ['in fragments', 'accepted', true],
  ] as const)(
    '%s, %s: is made in constant memory, and its pixels are right',
    async (_, rule, encapsulated) => {
      const bytes = encapsulated ? BYTES : NATIVE_BYTES;
      const object = largeObject(1, Math.floor(bytes / FRAME_BYTES), { encapsulated });
      const { source, counted } = lazily(object);
      const outcome = await deidentifyObject(source, {
        limits: DEFAULT_LIMITS,
        pixels: noPixels,
        profile: readProfile({ pixelRules: [RULES[rule]], cleanPixelData: rule === 'blackedOut' }),
        pseudonyms: new Pseudonyms(new Uint8Array(32)),
        project: 'large',
      });
      if (outcome.kind !== 'copy') throw new Error(outcome.reasons.join());
      const scanner = new Part10Scanner(DEFAULT_LIMITS);
      const pixels = createHash('sha256');
      let written = 0;
      let ahead = 0;
      let pixelsAt: number | undefined;
      for await (const chunk of outcome.bytes) {
        if (pixelsAt === undefined) {
          scanner.push(chunk);
          pixelsAt = scanner.header()?.dataSet['7FE00010']?.bulk?.offset;
        }
        const from = pixelsAt === undefined ? chunk.length : Math.max(pixelsAt - written, 0);
        if (from < chunk.length) pixels.update(chunk.subarray(from));
        written += chunk.length;
        if (pixelsAt !== undefined) ahead = Math.max(ahead, counted.taken - (written - pixelsAt));
      }
      expect(scanner.header()!.dataSet['00120062']!.Value).toEqual(['YES']);
      expect(scanner.header()!.dataSet['00280008']!.Value).toEqual([object.frames]);
      expect(pixels.digest('hex')).toBe(expectedPixels(object, rule, encapsulated));
      expect(ahead).toBeLessThan(AHEAD_BYTES);
    },
    600_000,
  );
});

/** All behind the header of the pixel data: of fragments with their item headers and the delimiter. */
function expectedPixels(object: LargeObject, rule: keyof typeof RULES, encapsulated: boolean): string {
  const hash = createHash('sha256');
  const pieces = object.pieces();
  pieces.next();
  if (encapsulated) hash.update(Buffer.from([0xfe, 0xff, 0x00, 0xe0, 0, 0, 0, 0]));
  for (const piece of pieces) hash.update(rule === 'blackedOut' ? piece.fill(0, 0, 512 * 2 * 10) : piece);
  return hash.digest('hex');
}
