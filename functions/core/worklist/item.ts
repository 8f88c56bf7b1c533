import { attribute, vrOf } from '../dicom/dictionary.ts';
import { textOf } from '../dicom/element-text.ts';
import type { DataSet, Element } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import { isUID, newUID, newVersion } from '../ids.ts';
import type { Clock } from '../ports/clock.ts';
import { dateDigits, timeDigits } from '../search/values.ts';
import { WORKLIST_TAG as TAG, type WorklistState } from './records.ts';

/** Return keys of type 1 (PS3.4 Table K.6-1): an answer must have a value for them, so an item must. */
const REQUIRED = [TAG.PatientName, TAG.PatientID, TAG.StudyInstanceUID, TAG.RequestedProcedureID] as const;
const REQUIRED_OF_STEP = [
  TAG.Modality,
  TAG.ScheduledStationAETitle,
  TAG.ScheduledProcedureStepStartDate,
  TAG.ScheduledProcedureStepStartTime,
  TAG.ScheduledProcedureStepID,
] as const;
/** type 1C: one of each pair */
const ONE_OF = [[TAG.RequestedProcedureDescription, TAG.RequestedProcedureCodeSequence]] as const;
const ONE_OF_STEP = [[TAG.ScheduledProcedureStepDescription, TAG.ScheduledProtocolCodeSequence]] as const;

/** ScheduledProcedureStepStatus (0040,0020), defined terms of PS3.3 C.4.10; before the start the scheduler's own word stands */
const STATUS: Readonly<Record<WorklistState, string>> = {
  SCHEDULED: 'SCHEDULED',
  'IN PROGRESS': 'STARTED',
  COMPLETED: 'DEPARTED',
  DISCONTINUED: 'DEPARTED',
  CANCELED: 'CANCELED',
};
const BEFORE_START = new Set(['SCHEDULED', 'ARRIVED', 'READY']);

const DEPTH = 8;
const VALUES = new Set(['string', 'number']);

/**
 * What a person or a program hands in, as an item: identifiers that the scheduler left open are given (StudyInstanceUID,
 * RequestedProcedureID, ScheduledProcedureStepID), the character set is that of JSON.
 * @throws PacsError BAD_REQUEST naming the tag that is missing, malformed or of another VR
 */
export function worklistItemOf(clock: Clock, given: DataSet): { dataSet: DataSet; startsAt: string } {
  checkForm(given, 0);
  const { [TAG.SpecificCharacterSet]: _, ...rest } = given;
  const steps = (rest[TAG.ScheduledProcedureStepSequence]?.Value ?? []) as DataSet[];
  if (steps.length !== 1) throw refusal(TAG.ScheduledProcedureStepSequence, 'must have one item');
  const code = (): string => newVersion(clock).slice(-16);
  const step: DataSet = withDefault(steps[0]!, TAG.ScheduledProcedureStepID, 'SH', code);
  let dataSet: DataSet = { ...rest, [TAG.ScheduledProcedureStepSequence]: { vr: 'SQ', Value: [step] } };
  dataSet = withDefault(dataSet, TAG.StudyInstanceUID, 'UI', () => newUID(clock));
  dataSet = withDefault(dataSet, TAG.RequestedProcedureID, 'SH', code);
  require(dataSet, REQUIRED, ONE_OF);
  require(step, REQUIRED_OF_STEP, ONE_OF_STEP);
  if (!isUID(textOf(dataSet[TAG.StudyInstanceUID]))) throw refusal(TAG.StudyInstanceUID, 'is not a UID');
  const date = dateDigits(textOf(step[TAG.ScheduledProcedureStepStartDate]));
  if (date === undefined) throw refusal(TAG.ScheduledProcedureStepStartDate, 'is not a date');
  const time = timeDigits(textOf(step[TAG.ScheduledProcedureStepStartTime]));
  if (time === undefined) throw refusal(TAG.ScheduledProcedureStepStartTime, 'is not a time');
  return { dataSet, startsAt: date + time.slice(0, 6).padEnd(6, '0') };
}

/** The item of the one scheduled procedure step. */
export const scheduledStep = (dataSet: DataSet): DataSet =>
  (dataSet[TAG.ScheduledProcedureStepSequence]?.Value?.[0] ?? {}) as DataSet;

/** The data set as it stands in a state: its ScheduledProcedureStepStatus says so. */
export function inState(dataSet: DataSet, state: WorklistState): DataSet {
  const step = scheduledStep(dataSet);
  const said = textOf(step[TAG.ScheduledProcedureStepStatus]);
  if (state === 'SCHEDULED' && BEFORE_START.has(said)) return dataSet;
  const status: Element = { vr: 'CS', Value: [STATUS[state]] };
  const Value = [{ ...step, [TAG.ScheduledProcedureStepStatus]: status }];
  return { ...dataSet, [TAG.ScheduledProcedureStepSequence]: { vr: 'SQ', Value } };
}

function withDefault(dataSet: DataSet, tag: string, vr: string, make: () => string): DataSet {
  return textOf(dataSet[tag]) === '' ? { ...dataSet, [tag]: { vr, Value: [make()] } } : dataSet;
}

const hasValue = (element: Element | undefined): boolean =>
  element?.vr === 'SQ' ? (element.Value?.length ?? 0) > 0 : textOf(element).trim() !== '';

function require(dataSet: DataSet, tags: readonly string[], choices: readonly (readonly [string, string])[]): void {
  for (const tag of tags) if (!hasValue(dataSet[tag])) throw refusal(tag, 'is required');
  for (const [one, other] of choices)
    if (!hasValue(dataSet[one]) && !hasValue(dataSet[other])) throw refusal(one, `or ${keywordOf(other)} is required`);
}

const keywordOf = (tag: string): string => attribute(tag)?.keyword ?? tag;

const refusal = (tag: string, what: string): PacsError =>
  new PacsError('BAD_REQUEST', `${keywordOf(tag)} ${what}`, { details: { tag } });

/**
 * That what came as JSON is a data set of the DICOM JSON Model, with the VRs of the dictionary and without bulk data.
 * @throws PacsError BAD_REQUEST
 */
export function checkForm(dataSet: unknown, depth = 0): asserts dataSet is DataSet {
  const malformed = (tag?: string): PacsError =>
    new PacsError(
      'BAD_REQUEST',
      'this is no data set of the DICOM JSON Model',
      tag === undefined ? {} : { details: { tag } },
    );
  if (typeof dataSet !== 'object' || dataSet === null || Array.isArray(dataSet) || depth > DEPTH) throw malformed();
  for (const [tag, element] of Object.entries(dataSet) as [string, Partial<Element> | null][]) {
    if (!/^[0-9A-F]{8}$/.test(tag)) throw malformed();
    if (typeof element !== 'object' || element === null || typeof element.vr !== 'string') throw malformed(tag);
    const known = vrOf(tag);
    if (known !== 'UN' && known !== element.vr) throw refusal(tag, `has the VR ${known}`);
    if (element.BulkDataURI !== undefined || element.bulk !== undefined) throw malformed(tag);
    if (element.Value !== undefined && !Array.isArray(element.Value)) throw malformed(tag);
    for (const value of element.Value ?? []) {
      // An item that is empty is an object that is (PS3.18 §F.2.5).
      if (element.vr === 'SQ') checkForm(value, depth + 1);
      else if (element.vr === 'PN') checkName(value, tag);
      else if (value !== null && !VALUES.has(typeof value)) throw malformed(tag);
    }
  }
}

function checkName(value: unknown, tag: string): void {
  const groups = typeof value === 'object' && value !== null ? Object.entries(value) : undefined;
  const isName =
    value === null ||
    groups?.every(([name, text]) => /^(Alphabetic|Ideographic|Phonetic)$/.test(name) && typeof text === 'string');
  if (!isName) throw refusal(tag, 'is not a person name of the DICOM JSON Model');
}
