import type { Element } from '../dicom/types.ts';
import type { IndexTable } from '../ports/index-table.ts';
import { type Cursor, type PlaceRange, PostingCursor, type ReadBudget } from './cursors.ts';
import { foldName, type Key } from './match.ts';

/**
 * Names that are common are sooner found by going through the study list than by merging the postings of the hundreds of words that hold
 * them. Each line begins with its patient's names, folded, and a query may read these alone.
 */
export const PATIENT_NAME = '00100010';
/** the text of a line that holds them */
const NAMES = 'names';
/** characters of it; a line with more goes without, and may be of any name */
const NAMES_CHARACTERS = 256;
/** words from which on lines are gone through before the words' postings are merged, and how many for each word */
const SCANNED_WORDS = 128;
const LINES_A_WORD = 8;
const FIRST_LINES = 128;

/** The component groups of all values, as a search compares them. */
export function namesText(element: Element | undefined): string | undefined {
  const groups = (element?.Value ?? []).flatMap((value) => {
    if (typeof value === 'string') return [value];
    return typeof value === 'object' && value !== null ? Object.values(value).map(String) : [];
  });
  const text = groups.map(foldName).join('\n');
  return text.length <= NAMES_CHARACTERS ? text : undefined;
}

/** The lines of the list whose names may meet the condition; undefined where nothing can be told from names, or all meet it. */
export function nameScan(
  index: IndexTable,
  partition: string,
  { tag, key }: { readonly tag: string; readonly key: Key },
  range: PlaceRange,
  budget: ReadBudget,
  most = Number.POSITIVE_INFINITY,
): PostingCursor | undefined {
  // What sounds alike is not told by letters.
  if (tag !== PATIENT_NAME || key.kind !== 'name' || (key.fuzzyWords?.length ?? 0) > 0) return undefined;
  const runs = key.groups.flatMap((group) => group.split(/[*?]+/)).filter((run) => run !== '');
  if (runs.length === 0) return undefined;
  const admits = (names: string | undefined): boolean =>
    names === undefined || runs.every((run) => names.includes(run));
  const list = { partition, firstPage: FIRST_LINES, where: { name: NAMES, admits }, most };
  return new PostingCursor(index, list, range, budget);
}

/** How many lines are gone through before the postings of so many words are merged. */
export const linesBefore = (words: number): number => (words < SCANNED_WORDS ? 0 : words * LINES_A_WORD);

/** Of two ways to the same places: the first one as far as it goes, then the second, from there on. */
export class TurnsCursor implements Cursor {
  readonly #first: PostingCursor;
  readonly #second: Cursor;
  #isFirst = true;
  #sought: string | undefined;

  constructor(first: PostingCursor, second: Cursor) {
    this.#first = first;
    this.#second = second;
  }

  async current(): Promise<string | undefined> {
    if (this.#isFirst) {
      const place = await this.#first.current();
      const { leftOffAt } = this.#first;
      if (place !== undefined || leftOffAt === undefined) return place;
      this.#isFirst = false;
      this.#second.seek(leftOffAt);
      if ((await this.#second.current()) === leftOffAt) this.#second.advance();
      if (this.#sought !== undefined) this.#second.seek(this.#sought);
    }
    return this.#second.current();
  }

  advance(): void {
    (this.#isFirst ? this.#first : this.#second).advance();
  }

  seek(place: string): void {
    this.#sought = place;
    (this.#isFirst ? this.#first : this.#second).seek(place);
  }

  /** Not known without going the second way. */
  async countIfFew(): Promise<undefined> {
    return undefined;
  }
}
