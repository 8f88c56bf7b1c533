import { SaxesParser, type SaxesTagNS } from 'saxes';
import { PacsError } from '../errors.ts';
import { attribute, vrOf } from './dictionary.ts';
import { type BulkUri, jsonToDataSet, sortedTags } from './json.ts';
import type { DataSet, Element, ElementValue, PersonName } from './types.ts';
import { decimal } from './values.ts';
import { vrNamed } from './vr.ts';

/** The Native DICOM Model (PS3.19 A.1). */
const NAMESPACE = 'http://dicom.nema.org/PS3.19/models/NativeDICOM';
const GROUPS = ['Alphabetic', 'Ideographic', 'Phonetic'] as const;
const COMPONENTS = ['FamilyName', 'GivenName', 'MiddleName', 'NamePrefix', 'NameSuffix'] as const;

/** A data set as an XML document: File Meta Information and group lengths left out, Specific Character Set that of the object. */
export function dataSetToXml(dataSet: DataSet, bulkUri: BulkUri): string {
  const attributes = writeDataSet(dataSet, '', bulkUri);
  return `<?xml version="1.0" encoding="UTF-8"?><NativeDicomModel xmlns="${NAMESPACE}" xml:space="preserve">${attributes}</NativeDicomModel>`;
}

function writeDataSet(dataSet: DataSet, prefix: string, bulkUri: BulkUri): string {
  let text = '';
  for (const tag of sortedTags(dataSet)) {
    if (tag.endsWith('0000') || tag.startsWith('0002')) continue;
    const element = dataSet[tag]!;
    const keyword = attribute(tag)?.keyword ?? '';
    const creator = privateCreator(dataSet, tag);
    text += `<DicomAttribute tag="${tag}" vr="${element.vr}"`;
    if (keyword !== '') text += ` keyword="${keyword}"`;
    if (creator !== undefined) text += ` privateCreator="${escaped(creator)}"`;
    text += `>${writeContent(element, tag, prefix, bulkUri)}</DicomAttribute>`;
  }
  return text;
}

/** The creator that reserved the block of a private element (PS3.5 §7.8.1). */
function privateCreator(dataSet: DataSet, tag: string): string | undefined {
  if ((Number.parseInt(tag[3]!, 16) & 1) === 0 || tag.slice(4, 6) === '00') return undefined;
  const creator = dataSet[`${tag.slice(0, 4)}00${tag.slice(4, 6)}`]?.Value?.[0];
  return typeof creator === 'string' ? creator : undefined;
}

function writeContent(element: Element, tag: string, prefix: string, bulkUri: BulkUri): string {
  if (element.bulk !== undefined) return `<BulkData uri="${escaped(bulkUri(prefix + tag, element.bulk))}"/>`;
  if (element.BulkDataURI !== undefined) return `<BulkData uri="${escaped(element.BulkDataURI)}"/>`;
  if (element.InlineBinary !== undefined) return `<InlineBinary>${element.InlineBinary}</InlineBinary>`;
  if (element.Value === undefined) return '';
  let text = '';
  element.Value.forEach((value, i) => {
    text += writeValue(value, i + 1, element.vr, `${prefix}${tag}-${i + 1}-`, bulkUri);
  });
  return text;
}

function writeValue(value: ElementValue, number: number, vr: string, prefix: string, bulkUri: BulkUri): string {
  if (vr === 'SQ') return `<Item number="${number}">${writeDataSet((value ?? {}) as DataSet, prefix, bulkUri)}</Item>`;
  if (vr === 'PN') return `<PersonName number="${number}">${writeName(value as PersonName | null)}</PersonName>`;
  if (value === null) return `<Value number="${number}"/>`;
  const text = Object.is(value, -0) ? '-0' : String(value);
  return `<Value number="${number}">${escaped(text)}</Value>`;
}

function writeName(name: PersonName | null): string {
  let text = '';
  for (const group of GROUPS) {
    const components = name?.[group]?.split('^');
    if (components === undefined) continue;
    // A name has five components; what some writers add stays with the last.
    if (components.length > 5) components.splice(4, components.length, components.slice(4).join('^'));
    // Empty components are written too: they keep carets at the end of a name.
    const inner = components.map((part, i) => `<${COMPONENTS[i]}>${escaped(part)}</${COMPONENTS[i]}>`);
    text += `<${group}>${inner.join('')}</${group}>`;
  }
  return text;
}

/** XML 1.0 cannot hold most control characters, nor half of a surrogate pair, in any spelling: they become U+FFFD. */
export function escaped(text: string): string {
  if (!/[^ !#-%'-;=?-~]/.test(text)) return text;
  return (
    text
      .toWellFormed()
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what XML forbids
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd')
      .replace(/[&<>"\r]/g, (character) => ENTITIES[character]!)
  );
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\r': '&#xD;' };

/** Elements around the one being read; bounded, as items may nest no deeper than in DICOM JSON. */
const DEPTH = 64 * 2 + 8;
/** Values that a document leaves out by their numbers: each costs memory and no bytes of the document. */
const LEFT_OUT_VALUES = 10_000;

/** A DicomAttribute or Item being read. */
interface Open {
  readonly name: string;
  dataSet: DataSet | undefined;
  tag: string;
  vr: string;
  element: Element;
  number: number;
  person: PersonName;
  components: string[];
}

/**
 * A data set from its XML document. Values are checked as those of DICOM JSON are.
 * @throws PacsError BAD_REQUEST
 */
export function xmlToDataSet(xml: string): DataSet {
  const reader = new NativeReader();
  try {
    reader.read(xml);
  } catch (error) {
    if (error instanceof PacsError) throw error;
    throw new PacsError('BAD_REQUEST', 'the data set is not well-formed XML');
  }
  return jsonToDataSet(reader.dataSet);
}

class NativeReader {
  dataSet: DataSet = {};
  readonly #stack: Open[] = [];
  #text = '';
  #leftOut = 0;

  read(xml: string): void {
    const parser = new SaxesParser({ xmlns: true });
    parser.on('doctype', () => this.#refuse('a document type is not permitted'));
    parser.on('error', (error) => {
      throw error;
    });
    parser.on('opentag', (tag) => this.#open(tag));
    parser.on('text', (text) => {
      this.#text += text;
    });
    parser.on('cdata', (text) => {
      this.#text += text;
    });
    parser.on('closetag', () => this.#close());
    parser.write(xml).close();
  }

  #refuse(what: string): never {
    throw new PacsError('BAD_REQUEST', `the XML data set: ${what}`);
  }

  #open(tag: SaxesTagNS): void {
    if (this.#stack.length > DEPTH) this.#refuse('it is nested too deeply');
    this.#text = '';
    const parent = this.#stack.at(-1);
    const attributeOf = (name: string): string => tag.attributes[name]?.value ?? '';
    const open: Open = {
      name: tag.local,
      dataSet: undefined,
      tag: '',
      vr: '',
      element: { vr: '' },
      number: Number(attributeOf('number') || '1'),
      person: {},
      components: [],
    };
    if (!Number.isInteger(open.number) || open.number < 1 || open.number > 1_000_000)
      this.#refuse('a number is not valid');
    if (parent === undefined) {
      if (tag.local !== 'NativeDicomModel') this.#refuse('its root is not NativeDicomModel');
      open.dataSet = this.dataSet;
    } else if (tag.local === 'DicomAttribute') {
      open.tag = attributeOf('tag').toUpperCase();
      if (parent.dataSet === undefined || !/^[0-9A-F]{8}$/.test(open.tag))
        this.#refuse('a DicomAttribute is misplaced or without a tag');
      open.vr = attributeOf('vr') || vrOf(open.tag);
      open.element = { vr: open.vr };
    } else if (tag.local === 'Item') {
      open.dataSet = {};
    } else if (tag.local === 'BulkData' && parent.name === 'DicomAttribute') {
      parent.element.BulkDataURI = attributeOf('uri');
    }
    this.#stack.push(open);
  }

  #close(): void {
    const closed = this.#stack.pop()!;
    const parent = this.#stack.at(-1);
    const text = this.#text;
    this.#text = '';
    if (parent === undefined) return;
    switch (closed.name) {
      case 'DicomAttribute':
        parent.dataSet![closed.tag] = closed.element;
        return;
      case 'Item':
        this.#put(parent, closed.number, closed.dataSet!);
        return;
      case 'Value':
        this.#put(parent, closed.number, text === '' ? null : typed(text, parent.vr));
        return;
      case 'PersonName':
        this.#put(parent, closed.number, closed.person);
        return;
      case 'InlineBinary':
        parent.element.InlineBinary = text.replace(/\s+/g, '');
        return;
      case 'Alphabetic':
      case 'Ideographic':
      case 'Phonetic':
        parent.person[closed.name] = Array.from(closed.components, (part) => part ?? '').join('^');
        return;
      default: {
        const index = COMPONENTS.indexOf(closed.name as (typeof COMPONENTS)[number]);
        if (index >= 0) parent.components[index] = text;
      }
    }
  }

  #put(parent: Open, number: number, value: ElementValue): void {
    if (parent.name !== 'DicomAttribute') this.#refuse('a value is misplaced');
    const values = parent.element.Value ?? [];
    this.#leftOut += Math.max(0, number - 1 - values.length);
    if (this.#leftOut > LEFT_OUT_VALUES) this.#refuse('its numbers leave out too many values');
    while (values.length < number) values.push(null);
    values[number - 1] = value;
    parent.element.Value = values;
  }
}

/** The text of a Value as DICOM JSON would have it, or as it is read from there. */
function typed(text: string, vr: string): string | number {
  return vrNamed(vr)?.kind === 'decimals' ? decimal(text.trim()) : text;
}
