import type { Raster } from '../raster.ts';
import type { PcsColour } from './lut.ts';
import type { DeviceProfile } from './profile.ts';
import { type ColourSpace, encodedOf, linearOf, SPACES, type SpaceDefinition } from './spaces.ts';

/**
 * A picture in another colour space. Gray is taken as neutral: it stays so, and gets three channels for a profile to speak of.
 * @param source of the picture; absent: sRGB
 */
export function inColourSpace(raster: Raster, source: DeviceProfile | undefined, space: ColourSpace): Raster {
  const { columns, rows, channels, data } = raster;
  if (channels === 1) {
    const shades = neutrals(space);
    const rgb = new Uint8Array(columns * rows * 3);
    for (let i = 0; i < columns * rows; i++) rgb.fill(shades[data[i]!]!, i * 3, i * 3 + 3);
    return { columns, rows, channels: 3, data: rgb };
  }
  if (source === undefined && space === 'srgb') return raster;
  const from = source ?? SRGB;
  const target = SPACES[space];
  return { ...raster, data: from.kind === 'matrix' ? byMatrix(data, from, target) : byTable(data, from, target) };
}

const linearSrgb = (value: number): number => linearOf(SPACES.srgb, value);
const SRGB: DeviceProfile = {
  kind: 'matrix',
  curves: [linearSrgb, linearSrgb, linearSrgb],
  toXyz: SPACES.srgb.toXyz,
};

/** What a gray of sRGB is in the space: the whites are the same, the curves are not. */
const neutrals = (space: ColourSpace): Uint8Array =>
  Uint8Array.from({ length: 256 }, (_, value) =>
    space === 'srgb' ? value : Math.round(255 * encodedOf(SPACES[space], linearSrgb(value / 255))),
  );

/** Linear light, of so many steps, to the encoded byte. */
const LIGHT = 65_535;

function byMatrix(data: Uint8Array, source: DeviceProfile & { kind: 'matrix' }, target: SpaceDefinition): Uint8Array {
  const m = product(inverse(target.toXyz), source.toXyz).map((value) => value * LIGHT);
  const [m0, m1, m2, m3, m4, m5, m6, m7, m8] = m as [...Nine];
  const [reds, greens, blues] = source.curves.map((curve) =>
    Float64Array.from({ length: 256 }, (_, value) => curve(value / 255)),
  ) as [Float64Array, Float64Array, Float64Array];
  const encoded = encodedBytes(target);
  const byte = (light: number): number => encoded[light > LIGHT ? LIGHT : light > 0 ? (light + 0.5) | 0 : 0]!;
  const result = new Uint8Array(data.length);
  for (let i = 0; i + 2 < data.length; i += 3) {
    const red = reds[data[i]!]!;
    const green = greens[data[i + 1]!]!;
    const blue = blues[data[i + 2]!]!;
    result[i] = byte(m0 * red + m1 * green + m2 * blue);
    result[i + 1] = byte(m3 * red + m4 * green + m5 * blue);
    result[i + 2] = byte(m6 * red + m7 * green + m8 * blue);
  }
  return result;
}

const known = new Map<SpaceDefinition, Uint8Array>();

/** of each step of light, as a space is always the same */
function encodedBytes(target: SpaceDefinition): Uint8Array {
  const bytes =
    known.get(target) ??
    Uint8Array.from({ length: LIGHT + 1 }, (_, light) => Math.round(255 * encodedOf(target, light / LIGHT)));
  known.set(target, bytes);
  return bytes;
}

type Nine = [number, number, number, number, number, number, number, number, number];

const product = (a: readonly number[], b: readonly number[]): number[] =>
  a.map((_, at) => {
    const [row, column] = [at - (at % 3), at % 3];
    return a[row]! * b[column]! + a[row + 1]! * b[column + 3]! + a[row + 2]! * b[column + 6]!;
  });

function inverse(matrix: readonly number[]): number[] {
  const [a, b, c, d, e, f, g, h, i] = matrix as Nine;
  const determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  return [
    e * i - f * h,
    c * h - b * i,
    b * f - c * e,
    f * g - d * i,
    a * i - c * g,
    c * d - a * f,
    d * h - e * g,
    b * g - a * h,
    a * e - b * d,
  ].map((value) => value / determinant);
}

/** steps of a byte between two points of the grid */
const STEP = 5;
const SIDE = 255 / STEP + 1;
const RED = SIDE * SIDE * 3;
const GREEN = SIDE * 3;
const BLUE = 3;
/** parts of a step of the result */
const PARTS = 64;

/** By a grid of colours, as every colour of its own would take too long: tetrahedral interpolation, in whole numbers. */
function byTable(data: Uint8Array, source: DeviceProfile & { kind: 'table' }, target: SpaceDefinition): Uint8Array {
  const grid = gridOf(source.toXyz, target);
  const result = new Uint8Array(data.length);
  const last = SIDE - 2;
  for (let i = 0; i + 2 < data.length; i += 3) {
    const r = Math.min((data[i]! / STEP) | 0, last);
    const g = Math.min((data[i + 1]! / STEP) | 0, last);
    const b = Math.min((data[i + 2]! / STEP) | 0, last);
    const red = data[i]! - r * STEP;
    const green = data[i + 1]! - g * STEP;
    const blue = data[i + 2]! - b * STEP;
    const near = r * RED + g * GREEN + b * BLUE;
    const far = near + RED + GREEN + BLUE;
    // From the near corner to the far one: first along the channel that reaches farthest, last along the one that reaches least.
    const most = Math.max(red, green, blue);
    const least = Math.min(red, green, blue);
    const middle = red + green + blue - most - least;
    const first = most === red ? RED : most === green ? GREEN : BLUE;
    const third = least === blue && first !== BLUE ? BLUE : least === green && first !== GREEN ? GREEN : RED;
    const one = near + first;
    const two = far - third;
    for (let channel = 0; channel < 3; channel++) {
      const sum =
        (STEP - most) * grid[near + channel]! +
        (most - middle) * grid[one + channel]! +
        (middle - least) * grid[two + channel]! +
        least * grid[far + channel]!;
      result[i + channel] = (sum / (STEP * PARTS) + 0.5) | 0;
    }
  }
  return result;
}

/** Colours at the points of the grid, red outermost, in parts of a step of the result. */
function gridOf(toXyz: (red: number, green: number, blue: number) => PcsColour, target: SpaceDefinition): Uint16Array {
  const m = inverse(target.toXyz);
  const grid = new Uint16Array(SIDE ** 3 * 3);
  let at = 0;
  for (let red = 0; red < SIDE; red++) {
    for (let green = 0; green < SIDE; green++) {
      for (let blue = 0; blue < SIDE; blue++) {
        const [x, y, z] = toXyz(red / (SIDE - 1), green / (SIDE - 1), blue / (SIDE - 1));
        for (let row = 0; row < 9; row += 3) {
          const light = m[row]! * x + m[row + 1]! * y + m[row + 2]! * z;
          grid[at++] = Math.round(encodedOf(target, light) * 255 * PARTS);
        }
      }
    }
  }
  return grid;
}
