import { swapped } from './byte-order.ts';
import type { Decoder } from './character-sets.ts';
import type { Element, ElementValue, PersonName } from './types.ts';
import type { Vr } from './vr.ts';

/**
 * Value fields to the DICOM JSON Model (PS3.18 F.2.3): text without its padding, DS and IS as numbers where a number
 * holds the same value, 64-bit integers as text beyond 2^53, FL and FD that are not finite as 'NaN', 'inf', '-inf'.
 */

/**
 * Decodes bytes [start, end) of a value of length > 0.
 * @param decoder of the Specific Character Set in force
 */
export function decodeValue(
  bytes: Buffer,
  start: number,
  end: number,
  vr: Vr,
  little: boolean,
  decoder: Decoder,
): Element {
  switch (vr.kind) {
    case 'codes':
      return ofStrings(vr.name, asciiText(bytes, start, end));
    case 'decimals':
      return ofDecimals(vr.name, asciiText(bytes, start, end));
    case 'texts':
      return ofStrings(vr.name, textOf(bytes, start, end, vr.name, decoder));
    case 'names':
      return ofNames(textOf(bytes, start, end, 'PN', decoder));
    case 'text':
      return ofText(vr.name, textOf(bytes, start, end, vr.name, decoder));
    case 'uri':
      return ofText(vr.name, asciiText(bytes, start, end));
    case 'numbers':
      return ofNumbers(bytes, start, end, vr, little);
    case 'tags':
      return ofTags(bytes, start, end, little);
    default:
      return { vr: vr.name, InlineBinary: base64(bytes, start, end, vr.width, little) };
  }
}

/** The text of a value without trailing spaces and NULs. */
function asciiText(bytes: Buffer, start: number, end: number): string {
  let last = end;
  while (last > start && isPadding(bytes[last - 1]!)) last--;
  return last === start ? '' : bytes.toString('latin1', start, last);
}

function textOf(bytes: Buffer, start: number, end: number, vr: string, decoder: Decoder): string {
  let last = end;
  while (last > start && isPadding(bytes[last - 1]!)) last--;
  for (let i = start; i < last; i++) {
    const byte = bytes[i]!;
    if (byte >= 0x80 || byte === 0x1b) return decoder(bytes.subarray(start, last), vr);
  }
  return last === start ? '' : bytes.toString('latin1', start, last);
}

const isPadding = (byte: number): boolean => byte === 0x20 || byte === 0;

/** Spaces and NULs at both ends carry no meaning in values that may be several (PS3.5 §6.2). */
function trimmed(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isPadding(text.charCodeAt(start))) start++;
  while (end > start && isPadding(text.charCodeAt(end - 1))) end--;
  return start === 0 && end === text.length ? text : text.slice(start, end);
}

function ofStrings(vr: string, text: string): Element {
  if (!text.includes('\\')) {
    const value = trimmed(text);
    return value === '' ? { vr } : { vr, Value: [value] };
  }
  return { vr, Value: text.split('\\').map((part) => trimmed(part) || null) };
}

function ofText(vr: string, text: string): Element {
  return text === '' ? { vr } : { vr, Value: [text] };
}

function ofDecimals(vr: string, text: string): Element {
  if (!text.includes('\\')) {
    const value = trimmed(text);
    return value === '' ? { vr } : { vr, Value: [decimal(value)] };
  }
  return {
    vr,
    Value: text.split('\\').map((part) => {
      const value = trimmed(part);
      return value === '' ? null : decimal(value);
    }),
  };
}

/** A number where that loses nothing: not for text that is no decimal, nor for digits beyond a double's precision. */
export function decimal(text: string): number | string {
  let digits = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0x30 && code <= 0x39) digits++;
    // + - . E e
    else if (code !== 0x2e && code !== 0x2d && code !== 0x2b && code !== 0x45 && code !== 0x65) return text;
  }
  const number = Number(text);
  if (digits === 0 || !Number.isFinite(number)) return text;
  if (digits <= 15) return number;
  return sameDecimal(text, String(number)) ? number : text;
}

/** Do two decimal texts name the same number, digit for digit? */
function sameDecimal(a: string, b: string): boolean {
  return canonical(a) === canonical(b);
}

function canonical(text: string): string {
  const [mantissa = '', exponent = '0'] = text.toLowerCase().split('e');
  const negative = mantissa.startsWith('-');
  const [whole = '', fraction = ''] = mantissa.replace(/^[+-]/, '').split('.');
  const all = `${whole}${fraction}`.replace(/^0+/, '');
  const digits = all.replace(/0+$/, '');
  return `${negative ? '-' : ''}${digits}e${Number(exponent) - fraction.length + all.length - digits.length}`;
}

function ofNames(text: string): Element {
  if (text === '') return { vr: 'PN' };
  if (!text.includes('\\')) {
    const name = personName(text);
    return name === null ? { vr: 'PN' } : { vr: 'PN', Value: [name] };
  }
  return { vr: 'PN', Value: text.split('\\').map(personName) };
}

/** 'alphabetic=ideographic=phonetic' (PS3.5 §6.2.1.1); null when all of it is empty. */
export function personName(text: string): PersonName | null {
  if (!text.includes('=')) {
    const Alphabetic = trimmed(text);
    return Alphabetic === '' ? null : { Alphabetic };
  }
  const groups = text.split('=').map(trimmed);
  const name: PersonName = {};
  if (groups[0]) name.Alphabetic = groups[0];
  if (groups[1]) name.Ideographic = groups[1];
  if (groups[2]) name.Phonetic = groups[2];
  return groups[0] || groups[1] || groups[2] ? name : null;
}

function ofNumbers(bytes: Buffer, start: number, end: number, vr: Vr, little: boolean): Element {
  const count = Math.floor((end - start) / vr.width);
  if (count === 0) return { vr: vr.name };
  const Value: ElementValue[] = [];
  const read = (little ? READERS_LE : READERS_BE)[vr.name]!;
  for (let i = 0, at = start; i < count; i++, at += vr.width) Value.push(read(bytes, at));
  return { vr: vr.name, Value };
}

type Reader = (bytes: Buffer, at: number) => number | string;

const whole = (value: bigint): number | string =>
  value >= -0x1fffffffffffffn && value <= 0x1fffffffffffffn ? Number(value) : value.toString();

const finite = (value: number): number | string => {
  if (Number.isFinite(value)) return value;
  return Number.isNaN(value) ? 'NaN' : value > 0 ? 'inf' : '-inf';
};

const READERS_LE: Record<string, Reader> = {
  US: (b, at) => b[at]! | (b[at + 1]! << 8),
  SS: (b, at) => ((b[at]! | (b[at + 1]! << 8)) << 16) >> 16,
  UL: (b, at) => b.readUInt32LE(at),
  SL: (b, at) => b.readInt32LE(at),
  FL: (b, at) => finite(b.readFloatLE(at)),
  FD: (b, at) => finite(b.readDoubleLE(at)),
  SV: (b, at) => whole(b.readBigInt64LE(at)),
  UV: (b, at) => whole(b.readBigUInt64LE(at)),
};

const READERS_BE: Record<string, Reader> = {
  US: (b, at) => b.readUInt16BE(at),
  SS: (b, at) => b.readInt16BE(at),
  UL: (b, at) => b.readUInt32BE(at),
  SL: (b, at) => b.readInt32BE(at),
  FL: (b, at) => finite(b.readFloatBE(at)),
  FD: (b, at) => finite(b.readDoubleBE(at)),
  SV: (b, at) => whole(b.readBigInt64BE(at)),
  UV: (b, at) => whole(b.readBigUInt64BE(at)),
};

function ofTags(bytes: Buffer, start: number, end: number, little: boolean): Element {
  const Value: string[] = [];
  for (let at = start; at + 4 <= end; at += 4) {
    const group = little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at);
    const element = little ? bytes.readUInt16LE(at + 2) : bytes.readUInt16BE(at + 2);
    Value.push((group * 0x10000 + element).toString(16).toUpperCase().padStart(8, '0'));
  }
  return Value.length === 0 ? { vr: 'AT' } : { vr: 'AT', Value };
}

/** Inline binary is little endian, whatever the object is (PS3.18 F.2.7). */
function base64(bytes: Buffer, start: number, end: number, width: number, little: boolean): string {
  if (little || width === 1) return bytes.toString('base64', start, end);
  return swapped(bytes.subarray(start, end), width).toString('base64');
}
