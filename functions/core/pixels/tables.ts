import type { DataSet, Element } from '../dicom/types.ts';
import type { LookupTable, Presentation } from '../ports/pixel-engine.ts';
import { type BytesOf, itemsAt, numberAt } from './attributes.ts';

/**
 * LUT Descriptor and LUT Data (PS3.3 C.11.1.1, C.7.6.3.1.5). Undefined where they are not usable. `signed`: stored values
 * are; the first mapped value is then signed too, whatever VR it was written with.
 */
async function lookupTable(
  dataSet: DataSet,
  descriptorTag: string,
  dataTag: string,
  signed: boolean,
  bytesOf: BytesOf,
): Promise<LookupTable | undefined> {
  const descriptor = [0, 1, 2].map((i) => numberAt(dataSet, descriptorTag, i));
  const data = dataSet[dataTag];
  if (descriptor[0] === undefined || descriptor[1] === undefined || descriptor[2] === undefined || data === undefined)
    return undefined;
  const entries = descriptor[0] & 0xffff || 65536;
  const firstMapped =
    signed && descriptor[1] > 32767
      ? descriptor[1] - 65536
      : !signed && descriptor[1] < 0
        ? descriptor[1] + 65536
        : descriptor[1];
  const values = await words(data, entries, bytesOf);
  if (values === undefined || values.length === 0) return undefined;
  let bits = Math.max(1, Math.min(16, descriptor[2]));
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  if (most >= 2 ** bits) bits = 16;
  return { firstMapped, bits, values: values.subarray(0, Math.min(entries, values.length)) };
}

/** 16-bit words; a table of 8-bit entries packed two to a word yields one value a byte. */
async function words(element: Element, entries: number, bytesOf: BytesOf): Promise<Uint16Array | undefined> {
  if (element.Value !== undefined) {
    const numbers = element.Value.map((value) => Number(value) & 0xffff);
    if (numbers.length >= entries || numbers.length * 2 < entries) return Uint16Array.from(numbers);
    return Uint16Array.from({ length: entries }, (_, i) => (numbers[i >> 1]! >> (8 * (i & 1))) & 255);
  }
  const bytes = await bytesOf(element);
  if (bytes.length >= entries && bytes.length < 2 * entries) return Uint16Array.from(bytes);
  return toWords(bytes);
}

function toWords(bytes: Uint8Array): Uint16Array {
  const result = new Uint16Array(bytes.length >> 1);
  for (let i = 0; i < result.length; i++) result[i] = bytes[2 * i]! | (bytes[2 * i + 1]! << 8);
  return result;
}

/** The three palettes, plain or segmented. */
export async function palettes(dataSet: DataSet, signed: boolean, bytesOf: BytesOf): Promise<Presentation['palette']> {
  const tables: (LookupTable | undefined)[] = [];
  for (const channel of ['1', '2', '3']) {
    const descriptor = `0028110${channel}`;
    const plain = await lookupTable(dataSet, descriptor, `0028120${channel}`, signed, bytesOf);
    tables.push(plain ?? (await segmentedTable(dataSet, descriptor, `0028122${channel}`, signed, bytesOf)));
  }
  const [red, green, blue] = tables;
  return red && green && blue ? { red, green, blue } : undefined;
}

async function segmentedTable(
  dataSet: DataSet,
  descriptorTag: string,
  dataTag: string,
  signed: boolean,
  bytesOf: BytesOf,
): Promise<LookupTable | undefined> {
  const element = dataSet[dataTag];
  const entries = numberAt(dataSet, descriptorTag, 0);
  const first = numberAt(dataSet, descriptorTag, 1);
  const bits = numberAt(dataSet, descriptorTag, 2);
  if (element === undefined || entries === undefined || first === undefined || bits === undefined) return undefined;
  const source = element.Value
    ? Uint16Array.from(element.Value, (value) => Number(value) & 0xffff)
    : toWords(await bytesOf(element));
  const values = expandSegments(source, entries & 0xffff || 65536);
  return { firstMapped: signed && first > 32767 ? first - 65536 : first, bits, values };
}

/** PS3.3 C.7.9.2: discrete (0), linear (1) and indirect (2) segments. */
function expandSegments(source: Uint16Array, entries: number): Uint16Array {
  const result = new Uint16Array(entries);
  let to = 0;
  const put = (value: number): void => {
    if (to < entries) result[to++] = value;
  };
  const segment = (at: number, nested: boolean): number => {
    const opcode = source[at];
    const length = source[at + 1] ?? 0;
    if (opcode === 0) {
      for (let i = 0; i < length; i++) put(source[at + 2 + i] ?? 0);
      return at + 2 + length;
    }
    if (opcode === 1) {
      const from = to === 0 ? 0 : result[to - 1]!;
      const end = source[at + 2] ?? 0;
      for (let i = 1; i <= length; i++) put(Math.round(from + ((end - from) * i) / length));
      return at + 3;
    }
    if (opcode === 2 && !nested) {
      let from = (source[at + 2] ?? 0) + (source[at + 3] ?? 0) * 65536;
      for (let i = 0; i < length && from < source.length; i++) from = segment(from, true);
      return at + 4;
    }
    return source.length;
  };
  for (let at = 0; at + 1 < source.length && to < entries; ) at = segment(at, false);
  while (to < entries && to > 0) put(result[to - 1]!);
  return result;
}

/** Modality LUT sequence, VOI LUT sequence, Presentation LUT sequence: the first item's table. */
export async function sequenceTable(
  dataSet: DataSet,
  sequenceTag: string,
  signed: boolean,
  bytesOf: BytesOf,
): Promise<LookupTable | undefined> {
  const item = itemsAt(dataSet, sequenceTag)[0];
  return item && lookupTable(item, '00283002', '00283006', signed, bytesOf);
}
