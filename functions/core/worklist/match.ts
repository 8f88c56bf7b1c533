import { attribute, vrOf } from '../dicom/dictionary.ts';
import { textOf } from '../dicom/element-text.ts';
import type { DataSet, Element } from '../dicom/types.ts';
import { combineDateAndTime, keyOf } from '../search/keys.ts';
import { type Condition, elementsOf, matchesAll } from '../search/match.ts';
import { dataSetInZone, daysOff, nearDay } from '../search/timezone.ts';
import { WORKLIST_TAG as TAG, type WorklistItem, type WorklistState } from './records.ts';

/** Of an identifier, but no key of anything: SpecificCharacterSet, and a QueryRetrieveLevel that some modalities send. */
const CONTROL: ReadonlySet<string> = new Set([TAG.SpecificCharacterSet, '00080052']);
/** Says in which zone the keys are meant, where that was negotiated; what it is answered with is the item's. */
const TIMEZONE = '00080201';
/** What is over drops out of the worklist, unless the query asks for a status. */
const OPEN: ReadonlySet<WorklistState> = new Set(['SCHEDULED', 'IN PROGRESS']);

/** What a query may depend on of an item. */
export type WorklistEntry = Pick<WorklistItem, 'state' | 'startsAt' | 'dataSet'>;

/** A query of the worklist, as data: which items to look at, and what to make of them. */
export interface WorklistQuery {
  /** bounds of `startsAt`, inclusive, as far as the keys give them; of equal or less precision */
  readonly from?: string;
  readonly to?: string;
  readonly matches: (entry: WorklistEntry) => boolean;
  /** the keys that were asked for, with the values of the item; empty where it has none */
  readonly resultOf: (dataSet: DataSet) => DataSet;
}

export interface WorklistPolicy {
  /** items that start before this are not answered unless dates are asked for (`YYYYMMDDHHMMSS`) */
  readonly notBefore?: string;
  /** names match by their sound as well: negotiated (PS3.4 K.4.1.1.4) */
  readonly fuzzy?: boolean;
  /** also what is over */
  readonly anyState?: boolean;
  /** dates and times of keys and answers are those of this zone, in minutes east of UTC: negotiated (PS3.4 K.4.1.1.5) */
  readonly zoneMinutes?: number;
}

/**
 * Matching of the Modality Worklist Information Model (PS3.4 K.2.2.1, K.6.1.2.2; C.2.2.2). Every attribute of an item may be a key. The
 * scheduled date and time are one moment when both are ranges. Person names match without regard to case and accents.
 * @throws PacsError BAD_REQUEST naming the key whose value is malformed
 */
export function worklistQuery(identifier: DataSet, policy: WorklistPolicy = {}): WorklistQuery {
  const conditions = conditionsOf(identifier, policy.fuzzy ?? false);
  const zone = policy.zoneMinutes;
  const seen = (dataSet: DataSet): DataSet => (zone === undefined ? dataSet : dataSetInZone(dataSet, zone));
  const dates = startsWithin(conditions, zone);
  const anyState = policy.anyState === true || asksForStatus(conditions);
  const from = dates === undefined ? policy.notBefore : dates.from;
  return {
    ...(from !== undefined && { from }),
    ...(dates?.to !== undefined && { to: dates.to }),
    matches: ({ state, startsAt, dataSet }) =>
      (anyState || OPEN.has(state)) &&
      (from === undefined || startsAt >= from) &&
      matchesAll(conditions, elementsOf(seen(dataSet))),
    resultOf: (dataSet) => resultOf(identifier, seen(dataSet)),
  };
}

/** The answers to an identifier, from items that somebody keeps: what the archive would answer from the same ones. @throws as worklistQuery */
export function matchWorklist(
  items: Iterable<WorklistEntry>,
  identifier: DataSet,
  policy: WorklistPolicy = {},
): DataSet[] {
  const query = worklistQuery(identifier, policy);
  const found = [...items].filter(query.matches).sort((a, b) => (a.startsAt < b.startsAt ? -1 : 1));
  return found.map(({ dataSet }) => query.resultOf(dataSet));
}

function conditionsOf(keys: DataSet, fuzzy: boolean): Condition[] {
  const flat: { keyword: string; condition: Condition }[] = [];
  const sequences: Condition[] = [];
  for (const [tag, element] of Object.entries(keys)) {
    if (CONTROL.has(tag) || tag === TIMEZONE || tag.endsWith('0000')) continue;
    if (element.vr === 'SQ') {
      const [item] = (element.Value ?? []) as (DataSet | null)[];
      const conditions = conditionsOf(item ?? {}, fuzzy);
      if (conditions.length > 0) sequences.push({ tag, key: { kind: 'sequence', conditions } });
      continue;
    }
    const known = attribute(tag) ?? { tag, keyword: '', vr: element.vr, vm: '1-n' };
    const options = { fuzzy, emptyMatching: false, multiple: false };
    const key = keyOf(known.keyword || tag, known, textOf(element), options);
    if (key !== undefined) flat.push({ keyword: known.keyword, condition: { tag, key } });
  }
  return [...combineDateAndTime(flat), ...sequences];
}

const ofStep = (conditions: readonly Condition[], tag: string): Condition | undefined => {
  const step = conditions.find((one) => one.tag === TAG.ScheduledProcedureStepSequence)?.key;
  return step?.kind === 'sequence' ? step.conditions.find((one) => one.tag === tag) : undefined;
};

const asksForStatus = (conditions: readonly Condition[]): boolean =>
  ofStep(conditions, TAG.ScheduledProcedureStepStatus) !== undefined;

/** The days, or moments, that the scheduled date is asked for. */
function boundsOf(conditions: readonly Condition[]): { from?: string; to?: string } | undefined {
  const key = ofStep(conditions, TAG.ScheduledProcedureStepStartDate)?.key;
  if (key?.kind !== 'range' && key?.kind !== 'dateAndTime') return undefined;
  const { from, to } = key;
  // `startsAt` has whole seconds; digits of fractions are left to the condition itself.
  return { ...(from !== undefined && { from: from.slice(0, 14) }), ...(to !== undefined && { to: to.slice(0, 14) }) };
}

/** The same of `startsAt`, which is local to each item: whole days, as many wider as the zones may be apart. */
function startsWithin(
  conditions: readonly Condition[],
  zone: number | undefined,
): { from?: string; to?: string } | undefined {
  const bounds = boundsOf(conditions);
  if (bounds === undefined || zone === undefined) return bounds;
  const { from, to } = bounds;
  const days = daysOff(zone);
  return {
    ...(from !== undefined && { from: nearDay(from.slice(0, 8), -days) }),
    ...(to !== undefined && { to: nearDay(to.slice(0, 8), days) }),
  };
}

/** PS3.4 K.2.2.1.2: the keys asked for; a sequence without an item, or with an empty one, asks for all of its items. */
function resultOf(keys: DataSet, found: DataSet): DataSet {
  const result: DataSet = {};
  for (const [tag, asked] of Object.entries(keys)) {
    if (CONTROL.has(tag) || tag.endsWith('0000')) continue;
    // The zone that was asked about is no value of an item that names none.
    if (tag === TIMEZONE && found[tag] === undefined) continue;
    result[tag] = answerOf(tag, asked, found[tag]);
  }
  return result;
}

function answerOf(tag: string, asked: Element, found: Element | undefined): Element {
  if (found === undefined) {
    const known = vrOf(tag);
    return { vr: known === 'UN' ? asked.vr : known };
  }
  const [item] = (asked.Value ?? []) as (DataSet | null)[];
  if (found.vr !== 'SQ' || item === undefined || item === null || Object.keys(item).length === 0) return found;
  return { vr: 'SQ', Value: ((found.Value ?? []) as DataSet[]).map((each) => resultOf(item, each)) };
}
