import type { DataSet, PersonName } from '../dicom/types.ts';
import { vrNamed } from '../dicom/vr.ts';
import { codeOf, PROFILE_ROWS } from './actions.ts';
import type { Profile } from './profile.ts';
import { VOCABULARY } from './vocabulary.ts';

/** What looks like a date, a time, a number of a person or a phone, an address of mail or web; a title with the two words behind it. */
const SHAPES: readonly RegExp[] = [
  /\S+@\S+|\bhttps?:\S+|\bwww\.\S+/giu,
  /\b(?:drs?|prof|mrs|herr|frau|mme)\b\.?(?:\s+[\p{L}'’.-]+){0,2}/giu,
  /\b\d{1,2}:\d{2}(?::\d{2})?\b/gu,
  /\d[\d ./:_-]{4,}\d/gu,
];
const WORD = /[\p{L}\p{M}\p{N}]+(?:\.\d+)?/gu;
/** a number of up to three digits, also with a unit; T1, L5, B1000: a letter and a few digits */
const NUMBER = /^\d{1,3}(?:\.\d{1,3})?(?:mm|cm|ms|ml|mg|s|t|kv|kvp|mas|ma|hz|w|d)?$/;
const LEVEL = /^(?:[a-z]\d{1,2}|b\d{1,4}|t[12]w?)$/;

const isKnownWord = (word: string): boolean => {
  const lower = word.toLowerCase();
  return VOCABULARY.has(lower) || NUMBER.test(lower) || LEVEL.test(lower);
};

/**
 * Descriptive text with nothing but words of the vocabulary, short numbers and what stood between two such words; '' where none is left. What names a
 * person, place or number is not looked for: it goes because it is no word of the trade.
 */
export function cleanText(text: string): string {
  let rest = text;
  for (const shape of SHAPES) rest = rest.replace(shape, ' \0 ');
  let cleaned = '';
  let end = 0;
  for (const { 0: word, index } of rest.matchAll(WORD)) {
    const between = rest.slice(end, index);
    end = index + word.length;
    if (!isKnownWord(word)) {
      // Whatever follows a word that went is not joined to the one before it.
      rest = `${rest.slice(0, index)}${'\0'.repeat(word.length)}${rest.slice(end)}`;
      end = index;
      continue;
    }
    if (cleaned === '') cleaned = word;
    else cleaned += (between.includes('\0') ? ' ' : between) + word;
  }
  return cleaned.trim();
}

/** shortest part of a name, and shortest number or title, that is looked for elsewhere (characters); names in other scripts are shorter */
const NAME_PART = 3;
const SCRIPT_NAME_PART = 2;
const PHRASE = 4;
/** from this length on it is also looked for inside of words */
const INSIDE = 6;
const UID_LENGTH = 12;

/**
 * What identifies in a data set and goes from where it belongs: names of persons, numbers, places, dates, UIDs. It is looked for in all text that stays, as people
 * write it there as well.
 */
export class Echoes {
  readonly #pattern: RegExp | undefined;

  constructor(source: DataSet, profile: Profile) {
    const names = new Set<string>();
    const phrases = new Set<string>();
    collect(source, profile, names, phrases);
    const parts = [
      ...[...phrases].map((phrase) =>
        phrase.length < INSIDE ? `(?<![\\p{L}\\p{N}])${escaped(phrase)}(?![\\p{L}\\p{N}])` : escaped(phrase),
      ),
      ...[...names].map((name) => `(?<!\\p{L})${escaped(name)}(?!\\p{L})`),
    ].sort((a, b) => b.length - a.length);
    if (parts.length > 0) this.#pattern = new RegExp(parts.join('|'), 'giu');
  }

  /** The text without them. */
  removeFrom(text: string): string {
    if (this.#pattern === undefined) return text;
    const without = text.replace(this.#pattern, ' ');
    return without === text ? text : without.replace(/ {2,}/g, ' ').trim();
  }
}

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');

function collect(dataSet: DataSet, profile: Profile, names: Set<string>, phrases: Set<string>): void {
  for (const [tag, element] of Object.entries(dataSet)) {
    if (element.vr === 'SQ') {
      for (const item of element.Value ?? []) collect(item as DataSet, profile, names, phrases);
      continue;
    }
    const row = PROFILE_ROWS.get(tag);
    // What an option keeps is meant to be read. Descriptions are words of the trade, but for names.
    if (row !== undefined && codeOf(row, profile) === 'K') continue;
    const identifies = row !== undefined && !/[tgs]/.test(row.options);
    const isUid = element.vr === 'UI' && !profile.retainUIDs;
    for (const value of element.Value ?? []) {
      if (element.vr === 'PN') addName(value as PersonName | null, names, phrases);
      else if (typeof value !== 'string') continue;
      else if (isUid && value.length >= UID_LENGTH && !value.startsWith('1.2.840.10008.')) phrases.add(value);
      else if (identifies) addPhrase(value, element.vr, phrases);
    }
  }
}

function addName(name: PersonName | null, names: Set<string>, phrases: Set<string>): void {
  for (const group of Object.values(name ?? {}) as string[]) {
    if (group.length >= INSIDE) phrases.add(group);
    for (const part of group.split(/[\^\s,.=]+/u)) {
      // Words such as PHANTOM or TEST stay words, unless they are somebody's name that is no word of the trade.
      const shortest = /^[\p{ASCII}]*$/u.test(part) ? NAME_PART : SCRIPT_NAME_PART;
      if (part.length >= shortest && !/^\d+$/.test(part)) names.add(part);
      else if (part.length >= PHRASE) phrases.add(part);
    }
  }
}

const PHRASE_VRS = new Set(['LO', 'SH', 'UC', 'ST', 'AE', 'DA', 'DT', 'CS', 'UR']);
const PHRASE_MOST = 128;

function addPhrase(value: string, vr: string, phrases: Set<string>): void {
  if (!PHRASE_VRS.has(vr)) return;
  const phrase = vr === 'DT' ? value.slice(0, 8) : value.trim();
  if (phrase.length < PHRASE || phrase.length > PHRASE_MOST || VOCABULARY.has(phrase.toLowerCase())) return;
  phrases.add(phrase);
}

/** Whether values of this VR are text that a person may have written. */
export function isWritten(vr: string): boolean {
  const kind = vrNamed(vr)?.kind;
  return kind === 'texts' || kind === 'text' || vr === 'CS' || vr === 'AE' || vr === 'UR';
}
