import { attribute } from '../dicom/dictionary.ts';
import { textOf } from '../dicom/element-text.ts';
import type { DataSet, Element } from '../dicom/types.ts';
import { keyOf } from './keys.ts';
import { type Condition, type Elements, matchesAll } from './match.ts';
import type { Query } from './query.ts';
import { dateDigits, dateTimeDigits, timeDigits } from './values.ts';

/**
 * Timezone query adjustment (PS3.4 C.2.2.2.1.3): keys and answers of a query read in the time zone that its TimezoneOffsetFromUTC names,
 * whatever zone the objects were made in. An object that states no offset is taken at its word: nobody knows what its clock showed.
 */
const TIMEZONE = '00080201';
const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
/** The earliest and the latest zone there are (PS3.3 C.12.1.1.8), in minutes. */
const ZONES = { least: -12 * 60, greatest: 14 * 60 };

/** Minutes east of UTC: `+0130` is 90; undefined when the text is no offset. */
export function offsetMinutes(text: string): number | undefined {
  const match = /^([+-])(\d\d)([0-5]\d)$/.exec(text.trim());
  if (match === null || match[0] === '-0000') return undefined;
  const minutes = (Number(match[2]) * 60 + Number(match[3])) * (match[1] === '-' ? -1 : 1);
  return minutes >= ZONES.least && minutes <= ZONES.greatest ? minutes : undefined;
}

const offsetText = (minutes: number): string => {
  const size = Math.abs(minutes);
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(size / 60))}${two(size % 60)}`;
};
const two = (value: number): string => String(value).padStart(2, '0');

/** What a match says, with its dates and times as clocks of that zone would have shown them. */
export const inZone =
  (elements: Elements, zoneMinutes: number): Elements =>
  (tag) => {
    const element = elements(tag);
    if (tag === TIMEZONE) {
      const known = offsetMinutes(textOf(element)) !== undefined;
      return known ? { vr: 'SH', Value: [offsetText(zoneMinutes)] } : undefined;
    }
    if (element?.Value === undefined || !(element.vr === 'DA' || element.vr === 'TM' || element.vr === 'DT'))
      return element;
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
  for (const [tag, element] of Object.entries(dataSet)) {
    const moved = element.vr === 'SQ' ? itemsInZone(element, zoneMinutes, own) : elements(tag);
    if (moved !== undefined) seen[tag] = moved;
  }
  return seen;
}

const itemsInZone = (element: Element, zoneMinutes: number, offset: Element | undefined): Element =>
  element.Value === undefined
    ? element
    : { ...element, Value: element.Value.map((item) => dataSetInZone((item ?? {}) as DataSet, zoneMinutes, offset)) };

const mapped = (element: Element, change: (text: string, i: number) => string): Element => ({
  ...element,
  Value: element.Value!.map((value, i) => (typeof value === 'string' ? change(value.trim(), i) : value)),
});

/** `date` may be absent: the time of day alone is moved. undefined: the time says nothing, and so nothing is moved. */
function movedBy(date: string, time: string, minutes: number): { date: string | undefined; time: string } | undefined {
  const digits = timeDigits(time);
  if (digits === undefined) return undefined;
  const day = dateDigits(date);
  const [whole, fraction = ''] = [digits.slice(0, 6), digits.slice(6)];
  const moment = new Date(momentOf(day ?? '20000101', whole.padEnd(6, '0')) + minutes * MINUTE_MS).toISOString();
  // As precise as before; an offset that is no whole hour needs the minutes.
  const precision = whole.length === 2 && minutes % 60 !== 0 ? 4 : whole.length;
  const movedTime = moment.slice(11, 19).replaceAll(':', '').slice(0, precision);
  return {
    date: day === undefined ? undefined : moment.slice(0, 10).replaceAll('-', ''),
    time: fraction === '' ? movedTime : `${movedTime}.${fraction}`,
  };
}

const momentOf = (day: string, time: string): number =>
  Date.parse(
    `${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)}T${time.slice(0, 2)}:${time.slice(2, 4)}:${time.slice(4, 6)}Z`,
  );

/** A value with an offset of its own is read by that; one without a time of day is a date, and stays. */
function dateTimeInZone(text: string, own: number | undefined, zone: number): string {
  const from = /[+-]\d{4}$/.test(text) ? offsetMinutes(text.slice(-5)) : own;
  const digits = dateTimeDigits(text);
  if (from === undefined || from === zone || digits === undefined || digits.length < 10)
    return from === zone ? text.replace(/[+-]\d{4}$/, '') : text;
  const moved = movedBy(digits.slice(0, 8), digits.slice(8), zone - from);
  return moved?.date === undefined ? text : moved.date + moved.time;
}

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

/** The day that stands so many days from one of `YYYYMMDD`. */
export const nearDay = (day: string, days: number): string =>
  new Date(momentOf(day, '000000') + days * DAY_MS).toISOString().slice(0, 10).replaceAll('-', '');

/**
 * Keys that find all that may match in whatever zone it was made: dates a day or two wider, times left open. Asks for what `inZone`
 * needs. What they find is to be matched again: see `zoneMatcher`.
 */
export function widened(identifier: DataSet, zoneMinutes: number): DataSet {
  const days = daysOff(zoneMinutes);
  const wide: DataSet = { ...identifier, [TIMEZONE]: { vr: 'SH' } };
  for (const [tag, element] of Object.entries(identifier)) {
    const vr = attribute(tag)?.vr ?? element.vr;
    if (vr === 'DT') wide[tag] = { vr };
    const other = vr === 'DA' || vr === 'TM' ? siblingOf(tag) : undefined;
    if (other === undefined) continue;
    if (vr === 'TM') wide[tag] = { vr };
    else wide[tag] = { vr, ...(textOf(element) !== '' && { Value: [wider(tag, textOf(element), days)] }) };
    wide[other] ??= { vr: vr === 'DA' ? 'TM' : 'DA' };
  }
  return wide;
}

/** @throws PacsError BAD_REQUEST when it is no date or range of dates */
function wider(tag: string, text: string, days: number): string {
  const key = keyOf(tag, attribute(tag)!, text, { fuzzy: false, emptyMatching: false, multiple: false });
  if (key?.kind !== 'range') return text;
  const near = (day: string | undefined, by: number): string => (day === undefined ? '' : nearDay(day, by));
  return `${near(key.from, -days)}-${near(key.to, days)}`;
}

/** Whether what a match says in the zone of the query meets the keys on dates and times that the query had. */
export function zoneMatcher({ conditions, metadataConditions }: Query): (elements: Elements) => boolean {
  const all = [...conditions.study, ...conditions.series, ...conditions.instance, ...metadataConditions];
  const timed = all.filter(isTimed);
  return (elements) => matchesAll(timed, elements);
}

const isTimed = ({ tag, key }: Condition): boolean =>
  key.kind === 'dateAndTime' || (key.kind === 'range' && (key.of === 'dateTime' || siblingOf(tag) !== undefined));
