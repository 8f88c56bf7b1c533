import type { DecodedFrame, ImageDescription } from '../ports/pixel-engine.ts';
import type { Rectangle } from './profile.ts';

/** A run of bytes of a frame that is filled, over and over with `pattern`. */
interface Run {
  readonly start: number;
  readonly length: number;
  readonly pattern: Uint8Array;
}

const bytesOf = ({ BitsAllocated }: ImageDescription): number => BitsAllocated >> 3;
export const frameBytes = (image: ImageDescription): number =>
  image.Rows * image.Columns * image.SamplesPerPixel * bytesOf(image);

/** The samples of a black pixel, little endian, one by one. */
function black(image: ImageDescription): Uint8Array[] {
  const { PhotometricInterpretation, PixelRepresentation, BitsStored, SamplesPerPixel } = image;
  const half = 2 ** (BitsStored - 1);
  const signed = PixelRepresentation === 1;
  const values =
    PhotometricInterpretation.startsWith('YBR') && SamplesPerPixel === 3
      ? [0, half, half]
      : PhotometricInterpretation === 'MONOCHROME1'
        ? [signed ? half - 1 : 2 * half - 1]
        : PhotometricInterpretation === 'MONOCHROME2' && signed
          ? [-half]
          : new Array<number>(SamplesPerPixel).fill(0);
  return values.map((value) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    return bytes.subarray(0, bytesOf(image));
  });
}

/** The runs of one frame, in ascending order within each plane. */
function runsOf(image: ImageDescription, rectangles: readonly Rectangle[]): Run[] {
  const { Rows, Columns, SamplesPerPixel, PlanarConfiguration } = image;
  const samples = black(image);
  const width = bytesOf(image);
  const byPlane = SamplesPerPixel > 1 && PlanarConfiguration === 1;
  const pixelBytes = byPlane ? width : width * SamplesPerPixel;
  const planes = byPlane ? samples : [Buffer.concat(samples)];
  const runs: Run[] = [];
  for (const [plane, pattern] of planes.entries()) {
    for (const { left, top, width: wide, height } of rectangles) {
      const right = Math.min(Columns, left + wide);
      if (right <= left) continue;
      for (let row = top; row < Math.min(Rows, top + height); row++) {
        const start = (plane * Rows * Columns + row * Columns + left) * pixelBytes;
        runs.push({ start, length: (right - left) * pixelBytes, pattern });
      }
    }
  }
  return runs.sort((a, b) => a.start - b.start);
}

/** Fills what of the runs lies in `bytes`, which begin `offset` bytes into their frame. */
function fill(bytes: Uint8Array, offset: number, runs: readonly Run[]): void {
  for (const { start, length, pattern } of runs) {
    if (start >= offset + bytes.length) break;
    const from = Math.max(start, offset);
    const to = Math.min(start + length, offset + bytes.length);
    for (let at = from; at < to; at++) bytes[at - offset] = pattern[(at - start) % pattern.length]!;
  }
}

/** Native pixel data, frame after frame, with the rectangles blacked out; any chunks, constant memory. */
export async function* blackOutNative(
  source: AsyncIterable<Uint8Array>,
  image: ImageDescription,
  rectangles: readonly Rectangle[],
): AsyncGenerator<Uint8Array, void, undefined> {
  const runs = runsOf(image, rectangles);
  const size = frameBytes(image);
  let at = 0;
  for await (const chunk of source) {
    const copy = Uint8Array.from(chunk);
    for (let done = 0; done < copy.length; ) {
      const offset = (at + done) % size;
      const part = copy.subarray(done, done + Math.min(size - offset, copy.length - done));
      fill(part, offset, runs);
      done += part.length;
    }
    at += chunk.length;
    yield copy;
  }
}

/** A decoded frame with the rectangles blacked out. */
export function blackOutFrame(frame: DecodedFrame, rectangles: readonly Rectangle[]): DecodedFrame {
  const samples = Uint8Array.from(frame.samples);
  fill(samples, 0, runsOf({ ...frame.image, PlanarConfiguration: 0 }, rectangles));
  return { samples, image: frame.image };
}

/** 16-bit samples without what lies above their stored bits (overlays of old); the sign is filled in again. */
export async function* maskStoredBits(
  source: AsyncIterable<Uint8Array>,
  { BitsStored, HighBit, PixelRepresentation }: ImageDescription,
): AsyncGenerator<Uint8Array, void, undefined> {
  const shift = 15 - HighBit;
  const low = HighBit + 1 - BitsStored;
  let held: Uint8Array = new Uint8Array(0);
  for await (const chunk of source) {
    const all = Buffer.concat([held, chunk]);
    const even = all.length & ~1;
    for (let at = 0; at < even; at += 2) {
      const value = (all.readUInt16LE(at) << shift) & 0xffff;
      const top = PixelRepresentation === 1 ? (value << 16) >> 16 : value;
      all.writeUInt16LE((((top >> (shift + low)) << low) & 0xffff) >>> 0, at);
    }
    held = all.subarray(even);
    yield all.subarray(0, even);
  }
  if (held.length > 0) yield held;
}
