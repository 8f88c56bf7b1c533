/** Curves and tables of ICC profiles: curveType, parametricCurveType, lut8Type, lut16Type, lutAToBType (ICC.1:2010 §10). */

export type PcsColour = readonly [number, number, number];
export type Curve = (x: number) => number;

/** Three channels to the profile connection space: XYZ (Y of white is 1), or L*a*b* in its own units. */
export interface Lut {
  readonly isLab: boolean;
  readonly convert: (red: number, green: number, blue: number) => PcsColour;
}

const clamp = (x: number): number => (x > 1 ? 1 : x > 0 ? x : 0);

/** A curve, and where what follows it begins. @throws RangeError */
export function curveAt(bytes: Buffer, at: number): { readonly curve: Curve; readonly end: number } {
  const type = bytes.toString('latin1', at, at + 4);
  const padded = (end: number): number => (end + 3) & ~3;
  if (type === 'curv') {
    const count = bytes.readUInt32BE(at + 8);
    const end = padded(at + 12 + count * 2);
    if (count === 0) return { curve: clamp, end };
    if (count === 1) {
      const gamma = bytes.readUInt16BE(at + 12) / 256;
      return { curve: (x) => clamp(x) ** gamma, end };
    }
    return { curve: sampled(words(bytes, at + 12, count)), end };
  }
  if (type !== 'para') throw new RangeError('no curve');
  const kind = bytes.readUInt16BE(at + 8);
  const count = [1, 3, 4, 5, 7][kind];
  if (count === undefined) throw new RangeError('no such curve');
  const [g = 1, a = 1, b = 0, c = 0, d = 0, e = 0, f = 0] = fixed(bytes, at + 12, count);
  return { curve: parametric(kind, g, a, b, c, d, e, f), end: at + 12 + count * 4 };
}

/** Table 65; the kinds differ in what lies below the break, and what is added */
function parametric(kind: number, g: number, a: number, b: number, c: number, d: number, e: number, f: number): Curve {
  const power = (base: number): number => (base > 0 ? base ** g : 0);
  switch (kind) {
    case 0:
      return (x) => clamp(x) ** g;
    case 1:
      return (x) => clamp(x >= -b / a ? power(a * x + b) : 0);
    case 2:
      return (x) => clamp(x >= -b / a ? power(a * x + b) + c : c);
    case 3:
      return (x) => clamp(x >= d ? power(a * x + b) : c * x);
    default:
      return (x) => clamp(x >= d ? power(a * x + b) + e : c * x + f);
  }
}

function sampled(values: Float64Array): Curve {
  const last = values.length - 1;
  return (x) => {
    const at = clamp(x) * last;
    const low = Math.min(Math.floor(at), last - 1);
    return values[low]! + (values[low + 1]! - values[low]!) * (at - low);
  };
}

/** uInt16Number as 0 to 1 */
function words(bytes: Buffer, at: number, count: number): Float64Array {
  if (count > 1_000_000 || at + count * 2 > bytes.length) throw new RangeError('a table lies outside');
  return Float64Array.from({ length: count }, (_, i) => bytes.readUInt16BE(at + i * 2) / 65535);
}

/** uInt8Number as 0 to 1 */
function octets(bytes: Buffer, at: number, count: number): Float64Array {
  if (count > 2_000_000 || at + count > bytes.length) throw new RangeError('a table lies outside');
  return Float64Array.from({ length: count }, (_, i) => bytes[at + i]! / 255);
}

const fixed = (bytes: Buffer, at: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => bytes.readInt32BE(at + i * 4) / 65536);

/** @throws RangeError where it is none of three channels to three */
export function readLut(bytes: Buffer, isLab: boolean): Lut {
  const type = bytes.toString('latin1', 0, 4);
  const [inputs, outputs] = [bytes[8], bytes[9]];
  if (inputs !== 3 || outputs !== 3) throw new RangeError('no table of three channels');
  if (type === 'mAB ') return lutAToB(bytes, isLab);
  if (type !== 'mft1' && type !== 'mft2') throw new RangeError('no table');
  return lut816(bytes, isLab, type === 'mft2');
}

/** lut8Type, lut16Type: curves, grid, curves. The matrix is for XYZ as input alone. */
function lut816(bytes: Buffer, isLab: boolean, wide: boolean): Lut {
  const grid = bytes[10]!;
  const read = wide ? words : octets;
  const width = wide ? 2 : 1;
  const entriesIn = wide ? bytes.readUInt16BE(48) : 256;
  const entriesOut = wide ? bytes.readUInt16BE(50) : 256;
  let at = wide ? 52 : 48;
  const take = (count: number): Float64Array => {
    const values = read(bytes, at, count);
    at += count * width;
    return values;
  };
  const curves = (entries: number): Curve[] => [0, 1, 2].map(() => sampled(take(entries)));
  if (grid < 2 || entriesIn < 2 || entriesOut < 2) throw new RangeError('a table is too small');
  const into = curves(entriesIn);
  const table = interpolated(take(grid ** 3 * 3), [grid, grid, grid]);
  const outOf = curves(entriesOut);
  // 16 bits of lut16Type hold L* of 100 as FF00 (§10.10)
  const lab = wide ? 65535 / 65280 : 1;
  return {
    isLab,
    convert: (red, green, blue) => {
      const [p, q, s] = table(into[0]!(red), into[1]!(green), into[2]!(blue));
      return encoded([outOf[0]!(p), outOf[1]!(q), outOf[2]!(s)], isLab, lab);
    },
  };
}

const XYZ_SCALE = 1 + 32767 / 32768;

/** What 0 to 1 stands for in the profile connection space (§6.3.4.2). */
const encoded = ([p, q, s]: PcsColour, isLab: boolean, lab: number): PcsColour =>
  isLab ? [p * lab * 100, q * lab * 255 - 128, s * lab * 255 - 128] : [p * XYZ_SCALE, q * XYZ_SCALE, s * XYZ_SCALE];

/** lutAToBType: A curves and grid, M curves and matrix, each pair where it is there, then B curves. */
function lutAToB(bytes: Buffer, isLab: boolean): Lut {
  const [b, matrixAt, m, grid, a] = [12, 16, 20, 24, 28].map((at) => bytes.readUInt32BE(at));
  const curvesAt = (start: number): Curve[] => {
    let at = start;
    return [0, 1, 2].map(() => {
      const { curve, end } = curveAt(bytes, at);
      at = end;
      return curve;
    });
  };
  if (!b) throw new RangeError('curves are missing');
  const outOf = curvesAt(b);
  const into = a && grid ? curvesAt(a) : undefined;
  const table = a && grid ? gridAt(bytes, grid) : undefined;
  const middle = m && matrixAt ? curvesAt(m) : undefined;
  const matrix = m && matrixAt ? fixed(bytes, matrixAt, 12) : undefined;
  return {
    isLab,
    convert: (red, green, blue) => {
      let colour: PcsColour = [red, green, blue];
      if (into && table) colour = table(into[0]!(red), into[1]!(green), into[2]!(blue));
      if (middle && matrix) {
        const [x, y, z] = [middle[0]!(colour[0]), middle[1]!(colour[1]), middle[2]!(colour[2])];
        const row = (i: number): number =>
          clamp(matrix[i * 3]! * x + matrix[i * 3 + 1]! * y + matrix[i * 3 + 2]! * z + matrix[9 + i]!);
        colour = [row(0), row(1), row(2)];
      }
      return encoded([outOf[0]!(colour[0]), outOf[1]!(colour[1]), outOf[2]!(colour[2])], isLab, 1);
    },
  };
}

function gridAt(bytes: Buffer, at: number): (x: number, y: number, z: number) => PcsColour {
  const sides = [bytes[at]!, bytes[at + 1]!, bytes[at + 2]!] as const;
  if (sides.some((side) => side < 2)) throw new RangeError('a table is too small');
  const read = bytes[at + 16] === 1 ? octets : words;
  return interpolated(read(bytes, at + 20, sides[0] * sides[1] * sides[2] * 3), sides);
}

/** Between the points of a grid, by the tetrahedron that the colour lies in; the last channel varies fastest. */
function interpolated(
  values: Float64Array,
  [first, second, third]: readonly [number, number, number],
): (x: number, y: number, z: number) => PcsColour {
  const strides = [second * third * 3, third * 3, 3] as const;
  return (x, y, z) => {
    const [ax, ay, az] = [clamp(x) * (first - 1), clamp(y) * (second - 1), clamp(z) * (third - 1)];
    const i = Math.min(Math.floor(ax), first - 2);
    const j = Math.min(Math.floor(ay), second - 2);
    const k = Math.min(Math.floor(az), third - 2);
    const [fx, fy, fz] = [ax - i, ay - j, az - k];
    const near = i * strides[0] + j * strides[1] + k * strides[2];
    const far = near + strides[0] + strides[1] + strides[2];
    // From the near corner to the far one: first along the channel that reaches farthest, last along the one that reaches least.
    const most = Math.max(fx, fy, fz);
    const least = Math.min(fx, fy, fz);
    const middle = fx + fy + fz - most - least;
    const start = most === fx ? 0 : most === fy ? 1 : 2;
    const end = least === fz && start !== 2 ? 2 : least === fy && start !== 1 ? 1 : 0;
    const one = near + strides[start];
    const two = far - strides[end];
    const at = (channel: number): number =>
      (1 - most) * values[near + channel]! +
      (most - middle) * values[one + channel]! +
      (middle - least) * values[two + channel]! +
      least * values[far + channel]!;
    return [at(0), at(1), at(2)];
  };
}
