import { PacsError } from '../errors.ts';
import { vrOf } from './dictionary.ts';
import type { Bulk, DataSet, Element, ElementValue, PersonName } from './types.ts';
import { personName } from './values.ts';
import { type Vr, vrNamed } from './vr.ts';

/** Names a bulk value: tags and item numbers (from 1) joined by '-', as '7FE00010' or '54000100-1-54001010'. */
export type BulkUri = (path: string, bulk: Bulk) => string;

/** The last segment of a BulkDataURI: '7FE00010.1234.5678e'; e: encapsulated, i: offsets count in the inflated data set. */
export function bulkPath(path: string, bulk: Bulk): string {
  return `${path}.${bulk.offset}.${bulk.length}${bulk.encapsulated ? 'e' : ''}${bulk.inflated ? 'i' : ''}`;
}

/** The inverse of bulkPath; undefined where the text is none. */
export function parseBulkPath(text: string): { path: string; bulk: Bulk } | undefined {
  const match = /^([0-9A-F]{8}(?:-[1-9]\d{0,9}-[0-9A-F]{8})*)\.(\d{1,15})\.(\d{1,15})(e?)(i?)$/.exec(text);
  if (match === null) return undefined;
  const bulk: Bulk = { offset: Number(match[2]), length: Number(match[3]) };
  if (match[4] === 'e') bulk.encapsulated = true;
  if (match[5] === 'i') bulk.inflated = true;
  return { path: match[1]!, bulk };
}

/** The tags of a data set in ascending order: objects enumerate keys that look like integers ('10101010') first. */
export function sortedTags(dataSet: DataSet): string[] {
  const tags = Object.keys(dataSet);
  for (let i = 1; i < tags.length; i++) if (tags[i]! < tags[i - 1]!) return tags.sort();
  return tags;
}

/**
 * The DICOM JSON Model (PS3.18 Annex F) of a data set: File Meta Information and group lengths left out, text in UTF-8. Specific
 * Character Set is that of the object (F.2.2, note 3): bytes of UN are still in it.
 */
export const dataSetToJson = (dataSet: DataSet, bulkUri: BulkUri): string =>
  new JsonWriter(bulkUri).dataSet(dataSet, '');

class JsonWriter {
  readonly #bulkUri: BulkUri;

  constructor(bulkUri: BulkUri) {
    this.#bulkUri = bulkUri;
  }

  dataSet(dataSet: DataSet, prefix: string): string {
    let text = '';
    for (const tag of sortedTags(dataSet)) {
      if (tag.endsWith('0000') || tag.startsWith('0002')) continue;
      const element = dataSet[tag]!;
      text += `${text === '' ? '{' : ','}"${tag}":{"vr":"${element.vr}"${this.#content(element, prefix, tag)}}`;
    }
    return text === '' ? '{}' : `${text}}`;
  }

  #content(element: Element, prefix: string, tag: string): string {
    const values = element.Value;
    if (values !== undefined) {
      if (element.vr === 'SQ') return `,"Value":[${this.#items(values as DataSet[], `${prefix}${tag}-`)}]`;
      let text = ',"Value":[';
      for (let i = 0; i < values.length; i++) {
        if (i > 0) text += ',';
        text += this.#value(values[i]!);
      }
      return `${text}]`;
    }
    if (element.bulk !== undefined) {
      return `,"BulkDataURI":${quoted(this.#bulkUri(prefix + tag, element.bulk))}`;
    }
    if (element.InlineBinary !== undefined) return `,"InlineBinary":"${element.InlineBinary}"`;
    if (element.BulkDataURI !== undefined) return `,"BulkDataURI":${quoted(element.BulkDataURI)}`;
    return '';
  }

  #items(items: DataSet[], prefix: string): string {
    let text = '';
    for (let i = 0; i < items.length; i++) {
      if (i > 0) text += ',';
      text += this.dataSet(items[i]!, `${prefix}${i + 1}-`);
    }
    return text;
  }

  #value(value: ElementValue): string {
    if (typeof value === 'string') return quoted(value);
    if (typeof value === 'number') return Object.is(value, -0) ? '-0' : `${value}`;
    if (value === null) return 'null';
    const { Alphabetic, Ideographic, Phonetic } = value as PersonName;
    let text = '';
    if (Alphabetic !== undefined) text = `"Alphabetic":${quoted(Alphabetic)}`;
    if (Ideographic !== undefined) text += `${text === '' ? '' : ','}"Ideographic":${quoted(Ideographic)}`;
    if (Phonetic !== undefined) text += `${text === '' ? '' : ','}"Phonetic":${quoted(Phonetic)}`;
    return `{${text}}`;
  }
}

function quoted(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code > 0x7e || code === 0x22 || code === 0x5c) return JSON.stringify(text);
  }
  return `"${text}"`;
}

/** Items within items of a data set that comes as JSON or XML. */
const DEPTH = 64;

const refuse = (path: string, what: string): never => {
  throw new PacsError('BAD_REQUEST', `${path === '' ? 'the data set' : path} ${what}`, { details: { path } });
};

/**
 * A data set from the DICOM JSON Model, as text or as parsed JSON. Values are checked against their VR; attributes
 * without `vr` take the dictionary's.
 * @throws PacsError BAD_REQUEST with the path of the tag in `details`
 */
export function jsonToDataSet(json: unknown): DataSet {
  if (typeof json !== 'string') return readDataSet(json, '', 0);
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return refuse('', 'is not JSON');
  }
  return readDataSet(value, '', 0);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function readDataSet(json: unknown, path: string, depth: number): DataSet {
  if (!isObject(json)) return refuse(path, 'is not a JSON object');
  if (depth > DEPTH) refuse(path, 'is nested too deeply');
  const dataSet: DataSet = {};
  for (const [name, member] of Object.entries(json)) {
    if (!/^[0-9A-Fa-f]{8}$/.test(name)) refuse(path, 'has a member that is no tag of eight hex digits');
    const tag = name.toUpperCase();
    if (tag.endsWith('0000')) continue;
    const at = path === '' ? tag : `${path}-${tag}`;
    if (!isObject(member)) return refuse(at, 'is not a JSON object');
    dataSet[tag] = readElement(member, tag, at, depth);
  }
  return dataSet;
}

function readElement(member: Record<string, unknown>, tag: string, path: string, depth: number): Element {
  const name = member.vr ?? vrOf(tag);
  const vr = typeof name === 'string' ? vrNamed(name) : undefined;
  if (vr === undefined) return refuse(path, 'has a vr that is none');
  const { Value, InlineBinary, BulkDataURI } = member;
  const given = [Value, InlineBinary, BulkDataURI].filter((one) => one !== undefined);
  if (given.length > 1) refuse(path, 'has more than one of Value, InlineBinary and BulkDataURI');
  if (Value !== undefined) {
    if (!Array.isArray(Value)) return refuse(path, 'has a Value that is not an array');
    const values = Value.map((value, i) => readValue(value, vr, path, i, depth));
    if (vr.kind === 'numbers' || vr.kind === 'tags') {
      // There is no number that stands for none.
      if (values.every((value) => value === null)) return { vr: vr.name };
      if (values.includes(null)) refuse(path, `leaves out a value between others, which ${vr.name} does not permit`);
    }
    return values.length === 0 ? { vr: vr.name } : { vr: vr.name, Value: values };
  }
  if (InlineBinary !== undefined) {
    if (vr.kind !== 'octets') refuse(path, `has InlineBinary, which ${vr.name} does not permit`);
    if (typeof InlineBinary !== 'string' || !isBase64(InlineBinary))
      return refuse(path, 'has InlineBinary that is not base64');
    return InlineBinary === '' ? { vr: vr.name } : { vr: vr.name, InlineBinary };
  }
  if (BulkDataURI !== undefined) {
    if (typeof BulkDataURI !== 'string') return refuse(path, 'has a BulkDataURI that is not a string');
    return { vr: vr.name, BulkDataURI };
  }
  return { vr: vr.name };
}

const isBase64 = (text: string): boolean => text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);

const NOT_FINITE = new Set(['NaN', 'inf', '-inf']);

function readValue(value: unknown, vr: Vr, path: string, index: number, depth: number): ElementValue {
  if (vr.kind === 'items') return value === null ? {} : readDataSet(value, `${path}-${index + 1}`, depth + 1);
  if (value === null || value === '') return null;
  const wrong = (): never => refuse(path, `has a value that ${vr.name} does not permit`);
  switch (vr.kind) {
    case 'names': {
      const name = readName(value);
      return name === undefined ? wrong() : name;
    }
    case 'numbers':
      return typeof value === 'number' || typeof value === 'string' ? (readNumber(value, vr) ?? wrong()) : wrong();
    case 'decimals':
      return typeof value === 'number' || typeof value === 'string' ? value : wrong();
    case 'tags':
      return typeof value === 'string' && /^[0-9A-Fa-f]{8}$/.test(value) ? value.toUpperCase() : wrong();
    case 'octets':
      return wrong();
    default:
      if (typeof value === 'number') return String(value);
      return typeof value === 'string' ? value : wrong();
  }
}

const INTEGERS: Readonly<Record<string, readonly [least: bigint, greatest: bigint]>> = {
  SS: [-(2n ** 15n), 2n ** 15n - 1n],
  US: [0n, 2n ** 16n - 1n],
  SL: [-(2n ** 31n), 2n ** 31n - 1n],
  UL: [0n, 2n ** 32n - 1n],
  SV: [-(2n ** 63n), 2n ** 63n - 1n],
  UV: [0n, 2n ** 64n - 1n],
};
const WHOLE = /^[+-]?\d{1,20}$/;
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,4})?$/i;

/** A number that the VR can hold, as it is; undefined for one that would have to become another. */
function readNumber(value: number | string, { name }: Vr): number | string | undefined {
  const text = typeof value === 'string' ? value.trim() : undefined;
  const range = INTEGERS[name];
  if (range === undefined && text !== undefined && NOT_FINITE.has(text)) return text;
  if (text !== undefined && !DECIMAL.test(text)) return undefined;
  const number = Number(value);
  if (range === undefined) return Number.isFinite(name === 'FL' ? Math.fround(number) : number) ? number : undefined;
  // A JSON number beyond 2^53 is not what was written any more.
  const whole = text !== undefined && WHOLE.test(text) ? BigInt(text.replace('+', '')) : wholeOf(number);
  if (whole === undefined || whole < range[0] || whole > range[1]) return undefined;
  return Number.isSafeInteger(number) ? number : whole.toString();
}

/** `5.0` and `1e3` are whole numbers, too. */
const wholeOf = (number: number): bigint | undefined => (Number.isSafeInteger(number) ? BigInt(number) : undefined);

function readName(value: unknown): PersonName | null | undefined {
  // Some clients send the name as one string, as it stood in the standard before 2013.
  if (typeof value === 'string') return personName(value);
  if (!isObject(value)) return undefined;
  const name: PersonName = {};
  for (const group of ['Alphabetic', 'Ideographic', 'Phonetic'] as const) {
    const text = value[group];
    if (typeof text === 'string' && text !== '') name[group] = text;
    else if (text !== undefined && text !== null && text !== '') return undefined;
  }
  return Object.keys(name).length === 0 ? null : name;
}
