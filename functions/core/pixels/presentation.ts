import type { DataSet } from '../dicom/types.ts';
import type { OverlayPlane, Presentation, Shutter, VoiFunction } from '../ports/pixel-engine.ts';
import { type BytesOf, functionalGroup, imageDescription, itemsAt, numberAt, numbersAt, textAt } from './attributes.ts';
import { palettes, sequenceTable } from './tables.ts';

/** What the object itself says of how it is to be seen; requests and presentation states replace parts of it. */
export type OwnPresentation = Omit<Presentation, 'mediaType'>;

/** @param frame from 1 */
export async function presentationOf(dataSet: DataSet, frame: number, bytesOf: BytesOf): Promise<OwnPresentation> {
  const image = imageDescription(dataSet);
  const signed = image.PixelRepresentation === 1;
  const own: { -readonly [K in keyof OwnPresentation]: OwnPresentation[K] } = {};
  if (image.PhotometricInterpretation === 'PALETTE COLOR') {
    const palette = await palettes(dataSet, signed, bytesOf);
    if (palette !== undefined) own.palette = palette;
  } else if (image.SamplesPerPixel === 1) {
    const modality = await modalityOf(dataSet, frame, signed, bytesOf);
    if (modality !== undefined) own.modality = modality;
    const voi =
      (await sequenceTable(dataSet, '00283010', signed || rescales(modality), bytesOf)) ??
      windowOf(functionalGroup(dataSet, frame, '00289132') ?? dataSet);
    if (voi !== undefined) own.voi = image.float === true ? exact(voi) : voi;
    const lut = await presentationLutOf(dataSet, bytesOf);
    if (lut !== undefined) own.presentationLut = lut;
    const padding = paddingOf(dataSet, image.BitsStored, signed);
    if (padding !== undefined) own.padding = padding;
  }
  const overlays = await overlaysOf(dataSet, frame, bytesOf);
  if (overlays.length > 0) own.overlays = overlays;
  const shutters = shuttersOf(dataSet);
  if (shutters.length > 0) own.shutters = shutters;
  const aspect = aspectOf(dataSet, frame);
  if (aspect !== 1) own.pixelAspect = aspect;
  return own;
}

/** A linear window loses one unit of its width, which for values from 0 to 1 is all of it: float images mean the exact one. */
const exact = (voi: NonNullable<Presentation['voi']>): NonNullable<Presentation['voi']> =>
  'values' in voi || voi.function !== 'LINEAR' ? voi : { ...voi, function: 'LINEAR_EXACT' };

const rescales = (modality: Presentation['modality']): boolean =>
  modality !== undefined && 'slope' in modality && modality.intercept < 0;

/** Modality LUT sequence, or slope and intercept: of the frame, of the object. */
export async function modalityOf(
  dataSet: DataSet,
  frame: number,
  signed: boolean,
  bytesOf: BytesOf,
): Promise<Presentation['modality']> {
  const table = await sequenceTable(dataSet, '00283000', signed, bytesOf);
  if (table !== undefined) return table;
  const source = functionalGroup(dataSet, frame, '00289145') ?? dataSet;
  const slope = numberAt(source, '00281053');
  const intercept = numberAt(source, '00281052');
  if (slope === undefined && intercept === undefined) return undefined;
  // a slope of 0 makes every value the same: nobody means that
  return { slope: slope || 1, intercept: intercept ?? 0 };
}

/** The first of the windows. Width below 1 (0 for exact and sigmoid) is invalid and counts as none. */
export function windowOf(dataSet: DataSet): { center: number; width: number; function: VoiFunction } | undefined {
  const center = numberAt(dataSet, '00281050');
  const width = numberAt(dataSet, '00281051');
  if (center === undefined || width === undefined) return undefined;
  const named = textAt(dataSet, '00281056');
  const voi = named === 'SIGMOID' || named === 'LINEAR_EXACT' ? named : 'LINEAR';
  if (voi === 'LINEAR' ? width < 1 : width <= 0) return undefined;
  return { center, width, function: voi };
}

export async function presentationLutOf(dataSet: DataSet, bytesOf: BytesOf): Promise<Presentation['presentationLut']> {
  const table = await sequenceTable(dataSet, '20500010', false, bytesOf);
  if (table !== undefined) return table;
  const shape = textAt(dataSet, '20500020');
  return shape === 'IDENTITY' || shape === 'INVERSE' ? shape : undefined;
}

function paddingOf(dataSet: DataSet, bitsStored: number, signed: boolean): Presentation['padding'] {
  const value = numberAt(dataSet, '00280120');
  if (value === undefined) return undefined;
  const limit = numberAt(dataSet, '00280121') ?? value;
  // written as US although the pixels are signed, or the reverse
  const fix = (n: number): number =>
    signed && n >= 2 ** (bitsStored - 1) ? n - 2 ** (n > 65535 ? 32 : 16) : !signed && n < 0 ? n + 65536 : n;
  const [a, b] = [fix(value), fix(limit)];
  return { from: Math.min(a, b), to: Math.max(a, b) };
}

/** Groups 6000 to 60FE (PS3.3 C.9.2), those that are to be `shown`, in the gray that is said. */
export async function overlaysOf(
  dataSet: DataSet,
  frame: number,
  bytesOf: BytesOf,
  shown: (group: number) => { readonly shade?: number } | undefined = () => ({}),
): Promise<OverlayPlane[]> {
  const planes: OverlayPlane[] = [];
  for (let group = 0x6000; group <= 0x60fe; group += 2) {
    const tag = (element: string): string => group.toString(16).toUpperCase() + element;
    const rows = numberAt(dataSet, tag('0010'));
    const columns = numberAt(dataSet, tag('0011'));
    const how = shown(group);
    if (rows === undefined || columns === undefined || how === undefined) continue;
    const shade = how.shade === undefined ? {} : { shade: how.shade };
    const origin = [numberAt(dataSet, tag('0050'), 0) ?? 1, numberAt(dataSet, tag('0050'), 1) ?? 1] as const;
    const data = dataSet[tag('3000')];
    if (data === undefined) {
      const embeddedBit = numberAt(dataSet, tag('0102'));
      // the bit must lie outside the pixel's own
      const image = imageDescription(dataSet);
      const outside =
        embeddedBit !== undefined && (embeddedBit > image.HighBit || embeddedBit <= image.HighBit - image.BitsStored);
      if (outside && embeddedBit < image.BitsAllocated) planes.push({ rows, columns, origin, embeddedBit, ...shade });
      continue;
    }
    const frames = numberAt(dataSet, tag('0015')) ?? 1;
    const first = numberAt(dataSet, tag('0051')) ?? 1;
    const index = frames > 1 ? frame - first : 0;
    if (index < 0 || index >= frames) continue;
    const bytes = await bytesOf(data);
    const start = index * rows * columns;
    const bits = start % 8 === 0 ? bytes.subarray(start / 8) : shifted(bytes, start, rows * columns);
    planes.push({ rows, columns, origin, bits, ...shade });
  }
  return planes;
}

function shifted(bytes: Uint8Array, start: number, count: number): Uint8Array {
  const result = new Uint8Array((count + 7) >> 3);
  for (let i = 0; i < count; i++) {
    const bit = start + i;
    if (((bytes[bit >> 3] ?? 0) >> (bit & 7)) & 1) result[i >> 3]! |= 1 << (i & 7);
  }
  return result;
}

/** PS3.3 C.7.6.11 */
export function shuttersOf(dataSet: DataSet): Shutter[] {
  const shutters: Shutter[] = [];
  for (const shape of dataSet['00181600']?.Value ?? []) {
    if (shape === 'RECTANGULAR') {
      const [left, right, upper, lower] = ['00181602', '00181604', '00181606', '00181608'].map((tag) =>
        numberAt(dataSet, tag),
      );
      if (left !== undefined && right !== undefined && upper !== undefined && lower !== undefined) {
        shutters.push({ kind: 'RECTANGULAR', left, right, upper, lower });
      }
    } else if (shape === 'CIRCULAR') {
      const [row, column] = numbersAt(dataSet, '00181610');
      const radius = numberAt(dataSet, '00181612');
      if (row !== undefined && column !== undefined && radius !== undefined)
        shutters.push({ kind: 'CIRCULAR', row, column, radius });
    } else if (shape === 'POLYGONAL') {
      const vertices = numbersAt(dataSet, '00181620');
      if (vertices.length >= 6) shutters.push({ kind: 'POLYGONAL', vertices });
    }
  }
  return shutters;
}

/** Width of a pixel over its height: from the spacing, else PixelAspectRatio (vertical\horizontal). */
function aspectOf(dataSet: DataSet, frame: number): number {
  const measures = functionalGroup(dataSet, frame, '00289110');
  for (const spacing of [
    numbersAt(measures, '00280030'),
    ...['00280030', '00181164', '00182010'].map((tag) => numbersAt(dataSet, tag)),
  ]) {
    if (spacing.length >= 2) return sane(spacing[1]! / spacing[0]!);
  }
  const [vertical, horizontal] = numbersAt(dataSet, '00280034');
  return vertical && horizontal ? sane(horizontal / vertical) : 1;
}

/** Rounding in the spacing must not resample the image; a ratio beyond 10 is a mistake, not a pixel. */
const sane = (ratio: number): number =>
  Number.isFinite(ratio) && ratio > 0.1 && ratio < 10 && Math.abs(ratio - 1) > 0.01 ? ratio : 1;

/** ICCProfile of the object, or of the first optical path. */
export async function iccProfileOf(dataSet: DataSet, bytesOf: BytesOf): Promise<Uint8Array | undefined> {
  const element = dataSet['00282000'] ?? itemsAt(dataSet, '00480105')[0]?.['00282000'];
  return element && bytesOf(element);
}
