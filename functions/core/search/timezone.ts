import { type Attribute, attribute } from '../dicom/dictionary.ts';
import { textOf } from '../dicom/element-text.ts';
import type { DataSet, Element } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import { keyOf } from './keys.ts';
import { type Condition, type Elements, matchesAll } from './match.ts';
import { dateTimeInZone, momentOf, movedBy, offsetMinutes, offsetText, ZONES } from './offset.ts';
import type { Query } from './query.ts';

/**
 * Timezone query adjustment (PS3.4 C.2.2.2.1.3; PS3.18 §8.3.4.1): keys and answers of a query read in the time zone that its TimezoneOffsetFromUTC names,
 * whatever zone the objects were made in. An object that states no offset is taken at its word: nobody knows what its clock showed.
 */
const TIMEZONE = '00080201';
const DAY_MS = 86_400_000;

/** What a match says, with its dates and times as clocks of that zone would have shown them. */
export const inZone =
  (elements: Elements, zoneMinutes: number): Elements =>
  (tag) => {
    const element = elements(tag);
    if (tag === TIMEZONE) {
      const known = offsetMinutes(textOf(element)) !== undefined;
      return known ? { vr: 'SH', Value: [offsetText(zoneMinutes)] } : undefined;
    }
    if (element?.Value === undefined) return element;
    if (element.vr === 'SQ') return itemsInZone(element, zoneMinutes, elements(TIMEZONE));
    if (element.vr !== 'DA' && element.vr !== 'TM' && element.vr !== 'DT') return element;
    const own = offsetMinutes(textOf(elements(TIMEZONE)));
    if (element.vr === 'DT') return mapped(element, (text) => dateTimeInZone(text, own, zoneMinutes));
    const other = siblingOf(tag);
    if (own === undefined || own === zoneMinutes || other === undefined) return element;
    const others = (elements(other)?.Value ?? []) as unknown[];
    return mapped(element, (text, i) => {
      const paired = String(others[i] ?? '').trim();
      const [date, time] = element.vr === 'DA' ? [text, paired] : [paired, text];
      const moved = movedBy(date, time, zoneMinutes - own);
      return moved === undefined ? text : element.vr === 'DA' ? (moved.date ?? text) : moved.time;
    });
  };

/** A whole data set so; what its sequences hold is read by its own offset, unless an item states another. */
export function dataSetInZone(dataSet: DataSet, zoneMinutes: number, offset: Element | undefined = undefined): DataSet {
  const own = dataSet[TIMEZONE] ?? offset;
  const elements = inZone((tag) => (tag === TIMEZONE ? own : dataSet[tag]), zoneMinutes);
  const seen: DataSet = {};
  for (const tag of Object.keys(dataSet)) {
    const moved = elements(tag);
    if (moved !== undefined) seen[tag] = moved;
  }
  return seen;
}

const itemsInZone = (element: Element, zoneMinutes: number, offset: Element | undefined): Element => ({
  ...element,
  Value: element.Value!.map((item) => dataSetInZone((item ?? {}) as DataSet, zoneMinutes, offset)),
});

const mapped = (element: Element, change: (text: string, i: number) => string): Element => ({
  ...element,
  Value: element.Value!.map((value, i) => (typeof value === 'string' ? change(value.trim(), i) : value)),
});

/** StudyTime of StudyDate, and the other way round. A birthday is what the papers say: it has no zone. */
function siblingOf(tag: string): string | undefined {
  const keyword = attribute(tag)?.keyword ?? '';
  if (keyword.startsWith('PatientBirth')) return undefined;
  if (keyword.endsWith('Date')) return attribute(`${keyword.slice(0, -4)}Time`)?.tag;
  return keyword.endsWith('Time') ? attribute(`${keyword.slice(0, -4)}Date`)?.tag : undefined;
}

/** How many days off a date may be that was written in another zone: two, where the farthest zone is more than 24 hours away. */
export const daysOff = (zoneMinutes: number): number =>
  zoneMinutes - ZONES.least > 24 * 60 || ZONES.greatest - zoneMinutes > 24 * 60 ? 2 : 1;

/** The day that stands so many days from one of `YYYYMMDD`; itself, where there is no such day. */
export function nearDay(day: string, days: number): string {
  const ms = momentOf(day, '000000');
  return Number.isNaN(ms) ? day : new Date(ms + days * DAY_MS).toISOString().slice(0, 10).replaceAll('-', '');
}

/**
 * Keys that find all that may match in whatever zone it was made: dates a day or two wider, times left open. Asks for what `inZone`
 * needs. What they find is to be matched again: see `zoneMatcher`.
 */
export const widened = (identifier: DataSet, zoneMinutes: number): DataSet => ({
  ...widenedKeys(identifier, daysOff(zoneMinutes)),
  [TIMEZONE]: { vr: 'SH' },
});

/** Keys of items too: they are read by the clocks of the same zone. */
function widenedKeys(identifier: DataSet, days: number): DataSet {
  const wide: DataSet = { ...identifier };
  for (const [tag, element] of Object.entries(identifier)) {
    const vr = attribute(tag)?.vr ?? element.vr;
    if (element.vr === 'SQ' && element.Value !== undefined) {
      wide[tag] = { vr, Value: element.Value.map((item) => widenedKeys((item ?? {}) as DataSet, days)) };
    }
    if (vr === 'DT') wide[tag] = { vr };
    const other = vr === 'DA' || vr === 'TM' ? siblingOf(tag) : undefined;
    if (other === undefined) continue;
    if (vr === 'TM') wide[tag] = { vr };
    else wide[tag] = { vr, ...(textOf(element) !== '' && { Value: [wider(tag, textOf(element), days)] }) };
    wide[other] ??= { vr: vr === 'DA' ? 'TM' : 'DA' };
  }
  return wide;
}

/** The parameters of a QIDO-RS request so, without the time zone itself. @throws PacsError BAD_REQUEST */
export function widenedParameters(parameters: URLSearchParams, zoneMinutes: number): URLSearchParams {
  const wide = new URLSearchParams();
  const timed: DataSet = {};
  for (const [name, value] of withoutZone(parameters)) {
    const fields = name === 'includefield' ? value.split(',') : [];
    for (const found of fields.map(attribute)) if (isTime(found)) timed[found.tag] ??= { vr: found.vr };
    const found = attribute(name);
    // Two quotation marks ask for what has no value: that is the same in every zone.
    if (value === '""') wide.append(name, value);
    else if (isTime(found)) timed[found.tag] = { vr: found.vr, ...(value !== '' && { Value: [value] }) };
    else wide.append(name, ofItem(name, value, zoneMinutes));
  }
  for (const [tag, element] of Object.entries(widened(timed, zoneMinutes))) wide.append(tag, textOf(element));
  return wide;
}

/** The key on an attribute of a sequence's items (`00400275.00400002`), widened where it is a date or a time. */
function ofItem(path: string, text: string, zoneMinutes: number): string {
  const [leaf, ...sequences] = path.split('.').reverse();
  const found = attribute(leaf!);
  if (sequences.length === 0 || !isTime(found)) return text;
  return textOf(widenedKeys({ [found.tag]: { vr: found.vr, Value: [text] } }, daysOff(zoneMinutes))[found.tag]);
}

const isTime = (found: Attribute | undefined): found is Attribute =>
  found !== undefined && (found.vr === 'DA' || found.vr === 'TM' || found.vr === 'DT');

/** The parameters without the time zone: it is how dates and times are meant, and nothing to be matched. */
export const withoutZone = (parameters: URLSearchParams): URLSearchParams =>
  new URLSearchParams([...parameters].filter(([name]) => attribute(name)?.tag !== TIMEZONE));

/** The offset that a QIDO-RS request names, in minutes. @throws PacsError BAD_REQUEST when it is none */
export function zoneOfParameters(parameters: URLSearchParams): number | undefined {
  const text = parameters.get('TimezoneOffsetFromUTC') ?? parameters.get(TIMEZONE) ?? '';
  if (text.trim() === '') return undefined;
  // A `+` that was not percent-encoded arrives as a blank.
  const minutes = offsetMinutes(text.replace(/^ (?=\d)/, '+'));
  if (minutes !== undefined) return minutes;
  throw new PacsError('BAD_REQUEST', 'TimezoneOffsetFromUTC is no offset', {
    details: { parameter: 'TimezoneOffsetFromUTC' },
  });
}

/** @throws PacsError BAD_REQUEST when it is no date or range of dates */
function wider(tag: string, text: string, days: number): string {
  const key = keyOf(tag, attribute(tag)!, text, { fuzzy: false, emptyMatching: false, multiple: false });
  if (key?.kind !== 'range') return text;
  const near = (day: string | undefined, by: number): string => (day === undefined ? '' : nearDay(day, by));
  return `${near(key.from, -days)}-${near(key.to, days)}`;
}

/** Whether what a match says in the zone of the query meets the keys on dates and times that the query had. */
export function zoneMatcher(query: Query): (elements: Elements) => boolean {
  const timed = timedConditions(query);
  return (elements) => matchesAll(timed, elements);
}

/** The conditions of a query that mean something else in another zone. */
export const timedConditions = ({ conditions, metadataConditions }: Query): Condition[] =>
  [...conditions.study, ...conditions.series, ...conditions.instance, ...metadataConditions].filter(isTimed);

const isTimed = ({ tag, key }: Condition): boolean =>
  (key.kind === 'sequence' && key.conditions.some(isTimed)) ||
  key.kind === 'dateAndTime' ||
  (key.kind === 'range' && (key.of === 'dateTime' || siblingOf(tag) !== undefined));
