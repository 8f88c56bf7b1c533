import { PacsError } from '../../errors.ts';
import { type Curve, curveAt, type Lut, type PcsColour, readLut } from './lut.ts';

/** Colours of a device, RGB of 0 to 1 each, as what they look like: XYZ under D50. */
export type DeviceProfile =
  /** each channel's curve to linear light, then the matrix, row by row */
  | { readonly kind: 'matrix'; readonly curves: readonly [Curve, Curve, Curve]; readonly toXyz: readonly number[] }
  | { readonly kind: 'table'; readonly toXyz: (red: number, green: number, blue: number) => PcsColour };

const HEADER_BYTES = 128;
const TAGS = 200;

/**
 * An ICC profile of RGB as objects hold them (PS3.3 C.11.15): by a look-up table (A2B0, as the rendering intent is perceptual), else
 * by matrix and curves. Versions 2 and 4 (ICC.1:2001-04, ICC.1:2010).
 * @throws PacsError UNREADABLE_DATASET: none of RGB, or malformed
 */
export function readProfile(bytes: Uint8Array): DeviceProfile {
  try {
    return read(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch (cause) {
    if (cause instanceof PacsError) throw cause;
    throw new PacsError('UNREADABLE_DATASET', 'the ICC profile of the object is malformed', { cause });
  }
}

function read(bytes: Buffer): DeviceProfile {
  const word = (at: number): string => bytes.toString('latin1', at, at + 4);
  const connection = word(20);
  if (word(36) !== 'acsp' || word(16) !== 'RGB ' || (connection !== 'XYZ ' && connection !== 'Lab '))
    throw new PacsError('UNREADABLE_DATASET', 'the ICC profile of the object is none of RGB');
  const tags = new Map<string, Buffer>();
  const count = bytes.readUInt32BE(HEADER_BYTES);
  if (count > TAGS) throw new RangeError('too many tags');
  for (let i = 0; i < count; i++) {
    const at = HEADER_BYTES + 4 + i * 12;
    const offset = bytes.readUInt32BE(at + 4);
    const end = offset + bytes.readUInt32BE(at + 8);
    if (end > bytes.length) throw new RangeError('a tag lies outside');
    tags.set(word(at), bytes.subarray(offset, end));
  }
  const table = tags.get('A2B0');
  if (table !== undefined) return byTable(readLut(table, connection === 'Lab '), bytes[8]! >= 4);
  const [red, green, blue] = ['rXYZ', 'gXYZ', 'bXYZ'].map((tag) => colorant(tags.get(tag)));
  const [r, g, b] = ['rTRC', 'gTRC', 'bTRC'].map((tag) => curveAt(need(tags.get(tag)), 0).curve);
  const colorants = [red!, green!, blue!];
  const toXyz = [0, 1, 2].flatMap((row) => colorants.map((column) => column[row]!));
  return { kind: 'matrix', curves: [r!, g!, b!], toXyz };
}

const need = (tag: Buffer | undefined): Buffer => {
  if (tag === undefined) throw new RangeError('a tag is missing');
  return tag;
};

function colorant(tag: Buffer | undefined): PcsColour {
  const bytes = need(tag);
  const at = (offset: number): number => bytes.readInt32BE(offset) / 65536;
  return [at(8), at(12), at(16)];
}

const D50: PcsColour = [0.9642, 1, 0.8249];

/** What tables of version 4 say of black, as printed: displays show it as dark as they can (ICC.1:2010 §6.3.4.3). */
const PERCEPTUAL_BLACK: PcsColour = [0.00336, 0.0034731, 0.00287];

function byTable({ isLab, convert }: Lut, isVersion4: boolean): DeviceProfile {
  const fromBlack = (value: number, i: 0 | 1 | 2): number =>
    isVersion4 ? ((value - PERCEPTUAL_BLACK[i]) * D50[i]) / (D50[i] - PERCEPTUAL_BLACK[i]) : value;
  // CIE 1976: L*, a*, b* to XYZ
  const light = (f: number): number => (f > 6 / 29 ? f ** 3 : (108 / 841) * (f - 4 / 29));
  return {
    kind: 'table',
    toXyz: (red, green, blue) => {
      const [p, q, s] = convert(red, green, blue);
      const fy = (p + 16) / 116;
      const [x, y, z] = isLab
        ? [D50[0] * light(fy + q / 500), D50[1] * light(fy), D50[2] * light(fy - s / 200)]
        : [p, q, s];
      return [fromBlack(x, 0), fromBlack(y, 1), fromBlack(z, 2)];
    },
  };
}
