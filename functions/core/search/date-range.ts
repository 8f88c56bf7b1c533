import type { PlaceRange } from './cursors.ts';
import type { Condition } from './match.ts';
import type { OrderKey } from './query.ts';

/** What the dates and the order asked for mean for places of the study list. */
const STUDY_DATE = '00080020';
const STUDY_TIME = '00080030';

/** The direction of the list that gives the order asked for; undefined when it has to be sorted. */
export function listDirection(order: readonly OrderKey[]): 'ascending' | 'descending' | undefined {
  const [date, time, ...others] = order;
  if (date === undefined) return 'descending';
  if (date.tag !== STUDY_DATE || others.length > 0) return undefined;
  if (time !== undefined && (time.tag !== STUDY_TIME || time.descending !== date.descending)) return undefined;
  return date.descending ? 'descending' : 'ascending';
}

export const isDateRange = ({ tag, key }: Condition): boolean => tag === STUDY_DATE && key.kind === 'range';

/** `~` stands behind everything that follows a date or a time in a place. */
export function rangeOf(conditions: readonly Condition[], descending: boolean): PlaceRange {
  let from: string | undefined;
  let to: string | undefined;
  for (const { tag, key } of conditions) {
    if (tag !== STUDY_DATE || (key.kind !== 'range' && key.kind !== 'dateAndTime')) continue;
    const place = (moment: string) => (moment.length === 8 ? moment : `${moment.slice(0, 8)}|${moment.slice(8, 14)}`);
    // What has no date never matches: it stands under zeros.
    const least = key.from === undefined ? '00010000' : place(key.from);
    const greatest = key.to === undefined ? undefined : `${place(key.to)}~`;
    if (from === undefined || least > from) from = least;
    if (greatest !== undefined && (to === undefined || greatest < to)) to = greatest;
  }
  return { descending, ...(from !== undefined && { from }), ...(to !== undefined && { to }) };
}

/** The rest of a range from a day on, in its direction. */
export const fromDay = (range: PlaceRange, day: string): PlaceRange =>
  range.descending
    ? { ...range, to: range.to !== undefined && range.to < `${day}~` ? range.to : `${day}~` }
    : { ...range, from: range.from !== undefined && range.from > day ? range.from : day };
