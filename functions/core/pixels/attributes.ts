import type { DataSet, Element } from '../dicom/types.ts';
import type { ImageDescription } from '../ports/pixel-engine.ts';

/** Plain reads out of a DICOM JSON data set; what is absent or of another type is undefined. */
export function numberAt(dataSet: DataSet | undefined, tag: string, index = 0): number | undefined {
  const value = dataSet?.[tag]?.Value?.[index];
  if (typeof value === 'number') return value;
  if (typeof value !== 'string' || value === '') return undefined;
  const number = Number(value);
  return Number.isFinite(number) ? number : undefined;
}

export function numbersAt(dataSet: DataSet | undefined, tag: string): number[] {
  const count = dataSet?.[tag]?.Value?.length ?? 0;
  const result: number[] = [];
  for (let i = 0; i < count; i++) {
    const number = numberAt(dataSet, tag, i);
    if (number !== undefined) result.push(number);
  }
  return result;
}

export function textAt(dataSet: DataSet | undefined, tag: string, index = 0): string | undefined {
  const value = dataSet?.[tag]?.Value?.[index];
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  if (value && typeof value === 'object' && 'Alphabetic' in value) return (value as { Alphabetic?: string }).Alphabetic;
  return undefined;
}

export function itemsAt(dataSet: DataSet | undefined, tag: string): DataSet[] {
  const element = dataSet?.[tag];
  if (element?.vr !== 'SQ') return [];
  return (element.Value ?? []).filter((item): item is DataSet => typeof item === 'object' && item !== null);
}

/** The macro of a functional group for a frame (from 1): its own, else the shared one (PS3.3 C.7.6.16). */
export function functionalGroup(dataSet: DataSet, frame: number, macro: string): DataSet | undefined {
  const own = itemsAt(dataSet, '52009230')[frame - 1];
  return itemsAt(own, macro)[0] ?? itemsAt(itemsAt(dataSet, '52009229')[0], macro)[0];
}

/** Bytes of a value, wherever they stand: inline, or in the stored object. */
export type BytesOf = (element: Element) => Promise<Uint8Array>;

/** The Image Pixel module (PS3.3 C.7.6.3) as the engine wants it; missing attributes become what checkImage refuses. */
export function imageDescription(dataSet: DataSet): ImageDescription {
  const float = dataSet['7FE00008'] !== undefined || dataSet['7FE00009'] !== undefined;
  const BitsAllocated = numberAt(dataSet, '00280100') ?? 0;
  const BitsStored = float ? BitsAllocated : (numberAt(dataSet, '00280101') ?? BitsAllocated);
  const SamplesPerPixel = numberAt(dataSet, '00280002') ?? 1;
  return {
    Rows: numberAt(dataSet, '00280010') ?? 0,
    Columns: numberAt(dataSet, '00280011') ?? 0,
    SamplesPerPixel,
    PhotometricInterpretation: textAt(dataSet, '00280004') ?? (SamplesPerPixel === 3 ? 'RGB' : 'MONOCHROME2'),
    PlanarConfiguration: SamplesPerPixel > 1 ? (numberAt(dataSet, '00280006') ?? 0) : 0,
    BitsAllocated,
    BitsStored,
    HighBit: float ? BitsAllocated - 1 : (numberAt(dataSet, '00280102') ?? BitsStored - 1),
    PixelRepresentation: numberAt(dataSet, '00280103') ?? 0,
    ...(float ? { float: true } : {}),
  };
}
