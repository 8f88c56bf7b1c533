import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { IndexTable, ReadMeter } from '../ports/index-table.ts';

/**
 * Ordered streams of places in the study list (`YYYYMMDD|HHMMSS|{Study}`), read from the postings page by page, merged and
 * intersected as they are read. All cursors of one search run in the same direction.
 */
export interface Cursor {
  /** The place it stands on; undefined behind the last. */
  current(): Promise<string | undefined>;
  advance(): void;
  /** To the first place that is not before `place`. */
  seek(place: string): void;
  /** How many places it has at most, when it stands on its first one and all are read already; else undefined. */
  countIfFew(): Promise<number | undefined>;
}

/** What one search may still read. Cursors end, and `cut` turns true, when nothing is left. */
export class ReadBudget {
  readonly meter: ReadMeter;
  readonly #limit: number;
  readonly #clock: Pick<Clock, 'sleep'>;
  /** the answer may lack matches, as not all could be read */
  cut = false;

  constructor(
    { limits, clock }: { limits: Pick<Limits, 'searchRecords'>; clock: Pick<Clock, 'sleep'> },
    meter: ReadMeter,
  ) {
    this.meter = meter;
    this.#limit = meter.records + limits.searchRecords;
    this.#clock = clock;
  }

  /** Lets other requests have their turn: an index that answers without waiting would hold them up through a long scan. */
  pause(): Promise<void> {
    return this.#clock.sleep(0);
  }

  /** At most `wanted` records of what is left; 0 marks the search as cut. */
  grant(wanted: number): number {
    const left = Math.min(wanted, this.#limit - this.meter.records);
    if (left > 0) return left;
    this.cut = true;
    return 0;
  }
}

/** The stretch of places that the dates asked for allow: `from` inclusive, `to` exclusive. */
export interface PlaceRange {
  readonly descending: boolean;
  readonly from?: string;
  readonly to?: string;
}

const FIRST_PAGE = 32;
const LARGEST_PAGE = 1_000;
/** where records are looked at for their text: what is read beyond the last place that is wanted costs more */
const LARGEST_PAGE_OF_TEXTS = 512;

/** Where places are read. */
export interface PlaceList {
  readonly partition: string;
  /** stands before each place in the sort keys */
  readonly prefix?: string;
  /** records of the first page */
  readonly firstPage?: number;
  /** of places whose record does not have this, or whose text `name` is not admitted, nothing is heard */
  readonly where?: { readonly name: string; readonly admits: (text: string | undefined) => boolean };
  /** records that are looked at */
  readonly most?: number;
}

/** The places of one list, as they stand there. */
export class PostingCursor implements Cursor {
  readonly #index: IndexTable;
  readonly #list: PlaceList;
  readonly #range: PlaceRange;
  readonly #budget: ReadBudget;
  #pageSize: number;
  #page: string[] = [];
  #at = 0;
  #more = true;
  #looked = 0;
  /** where the next page starts: inclusive place, or exclusive last sort read */
  #seekTo: string | undefined;
  #after: string | undefined;

  constructor(index: IndexTable, list: PlaceList, range: PlaceRange, budget: ReadBudget) {
    this.#index = index;
    this.#list = list;
    this.#range = range;
    this.#budget = budget;
    this.#pageSize = list.firstPage ?? FIRST_PAGE;
  }

  /** It has ended for having looked at `most` records; the last of them. */
  get leftOffAt(): string | undefined {
    return this.#more && this.#looked >= (this.#list.most ?? Infinity) ? this.#after : undefined;
  }

  async current(): Promise<string | undefined> {
    while (this.#at >= this.#page.length && this.#more && this.leftOffAt === undefined) await this.#read();
    return this.#page[this.#at];
  }

  async countIfFew(): Promise<number | undefined> {
    await this.current();
    return this.#more ? undefined : this.#page.length;
  }

  advance(): void {
    this.#at++;
  }

  seek(place: string): void {
    const { descending } = this.#range;
    while (this.#at < this.#page.length && isBefore(this.#page[this.#at]!, place, descending)) this.#at++;
    if (this.#at === this.#page.length) this.#seekTo = place;
  }

  async #read(): Promise<void> {
    const { partition, prefix = '', where, most = Infinity } = this.#list;
    const limit = this.#budget.grant(Math.min(this.#pageSize, most - this.#looked));
    if (limit === 0) {
      this.#more = false;
      return;
    }
    this.#pageSize = Math.min(this.#pageSize * 2, where === undefined ? LARGEST_PAGE : LARGEST_PAGE_OF_TEXTS);
    const { descending } = this.#range;
    let { from, to } = this.#range;
    if (this.#seekTo !== undefined) {
      if (descending) to = to === undefined || this.#seekTo < to ? `${this.#seekTo}\u0002` : to;
      else from = from === undefined || this.#seekTo > from ? this.#seekTo : from;
      this.#seekTo = undefined;
    }
    const page = await this.#index.query(
      {
        partition,
        ...(prefix !== '' && { prefix }),
        ...(from !== undefined && { from: prefix + from }),
        ...(to !== undefined && { to: prefix + to }),
        ...(this.#after !== undefined && { after: this.#after }),
        descending,
        limit,
        ...(where === undefined ? { keysOnly: true } : { only: where.name }),
      },
      this.#budget.meter,
    );
    this.#looked += page.records.length;
    this.#after = page.records.at(-1)?.sort ?? this.#after;
    this.#page = [];
    for (const { sort, item } of page.records)
      if (where?.admits(item[where.name] as string | undefined) ?? true) this.#page.push(sort.slice(prefix.length));
    this.#at = 0;
    this.#more = page.more;
  }
}

const isBefore = (a: string, b: string, descending: boolean): boolean => (descending ? a > b : a < b);

/** Places that are known already. */
export class ArrayCursor implements Cursor {
  readonly #places: readonly string[];
  readonly #descending: boolean;
  #at = 0;

  constructor(places: Iterable<string>, { descending, from, to }: PlaceRange) {
    const inRange = [...new Set(places)].filter(
      (place) => (from === undefined || place >= from) && (to === undefined || place < to),
    );
    inRange.sort();
    this.#places = descending ? inRange.reverse() : inRange;
    this.#descending = descending;
  }

  async countIfFew(): Promise<number> {
    return this.#places.length;
  }

  async current(): Promise<string | undefined> {
    return this.#places[this.#at];
  }

  advance(): void {
    this.#at++;
  }

  seek(place: string): void {
    while (this.#at < this.#places.length && isBefore(this.#places[this.#at]!, place, this.#descending)) this.#at++;
  }
}

/** Every place of any cursor, once. */
export class UnionCursor implements Cursor {
  readonly #cursors: readonly Cursor[];
  readonly #descending: boolean;
  /** a heap by current place; those that have to be asked again stand in `#moved` */
  readonly #heap: { place: string; cursor: Cursor }[] = [];
  #moved: Cursor[];

  constructor(cursors: readonly Cursor[], descending: boolean) {
    this.#cursors = cursors;
    this.#moved = [...cursors];
    this.#descending = descending;
  }

  async current(): Promise<string | undefined> {
    if (this.#moved.length > 0) {
      const moved = this.#moved;
      this.#moved = [];
      const places = await Promise.all(moved.map((cursor) => cursor.current()));
      moved.forEach((cursor, i) => {
        const place = places[i];
        if (place !== undefined) this.#push({ place, cursor });
      });
    }
    return this.#heap[0]?.place;
  }

  advance(): void {
    const place = this.#heap[0]?.place;
    while (this.#heap.length > 0 && this.#heap[0]!.place === place) this.#pop().advance();
  }

  seek(place: string): void {
    for (const cursor of this.#moved) cursor.seek(place);
    while (this.#heap.length > 0 && isBefore(this.#heap[0]!.place, place, this.#descending)) this.#pop().seek(place);
  }

  async countIfFew(): Promise<number | undefined> {
    await this.current();
    let sum = 0;
    for (const cursor of this.#cursors) {
      const count = await cursor.countIfFew();
      if (count === undefined) return undefined;
      sum += count;
    }
    return sum;
  }

  #pop(): Cursor {
    const heap = this.#heap;
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length > 0) {
      heap[0] = last;
      this.#sink();
    }
    this.#moved.push(top.cursor);
    return top.cursor;
  }

  #push(entry: { place: string; cursor: Cursor }): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(heap[at]!.place, heap[parent]!.place, this.#descending)) break;
      [heap[at], heap[parent]] = [heap[parent]!, heap[at]!];
      at = parent;
    }
  }

  #sink(): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < heap.length && isBefore(heap[child]!.place, heap[least]!.place, this.#descending)) least = child;
      }
      if (least === at) return;
      [heap[at], heap[least]] = [heap[least]!, heap[at]!];
      at = least;
    }
  }
}

/** The places that all cursors have: each leaps to where the others stand. */
export class IntersectCursor implements Cursor {
  readonly #cursors: readonly Cursor[];

  constructor(cursors: readonly Cursor[]) {
    this.#cursors = cursors;
  }

  async current(): Promise<string | undefined> {
    let agreed = 0;
    let place: string | undefined;
    for (let i = 0; agreed < this.#cursors.length; i = (i + 1) % this.#cursors.length) {
      const cursor = this.#cursors[i]!;
      if (place !== undefined) cursor.seek(place);
      const here = await cursor.current();
      if (here === undefined) return undefined;
      agreed = here === place ? agreed + 1 : 1;
      place = here;
    }
    return place;
  }

  advance(): void {
    this.#cursors[0]?.advance();
  }

  seek(place: string): void {
    this.#cursors[0]?.seek(place);
  }

  async countIfFew(): Promise<undefined> {
    return undefined;
  }
}
