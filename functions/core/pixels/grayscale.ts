import { PacsError } from '../errors.ts';
import type { DecodedFrame, ImageDescription, LookupTable, Presentation, VoiFunction } from '../ports/pixel-engine.ts';
import { ybrFullToRgb, ybrPartialToRgb } from './colour.ts';
import type { Raster } from './raster.ts';
import { typed } from './samples.ts';

/** Stored values to 8 bits of display: modality, VOI, presentation LUT (PS3.4 N.2.1), palette, colour. */
export function toDisplay(frame: DecodedFrame, presentation: Presentation): Raster {
  const { image } = frame;
  if (image.SamplesPerPixel === 3) return colour(frame);
  if (image.SamplesPerPixel !== 1)
    throw new PacsError('NOT_ACCEPTABLE', 'images of four samples a pixel cannot be rendered');
  if (image.PhotometricInterpretation === 'PALETTE COLOR' && presentation.palette !== undefined)
    return palette(frame, presentation.palette);
  return gray(frame, presentation);
}

/** PS3.3 C.11.2.1.2 and .3: input to 0…1 */
function voiCurve(voi: {
  readonly center: number;
  readonly width: number;
  readonly function: VoiFunction;
}): (x: number) => number {
  const { center, width } = voi;
  if (voi.function === 'SIGMOID') return (x) => 1 / (1 + Math.exp((-4 * (x - center)) / width));
  if (voi.function === 'LINEAR_EXACT') return (x) => (x - center) / width + 0.5;
  const c = center - 0.5;
  const w = width - 1;
  // width 1: a threshold
  if (w <= 0) return (x) => (x <= c ? 0 : 1);
  return (x) => (x - c) / w + 0.5;
}

const throughTable = (table: LookupTable): ((x: number) => number) => {
  const last = table.values.length - 1;
  return (x) => table.values[Math.max(0, Math.min(last, Math.round(x) - table.firstMapped))]!;
};

function curve(
  image: ImageDescription,
  presentation: Presentation,
  range: () => readonly [number, number],
): (stored: number) => number {
  const { modality, voi, presentationLut } = presentation;
  const first =
    modality === undefined
      ? undefined
      : 'values' in modality
        ? throughTable(modality)
        : (x: number) => x * modality.slope + modality.intercept;
  let second: (x: number) => number;
  if (voi !== undefined && 'values' in voi) {
    const table = throughTable(voi);
    const top = 2 ** voi.bits - 1;
    second = (x) => table(x) / top;
  } else if (voi !== undefined) {
    second = voiCurve(voi);
  } else {
    const [low, high] = range();
    const a = first === undefined ? low : first(low);
    const b = first === undefined ? high : first(high);
    const [from, to] = a <= b ? [a, b] : [b, a];
    second = to > from ? (x) => (x - from) / (to - from) : (x) => (x > 0 ? 1 : 0);
  }
  let third: (y: number) => number;
  if (presentationLut !== undefined && typeof presentationLut !== 'string') {
    const table = presentationLut;
    const last = table.values.length - 1;
    const top = 2 ** table.bits - 1;
    third = (y) => table.values[Math.round(y * last)]! / top;
  } else {
    const inverse =
      presentationLut === undefined ? image.PhotometricInterpretation === 'MONOCHROME1' : presentationLut === 'INVERSE';
    third = inverse ? (y) => 1 - y : (y) => y;
  }
  return (stored) => {
    const y = second(first === undefined ? stored : first(stored));
    return 255 * third(y < 0 ? 0 : y > 1 ? 1 : y);
  };
}

function gray(frame: DecodedFrame, presentation: Presentation): Raster {
  const { image } = frame;
  const pixels = image.Rows * image.Columns;
  const result = new Uint8Array(pixels);
  const raster: Raster = { columns: image.Columns, rows: image.Rows, channels: 1, data: result };
  const { padding } = presentation;
  const isPadding = (value: number): boolean => padding !== undefined && value >= padding.from && value <= padding.to;
  const values = typed(frame.samples, image);
  if (image.float === true || image.BitsAllocated > 16) {
    const display = curve(image, presentation, () => rangeOf(values, isPadding));
    for (let i = 0; i < pixels; i++) {
      const value = values[i]!;
      result[i] = isPadding(value) || Number.isNaN(value) ? 0 : Math.round(display(value));
    }
    return raster;
  }
  // one table over all stored values; embedded overlays and dirt above BitsStored are masked away
  const shift = image.HighBit + 1 - image.BitsStored;
  const mask = 2 ** image.BitsStored - 1;
  const signBit = image.PixelRepresentation === 1 ? 2 ** (image.BitsStored - 1) : Number.POSITIVE_INFINITY;
  const stored = (index: number): number => (index >= signBit ? index - mask - 1 : index);
  const display = curve(image, presentation, () => {
    const seen = new Uint8Array(mask + 1);
    for (let i = 0; i < pixels; i++) seen[(values[i]! >> shift) & mask] = 1;
    let low = Number.POSITIVE_INFINITY;
    let high = Number.NEGATIVE_INFINITY;
    for (let index = 0; index <= mask; index++) {
      const value = stored(index);
      if (seen[index] === 0 || isPadding(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return low <= high ? [low, high] : [0, 0];
  });
  const table = new Uint8Array(mask + 1);
  for (let index = 0; index <= mask; index++) {
    const value = stored(index);
    table[index] = isPadding(value) ? 0 : Math.round(display(value));
  }
  if (shift === 0) for (let i = 0; i < pixels; i++) result[i] = table[values[i]! & mask]!;
  else for (let i = 0; i < pixels; i++) result[i] = table[(values[i]! >> shift) & mask]!;
  return raster;
}

function rangeOf(values: ArrayLike<number>, isPadding: (value: number) => boolean): readonly [number, number] {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!Number.isFinite(value) || isPadding(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 0];
}

/** PS3.3 C.7.6.3.1.5 */
function palette(frame: DecodedFrame, tables: NonNullable<Presentation['palette']>): Raster {
  const { image } = frame;
  const values = typed(frame.samples, image);
  const pixels = image.Rows * image.Columns;
  const data = new Uint8Array(pixels * 3);
  const mask = 2 ** image.BitsStored - 1;
  // tables that say 16 bits and hold 8 are common
  const eight = [tables.red, tables.green, tables.blue].every((t) => t.bits <= 8 || t.values.every((v) => v <= 255));
  const channel = (table: LookupTable, c: number): void => {
    const mapped = new Uint8Array(mask + 1);
    const last = table.values.length - 1;
    for (let i = 0; i <= mask; i++) {
      const signed = image.PixelRepresentation === 1 && i > mask >> 1 ? i - mask - 1 : i;
      const value = table.values[Math.max(0, Math.min(last, signed - table.firstMapped))] ?? 0;
      mapped[i] = eight ? value : value >> 8;
    }
    for (let i = 0, o = c; i < pixels; i++, o += 3) data[o] = mapped[values[i]! & mask]!;
  };
  channel(tables.red, 0);
  channel(tables.green, 1);
  channel(tables.blue, 2);
  return { columns: image.Columns, rows: image.Rows, channels: 3, data };
}

function colour(frame: DecodedFrame): Raster {
  const { image } = frame;
  let data = frame.samples;
  if (image.BitsAllocated > 8) {
    const shift = Math.max(0, image.BitsStored - 8);
    data = Uint8Array.from(typed(data, image) as Uint16Array, (v) => v >> shift);
  }
  const photometric = image.PhotometricInterpretation;
  if (photometric.startsWith('YBR_PARTIAL')) data = ybrPartialToRgb(data);
  else if (photometric.startsWith('YBR')) data = ybrFullToRgb(data);
  else if (photometric === 'HSV')
    throw new PacsError('NOT_ACCEPTABLE', 'images of hue, saturation and value cannot be rendered');
  return { columns: image.Columns, rows: image.Rows, channels: 3, data };
}
