import type { DataSet, Element, ElementValue, PersonName } from '../dicom/types.ts';
import { dateTimeInZone, offsetMinutes } from './offset.ts';
import { foldText, patternParts, soundsOf, wordsOf } from './terms.ts';
import { dateDigits, dateTimeDigits, leastDateTime, timeDigits } from './values.ts';

/**
 * Attribute matching, PS3.4 C.2.2.2. Keys are data; universal keys (empty, or `*` alone) make no condition at all. An absent
 * or empty attribute matches none but `empty`. An attribute of several values matches when any of them does.
 */
export type Key =
  /** single value, or any of several (list of UID, multiple values); case counts unless `folded` */
  | { readonly kind: 'values'; readonly texts: readonly string[]; readonly folded: boolean }
  | { readonly kind: 'wildcard'; readonly pattern: string; readonly folded: boolean }
  /** decimal numbers by their value: IS, DS and the binary integers */
  | { readonly kind: 'number'; readonly numbers: readonly number[] }
  /** bounds as digits, inclusive, of full precision: date 8, time 12, date and time 20 */
  | {
      readonly kind: 'range';
      readonly of: 'date' | 'time' | 'dateTime';
      readonly from?: string;
      readonly to?: string;
      /** one value was asked for, which spans what its precision leaves open */
      readonly single?: true;
      /** of `dateTime`: bounds that name an offset from UTC are compared by the clocks of it */
      readonly zoneMinutes?: number;
    }
  /** two attributes as one: `timeTag` with the time of the condition's date */
  | { readonly kind: 'dateAndTime'; readonly timeTag: string; readonly from?: string; readonly to?: string }
  /** person names: folded patterns of the component groups; one pattern alone may be found in any group */
  | { readonly kind: 'name'; readonly groups: readonly string[]; readonly fuzzyWords?: readonly string[] }
  /** no value: extended empty value matching */
  | { readonly kind: 'empty' }
  /** all conditions hold in one and the same item */
  | { readonly kind: 'sequence'; readonly conditions: readonly Condition[] };

const TIMEZONE_OFFSET_FROM_UTC = '00080201';

export interface Condition {
  readonly tag: string;
  readonly key: Key;
}

/** Where values come from: a record, a line of the study list, an item. */
export type Elements = (tag: string) => Element | undefined;

export const elementsOf =
  (dataSet: DataSet): Elements =>
  (tag) =>
    dataSet[tag];

export const matchesAll = (conditions: readonly Condition[], elements: Elements): boolean =>
  conditions.every((condition) => matches(condition, elements));

export function matches({ tag, key }: Condition, elements: Elements): boolean {
  const element = elements(tag);
  const values = element?.Value ?? [];
  switch (key.kind) {
    case 'empty':
      return element?.InlineBinary === undefined && element?.BulkDataURI === undefined && !values.some(hasContent);
    case 'sequence':
      return values.some(
        (item) => typeof item === 'object' && item !== null && matchesAll(key.conditions, elementsOf(item as DataSet)),
      );
    case 'dateAndTime':
      return matchesDateAndTime(key, values, elements(key.timeTag)?.Value ?? []);
    case 'range':
      if (key.zoneMinutes !== undefined) return matchesInZone(key, key.zoneMinutes, values, elements);
      return values.some((value) => hasContent(value) && matchesValue(key, value));
    default:
      for (const value of values) if (hasContent(value) && matchesValue(key, value)) return true;
      return false;
  }
}

const hasContent = (value: ElementValue): boolean =>
  typeof value === 'string'
    ? value !== ''
    : typeof value === 'object' && value !== null
      ? Object.keys(value).length > 0
      : value !== null;

type SimpleKey = Exclude<Key, { kind: 'empty' | 'sequence' | 'dateAndTime' }>;

function matchesValue(key: SimpleKey, value: ElementValue): boolean {
  switch (key.kind) {
    case 'name':
      return matchesName(key, value);
    case 'number':
      return key.numbers.includes(Number(value));
    case 'range':
      return inRange(key, digitsOf(key.of, String(value).trim()));
    case 'wildcard':
      return matchesPattern(key.pattern, textOf(value, key.folded));
    case 'values':
      return key.texts.includes(textOf(value, key.folded));
  }
}

const textOf = (value: ElementValue, folded: boolean): string => {
  const text = String(value).trim();
  return folded ? foldText(text) : text;
};

/** The least moment a value can mean, in the full precision of its kind; undefined when it is none. */
function digitsOf(of: 'date' | 'time' | 'dateTime', text: string): string | undefined {
  if (of === 'date') return dateDigits(text);
  if (of === 'time') return timeDigits(text)?.padEnd(12, '0');
  const digits = dateTimeDigits(text);
  return digits && leastDateTime(digits);
}

/** PS3.4 C.2.2.2.5: offsets count, those of values and that of the object. A value without either is taken as one of the zone asked about. */
function matchesInZone(
  key: Extract<Key, { kind: 'range' }>,
  zoneMinutes: number,
  values: readonly ElementValue[],
  elements: Elements,
): boolean {
  const own = offsetMinutes(String(elements(TIMEZONE_OFFSET_FROM_UTC)?.Value?.[0] ?? ''));
  return values.some((value) => {
    const text = String(value ?? '').trim();
    return text !== '' && inRange(key, digitsOf(key.of, dateTimeInZone(text, own, zoneMinutes)));
  });
}

const inRange = (key: { readonly from?: string; readonly to?: string }, digits: string | undefined): boolean =>
  digits !== undefined && (key.from === undefined || digits >= key.from) && (key.to === undefined || digits <= key.to);

function matchesDateAndTime(
  key: { readonly from?: string; readonly to?: string },
  dates: readonly ElementValue[],
  times: readonly ElementValue[],
): boolean {
  return dates.some((value, i) => {
    const date = dateDigits(String(value).trim());
    const time = timeDigits(String(times[i] ?? '').trim())?.padEnd(12, '0');
    return inRange(key, date !== undefined && time !== undefined ? date + time : undefined);
  });
}

function matchesName(key: Extract<Key, { kind: 'name' }>, value: ElementValue): boolean {
  const name: PersonName = typeof value === 'string' ? { Alphabetic: value } : (value as PersonName);
  const groups = [name.Alphabetic, name.Ideographic, name.Phonetic].map((group) => foldName(group ?? ''));
  const [only] = key.groups;
  const literal =
    key.groups.length === 1
      ? groups.some((group) => group !== '' && matchesPattern(only!, group))
      : key.groups.every((pattern, i) => pattern === '' || (groups[i] !== '' && matchesPattern(pattern, groups[i]!)));
  if (literal || key.fuzzyWords === undefined || key.fuzzyWords.length === 0) return literal;
  const words = groups.flatMap(wordsOf);
  return key.fuzzyWords.every((asked) => words.some((word) => isAlike(asked, word)));
}

/** Fuzzy semantic matching as PS3.4 C.2.2.2.1.1 leaves it to us: a word begins like the one asked for, or sounds like it. */
const isAlike = (asked: string, word: string): boolean => {
  if (word.startsWith(asked)) return true;
  const sounds = soundsOf(asked);
  return sounds.length > 0 && soundsOf(word).some((code) => sounds.includes(code));
};

/** A component group for comparing: folded, without the delimiters of empty trailing components and blanks around. */
export function foldName(group: string): string {
  const folded = foldText(group);
  let end = folded.length;
  while (end > 0 && (folded[end - 1] === '^' || folded[end - 1] === ' ')) end--;
  return folded.slice(0, end).trimStart();
}

/** The words that fuzzy matching of a folded key asks for. */
export const fuzzyWordsOf = (folded: string): string[] => patternParts(folded).map((part) => part.text);

/** What stands at `t` takes up: a character beyond the first 65,536 (𠮷 of 𠮷野) is two units of a string, and still one. */
const unitsAt = (text: string, t: number): number => ((text.codePointAt(t) ?? 0) > 0xffff ? 2 : 1);

/** `*` any run, `?` any one character. Without either: equality. Time is linear in practice, quadratic at worst. */
export function matchesPattern(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let mark = 0;
  while (t < text.length) {
    const asked = pattern[p];
    if (asked === '*') {
      star = p++;
      mark = t;
    } else if (asked === '?') {
      p++;
      t += unitsAt(text, t);
    } else if (p < pattern.length && asked === text[t]) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++mark;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
