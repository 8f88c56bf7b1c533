import type { StudyRecord } from '../archive/records.ts';
import type { DataSet, Element } from '../dicom/types.ts';
import type { Item } from '../ports/index-table.ts';
import { ATTRIBUTES } from './attributes.ts';
import { dateKey, timeKey } from './values.ts';

/**
 * The study list: one line per study, ordered by date, time and UID, written in the same atomic write as the study's
 * record. A page of search results is one range read of it, and each line holds its result ready as JSON text.
 */
export interface StudyLine {
  /** members of the result's JSON object with tags below RetrieveURL (0008,1190), without braces: of the default result */
  readonly head: string;
  /** those above it */
  readonly tail: string;
  /** members that are returned only when asked for; '' when there are none */
  readonly rest: string;
}

export const RETRIEVE_URL = '00081190';

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
  const ordered: DataSet = {};
  for (const tag of Object.keys(all).sort()) ordered[tag] = all[tag] as Element;
  return ordered;
}

const BY_DEFAULT = new Map(
  ATTRIBUTES.study.filter((row) => row.byDefault && row.tag !== RETRIEVE_URL).map((row) => [row.tag, row.vr]),
);

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
  return { head, tail, rest };
}
