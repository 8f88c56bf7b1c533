import type { Attribute } from '../dicom/dictionary.ts';
import { PacsError } from '../errors.ts';
import { isUID } from '../ids.ts';
import { type Condition, foldName, fuzzyWordsOf, type Key } from './match.ts';
import { dateTimeInZone, offsetMinutes } from './offset.ts';
import { foldText } from './terms.ts';
import {
  dateDigits,
  dateTimeDigits,
  greatestDateTime,
  greatestTime,
  leastDateTime,
  leastTime,
  timeDigits,
} from './values.ts';

/** From the text of a key to how it matches, by the VR of its attribute (PS3.4 C.2.2.2). */

export interface KeyOptions {
  /** person names match by beginnings and sounds of words, too */
  readonly fuzzy: boolean;
  /** `""` asks for absent values */
  readonly emptyMatching: boolean;
  /** `\` parts alternatives in every VR, not only in UI and CS */
  readonly multiple: boolean;
}

/**
 * Texts that people write, and look for by a part of them: a pattern ignores case and accents, as it does in person names. PS3.4 C.2.2.2.4
 * would have `*trauma*` miss `TRAUMA`; a whole value, and every identifier, still matches by case.
 */
const DESCRIPTIVE = new Set([
  'StudyDescription',
  'SeriesDescription',
  'ProtocolName',
  'RequestedProcedureDescription',
  'PerformedProcedureStepDescription',
  'InstitutionName',
  'InstitutionalDepartmentName',
  'ContentDescription',
]);

const WILD = /[*?]/;
const NUMBERS = new Set(['IS', 'DS', 'US', 'SS', 'UL', 'SL', 'UV', 'SV', 'FL', 'FD']);

/**
 * @returns undefined for a universal key: the attribute is to be returned, not matched.
 * @throws PacsError BAD_REQUEST naming `parameter` when the text is no key of that VR.
 */
export function keyOf(
  parameter: string,
  { vr, keyword }: Attribute,
  text: string,
  options: KeyOptions,
): Key | undefined {
  const trimmed = text.trim();
  if (trimmed === '' || /^\*+$/.test(trimmed)) return undefined;
  if (options.emptyMatching && trimmed === '""') return { kind: 'empty' };
  const malformed = (what: string): PacsError =>
    new PacsError('BAD_REQUEST', `the value of ${parameter} is not ${what}`, { details: { parameter } });

  if (vr === 'UI') {
    const texts = listOf(trimmed, /[\\,]/);
    if (!texts.every(isUID)) throw malformed('a UID or a list of UIDs');
    return { kind: 'values', texts, folded: false };
  }
  if (vr === 'DA' || vr === 'TM' || vr === 'DT') {
    const range = rangeOf(vr, trimmed);
    if (range === undefined) throw malformed('a date, a time or a range of them');
    return range;
  }
  if (NUMBERS.has(vr)) {
    const numbers = listOf(trimmed, /[\\,]/).map(Number);
    if (!numbers.every(Number.isFinite)) throw malformed('a number');
    return { kind: 'number', numbers };
  }
  if (vr === 'PN') return nameKey(trimmed, options.fuzzy);
  if (vr === 'SQ') throw malformed('a key: name an attribute of its items');
  if (vr === 'CS' || options.multiple) {
    const texts = listOf(trimmed, vr === 'CS' ? /[\\,]/ : /\\/);
    if (!WILD.test(trimmed)) return { kind: 'values', texts, folded: false };
  }
  if (!WILD.test(trimmed)) return { kind: 'values', texts: [trimmed], folded: false };
  const folded = DESCRIPTIVE.has(keyword);
  return { kind: 'wildcard', pattern: folded ? foldText(trimmed) : trimmed, folded };
}

const listOf = (text: string, separator: RegExp): string[] =>
  text
    .split(separator)
    .map((part) => part.trim())
    .filter((part) => part !== '');

function nameKey(text: string, fuzzy: boolean): Key | undefined {
  const groups = text.split('=').slice(0, 3).map(foldName);
  if (groups.every((group) => group === '')) return undefined;
  const fuzzyWords = fuzzy ? groups.flatMap(fuzzyWordsOf) : undefined;
  return { kind: 'name', groups, ...(fuzzyWords && { fuzzyWords }) };
}

type Bounds = readonly [least: string, greatest: string];

/** What a single date or time spans: `10` is the whole hour. */
function spanOf(vr: 'DA' | 'TM' | 'DT', text: string): Bounds | undefined {
  if (vr === 'DA') {
    const digits = dateDigits(text);
    return digits === undefined ? undefined : [digits, digits];
  }
  if (vr === 'TM') {
    const digits = timeDigits(text);
    return digits === undefined ? undefined : [leastTime(digits), greatestTime(digits)];
  }
  if (YEAR_BEHIND_HYPHEN.test(text)) return undefined;
  const digits = dateTimeDigits(text);
  return digits === undefined ? undefined : [leastDateTime(digits), greatestDateTime(digits)];
}

/** `2019-2021` is a range of years: no zone is twenty hours behind UTC (PS3.5 §6.2, DT: -1200 to +1400). */
const YEAR_BEHIND_HYPHEN = /-(1[3-9]|[2-9]\d)\d\d$/;

const OF = { DA: 'date', TM: 'time', DT: 'dateTime' } as const;

/** The zone that a bound names, and the other bound by the clocks of it: `to` may be of another one, or of none. */
function inZoneOf(left: string, right: string, to: Bounds | undefined): { zoneMinutes?: number; to?: Bounds } {
  const [first, second] = [left, right].map((text) => (OFFSET.test(text) ? offsetMinutes(text.slice(-5)) : undefined));
  const zoneMinutes = first ?? second;
  if (zoneMinutes === undefined || to === undefined || second === undefined || second === zoneMinutes)
    return { ...(zoneMinutes !== undefined && { zoneMinutes }), ...(to && { to }) };
  const [least, greatest] = to.map((digits) => dateTimeInZone(digits, second, zoneMinutes).replace('.', ''));
  return { zoneMinutes, to: [least!, greatest!] };
}

const OFFSET = /[+-]\d{4}$/;

function rangeOf(vr: 'DA' | 'TM' | 'DT', text: string): Key | undefined {
  const of = OF[vr];
  const single = spanOf(vr, text);
  if (single !== undefined) {
    const { zoneMinutes } = vr === 'DT' ? inZoneOf(text, '', undefined) : {};
    const zone = zoneMinutes !== undefined && { zoneMinutes };
    return { kind: 'range', of, from: single[0], to: single[1], single: true, ...zone };
  }
  // A hyphen may also be the sign of an offset from UTC: take the first split whose two sides make sense.
  for (let at = text.indexOf('-'); at >= 0; at = text.indexOf('-', at + 1)) {
    const left = text.slice(0, at).trim();
    const right = text.slice(at + 1).trim();
    const from = left === '' ? undefined : spanOf(vr, left);
    const to = right === '' ? undefined : spanOf(vr, right);
    if ((left !== '' && from === undefined) || (right !== '' && to === undefined)) continue;
    if (from === undefined && to === undefined) continue;
    const zoned = vr === 'DT' ? inZoneOf(left, right, to) : { ...(to && { to }) };
    const zone = zoned.zoneMinutes !== undefined && { zoneMinutes: zoned.zoneMinutes };
    return { kind: 'range', of, ...(from && { from: from[0] }), ...(zoned.to && { to: zoned.to[1] }), ...zone };
  }
  return undefined;
}

/**
 * Ranges over a date and its time are one range of moments (PS3.4 C.2.2.2.5, combined date-time matching): from the first time
 * of the first day to the last time of the last. StudyDate goes with StudyTime, and so on by keyword.
 */
export function combineDateAndTime(
  flat: readonly { readonly keyword: string; readonly condition: Condition }[],
): Condition[] {
  const conditions: Condition[] = [];
  const used = new Set<Condition>();
  for (const { keyword, condition } of flat) {
    if (!keyword.endsWith('Date') || condition.key.kind !== 'range') continue;
    const time = flat.find((other) => other.keyword === `${keyword.slice(0, -4)}Time`)?.condition;
    if (time?.key.kind !== 'range' || time.key.single) continue;
    const { from, to } = condition.key;
    used.add(condition).add(time);
    conditions.push({
      tag: condition.tag,
      key: {
        kind: 'dateAndTime',
        timeTag: time.tag,
        ...(from !== undefined && { from: from + (time.key.from ?? leastTime('')) }),
        ...(to !== undefined && { to: to + (time.key.to ?? greatestTime('')) }),
      },
    });
  }
  for (const { condition } of flat) if (!used.has(condition)) conditions.push(condition);
  return conditions;
}
