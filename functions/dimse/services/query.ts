import { vrOf } from '#core/dicom/dictionary.ts';
import { textOf } from '#core/dicom/element-text.ts';
import type { DataSet, Element } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import type { Limits } from '#core/limits.ts';
import type { Level } from '#core/search/attributes.ts';
import { parseQuery, type Query } from '#core/search/query.ts';
import { PATIENT_ROOT_FIND, PATIENT_ROOT_GET, PATIENT_ROOT_MOVE } from '../sop-classes.ts';

/** bytes of the extended negotiation of C-FIND (PS3.4 C.5.1.1, K.5.1) */
export const DATE_TIME_BYTE = 1;
export const FUZZY_BYTE = 2;
export const TIMEZONE_BYTE = 3;
export const EMPTY_VALUE_BYTE = 5;
export const MULTIPLE_VALUE_BYTE = 6;

/** QueryRetrieveLevel (0008,0052) */
export type QueryLevel = 'PATIENT' | 'STUDY' | 'SERIES' | 'IMAGE';

export const TAG = {
  SpecificCharacterSet: '00080005',
  SOPInstanceUID: '00080018',
  QueryRetrieveLevel: '00080052',
  RetrieveAETitle: '00080054',
  InstanceAvailability: '00080056',
  FailedSOPInstanceUIDList: '00080058',
  TimezoneOffsetFromUTC: '00080201',
  PatientName: '00100010',
  PatientID: '00100020',
  IssuerOfPatientID: '00100021',
  PatientBirthDate: '00100030',
  StudyInstanceUID: '0020000D',
  SeriesInstanceUID: '0020000E',
} as const;

/** Of the identifier, but no key of anything. */
const CONTROL: ReadonlySet<string> = new Set([
  TAG.SpecificCharacterSet,
  TAG.QueryRetrieveLevel,
  TAG.RetrieveAETitle,
  TAG.TimezoneOffsetFromUTC,
]);

/** The unique key of each level (PS3.4 C.6.1.1, C.6.2.1). */
export const UNIQUE_KEY: Readonly<Record<QueryLevel, string>> = {
  PATIENT: TAG.PatientID,
  STUDY: TAG.StudyInstanceUID,
  SERIES: TAG.SeriesInstanceUID,
  IMAGE: TAG.SOPInstanceUID,
};

/** The records that are searched; patients are found by their studies. */
export const RECORD_LEVEL: Readonly<Record<QueryLevel, Level>> = {
  PATIENT: 'study',
  STUDY: 'study',
  SERIES: 'series',
  IMAGE: 'instance',
};

const PATIENT_ROOTS: ReadonlySet<string> = new Set([PATIENT_ROOT_FIND, PATIENT_ROOT_MOVE, PATIENT_ROOT_GET]);

/** @throws PacsError DATASET_MISMATCH (A900) where the information model has no such level */
export function levelOf(identifier: DataSet, SOPClassUID: string): QueryLevel {
  const level = textOf(identifier[TAG.QueryRetrieveLevel]);
  if (level === 'STUDY' || level === 'SERIES' || level === 'IMAGE') return level;
  if (level === 'PATIENT' && PATIENT_ROOTS.has(SOPClassUID)) return level;
  throw new PacsError('DATASET_MISMATCH', 'QueryRetrieveLevel is none of this information model');
}

/** What an SCU and we have agreed on beyond plain matching; absent: not. */
export interface Matching {
  readonly fuzzy: boolean;
  readonly combinedTimes?: boolean;
  /** `""` asks for absent values (PS3.4 C.2.2.2.7) */
  readonly emptyValues?: boolean;
  /** `\\` parts alternatives (PS3.4 C.2.2.2.8) */
  readonly multipleValues?: boolean;
}

/**
 * The query of an identifier: each of its elements asks for a value back; one that is not empty is a key (PS3.4 C.2.2.2).
 * @param only tags that count as keys; all where absent
 * @throws PacsError DATASET_MISMATCH (A900) where a key is malformed
 */
export function queryOf(
  identifier: DataSet,
  level: QueryLevel,
  limits: Limits,
  options: Matching & { readonly only?: ReadonlySet<string> },
): Query {
  const parameters = new URLSearchParams();
  addKeys(parameters, identifier, '', options.only);
  if (options.fuzzy) parameters.set('fuzzymatching', 'true');
  if (options.emptyValues) parameters.set('emptyvaluematching', 'true');
  if (options.multipleValues) parameters.set('multiplevaluematching', 'true');
  try {
    return parseQuery(parameters, { level: RECORD_LEVEL[level], separateTimes: !options.combinedTimes }, limits);
  } catch (error) {
    if (!(error instanceof PacsError) || error.code !== 'BAD_REQUEST') throw error;
    throw new PacsError('DATASET_MISMATCH', error.message, { cause: error, details: { ...error.details } });
  }
}

function addKeys(
  parameters: URLSearchParams,
  dataSet: DataSet,
  prefix: string,
  only: ReadonlySet<string> | undefined,
): void {
  for (const [tag, element] of Object.entries(dataSet)) {
    if (prefix === '' && (CONTROL.has(tag) || (only !== undefined && !only.has(tag)))) continue;
    if (tag.endsWith('0000')) continue;
    const path = `${prefix}${tag}`;
    if (element.vr !== 'SQ') parameters.append(path, textOf(element));
    else {
      const [item] = (element.Value ?? []) as DataSet[];
      if (item === undefined || Object.keys(item).length === 0) parameters.append(path, '');
      else addKeys(parameters, item, `${path}.`, undefined);
    }
  }
}

/** The element of a result, with the VR that the tag has; empty where the archive knows the attribute and has no value. */
export function answered(asked: Element, tag: string, found: Element | undefined): Element {
  if (found === undefined) return { vr: asked.vr === 'UN' ? vrOf(tag) : asked.vr };
  if (found.vr !== 'SQ' || found.Value === undefined) return found;
  const [item] = (asked.Value ?? []) as DataSet[];
  const wanted = item === undefined ? [] : Object.keys(item);
  if (wanted.length === 0) return found;
  return {
    vr: 'SQ',
    Value: (found.Value as DataSet[]).map((each) =>
      Object.fromEntries(wanted.map((inner) => [inner, answered(item![inner]!, inner, each[inner])])),
    ),
  };
}
