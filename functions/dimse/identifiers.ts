import { swapped } from '#core/dicom/byte-order.ts';
import { decoderFor, UTF8_TERM } from '#core/dicom/character-sets.ts';
import { encodeValue } from '#core/dicom/encode.ts';
import { DataSetParser } from '#core/dicom/parser.ts';
import { EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN } from '#core/dicom/transfer-syntaxes.ts';
import type { DataSet, Element } from '#core/dicom/types.ts';
import { vrNamed } from '#core/dicom/vr.ts';
import { PacsError } from '#core/errors.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';

/** Small data sets that travel in messages: identifiers, action and event information; in one of the native syntaxes. */

const CHARACTER_SET = '00080005';
/** VRs whose text is in the Specific Character Set (PS3.5 §6.1.2.2) */
const TEXT = new Set(['LO', 'LT', 'PN', 'SH', 'ST', 'UC', 'UT']);
const UNDEFINED_LENGTH = 0xffffffff;

/** @throws PacsError UNREADABLE_DATASET */
export function decodeIdentifier(bytes: Buffer, transferSyntax: string): DataSet {
  const parser = new DataSetParser({
    limits: DEFAULT_LIMITS,
    offset: 0,
    implicit: transferSyntax === IMPLICIT_VR_LITTLE_ENDIAN,
    little: transferSyntax !== EXPLICIT_VR_BIG_ENDIAN,
    warn: () => {},
  });
  parser.push(bytes);
  parser.end();
  return parser.dataSet;
}

/**
 * The data set, its text in the first of the character sets that can hold it all: `wanted` where that is a single-byte set without
 * code extensions, else UTF-8. SpecificCharacterSet says which; where all text is ASCII it stays as it was.
 */
export function encodeIdentifier(dataSet: DataSet, transferSyntax: string, wanted: readonly string[] = []): Buffer {
  const { term, encode } = characterSetFor(dataSet, wanted);
  const labelled: DataSet = term === undefined ? dataSet : { ...dataSet, [CHARACTER_SET]: { vr: 'CS', Value: [term] } };
  const parts: Uint8Array[] = [];
  const encoding = {
    implicit: transferSyntax === IMPLICIT_VR_LITTLE_ENDIAN,
    little: transferSyntax !== EXPLICIT_VR_BIG_ENDIAN,
    encode,
  };
  writeDataSet(parts, labelled, encoding);
  return Buffer.concat(parts);
}

interface Encoding {
  readonly implicit: boolean;
  readonly little: boolean;
  /** from UTF-8; undefined: as it is */
  readonly encode: ((utf8: Uint8Array) => Uint8Array) | undefined;
}

function writeDataSet(parts: Uint8Array[], dataSet: DataSet, encoding: Encoding): void {
  for (const tag of Object.keys(dataSet).sort()) {
    const element = dataSet[tag]!;
    if (element.bulk !== undefined || element.BulkDataURI !== undefined || tag.endsWith('0000')) continue;
    if (element.vr === 'SQ') writeSequence(parts, tag, element, encoding);
    else {
      const value = encodedValue(tag, element, encoding);
      parts.push(header(tag, element.vr, value.length, encoding), value);
    }
  }
}

function writeSequence(parts: Uint8Array[], tag: string, element: Element, encoding: Encoding): void {
  const items = (element.Value ?? []) as (DataSet | null)[];
  if (items.length === 0) {
    parts.push(header(tag, 'SQ', 0, encoding));
    return;
  }
  parts.push(header(tag, 'SQ', UNDEFINED_LENGTH, encoding));
  for (const item of items) {
    parts.push(delimiter('FFFEE000', UNDEFINED_LENGTH, encoding));
    writeDataSet(parts, item ?? {}, encoding);
    parts.push(delimiter('FFFEE00D', 0, encoding));
  }
  parts.push(delimiter('FFFEE0DD', 0, encoding));
}

function encodedValue(tag: string, element: Element, { little, encode }: Encoding): Uint8Array {
  const bytes = encodeValue(element, tag);
  if (encode !== undefined && TEXT.has(element.vr)) {
    const text = encode(bytes);
    return text.length % 2 === 0 ? text : Buffer.concat([text, Buffer.of(0x20)]);
  }
  const width = vrNamed(element.vr)?.width ?? 1;
  return little || width === 1 ? bytes : swapped(bytes, width);
}

function header(tag: string, vr: string, length: number, { implicit, little }: Encoding): Buffer {
  const long = !implicit && vrNamed(vr)?.long === true;
  const bytes = Buffer.alloc(long ? 12 : 8);
  const uint16 = (value: number, at: number) =>
    little ? bytes.writeUInt16LE(value, at) : bytes.writeUInt16BE(value, at);
  const uint32 = (value: number, at: number) =>
    little ? bytes.writeUInt32LE(value, at) : bytes.writeUInt32BE(value, at);
  uint16(Number.parseInt(tag.slice(0, 4), 16), 0);
  uint16(Number.parseInt(tag.slice(4), 16), 2);
  if (implicit) uint32(length, 4);
  else {
    bytes.write(vr, 4, 'latin1');
    if (long) uint32(length, 8);
    else if (length > 0xffff) throw new PacsError('INTERNAL', 'a value is too long for an identifier');
    else uint16(length, 6);
  }
  return bytes;
}

const delimiter = (tag: string, length: number, { little }: Encoding): Buffer =>
  header(tag, '', length, { implicit: true, little, encode: undefined });

function characterSetFor(
  dataSet: DataSet,
  wanted: readonly string[],
): { term: string | undefined; encode: Encoding['encode'] } {
  if (isAscii(dataSet)) return { term: undefined, encode: undefined };
  const [term] = wanted;
  const table = term === undefined || wanted.length > 1 ? undefined : singleByteTable(term);
  if (
    table !== undefined &&
    textsOf(dataSet).every((text) => [...text].every((one) => isAsciiText(one) || table.has(one)))
  ) {
    const encode = (utf8: Uint8Array): Uint8Array =>
      Uint8Array.from([...Buffer.from(utf8).toString()], (one) => table.get(one) ?? one.charCodeAt(0));
    return { term, encode };
  }
  return { term: UTF8_TERM, encode: undefined };
}

const SINGLE_BYTE = /^ISO_IR (?:100|101|109|110|144|127|126|138|148|203|166)$/;
const tables = new Map<string, ReadonlyMap<string, number>>();

/** Character to byte, of a single-byte set of PS3.3 Table C.12-2 other than Japanese; by asking its decoder. */
function singleByteTable(term: string): ReadonlyMap<string, number> | undefined {
  if (!SINGLE_BYTE.test(term)) return undefined;
  const known = tables.get(term);
  if (known !== undefined) return known;
  const decode = decoderFor([term]);
  const table = new Map<string, number>();
  for (let byte = 0xa0; byte < 0x100; byte++) {
    const character = decode(Uint8Array.of(byte), 'LT');
    if (character.length === 1 && character !== '\ufffd') table.set(character, byte);
  }
  tables.set(term, table);
  return table;
}

function* eachText(dataSet: DataSet): Generator<string> {
  for (const element of Object.values(dataSet)) {
    for (const value of element.Value ?? []) {
      if (typeof value === 'string') yield value;
      else if (typeof value === 'object' && value !== null) {
        if (element.vr === 'SQ') yield* eachText(value as DataSet);
        else yield* Object.values(value as Record<string, string>);
      }
    }
  }
}
const textsOf = (dataSet: DataSet): string[] => [...eachText(dataSet)];
// biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII is what it asks for
const isAsciiText = (text: string): boolean => /^[\x00-\x7f]*$/.test(text);
const isAscii = (dataSet: DataSet): boolean => textsOf(dataSet).every(isAsciiText);
