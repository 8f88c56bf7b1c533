/**
 * The colour spaces that a rendered image can be asked for in (PS3.18 §8.3.5.1.5), each as its matrix, its curve, and the profile that
 * says so. Matrices take linear RGB to XYZ under D50, the white of the profile connection space, adapted by Bradford's method.
 */
export type ColourSpace = 'srgb' | 'adobergb' | 'rommrgb' | 'displayp3';

export interface SpaceDefinition {
  readonly name: string;
  /** row by row */
  readonly toXyz: readonly number[];
  /** Y = (aX + b)^g from d on, cX below it: a parametric curve of type 3 (ICC.1 §10.18) */
  readonly curve: {
    readonly g: number;
    readonly a: number;
    readonly b: number;
    readonly c: number;
    readonly d: number;
  };
  /** the white it was defined under is D65: the profile says how that was adapted */
  readonly adapted: boolean;
}

const SRGB_CURVE = { g: 2.4, a: 1 / 1.055, b: 0.055 / 1.055, c: 1 / 12.92, d: 0.04045 };

export const SPACES: Readonly<Record<ColourSpace, SpaceDefinition>> = {
  // IEC 61966-2-1
  srgb: {
    name: 'sRGB',
    toXyz: [0.4360747, 0.3850649, 0.1430804, 0.2225045, 0.7168786, 0.0606169, 0.0139322, 0.0971045, 0.7141733],
    curve: SRGB_CURVE,
    adapted: true,
  },
  // Adobe RGB (1998) Color Image Encoding
  adobergb: {
    name: 'Adobe RGB (1998)',
    toXyz: [0.6097559, 0.2052401, 0.149224, 0.3111242, 0.625656, 0.0632197, 0.0194811, 0.0608902, 0.7448387],
    curve: { g: 563 / 256, a: 1, b: 0, c: 0, d: 0 },
    adapted: true,
  },
  // ISO 22028-2
  rommrgb: {
    name: 'ROMM RGB',
    toXyz: [0.7976749, 0.1351917, 0.0313534, 0.2880402, 0.7118741, 0.0000857, 0, 0, 0.82521],
    curve: { g: 1.8, a: 1, b: 0, c: 1 / 16, d: 1 / 32 },
    adapted: false,
  },
  // SMPTE EG 432-1 with the curve of sRGB
  displayp3: {
    name: 'Display P3',
    toXyz: [0.5151215, 0.2919769, 0.1571045, 0.2411957, 0.6922455, 0.0665741, -0.0010529, 0.0418854, 0.7840729],
    curve: SRGB_CURVE,
    adapted: true,
  },
};

export const isColourSpace = (name: string): name is ColourSpace => Object.hasOwn(SPACES, name);

/** Encoded value, 0 to 1, to linear light. */
export function linearOf({ curve: { g, a, b, c, d } }: SpaceDefinition, x: number): number {
  return x >= d ? (a * x + b) ** g : c * x;
}

/** Linear light to the encoded value; what the space cannot show is clipped. */
export function encodedOf({ curve: { g, a, b, c, d } }: SpaceDefinition, y: number): number {
  const light = Math.min(Math.max(y, 0), 1);
  return light >= (a * d + b) ** g ? (light ** (1 / g) - b) / a : light / c;
}

const made = new Map<ColourSpace, Uint8Array>();

const D50 = [0.9642, 1, 0.8249];
const BRADFORD_D65_TO_D50 = [
  1.0478112, 0.0228866, -0.050127, 0.0295424, 0.9904844, -0.0170491, -0.0092345, 0.0150436, 0.7521316,
];

/** A display profile of version 4.3 (ICC.1:2010 §8.4.3: three-component matrix-based). */
export function profileOf(space: ColourSpace): Uint8Array {
  const profile = made.get(space) ?? writeProfile(SPACES[space]);
  made.set(space, profile);
  return profile;
}

function writeProfile({ name, toXyz, curve, adapted }: SpaceDefinition): Uint8Array {
  const column = (at: number): number[] => [toXyz[at]!, toXyz[at + 3]!, toXyz[at + 6]!];
  const { g, a, b, c, d } = curve;
  const trc = Buffer.concat([Buffer.from('para\0\0\0\0\0\x03\0\0', 'latin1'), fixed([g, a, b, c, d])]);
  const tags: [string, Buffer][] = [
    ['desc', text(name)],
    ['cprt', text('Public domain')],
    ['wtpt', xyz(D50)],
    ...(adapted
      ? [
          ['chad', Buffer.concat([Buffer.from('sf32\0\0\0\0', 'latin1'), fixed(BRADFORD_D65_TO_D50)])] as [
            string,
            Buffer,
          ],
        ]
      : []),
    ['rXYZ', xyz(column(0))],
    ['gXYZ', xyz(column(1))],
    ['bXYZ', xyz(column(2))],
    ['rTRC', trc],
    ['gTRC', trc],
    ['bTRC', trc],
  ];
  const table = Buffer.alloc(4 + tags.length * 12);
  table.writeUInt32BE(tags.length, 0);
  const bodies: Buffer[] = [];
  const places = new Map<Buffer, number>();
  let at = 128 + table.length;
  for (const [i, [signature, body]] of tags.entries()) {
    if (!places.has(body)) {
      const padded = Buffer.concat([body, Buffer.alloc(-body.length & 3)]);
      places.set(body, at);
      bodies.push(padded);
      at += padded.length;
    }
    table.write(signature, 4 + i * 12, 'latin1');
    table.writeUInt32BE(places.get(body)!, 8 + i * 12);
    table.writeUInt32BE(body.length, 12 + i * 12);
  }
  const header = Buffer.alloc(128);
  header.writeUInt32BE(at, 0);
  header.writeUInt32BE(0x04300000, 8);
  header.write('mntrRGB XYZ ', 12, 'latin1');
  // the day of the specification: a profile of ours is the same bytes whenever it is made
  for (const [i, value] of [2010, 12, 1].entries()) header.writeUInt16BE(value, 24 + 2 * i);
  header.write('acsp', 36, 'latin1');
  fixed(D50).copy(header, 68);
  return new Uint8Array(Buffer.concat([header, table, ...bodies]));
}

/** s15Fixed16Number */
function fixed(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) bytes.writeInt32BE(Math.round(value * 65536), i * 4);
  return bytes;
}

const xyz = (values: readonly number[]): Buffer =>
  Buffer.concat([Buffer.from('XYZ \0\0\0\0', 'latin1'), fixed(values)]);

/** multiLocalizedUnicodeType of one string */
function text(value: string): Buffer {
  const head = Buffer.alloc(28);
  head.write('mluc', 0, 'latin1');
  head.writeUInt32BE(1, 8);
  head.writeUInt32BE(12, 12);
  head.write('enUS', 16, 'latin1');
  head.writeUInt32BE(value.length * 2, 20);
  head.writeUInt32BE(28, 24);
  return Buffer.concat([head, Buffer.from(value, 'utf16le').swap16()]);
}
