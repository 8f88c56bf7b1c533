import type { Tenant } from '../archive/records.ts';
import type { IndexTable } from '../ports/index-table.ts';
import { type SearchAttribute, searchAttribute } from './attributes.ts';
import {
  ArrayCursor,
  type Cursor,
  IntersectCursor,
  type PlaceRange,
  PostingCursor,
  type ReadBudget,
  UnionCursor,
} from './cursors.ts';
import type { Condition, Key } from './match.ts';
import { linesBefore, nameScan, TurnsCursor } from './name-scan.ts';
import { endHead, INDEXED_CHARACTERS, isIndexable, OVERFLOW, PART_STRIDE, partitions, SEPARATOR } from './postings.ts';
import { foldText, type PatternPart, patternParts, soundsOf } from './terms.ts';

/**
 * From conditions on studies to what is read. A plan never decides that a study matches: it yields candidates, all that
 * match among them, in the order of the study list.
 */
export type StudyPlan =
  /** the list itself, in order */
  { readonly kind: 'list' } | { readonly kind: 'candidates'; readonly cursor: Cursor } | { readonly kind: 'none' };

const PLAN_LIMITS = {
  /** lists that are merged for one pattern; a pattern of more words is met by so many studies that reading the list finds them */
  mergedLists: 512,
  /** candidates that are looked at without asking for more conditions' postings */
  fewCandidates: 100,
  /** rows read to find the identifiers that hold a pattern */
  identifierRows: 4_000,
  /** lists from which on whole names that start so are read instead, where they are at most so many rows a list: one list costs about as much */
  listsOfNames: 8,
  rowsOfNames: 16,
} as const;

const STUDY_DATE = '00080020';
/** patterns that more words meet than are merged, by the index that they were asked of */
const tooMany = new WeakMap<IndexTable, Set<string>>();
const REMEMBERED = 10_000;

export class StudyPlanner {
  readonly #index: IndexTable;
  readonly #tenant: Tenant;
  readonly #budget: ReadBudget;
  readonly #range: PlaceRange;
  readonly #overflowing: ReadonlySet<string>;
  /** Attributes of which the plan takes for granted that all words of all values are indexed: whoever follows it sees to that. */
  readonly trusted = new Set<string>();

  /** @param overflowing attributes with values of which not all words are indexed */
  constructor(
    index: IndexTable,
    tenant: Tenant,
    budget: ReadBudget,
    range: PlaceRange,
    overflowing: ReadonlySet<string>,
  ) {
    this.#index = index;
    this.#tenant = tenant;
    this.#budget = budget;
    this.#range = range;
    this.#overflowing = overflowing;
  }

  async plan(conditions: readonly Condition[]): Promise<StudyPlan> {
    const { from, to } = this.#range;
    if (from !== undefined && to !== undefined && from >= to) return { kind: 'none' };
    const others = conditions.filter(
      ({ tag, key }) => !(tag === STUDY_DATE && (key.kind === 'range' || key.kind === 'dateAndTime')),
    );
    const cursors: Cursor[] = [];
    for (const condition of [...others].sort((a, b) => rank(a) - rank(b))) {
      const cursor = await this.#cursorOf(condition);
      if (cursor === undefined) continue;
      // The few candidates of one list are sooner looked at than compared with another list.
      if (await isFew(cursor)) return { kind: 'candidates', cursor };
      cursors.push(cursor);
    }
    const [only] = cursors;
    if (only !== undefined)
      return { kind: 'candidates', cursor: cursors.length === 1 ? only : new IntersectCursor(cursors) };
    for (const { tag, key } of others) {
      const cursor = this.#nameScan(tag, key);
      if (cursor !== undefined) return { kind: 'candidates', cursor };
    }
    return { kind: 'list' };
  }

  /** A cursor over all studies that may meet the condition; undefined when no index serves it. */
  async #cursorOf({ tag, key }: Condition): Promise<Cursor | undefined> {
    const row = searchAttribute('study', tag);
    switch (row?.index) {
      case 'modality':
        return key.kind === 'values'
          ? this.#union(key.texts.map((text) => partitions.modality(this.#tenant, text)))
          : undefined;
      case 'identifier':
        return this.#identifierCursor(row, key);
      case 'value': {
        // Only single days are values of the index; ranges are not.
        const day = key.kind === 'range' && key.from === key.to ? key.from : undefined;
        return day === undefined ? undefined : this.#wholeValues(row, [day]);
      }
      case 'words':
      case 'fuzzyWords':
      case 'name':
        return this.#wordsCursor(row, key);
      default:
        return undefined;
    }
  }

  async #identifierCursor(row: SearchAttribute, key: Key): Promise<Cursor | undefined> {
    if (key.kind === 'values')
      return this.#wholeValues(
        row,
        key.texts.map((text) => foldText(text).trim()),
      );
    if (key.kind !== 'wildcard') return undefined;
    const pattern = foldText(key.pattern);
    const runs = pattern.split(/[*?]+/).filter((run) => run !== '');
    const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), '');
    const [start] = /^[^*?]*/.exec(pattern) ?? [''];
    const places = start !== '' ? await this.#valuesFrom(row, start) : await this.#valuesWith(row, longest);
    return this.#placesCursor(row, places);
  }

  /** Places that were found, and those of all over-long values, which may match as well. */
  async #placesCursor(row: SearchAttribute, places: string[] | undefined): Promise<Cursor | undefined> {
    if (places === undefined) return undefined;
    const overlong = this.#whole(row, OVERFLOW);
    for (let place = await overlong.current(); place !== undefined; place = await overlong.current()) {
      places.push(place);
      overlong.advance();
    }
    return new ArrayCursor(places, this.#range);
  }

  #whole(row: SearchAttribute, value: string): PostingCursor {
    const list = { partition: partitions.whole(this.#tenant, row.tag, value), prefix: `${value}${SEPARATOR}` };
    return new PostingCursor(this.#index, list, this.#range, this.#budget);
  }

  /** The multi-valued and the over-long are rare: their list is looked at only where the value itself may be over-long. */
  #wholeValues(row: SearchAttribute, values: readonly string[]): Cursor {
    const lists = values.map((value) => this.#whole(row, isIndexable(value) ? value : OVERFLOW));
    return lists.length === 1 ? lists[0]! : new UnionCursor(lists, this.#range.descending);
  }

  /** Places of the studies whose identifier starts with `start`; undefined when they are too many. */
  async #valuesFrom(
    row: SearchAttribute,
    start: string,
    most: number = PLAN_LIMITS.identifierRows,
  ): Promise<string[] | undefined> {
    const sorts = await this.#keys(partitions.whole(this.#tenant, row.tag, start), start, most);
    return sorts?.map(placeOf);
  }

  /**
   * Places of the studies whose identifier holds `infix`. Each third end of an identifier is indexed with the two characters
   * before it, so `infix` is looked for from its first, its second and its third character on.
   */
  async #valuesWith(row: SearchAttribute, infix: string): Promise<string[] | undefined> {
    if (infix.length < PART_STRIDE || !isIndexable(infix)) return undefined;
    const places = await this.#valuesFrom(row, infix);
    if (places === undefined) return undefined;
    for (let skipped = 0; skipped < PART_STRIDE; skipped++) {
      const end = infix.slice(skipped);
      const before = infix.slice(0, skipped);
      const sorts = await this.#keys(partitions.part(this.#tenant, row.tag, end), end, PLAN_LIMITS.identifierRows);
      if (sorts === undefined) return undefined;
      for (const sort of sorts) {
        const last = sort.lastIndexOf(SEPARATOR);
        if (skipped === 0 || sort.slice(0, last).endsWith(before)) places.push(sort.slice(last + 1));
      }
    }
    return places;
  }

  async #wordsCursor(row: SearchAttribute, key: Key): Promise<Cursor | undefined> {
    if (key.kind === 'values') {
      const cursors = await Promise.all(
        key.texts.map((text) => this.#patternCursor(row, foldText(text).replace(/[*?]/g, ' '))),
      );
      return cursors.every((cursor) => cursor !== undefined) ? unionOf(cursors, this.#range) : undefined;
    }
    if (key.kind === 'wildcard') return this.#patternCursor(row, foldText(key.pattern));
    if (key.kind !== 'name') return undefined;
    // Component groups of one key must all match: any of them finds the study.
    const group = key.groups.reduce((best, other) => (other.length > best.length ? other : best), '');
    const literal = (await this.#wholeNameCursor(row, group)) ?? (await this.#patternCursor(row, group, key));
    if (literal === undefined || key.fuzzyWords === undefined || key.fuzzyWords.length === 0) return literal;
    const alike: Cursor[] = [];
    for (const word of key.fuzzyWords) {
      const cursor = await this.#alikeCursor(row, word);
      if (cursor !== undefined) alike.push(cursor);
    }
    if (alike.length === 0) return undefined;
    return new UnionCursor(
      [literal, alike.length === 1 ? alike[0]! : new IntersectCursor(alike)],
      this.#range.descending,
    );
  }

  /** By the whole name, where it is given or its family name is: `SMITH^J*`. */
  async #wholeNameCursor(row: SearchAttribute, pattern: string): Promise<Cursor | undefined> {
    if (row.index !== 'name' || pattern === '') return undefined;
    if (!/[*?]/.test(pattern)) return this.#wholeValues(row, [pattern]);
    const [start] = /^[^*?]*/.exec(pattern) ?? [''];
    return start.includes('^') && isIndexable(start)
      ? this.#placesCursor(row, await this.#valuesFrom(row, start))
      : undefined;
  }

  /** The words a pattern asks for, of which the longest narrow the search most; all of them have to be there. */
  async #patternCursor(row: SearchAttribute, pattern: string, key?: Key): Promise<Cursor | undefined> {
    const parts = patternParts(pattern).sort((a, b) => partRank(a) - partRank(b) || b.text.length - a.text.length);
    const found: Cursor[] = [];
    for (const part of parts) {
      const words = await this.#wordsOf(row, part);
      if (words === undefined) continue;
      const names = await this.#namesFrom(row, pattern, words.length);
      if (names !== undefined) return names;
      const cursor = this.#wordUnion(row, words);
      const lines = linesBefore(words.length);
      const scan = key && lines > 0 ? this.#nameScan(row.tag, key, lines) : undefined;
      if (scan === undefined && (await isFew(cursor))) return cursor;
      found.push(scan === undefined ? cursor : new TurnsCursor(scan, cursor));
      // Two parts narrow enough: the rest is seen when the candidates are looked at.
      if (found.length === 2) break;
    }
    return found.length > 1 ? new IntersectCursor(found) : found[0];
  }

  /** Names that start as the pattern does, where that is less to read than the postings of so many words. */
  async #namesFrom(row: SearchAttribute, pattern: string, words: number): Promise<Cursor | undefined> {
    const [start] = /^[^*?]*/.exec(pattern) ?? [''];
    if (row.index !== 'name' || words <= PLAN_LIMITS.listsOfNames || !isIndexable(start)) return undefined;
    return this.#placesCursor(row, await this.#valuesFrom(row, start, words * PLAN_LIMITS.rowsOfNames));
  }

  #nameScan(tag: string, key: Key, most?: number): PostingCursor | undefined {
    return nameScan(this.#index, partitions.list(this.#tenant), { tag, key }, this.#range, this.#budget, most);
  }

  async #alikeCursor(row: SearchAttribute, word: string): Promise<Cursor | undefined> {
    const starting = await this.#wordsOf(row, { text: word, kind: 'prefix' });
    if (starting === undefined) return undefined;
    const words = new Set(starting);
    for (const code of soundsOf(word)) {
      const alike = await this.#keys(partitions.sound(this.#tenant, row.tag, code), '', PLAN_LIMITS.mergedLists);
      if (alike === undefined) return undefined;
      for (const other of alike) words.add(other);
    }
    return words.size <= PLAN_LIMITS.mergedLists ? this.#wordUnion(row, [...words]) : undefined;
  }

  #wordUnion(row: SearchAttribute, words: readonly string[]): Cursor {
    const overflows = this.#overflowing.has(row.tag);
    if (!overflows) this.trusted.add(row.tag);
    const lists = overflows ? [...words, OVERFLOW] : words;
    return this.#union(lists.map((word) => partitions.word(this.#tenant, row.tag, word)));
  }

  #union(lists: readonly string[]): Cursor {
    // Many lists are short ones, and few places of each are needed.
    const firstPage = lists.length <= 2 ? 64 : lists.length <= 32 ? 16 : 4;
    const cursors = lists.map(
      (partition) => new PostingCursor(this.#index, { partition, firstPage }, this.#range, this.#budget),
    );
    return unionOf(cursors, this.#range);
  }

  /** Words of the vocabulary that hold the part as it asks; undefined when they are too many, or the part too short to be found. */
  async #wordsOf(row: SearchAttribute, { text, kind }: PatternPart): Promise<readonly string[] | undefined> {
    if (text.length > INDEXED_CHARACTERS) return [];
    if (kind === 'word') return [text];
    if (kind === 'prefix') return this.#vocabulary(partitions.terms(this.#tenant, row.tag, text), text);
    const head = endHead(text);
    if (head === undefined) return undefined;
    const end = kind === 'suffix' ? `${text}${SEPARATOR}` : text;
    const ends = await this.#vocabulary(partitions.ends(this.#tenant, row.tag, head), end);
    return ends && [...new Set(ends.map((sort) => sort.slice(sort.indexOf(SEPARATOR) + 1)))];
  }

  /** As `#keys`, of a partition whose rows never go: what has once been too many is not read again. */
  async #vocabulary(partition: string, prefix: string): Promise<string[] | undefined> {
    const many = tooMany.get(this.#index) ?? new Set();
    tooMany.set(this.#index, many);
    const name = `${partition}\n${prefix}`;
    if (many.has(name)) return undefined;
    const most = PLAN_LIMITS.mergedLists;
    // What is left of the budget may have been too little to tell.
    const mayTell = this.#budget.grant(most) === most;
    const found = await this.#keys(partition, prefix, most);
    if (found === undefined && mayTell) {
      if (many.size >= REMEMBERED) many.clear();
      many.add(name);
    }
    return found;
  }

  /** Sort keys of a partition that start with `prefix`; undefined when there are more than `most`. */
  async #keys(partition: string, prefix: string, most: number): Promise<string[] | undefined> {
    const limit = this.#budget.grant(most);
    if (limit === 0) return undefined;
    const page = await this.#index.query(
      { partition, ...(prefix !== '' && { prefix }), limit, keysOnly: true },
      this.#budget.meter,
    );
    return page.more ? undefined : page.records.map(({ sort }) => sort);
  }
}

const isFew = async (cursor: Cursor): Promise<boolean> =>
  ((await cursor.countIfFew()) ?? Infinity) <= PLAN_LIMITS.fewCandidates;

const placeOf = (sort: string): string => sort.slice(sort.lastIndexOf(SEPARATOR) + 1);

const unionOf = (cursors: readonly Cursor[], { descending }: PlaceRange): Cursor =>
  cursors.length === 1 ? cursors[0]! : new UnionCursor(cursors, descending);

/** Conditions that find the fewest come first. */
function rank({ tag, key }: Condition): number {
  const index = searchAttribute('study', tag)?.index;
  if (index === 'modality') return 5;
  if (index === 'value') return 1;
  if (index === 'identifier') return key.kind === 'values' ? 0 : 3;
  return key.kind === 'values' ? 1 : 2;
}

const partRank = ({ kind }: PatternPart): number => (kind === 'word' ? 0 : 1);
