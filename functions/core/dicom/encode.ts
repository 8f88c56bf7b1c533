import { PacsError } from '../errors.ts';
import { encodeUtf8 } from './character-sets.ts';
import type { DataSet, Element, ElementValue, PersonName } from './types.ts';
import { type Vr, vrNamed } from './vr.ts';

/** The value field of an element, in little endian and UTF-8, of even length; the inverse of decodeValue (PS3.5 §6.2). */
export function encodeValue(element: Element, tag: string): Uint8Array {
  const vr = vrNamed(element.vr);
  if (vr === undefined) return refuse(tag);
  if (element.InlineBinary !== undefined) return even(Buffer.from(element.InlineBinary, 'base64'), 0);
  const values = element.Value;
  if (values === undefined || values.length === 0) return new Uint8Array(0);
  switch (vr.kind) {
    case 'numbers':
      return numbers(values, vr, tag);
    case 'tags':
      return tags(values, tag);
    case 'octets':
    case 'items':
      return refuse(tag);
    case 'names':
      return text(values.map((value) => nameText(value as PersonName | null)).join('\\'), ' ');
    case 'decimals':
      return code(
        values.map((value) => (typeof value === 'number' ? decimalText(value, vr) : (value ?? ''))).join('\\'),
      );
    case 'codes':
    case 'uri':
      return code(values.map((value) => value ?? '').join('\\'), vr.name === 'UI' ? '\0' : ' ');
    default:
      return text(values.map((value) => value ?? '').join('\\'), ' ');
  }
}

const refuse = (tag: string): never => {
  throw new PacsError('BAD_REQUEST', `${tag} cannot be encoded with its VR`, { details: { tag } });
};

const text = (value: string, pad: string): Uint8Array => {
  const bytes = encodeUtf8(value);
  return bytes.length % 2 === 0 ? bytes : even(bytes, pad.charCodeAt(0));
};

/** Values that no character set applies to are read byte by byte (decodeValue): so are they written, where they came from bytes. */
const code = (value: string, pad = ' '): Uint8Array =>
  isBytes(value) ? even(Buffer.from(value, 'latin1'), pad.charCodeAt(0)) : text(value, pad);

const isBytes = (value: string): boolean => !/[^\0-\xff]/.test(value);

/** The bytes, with one of `pad` after them where their number is odd. */
function even(bytes: Uint8Array, pad: number): Uint8Array {
  if (bytes.length % 2 === 0) return bytes;
  const padded = new Uint8Array(bytes.length + 1);
  padded.set(bytes);
  padded[bytes.length] = pad;
  return padded;
}

function nameText(name: PersonName | null): string {
  if (name === null) return '';
  const { Alphabetic = '', Ideographic = '', Phonetic = '' } = name;
  if (Phonetic !== '') return `${Alphabetic}=${Ideographic}=${Phonetic}`;
  return Ideographic === '' ? Alphabetic : `${Alphabetic}=${Ideographic}`;
}

/** At most 16 characters: digits that do not fit are rounded away. An IS that is no whole number, as some objects have it, stays what it is. */
function decimalText(value: number, vr: Vr): string {
  if (vr.name === 'IS' && Number.isInteger(value)) return String(value);
  for (let precision = 17; precision > 0; precision--) {
    const rounded = precision === 17 ? value : Number(value.toPrecision(precision));
    const plain = String(rounded);
    if (plain.length <= 16) return plain;
    const scientific = rounded.toExponential();
    if (scientific.length <= 16) return scientific;
  }
  return '0';
}

const NOT_FINITE: Record<string, number> = {
  NaN: Number.NaN,
  inf: Number.POSITIVE_INFINITY,
  '-inf': Number.NEGATIVE_INFINITY,
};

function numbers(values: readonly ElementValue[], vr: Vr, tag: string): Uint8Array {
  const bytes = new Uint8Array(values.length * vr.width);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) {
    if (typeof value === 'object' && value !== null) refuse(tag);
    if (vr.name === 'SV' || vr.name === 'UV') view.setBigInt64(i * 8, BigInt.asIntN(64, bigInt(value, tag)), true);
    else {
      const number = typeof value === 'string' ? (NOT_FINITE[value] ?? Number(value)) : ((value ?? 0) as number);
      SETTERS[vr.name]!(view, i * vr.width, number);
    }
  }
  return bytes;
}

const SETTERS: Record<string, (view: DataView, at: number, value: number) => void> = {
  FD: (view, at, value) => view.setFloat64(at, value, true),
  FL: (view, at, value) => view.setFloat32(at, value, true),
  SL: (view, at, value) => view.setInt32(at, value, true),
  SS: (view, at, value) => view.setInt16(at, value, true),
  UL: (view, at, value) => view.setUint32(at, value, true),
  US: (view, at, value) => view.setUint16(at, value, true),
};

function bigInt(value: ElementValue, tag: string): bigint {
  if (value === null) return 0n;
  if (typeof value === 'number') return BigInt(Math.trunc(value));
  return typeof value === 'string' && /^[+-]?\d{1,20}$/.test(value) ? BigInt(value.replace('+', '')) : refuse(tag);
}

function tags(values: readonly ElementValue[], tag: string): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) {
    const name = typeof value === 'string' && /^[0-9A-F]{8}$/.test(value) ? value : refuse(tag);
    view.setUint16(i * 4, Number.parseInt(name.slice(0, 4), 16), true);
    view.setUint16(i * 4 + 2, Number.parseInt(name.slice(4), 16), true);
  }
  return bytes;
}

/** Does any text of the data set go beyond ASCII? */
export function hasUnicode(dataSet: DataSet): boolean {
  for (const element of Object.values(dataSet)) {
    for (const value of element.Value ?? []) {
      if (typeof value === 'string') {
        if (isUnicode(value)) return true;
      } else if (value !== null && typeof value === 'object') {
        if (element.vr === 'SQ' ? hasUnicode(value as DataSet) : Object.values(value).some(isUnicode)) return true;
      }
    }
  }
  return false;
}

const isUnicode = (value: unknown): boolean => typeof value === 'string' && /[^ -~\s]/.test(value);
