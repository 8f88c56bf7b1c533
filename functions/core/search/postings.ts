import type { StudyRecord, Tenant } from '../archive/records.ts';
import type { Element, PersonName } from '../dicom/types.ts';
import type { IndexTable, Item, Key, WriteOperation } from '../ports/index-table.ts';
import { ATTRIBUTES, hasWords, type SearchAttribute } from './attributes.ts';
import { foldName } from './match.ts';
import { studyLine, studySort } from './study-list.ts';
import { foldText, soundsOf, wordsOf } from './terms.ts';
import { dateDigits } from './values.ts';

/**
 * The rows beside the study records by which searches find them. `sort` below is a study's place in the list,
 * `YYYYMMDD|HHMMSS|{Study}`, so every list is in display order, and lists can be merged and intersected as they are read.
 *
 * | rows       | partition                | sort                              | item, meaning                                  |
 * |------------|--------------------------|-----------------------------------|------------------------------------------------|
 * | list       | t|x|list                 | {sort}                            | StudyLine: the truth that postings point at    |
 * | counts     | t|x|count                | d|YYYYMMDD, m|YYYYMM, y|YYYY      | n, m|{Modality}: studies of day, month, year   |
 * | modality   | t|x|mod|{Modality}       | {sort}                            | posting                                        |
 * | word       | t|x|word|{A}|{word}      | {sort}                            | posting: a word of attribute A                 |
 * | whole      | t|x|id|{A}|{c}           | {value}␁{sort}                    | posting: the whole value of A; c = its start   |
 * | part       | t|x|part|{A}|{c}         | {end}␁{2 characters before}␁{sort} | posting: an end of A's value, each third one   |
 * | vocabulary | t|x|terms|{A}|{c}        | {word}                            | a word that occurs in A                        |
 * | ends       | t|x|ends|{A}|{c}         | {end of word}␁{word}              | words by their ends, all of it among them: `*infix*` is one range |
 * | sounds     | t|x|sound|{A}|{code}     | {word}                            | words by Double Metaphone code                 |
 * | overflow   | t|x|overflow             | {A}                               | there is, or was, a value of A with more words than are indexed |
 *
 * List and counts change in the atomic write of the study record (`countWrites`). Postings are hints, written before that
 * and removed after it: one too many finds no line, or one that does not match. Vocabulary is only ever added to.
 */

export const SEPARATOR = '\u0001';
/** the word of values that have more than is indexed (more words, or longer ones): plans over words read it too, where there is any */
export const OVERFLOW = '*';

/** words of one attribute of a study */
const INDEXED_WORDS = 12;
/** characters of a word or an identifier */
export const INDEXED_CHARACTERS = 64;
/** Whether an identifier has rows of its own: short enough, and cut anywhere without splitting a character. */
export const isIndexable = (value: string): boolean =>
  value !== '' && value.length <= INDEXED_CHARACTERS && !/[\ud800-\udfff]/.test(value);
/** identifiers are indexed by each third end: four rows for twelve characters; a search tries three alignments */
export const PART_STRIDE = 3;

export const partitions = {
  list: (t: Tenant): string => `${t}|x|list`,
  count: (t: Tenant): string => `${t}|x|count`,
  modality: (t: Tenant, modality: string): string => `${t}|x|mod|${modalityKey(modality)}`,
  word: (t: Tenant, tag: string, word: string): string => `${t}|x|word|${tag}|${word}`,
  whole: (t: Tenant, tag: string, value: string): string => `${t}|x|id|${tag}|${firstOf(value)}`,
  part: (t: Tenant, tag: string, end: string): string => `${t}|x|part|${tag}|${firstOf(end)}`,
  terms: (t: Tenant, tag: string, word: string): string => `${t}|x|terms|${tag}|${firstOf(word)}`,
  ends: (t: Tenant, tag: string, head: string): string => `${t}|x|ends|${tag}|${head}`,
  sound: (t: Tenant, tag: string, code: string): string => `${t}|x|sound|${tag}|${code}`,
  overflow: (t: Tenant): string => `${t}|x|overflow`,
} as const;

/** a modality as it stands in keys; it comes from objects, so it may be anything */
export const modalityKey = (modality: string): string =>
  modality
    .replace(/\p{Cc}/gu, ' ')
    .slice(0, INDEXED_CHARACTERS)
    .toWellFormed();

const firstOf = (text: string): string => String.fromCodePoint(text.codePointAt(0) ?? 0x20);

/** The start by which ends of words are parted: two characters, one for ideographs. Undefined when `text` is shorter. */
export function endHead(text: string): string | undefined {
  const first = text.codePointAt(0);
  if (first === undefined) return undefined;
  if (first >= 0x2e80) return String.fromCodePoint(first);
  const second = text.codePointAt(1);
  return second === undefined ? undefined : String.fromCodePoint(first, second);
}

const INDEXED: readonly SearchAttribute[] = ATTRIBUTES.study.filter(
  ({ index }) => hasWords(index) || index === 'identifier' || index === 'value',
);

/** Values as folded text, which may be empty where the value is not; each component group of a person name counts as one. */
function foldedValues(element: Element | undefined): string[] {
  const texts: string[] = [];
  const add = (text: string) => {
    if (text.trim() !== '') texts.push(foldText(text).trim());
  };
  for (const value of element?.Value ?? []) {
    if (typeof value === 'string') add(element?.vr === 'DA' ? (dateDigits(value.trim()) ?? '') : value);
    else if (typeof value === 'number') add(String(value));
    else if (value !== null) for (const group of Object.values(value as PersonName)) add(String(group));
  }
  return texts;
}

/** Distinct words to index; OVERFLOW among them when the value has more. */
function indexedWords(element: Element | undefined): Set<string> {
  const words = new Set<string>();
  for (const text of foldedValues(element)) {
    for (const word of wordsOf(text)) {
      words.add(word.length <= INDEXED_CHARACTERS && words.size < INDEXED_WORDS ? word : OVERFLOW);
    }
  }
  return words;
}

/** partition and sort of every posting of a visible study */
function postingsOf(tenant: Tenant, record: StudyRecord): Map<string, Key> {
  const rows = new Map<string, Key>();
  const add = (partition: string, sort: string) => rows.set(`${partition}\n${sort}`, { partition, sort });
  const place = studySort(record);
  for (const modality of Object.keys(record.modalities)) add(partitions.modality(tenant, modality), place);
  for (const { tag, index } of INDEXED) {
    const element = record.attributes[tag];
    if (element === undefined) continue;
    if (hasWords(index)) {
      for (const word of indexedWords(element)) add(partitions.word(tenant, tag, word), place);
      if (index !== 'name') continue;
    }
    for (const text of foldedValues(element)) {
      const whole = index === 'name' ? foldName(text) : text;
      const value = isIndexable(whole) ? whole : OVERFLOW;
      add(partitions.whole(tenant, tag, value), `${value}${SEPARATOR}${place}`);
      if (index !== 'identifier' || value === OVERFLOW) continue;
      for (let at = PART_STRIDE; at < value.length; at += PART_STRIDE) {
        const end = value.slice(at);
        const before = value.slice(at - PART_STRIDE + 1, at);
        add(partitions.part(tenant, tag, end), `${end}${SEPARATOR}${before}${SEPARATOR}${place}`);
      }
    }
  }
  return rows;
}

const visible = (record: StudyRecord | undefined): record is StudyRecord =>
  record !== undefined && record.instanceCount > 0;

/** Postings that `after` needs and `before` had not; to be written before the study record changes. Repeating is harmless. */
export function postingPuts(
  tenant: Tenant,
  before: StudyRecord | undefined,
  after: StudyRecord | undefined,
): WriteOperation[] {
  if (!visible(after)) return [];
  const old = visible(before) ? postingsOf(tenant, before) : undefined;
  const puts: WriteOperation[] = [];
  for (const [id, key] of postingsOf(tenant, after)) if (!old?.has(id)) puts.push({ kind: 'put', key, item: {} });
  return puts;
}

/** Postings that `before` had and `after` needs no more; to be deleted after the study record has changed. */
export const postingDeletes = (
  tenant: Tenant,
  before: StudyRecord | undefined,
  after: StudyRecord | undefined,
): WriteOperation[] =>
  postingPuts(tenant, after, before).map((put) => ({ kind: 'delete', key: (put as { key: Key }).key }));

/**
 * The study's line in the list and the counters of its day, month and year: at most eight operations, which belong in the atomic
 * write of the study record, so that they change exactly once. Whoever writes a study record adds these.
 */
export function countWrites(
  tenant: Tenant,
  before: StudyRecord | undefined,
  after: StudyRecord | undefined,
): WriteOperation[] {
  const oldSort = visible(before) ? studySort(before) : undefined;
  const newSort = visible(after) ? studySort(after) : undefined;
  const operations: WriteOperation[] = [];
  const list = partitions.list(tenant);
  if (oldSort !== undefined && oldSort !== newSort) {
    operations.push({ kind: 'delete', key: { partition: list, sort: oldSort } });
  }
  if (newSort !== undefined) {
    operations.push({ kind: 'put', key: { partition: list, sort: newSort }, item: studyLine(after as StudyRecord) });
  }
  const counts = new Map<string, Record<string, number>>();
  if (oldSort !== undefined) addCounts(counts, oldSort, before as StudyRecord, -1);
  if (newSort !== undefined) addCounts(counts, newSort, after as StudyRecord, 1);
  for (const [sort, sums] of counts) {
    const increments: Record<string, number> = {};
    let changed = false;
    for (const [name, sum] of Object.entries(sums)) {
      if (sum === 0) continue;
      increments[name] = sum;
      changed = true;
    }
    if (changed) operations.push({ kind: 'add', key: { partition: partitions.count(tenant), sort }, increments });
  }
  return operations;
}

function addCounts(counts: Map<string, Record<string, number>>, sort: string, record: StudyRecord, sign: 1 | -1): void {
  for (const period of [`d|${sort.slice(0, 8)}`, `m|${sort.slice(0, 6)}`, `y|${sort.slice(0, 4)}`]) {
    const sums = counts.get(period) ?? {};
    sums.n = (sums.n ?? 0) + sign;
    for (const modality of Object.keys(record.modalities)) {
      const name = `m|${modalityKey(modality)}`;
      sums[name] = (sums[name] ?? 0) + sign;
    }
    counts.set(period, sums);
  }
}

/** Words seen in the table by this process: vocabulary is never removed, so what was there stays there. */
const KNOWN_WORDS = 50_000;
const known = new WeakMap<IndexTable, Set<string>>();

/**
 * Vocabulary rows for the words of a study that the archive has not seen before; usually none. A word's own row comes last,
 * so its presence tells that the others were written: keep the order. May be repeated.
 */
export async function newTermWrites(
  index: IndexTable,
  tenant: Tenant,
  record: StudyRecord | undefined,
): Promise<WriteOperation[]> {
  if (!visible(record)) return [];
  const seen = known.get(index) ?? new Set<string>();
  known.set(index, seen);
  const unsure: { row: SearchAttribute; word: string; key: Key }[] = [];
  for (const row of INDEXED) {
    if (!hasWords(row.index)) continue;
    for (const word of indexedWords(record.attributes[row.tag])) {
      const key =
        word === OVERFLOW
          ? overflowMark(tenant, row.tag)
          : { partition: partitions.terms(tenant, row.tag, word), sort: word };
      if (!seen.has(seenName(key))) unsure.push({ row, word, key });
    }
  }
  if (unsure.length === 0) return [];
  const found = await index.getMany(unsure.map(({ key }) => key));
  const writes: WriteOperation[] = [];
  unsure.forEach(({ row, word, key }, i) => {
    if (found[i] === undefined) {
      writes.push(
        ...vocabularyOf(tenant, row, word).map((key): WriteOperation => ({ kind: 'put', key, item: NOTHING })),
      );
      writes.push({ kind: 'put', key, item: NOTHING });
    } else {
      if (seen.size >= KNOWN_WORDS) seen.clear();
      seen.add(seenName(key));
    }
  });
  return writes;
}

const NOTHING: Item = {};
const seenName = ({ partition, sort }: Key): string => `${partition}\n${sort}`;

/** Stands where values of the attribute are, or were, found under the word OVERFLOW alone. */
export const overflowMark = (tenant: Tenant, tag: string): Key => ({
  partition: partitions.overflow(tenant),
  sort: tag,
});

function vocabularyOf(tenant: Tenant, row: SearchAttribute, word: string): Key[] {
  const rows: Key[] = [];
  if (word === OVERFLOW) return rows;
  // The whole word among its ends too: what a word holds is found by one range, wherever it stands.
  for (let at = 0; at < word.length; at++) {
    const unit = word.charCodeAt(at);
    if (unit >= 0xdc00 && unit <= 0xdfff) continue;
    const end = word.slice(at);
    const head = endHead(end);
    if (head !== undefined) {
      rows.push({ partition: partitions.ends(tenant, row.tag, head), sort: `${end}${SEPARATOR}${word}` });
    }
  }
  if (row.index !== 'words') {
    for (const code of soundsOf(word)) rows.push({ partition: partitions.sound(tenant, row.tag, code), sort: word });
  }
  return rows;
}
