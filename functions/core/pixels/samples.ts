import { PacsError } from '../errors.ts';
import type { ImageDescription } from '../ports/pixel-engine.ts';

/** Bytes of one sample as it stands in memory after decoding (1-bit images are unpacked). */
export const sampleBytes = (image: ImageDescription): number => Math.max(1, image.BitsAllocated >> 3);

/** Bytes of the decoded frame. */
export const decodedBytes = (image: ImageDescription): number =>
  image.Rows * image.Columns * image.SamplesPerPixel * sampleBytes(image);

/** @throws PacsError UNREADABLE_DATASET when the Image Pixel module cannot describe an image; TOO_LARGE */
export function checkImage(image: ImageDescription, limitBytes: number): void {
  const { Rows, Columns, SamplesPerPixel, BitsAllocated, BitsStored, HighBit } = image;
  const whole = [Rows, Columns, SamplesPerPixel, BitsAllocated, BitsStored, HighBit].every(
    (n) => Number.isInteger(n) && n >= 0,
  );
  const allocated = [1, 8, 16, 32, 64].includes(BitsAllocated) && (BitsAllocated < 64 || image.float === true);
  if (!whole || Rows < 1 || Columns < 1 || Rows > 65535 || Columns > 65535 || !allocated)
    throw invalid('size or allocation');
  if (BitsStored < 1 || BitsStored > BitsAllocated || HighBit >= BitsAllocated || HighBit + 1 < BitsStored)
    throw invalid('bits');
  if (SamplesPerPixel !== 1 && SamplesPerPixel !== 3 && SamplesPerPixel !== 4) throw invalid('SamplesPerPixel');
  if (decodedBytes(image) > limitBytes) {
    throw new PacsError('TOO_LARGE', 'the decoded frame is over the limit', { details: { limitBytes } });
  }
}

const invalid = (what: string): PacsError =>
  new PacsError('UNREADABLE_DATASET', `the Image Pixel module is invalid: ${what}`);

/** Colour by plane (PlanarConfiguration 1) to colour by pixel. */
export function interleave(planes: Uint8Array, pixels: number, samples: number, bytes: number): Uint8Array {
  const result = new Uint8Array(pixels * samples * bytes);
  if (bytes === 1 && samples === 3) {
    for (let i = 0, o = 0; i < pixels; i++) {
      result[o++] = planes[i]!;
      result[o++] = planes[pixels + i]!;
      result[o++] = planes[2 * pixels + i]!;
    }
    return result;
  }
  for (let s = 0; s < samples; s++) {
    for (let i = 0; i < pixels; i++) {
      const from = (s * pixels + i) * bytes;
      const to = (i * samples + s) * bytes;
      for (let b = 0; b < bytes; b++) result[to + b] = planes[from + b]!;
    }
  }
  return result;
}

/** The same bytes as a bare Uint8Array: `slice` of a Buffer copies nothing, and what we return must be ours. */
export const plain = (bytes: Uint8Array): Uint8Array =>
  bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A copy with the bytes of every sample of 2, 4 or 8 bytes exchanged. */
export function swapBytes(bytes: Uint8Array, size: number): Uint8Array {
  // `slice` of a Buffer copies nothing, and a small Buffer shares its memory with others.
  const own = new Uint8Array(bytes);
  const copy = Buffer.from(own.buffer);
  const even = copy.subarray(0, copy.length - (copy.length % size));
  if (size === 2) even.swap16();
  else if (size === 4) even.swap32();
  else if (size === 8) even.swap64();
  return own;
}

/**
 * Bytes of the words that big endian pixel data of more than 8 bits is made of: OW knows words of 16 bits alone, the lower one of a
 * sample of 32 first (PS3.5 §8.1.1 and A.3); OF and OD know longer ones.
 */
export const wordBytes = (image: ImageDescription): number => (image.float === true ? sampleBytes(image) : 2);

/** One bit a pixel, least significant bit first (PS3.5 §8.1.1), to one byte a pixel. */
export function unpackBits(packed: Uint8Array, pixels: number): Uint8Array {
  const result = new Uint8Array(pixels);
  for (let i = 0; i < pixels; i++) result[i] = (packed[i >> 3]! >> (i & 7)) & 1;
  return result;
}

export function packBits(unpacked: Uint8Array): Uint8Array {
  const result = new Uint8Array((unpacked.length + 7) >> 3);
  for (let i = 0; i < unpacked.length; i++) if (unpacked[i]! !== 0) result[i >> 3]! |= 1 << (i & 7);
  return result;
}

/** The samples as numbers; the array is aligned, copied only where the bytes are not. */
export function typed(
  samples: Uint8Array,
  image: ImageDescription,
): Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array | Float32Array | Float64Array {
  const bytes = sampleBytes(image);
  const aligned = samples.byteOffset % bytes === 0 ? samples : samples.slice();
  const count = Math.floor(samples.length / bytes);
  const { buffer, byteOffset } = aligned;
  if (image.float === true)
    return bytes === 4 ? new Float32Array(buffer, byteOffset, count) : new Float64Array(buffer, byteOffset, count);
  const signed = image.PixelRepresentation === 1;
  if (bytes === 1) return signed ? new Int8Array(buffer, byteOffset, count) : aligned;
  if (bytes === 2)
    return signed ? new Int16Array(buffer, byteOffset, count) : new Uint16Array(buffer, byteOffset, count);
  return signed ? new Int32Array(buffer, byteOffset, count) : new Uint32Array(buffer, byteOffset, count);
}

/** Native values of `bits` significant bits, in place: the rest becomes the sign, or zero. */
export function extend(values: Uint8Array | Uint16Array, bits: number, signed: boolean): void {
  const width = values.BYTES_PER_ELEMENT * 8;
  if (bits >= width) return;
  if (signed) {
    const shift = 32 - bits;
    for (let i = 0; i < values.length; i++) values[i] = (values[i]! << shift) >> shift;
  } else {
    const mask = (1 << bits) - 1;
    for (let i = 0; i < values.length; i++) values[i]! &= mask;
  }
}

/** True when a sample has bits above BitsStored that are not its sign: an overlay in the pixel data, or another modality's dirt. */
export function hasForeignBits(values: Uint8Array | Uint16Array, image: ImageDescription): boolean {
  const bits = image.HighBit + 1;
  const width = values.BYTES_PER_ELEMENT * 8;
  if (image.HighBit + 1 !== image.BitsStored) return true;
  if (bits >= width) return false;
  if (image.PixelRepresentation === 1) {
    const shift = 32 - bits;
    const mask = 2 ** width - 1;
    for (let i = 0; i < values.length; i++) if ((((values[i]! << shift) >> shift) & mask) !== values[i]) return true;
    return false;
  }
  const above = ~((1 << bits) - 1);
  for (let i = 0; i < values.length; i++) if ((values[i]! & above) !== 0) return true;
  return false;
}

/** Packed frames one after the other without gaps (PS3.5 §8.1.1): a frame may begin inside a byte. @param bits of one frame */
export async function* joinBits(
  frames: AsyncIterable<Uint8Array>,
  bits: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  let held = 0;
  let count = 0;
  for await (const frame of frames) {
    if (count === 0 && bits % 8 === 0) {
      yield frame;
      continue;
    }
    const total = count + bits;
    const out = new Uint8Array(total >> 3);
    let at = 0;
    const bytes = (bits + 7) >> 3;
    for (let i = 0; i < bytes; i++) {
      const valid = i === bytes - 1 && bits % 8 !== 0 ? bits % 8 : 8;
      held |= (frame[i]! & ((1 << valid) - 1)) << count;
      count += valid;
      if (count >= 8) {
        out[at++] = held & 255;
        held >>>= 8;
        count -= 8;
      }
    }
    yield out;
  }
  if (count > 0) yield Uint8Array.of(held);
}
