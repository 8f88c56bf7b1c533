import { bulkBase } from '#core/archive/instance.ts';
import type { InstanceRecord } from '#core/archive/records.ts';
import { type Decoder, decoderFor } from '#core/dicom/character-sets.ts';
import { type Attribute, attribute, privateVrOf } from '#core/dicom/dictionary.ts';
import type { DataSet, Element, ElementValue } from '#core/dicom/types.ts';
import { decodeValue } from '#core/dicom/values.ts';
import { type Vr, vrNamed } from '#core/dicom/vr.ts';
import { PacsError } from '#core/errors.ts';
import type { Limits } from '#core/limits.ts';
import type { AttributeLevel, Attributes } from './image-set-document.ts';

/** Which values are too long to stand in metadata. */
export type ValueLimits = Pick<Limits, 'inlineBinaryBytes' | 'inlineValueBytes' | 'sequenceDepth'>;

/** What holds for the attributes of one data set or item. */
interface Scope {
  readonly vrs: Readonly<Record<string, string>>;
  /** PixelRepresentation: US or SS */
  readonly signed: boolean;
  /** of what was kept as bytes, because nobody knew its VR */
  readonly decoder: Decoder;
  /** of bulk data references: tags and item numbers, each with '-' behind it */
  readonly path: string;
  readonly depth: number;
}

const UTF8: Decoder = (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
const TAG = /^[0-9A-Fa-f]{8}$/;

/**
 * The data set of an instance, as DICOM JSON has it (PS3.18 Annex F), from what an image set says of it. HealthImaging keeps values as
 * they stood in the object, padding and all: text as a string, several values as an array, numbers as numbers, binary ones in base64,
 * nothing as null. They are read by the same rules as those of an object. References to bulk data lead into the archive: by their path, and
 * the pixel data by where they lie.
 *
 * @throws PacsError UNREADABLE_DATASET for an attribute or a value of which it is not certain what it means: an answer that is
 *   right in part is none
 */
export function dataSetOf(levels: readonly AttributeLevel[], instance: InstanceRecord, limits: ValueLimits): DataSet {
  const said = (keyword: string): unknown => levels.findLast(({ DICOM }) => DICOM?.[keyword] != null)?.DICOM?.[keyword];
  const terms = [said('SpecificCharacterSet') ?? []].flat().map(String);
  const named = levels.filter(({ DICOMVRs }) => DICOMVRs !== undefined);
  const scope: Scope = {
    // That of the instance as it is, where no other level has one: it may name hundreds of attributes.
    vrs: named.length === 1 ? named[0]!.DICOMVRs! : Object.assign({}, ...named.map(({ DICOMVRs }) => DICOMVRs)),
    signed: Number(said('PixelRepresentation')) === 1,
    decoder: decoderFor(terms),
    path: '',
    depth: 0,
  };
  const reader = new AttributeReader(bulkBase(instance), limits);
  const dataSet: DataSet = {};
  for (const { DICOM = {} } of levels) reader.read(DICOM, scope, dataSet);
  for (const [tag, uid] of [
    ['00080016', instance.SOPClassUID],
    ['00080018', instance.SOPInstanceUID],
    ['0020000D', instance.StudyInstanceUID],
    ['0020000E', instance.SeriesInstanceUID],
  ] as const)
    if (dataSet[tag]?.Value?.[0] !== uid) throw unreadable(tag, 'is of another instance');
  return Object.assign(dataSet, pixelData(instance));
}

/** Pixel data are no metadata to HealthImaging. */
function pixelData(instance: InstanceRecord): DataSet {
  const { pixels } = instance;
  if (pixels === undefined) return {};
  if (pixels.kind === 'fragments') return { '7FE00010': { vr: 'OB', BulkDataURI: `${bulkBase(instance)}7FE00010` } };
  const { tag, vr, offset, length, inflated } = pixels;
  return { [tag]: { vr, bulk: { offset, length, ...(inflated && { inflated }) } } };
}

class AttributeReader {
  readonly #base: string;
  readonly #limits: ValueLimits;

  constructor(base: string, limits: ValueLimits) {
    this.#base = base;
    this.#limits = limits;
  }

  /** Adds what the attributes are. */
  read(attributes: Attributes, outer: Scope, dataSet: DataSet = {}): DataSet {
    const { PixelRepresentation } = attributes;
    const scope = PixelRepresentation == null ? outer : { ...outer, signed: Number(PixelRepresentation) === 1 };
    for (const [name, value] of Object.entries(attributes)) {
      const known = attribute(name);
      if (known === undefined && !TAG.test(name)) throw unreadable(name, 'is not in the dictionary');
      const tag = known?.tag ?? name.toUpperCase();
      // File Meta Information and group lengths are no metadata (PS3.18 F.2.2).
      if (tag.startsWith('0002') || tag.endsWith('0000')) continue;
      const vr = vrOf(tag, known, value, scope.vrs[name] ?? scope.vrs[tag], scope.signed);
      dataSet[tag] =
        vr.name === 'UN' ? this.#unknown(tag, known, value, attributes, scope) : this.#element(tag, vr, value, scope);
    }
    return dataSet;
  }

  #element(tag: string, vr: Vr, value: unknown, scope: Scope): Element {
    if (value === null || value === undefined || value === '' || (Array.isArray(value) && value.length === 0))
      return { vr: vr.name };
    switch (vr.kind) {
      case 'items':
        return { vr: 'SQ', Value: this.#items(tag, value, scope) };
      case 'octets':
        return this.#octets(tag, vr, value, scope);
      case 'numbers':
        return { vr: vr.name, Value: [value].flat().map((one) => numberOf(tag, vr, one)) };
      case 'tags':
        return { vr: vr.name, Value: [value].flat().map((one) => tagOf(tag, one)) };
      default:
        return this.#text(tag, vr, value, scope);
    }
  }

  #items(tag: string, value: unknown, scope: Scope): DataSet[] {
    if (!Array.isArray(value)) throw unreadable(tag, 'is no list of items');
    if (scope.depth >= this.#limits.sequenceDepth) throw unreadable(tag, 'is nested too deeply');
    return value.map((item, i) => {
      if (typeof item !== 'object' || Array.isArray(item)) throw unreadable(tag, 'holds something else than items');
      const path = `${scope.path}${tag}-${i + 1}-`;
      return this.read((item ?? {}) as Attributes, { ...scope, path, depth: scope.depth + 1 });
    });
  }

  #octets(tag: string, vr: Vr, value: unknown, scope: Scope): Element {
    const bytes = bytesOf(tag, value);
    if (bytes.length > this.#limits.inlineBinaryBytes) return this.#bulk(tag, vr, scope);
    return { vr: vr.name, InlineBinary: bytes.toString('base64') };
  }

  /** UN is read, as in an object, where the dictionary knows better (PS3.5 §6.2.2); its bytes are little endian. */
  #unknown(tag: string, known: Attribute | undefined, value: unknown, beside: Attributes, scope: Scope): Element {
    if (value === null || value === undefined || value === '')
      return { vr: impliedVr(tag, known, beside, scope)?.name ?? 'UN' };
    const bytes = bytesOf(tag, value);
    const vr = bytes.length <= this.#limits.inlineValueBytes ? impliedVr(tag, known, beside, scope) : undefined;
    if (vr === undefined || vr.kind === 'octets' || (vr.kind === 'numbers' && bytes.length % vr.width !== 0))
      return this.#octets(tag, vr?.kind === 'octets' ? vr : UN, value, scope);
    if (vr.kind === 'items') throw unreadable(tag, 'holds items as bytes');
    return decodeValue(bytes, 0, bytes.length, vr, true, scope.decoder);
  }

  #text(tag: string, vr: Vr, value: unknown, scope: Scope): Element {
    const parts = [value].flat();
    if (vr.kind === 'decimals' && parts.every((one) => typeof one === 'number'))
      return { vr: vr.name, Value: parts as number[] };
    const text = parts.map((one) => textOf(tag, one)).join('\\');
    const isAscii = vr.kind === 'codes' || vr.kind === 'decimals' || vr.kind === 'uri';
    const bytes = Buffer.from(text, isAscii ? 'latin1' : 'utf8');
    if (bytes.length > this.#limits.inlineValueBytes) return this.#bulk(tag, vr, scope);
    return decodeValue(bytes, 0, bytes.length, vr, true, UTF8);
  }

  #bulk(tag: string, vr: Vr, { path }: Scope): Element {
    return { vr: vr.name, BulkDataURI: `${this.#base}${path}${tag}` };
  }
}

const UN = vrNamed('UN')!;
/** (gggg,0010-00FF) of an odd group */
const PRIVATE_CREATOR = /^...[13579BDF]00[1-9A-F]/;

/** What the image set says, else the dictionary; US or SS by PixelRepresentation, and by what a value can only be. */
function vrOf(
  tag: string,
  known: Attribute | undefined,
  value: unknown,
  said: string | undefined,
  signed: boolean,
): Vr {
  const named = said === undefined ? undefined : vrNamed(said);
  if (named !== undefined) return named;
  const isPrivate = Number.parseInt(tag.slice(0, 4), 16) % 2 === 1;
  if (isPrivate) return vrNamed(PRIVATE_CREATOR.test(tag) ? 'LO' : 'UN')!;
  if (known?.choice === 'xs') {
    const numbers = [value].flat().map(Number);
    const isSigned = numbers.some((one) => one < 0) || (signed && numbers.every((one) => one <= 0x7fff));
    return vrNamed(isSigned ? 'SS' : 'US')!;
  }
  if (known?.choice === 'lt' && [value].flat().every((one) => typeof one === 'number')) return vrNamed('US')!;
  return vrNamed(known?.vr ?? 'UN') ?? UN;
}

function impliedVr(tag: string, known: Attribute | undefined, beside: Attributes, { vrs }: Scope): Vr | undefined {
  if (known !== undefined) return vrNamed(known.vr);
  if (PRIVATE_CREATOR.test(tag)) return vrNamed('LO');
  const creatorTag = `${tag.slice(0, 4)}00${tag.slice(4, 6)}`;
  const creator = beside[creatorTag];
  if (typeof creator !== 'string') return undefined;
  const text = vrs[creatorTag] === 'UN' ? bytesOf(creatorTag, creator).toString('latin1') : creator;
  const name = privateVrOf(tag, text.replace(/[ \0]+$/, ''));
  return name === undefined ? undefined : vrNamed(name);
}

function bytesOf(tag: string, value: unknown): Buffer {
  if (typeof value !== 'string' || value.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(value))
    throw unreadable(tag, 'is not base64');
  return Buffer.from(value, 'base64');
}

const NOT_FINITE = new Set<unknown>(['NaN', 'inf', '-inf']);

function numberOf(tag: string, { name, width }: Vr, value: unknown): ElementValue {
  if (name[0] === 'F' && NOT_FINITE.has(value)) return value as string;
  if (width === 8 && name[1] === 'V' && typeof value === 'string' && /^-?\d{1,20}$/.test(value))
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (typeof value !== 'number') throw unreadable(tag, 'is no number');
  // Its digits may be fewer than those of the same single in a double.
  if (name === 'FL') return Math.fround(value);
  if (name !== 'FD' && !Number.isSafeInteger(value)) throw unreadable(tag, 'has lost digits');
  return value;
}

function tagOf(tag: string, value: unknown): string {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffffffff)
    return value.toString(16).toUpperCase().padStart(8, '0');
  const [, group = '', element = ''] = /^\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?$/.exec(String(value)) ?? [];
  if (group === '') throw unreadable(tag, 'names no tag');
  return `${group}${element}`.toUpperCase();
}

function textOf(tag: string, value: unknown): string {
  if (value === null) return '';
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  throw unreadable(tag, 'is no text');
}

/** Names attributes, never values. */
const unreadable = (name: string, what: string): PacsError =>
  new PacsError('UNREADABLE_DATASET', `an attribute of an image set ${what}`, { details: { attribute: name } });
