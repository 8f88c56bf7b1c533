import type { StudyRecord } from '../archive/records.ts';
import type { DataSet, Element } from '../dicom/types.ts';
import { asItem, asRecord, type Item } from '../ports/index-table.ts';
import { ATTRIBUTES } from './attributes.ts';
import { namesText, PATIENT_NAME } from './name-scan.ts';
import { dateKey, timeKey } from './values.ts';

/**
 * The study list: one line per study, ordered by date, time and UID, written in the same atomic write as the study's
 * record. A page of search results is one range read of it, and each line holds its result ready as JSON text.
 */
interface StudyLine {
  /** never returned: PatientName for comparing (name-scan.ts). First, as it is read alone. Absent in lines of before */
  readonly names?: string;
  /** members of the result's JSON object with tags below RetrieveURL (0008,1190), without braces: of the default result */
  readonly head: string;
  /** those above it */
  readonly tail: string;
  /** members that are returned only when asked for; '' when there are none */
  readonly rest: string;
  /** never returned: what rules of reach judge the study by, beside its attributes */
  readonly sites?: readonly string[];
  readonly deidentified?: boolean;
}

const RETRIEVE_URL = '00081190';

/** `YYYYMMDD|HHMMSS|{Study}`: ascending by StudyDate and StudyTime. What has no date stands first, hence last on screens. */
export function studySort(record: StudyRecord): string {
  return `${dateKey(record.attributes['00080020'])}|${timeKey(record.attributes['00080030'])}|${record.StudyInstanceUID}`;
}

export const studyOfSort = (sort: string): string => sort.slice(16);

/** The study's result: its attributes and what is counted, in tag order, without RetrieveURL. */
export function studyDataSet(record: StudyRecord): DataSet {
  const all: DataSet = {
    ...record.attributes,
    '00080056': { vr: 'CS', Value: [record.availability] },
    '00080061': { vr: 'CS', Value: Object.keys(record.modalities).sort() },
    '00080062': { vr: 'UI', Value: Object.keys(record.sopClasses).sort() },
    '0020000D': { vr: 'UI', Value: [record.StudyInstanceUID] },
    '00201206': { vr: 'IS', Value: [record.seriesCount] },
    '00201208': { vr: 'IS', Value: [record.instanceCount] },
  };
  return inTagOrder(all);
}

const BY_DEFAULT = new Map(
  ATTRIBUTES.study.filter((row) => row.byDefault && row.tag !== RETRIEVE_URL).map((row) => [row.tag, row.vr]),
);

/** The item of a study's line. */
export function studyLine(record: StudyRecord): Item {
  const all = studyDataSet(record);
  // PS3.18 Table 10.6.3-3: required attributes without a value are returned empty. The two that depend are not.
  for (const [tag, vr] of BY_DEFAULT) if (tag !== '00080005' && tag !== '00080201') all[tag] ??= { vr };
  let head = '';
  let tail = '';
  let rest = '';
  for (const tag of Object.keys(all).sort()) {
    const member = `"${tag}":${JSON.stringify(all[tag])}`;
    if (!BY_DEFAULT.has(tag)) rest += rest === '' ? member : `,${member}`;
    else if (tag < RETRIEVE_URL) head += head === '' ? member : `,${member}`;
    else tail += tail === '' ? member : `,${member}`;
  }
  const sites = Object.entries(record.sites ?? {}).flatMap(([site, count]) => (count > 0 ? [site] : []));
  const deidentified = record.deidentified === record.instanceCount;
  const names = namesText(record.attributes[PATIENT_NAME]);
  return {
    ...(names !== undefined && { names }),
    head,
    tail,
    rest,
    ...(sites.length > 0 && { sites }),
    ...(deidentified && { deidentified }),
  };
}

/** A line as it was read: values are parsed one by one, and only when they are asked for. */
export class StudyRow {
  readonly place: string;
  readonly #line: StudyLine;
  #rest: DataSet | undefined;

  constructor(place: string, item: Item) {
    this.place = place;
    this.#line = asRecord<StudyLine>(item);
  }

  get StudyInstanceUID(): string {
    return studyOfSort(this.place);
  }

  /** InstitutionName of its instances */
  get sites(): readonly string[] {
    return this.#line.sites ?? [];
  }

  /** Every instance says PatientIdentityRemoved YES. */
  get deidentified(): boolean {
    return this.#line.deidentified ?? false;
  }

  /** The same line with what has been counted for it: numbers by tag, none of the default result. */
  counted(counts: Readonly<Record<string, number>>): StudyRow {
    const members = Object.entries(counts).map(([tag, count]) => `"${tag}":{"vr":"IS","Value":[${count}]}`);
    const rest = [...(this.#line.rest === '' ? [] : [this.#line.rest]), ...members].join();
    return new StudyRow(this.place, asItem({ ...this.#line, rest }));
  }

  element(tag: string): Element | undefined {
    if (!BY_DEFAULT.has(tag)) return this.#parsedRest()[tag];
    const text = tag < RETRIEVE_URL ? this.#line.head : this.#line.tail;
    // A quote within a value is escaped, so this cannot be found inside one; and no sequence is returned by default.
    const at = text.indexOf(`"${tag}":`);
    if (at < 0) return undefined;
    const next = text.indexOf(NEXT_MEMBER, at + MEMBER_START);
    return JSON.parse(text.slice(at + 11, next < 0 ? text.length : next - 10));
  }

  /** The result as JSON text. `more`: tags beyond the default, or all. `retrieveURL` needs no escaping. */
  json(retrieveURL: string, more: ReadonlySet<string> | 'all'): string {
    const { head, tail, rest } = this.#line;
    if (rest === '' || (more !== 'all' && more.size === 0)) {
      return `{${head},"00081190":{"vr":"UR","Value":["${retrieveURL}"]},${tail}}`;
    }
    return JSON.stringify(this.dataSet(retrieveURL, more));
  }

  /** The result as a data set, in tag order. */
  dataSet(retrieveURL: string, more: ReadonlySet<string> | 'all'): DataSet {
    const { head, tail } = this.#line;
    const all: DataSet = JSON.parse(`{${head},"00081190":{"vr":"UR","Value":["${retrieveURL}"]},${tail}}`);
    const rest = this.#parsedRest();
    for (const tag of more === 'all' ? Object.keys(rest) : more) {
      const element = rest[tag];
      if (element !== undefined) all[tag] = element;
    }
    return inTagOrder(all);
  }

  #parsedRest(): DataSet {
    this.#rest ??= JSON.parse(`{${this.#line.rest}}`) as DataSet;
    return this.#rest;
  }
}

/** `"GGGGEEEE":{"vr":"` of one member, and where the next one is told apart from it */
const NEXT_MEMBER = '":{"vr":"';
const MEMBER_START = 12;

export function inTagOrder(dataSet: DataSet): DataSet {
  const ordered: DataSet = {};
  for (const tag of Object.keys(dataSet).sort()) ordered[tag] = dataSet[tag] as Element;
  return ordered;
}
