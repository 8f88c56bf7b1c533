import type { StudyReach } from '../access/reach.ts';
import { conditionsOf, factsOfRow } from '../access/rules.ts';
import { asRecord, keys, type StudyRecord, type Tenant } from '../archive/records.ts';
import { type IndexTable, type Item, type Key, newReadMeter, type ReadMeter } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { StudyCounts } from './counts.ts';
import { ArrayCursor, type Cursor, type PlaceRange, PostingCursor, ReadBudget, UnionCursor } from './cursors.ts';
import { type Condition, matchesAll } from './match.ts';
import { batchesOf, type Named, namedBy, studiesNamed } from './named.ts';
import { inOrder } from './order.ts';
import { type StudyPlan, StudyPlanner } from './plan.ts';
import { overflowMark, partitions } from './postings.ts';
import type { OrderKey, Query } from './query.ts';
import { StudyRow, studyLine, studySort } from './study-list.ts';

/** What a search found: one page of it. */
export interface Results<R> {
  readonly rows: readonly R[];
  /** matches in all, where that is known */
  readonly total?: number;
  /** there are matches behind this page */
  readonly more: boolean;
  /** the budget of reads was spent: matches may be missing */
  readonly cut: boolean;
  /** patients could not be counted that were to be: see patient-counts.ts */
  readonly uncounted?: boolean;
}

/** Confined services are searched as far as their reach goes. */
export type SearchServices = Pick<Services, 'index' | 'limits' | 'clock' | 'reach'>;

/**
 * The studies that meet a query of level `study`, newest first unless it orders otherwise. Also what C-FIND asks.
 * Reads at most `limits.searchRecords` records; docs/search-budgets.md says how many each shape of query needs.
 */
export async function searchStudyRecords(
  services: SearchServices,
  tenant: Tenant,
  query: Query,
  meter: ReadMeter = newReadMeter(),
): Promise<Results<StudyRow>> {
  const budget = new ReadBudget(services, meter);
  const search = new StudySearch(services, tenant, query, budget);
  const jump = await search.page();
  if (jump !== undefined) return jump;
  return takePage(
    search.matches(query.offset + query.limit + 1),
    query,
    search.sorted ? undefined : (row, tag) => row.element(tag),
    budget,
  );
}

/** One page of a stream of matches, put in order first where the stream is not. */
export async function takePage<R>(
  matches: AsyncIterable<R>,
  { offset, limit, order }: Pick<Query, 'offset' | 'limit' | 'order'>,
  elementOf: ((row: R, tag: string) => ReturnType<StudyRow['element']>) | undefined,
  budget: ReadBudget,
): Promise<Results<R>> {
  const end = offset + limit;
  const rows: R[] = [];
  let count = 0;
  let more = false;
  for await (const row of matches) {
    if (elementOf === undefined && count === end) {
      more = true;
      break;
    }
    if (elementOf !== undefined || count >= offset) rows.push(row);
    count++;
  }
  if (elementOf !== undefined) {
    const page = inOrder(rows, order, elementOf).slice(offset, end);
    return { rows: page, ...(!budget.cut && { total: rows.length }), more: rows.length > end, cut: budget.cut };
  }
  return { rows, ...(!more && !budget.cut && { total: count }), more, cut: budget.cut };
}

const STUDY_DATE = '00080020';
const STUDY_TIME = '00080030';
const PATIENT_ID = '00100020';
const GET_MANY = 100;
const LARGEST_PAGE = 1_000;

type Walk = Pick<Cursor, 'current' | 'advance'>;
/** restricted patients, and studies of theirs, up to which a page of the list is found by the counters */
const HIDDEN_PATIENTS = 50;
const HIDDEN_STUDIES = 1_000;
/** rules of who asks that are made plans of; who has more is answered by the query's own plan */
const RULES_PLANNED = 64;

/** The study side of a search of any level: the studies that meet the study conditions, in the order of the list. */
export class StudySearch {
  readonly #index: IndexTable;
  readonly #tenant: Tenant;
  readonly #query: Query;
  readonly #budget: ReadBudget;
  readonly #reach: StudyReach | undefined;
  readonly #conditions: readonly Condition[];
  readonly #named: Named | undefined;
  readonly #range: PlaceRange;
  /** the stream of matches is in the order asked for */
  readonly sorted: boolean;

  constructor({ index, reach }: SearchServices, tenant: Tenant, query: Query, budget: ReadBudget) {
    this.#index = index;
    this.#reach = reach;
    this.#tenant = tenant;
    this.#query = query;
    this.#budget = budget;
    this.#conditions = query.conditions.study;
    this.#named = namedBy(query);
    const direction = listDirection(query.order);
    this.sorted = direction !== undefined;
    this.#range = rangeOf(this.#conditions, direction !== 'ascending');
  }

  /** A page of the list, or of one modality's list, found by the counters; undefined when the query asks more than that. */
  async page(): Promise<Results<StudyRow> | undefined> {
    if (!this.sorted || this.#named !== undefined) return undefined;
    const { offset, limit } = this.#query;
    const modality = onlyModality(this.#conditions);
    if (modality === undefined && !this.#conditions.every(isDateRange)) return undefined;
    // The counters count every study: what is to be taken off must be known one by one.
    const hidden = await this.#hidden();
    if (hidden === undefined) return undefined;
    const counts = new StudyCounts(this.#index, this.#tenant, modality, this.#budget);
    const periods = await counts.periods(this.#range);
    const all = periods.reduce((sum, period) => sum + period.studies, 0);
    const total = Math.max(0, all - hidden.length);
    const start = await this.#startOfPage(counts, periods, all);
    if (start === undefined) return { rows: [], total, more: offset < total, cut: this.#budget.cut };
    // As many more as are hidden: so the page is full whichever of them stand before it and on it.
    const size = limit + hidden.length;
    const rows =
      modality === undefined
        ? await this.#lines(start.range, start.before, size)
        : await this.#modalityLines(modality, start.range, start.before, size);
    return { rows: this.#seen(rows, hidden, limit), total, more: offset + limit < total, cut: this.#budget.cut };
  }

  /** Of lines that begin with the one that has `offset` before it, hidden ones counted: those of the page. */
  #seen(rows: readonly StudyRow[], hidden: readonly string[], limit: number): StudyRow[] {
    const [first] = rows;
    if (first === undefined || hidden.length === 0) return [...rows];
    const { descending } = this.#range;
    const before = hidden.filter((place) => (descending ? place > first.place : place < first.place)).length;
    return rows.filter((row) => this.#isInReach(row)).slice(before, before + limit);
  }

  /**
   * Places of matching studies that are hidden from who asks; undefined where they cannot be told one by one: he is confined by rules, or they
   * are too many.
   */
  async #hidden(): Promise<readonly string[] | undefined> {
    if (this.#reach === undefined) return [];
    const patients = this.#reach.hiddenPatients;
    if (patients === undefined || patients.length > HIDDEN_PATIENTS) return undefined;
    const texts = [...new Set(patients.map(({ id }) => id.trim()))];
    const planner = new StudyPlanner(this.#index, this.#tenant, this.#budget, this.#range, new Set());
    const plan = await planner.plan([{ tag: PATIENT_ID, key: { kind: 'values', texts, folded: false } }]);
    if (plan.kind === 'list') return undefined;
    const places: string[] = [];
    while (plan.kind === 'candidates' && places.length <= HIDDEN_STUDIES) {
      const rows = await this.#next(plan.cursor, GET_MANY);
      if (rows === undefined) break;
      for (const row of rows)
        if (!this.#isInReach(row) && matchesAll(this.#conditions, (tag) => row.element(tag))) places.push(row.place);
    }
    return places.length > HIDDEN_STUDIES ? undefined : places;
  }

  /** Where the page begins; undefined when it is empty. The first one begins where the range does: nothing to be looked up. */
  async #startOfPage(
    counts: StudyCounts,
    periods: Awaited<ReturnType<StudyCounts['periods']>>,
    total: number,
  ): Promise<{ range: PlaceRange; before: number } | undefined> {
    const { offset, limit } = this.#query;
    if (limit === 0 || offset >= total) return undefined;
    if (offset === 0) return { range: this.#range, before: 0 };
    const day = await counts.dayOf(periods, offset, this.#range.descending);
    return day && { range: fromDay(this.#range, day.day), before: day.before };
  }

  async #lines(range: PlaceRange, skip: number, limit: number): Promise<StudyRow[]> {
    const granted = this.#budget.grant(skip + limit);
    if (granted === 0) return [];
    const page = await this.#index.query(listQuery(this.#tenant, range, undefined, granted), this.#budget.meter);
    if (page.more && granted < skip + limit) this.#budget.cut = true;
    return page.records.slice(skip).map(({ sort, item }) => new StudyRow(sort, item));
  }

  async #modalityLines(modality: string, range: PlaceRange, skip: number, limit: number): Promise<StudyRow[]> {
    const list = {
      partition: partitions.modality(this.#tenant, modality),
      firstPage: Math.min(skip + limit, LARGEST_PAGE),
    };
    const cursor = new PostingCursor(this.#index, list, range, this.#budget);
    for (let i = 0; i < skip && (await cursor.current()) !== undefined; i++) cursor.advance();
    const rows: StudyRow[] = [];
    while (rows.length < limit) {
      const batch = await this.#next(cursor, Math.min(GET_MANY, limit - rows.length));
      if (batch === undefined) break;
      rows.push(...batch.filter((row) => matchesAll(this.#conditions, (tag) => row.element(tag))));
    }
    return rows;
  }

  /** Matches in the order of the list (unless `sorted` is false, then any). `wanted`: how many are likely to be taken. */
  async *matches(wanted: number): AsyncGenerator<StudyRow> {
    for await (const row of this.#candidates(wanted)) {
      if (this.#isInReach(row) && matchesAll(this.#conditions, (tag) => row.element(tag))) yield row;
    }
  }

  #isInReach(row: StudyRow): boolean {
    return this.#reach === undefined || this.#reach.admits(factsOfRow(row));
  }

  async *#candidates(wanted: number): AsyncGenerator<StudyRow> {
    if (this.#named !== undefined) {
      const studies = await studiesNamed(this.#index, this.#tenant, this.#named, this.#budget);
      yield* await this.#rowsOfStudies(studies);
      return;
    }
    // Values with more words than are indexed are rare, and there are none in most archives: whether there are is read along with the first lines.
    let overflowing: ReadonlySet<string> = new Set();
    for (;;) {
      const planner = new StudyPlanner(this.#index, this.#tenant, this.#budget, this.#range, overflowing);
      const plan = await this.#planned(planner);
      if (plan.kind === 'none') return;
      if (plan.kind === 'list') {
        yield* this.#scan(this.#conditions.every(isDateRange) ? wanted : 4 * wanted);
        return;
      }
      const trusted = [...planner.trusted];
      const marks = trusted.map((tag) => overflowMark(this.#tenant, tag));
      const first = await this.#read(plan.cursor, Math.min(GET_MANY - marks.length, wanted), marks);
      if (first.marked.every((mark) => mark === undefined)) {
        for (let { rows } = first; rows !== undefined; rows = await this.#next(plan.cursor, GET_MANY)) yield* rows;
        return;
      }
      overflowing = new Set([...overflowing, ...trusted.filter((_, i) => first.marked[i] !== undefined)]);
    }
  }

  /**
   * The plan of the query, narrowed down by the rules of who asks: whatever the archive holds, he reads no more than what his rules lead
   * to. A rule that no index serves (sites, de-identified) leaves the query's own plan.
   */
  async #planned(planner: StudyPlanner): Promise<StudyPlan> {
    const narrowest = this.#reach?.narrowest;
    if (narrowest === undefined || narrowest.length > RULES_PLANNED) return planner.plan(this.#conditions);
    const cursors: Cursor[] = [];
    for (const rule of narrowest) {
      for (const conditions of conditionsOf(rule)) {
        const plan =
          rule.studies === undefined
            ? await planner.plan([...this.#conditions, ...conditions])
            : { kind: 'candidates' as const, cursor: await this.#placesOf(rule.studies) };
        if (plan.kind === 'list') return plan;
        if (plan.kind === 'candidates') cursors.push(plan.cursor);
      }
    }
    if (cursors.length === 0) return { kind: 'none' };
    return { kind: 'candidates', cursor: new UnionCursor(cursors, this.#range.descending) };
  }

  async #placesOf(studies: readonly string[]): Promise<Cursor> {
    return new ArrayCursor(
      (await this.#rowsOfStudies(studies)).map(({ place }) => place),
      this.#range,
    );
  }

  async *#scan(wanted: number): AsyncGenerator<StudyRow> {
    let after: string | undefined;
    for (let size = Math.min(Math.max(wanted, 25), LARGEST_PAGE); ; size = Math.min(2 * size, LARGEST_PAGE)) {
      const granted = this.#budget.grant(size);
      if (granted === 0) return;
      const page = await this.#index.query(listQuery(this.#tenant, this.#range, after, granted), this.#budget.meter);
      for (const { sort, item } of page.records) yield new StudyRow(sort, item);
      if (!page.more) return;
      after = page.records.at(-1)?.sort;
      if (page.records.length === LARGEST_PAGE) await this.#budget.pause();
    }
  }

  /** The lines of the next places of a cursor; a posting without a line is one left behind. Undefined at the end. */
  async #next(cursor: Walk, size: number): Promise<StudyRow[] | undefined> {
    return (await this.#read(cursor, size, [])).rows;
  }

  /** The same, and in the same call these other records. */
  async #read(
    cursor: Walk,
    size: number,
    others: readonly Key[],
  ): Promise<{ rows: StudyRow[] | undefined; marked: readonly (Item | undefined)[] }> {
    const places: string[] = [];
    while (places.length < size) {
      const place = await cursor.current();
      if (place === undefined) break;
      places.push(place);
      cursor.advance();
    }
    const granted = places.slice(0, places.length === 0 ? 0 : this.#budget.grant(places.length));
    const partition = partitions.list(this.#tenant);
    const asked = [...others, ...granted.map((sort) => ({ partition, sort }))];
    const items = asked.length === 0 ? [] : await this.#index.getMany(asked, this.#budget.meter);
    const lines = items.slice(others.length);
    const rows = lines.flatMap((item, i) => (item === undefined ? [] : [new StudyRow(granted[i]!, item)]));
    return { rows: granted.length === 0 ? undefined : rows, marked: items.slice(0, others.length) };
  }

  async #rowsOfStudies(uids: readonly string[]): Promise<StudyRow[]> {
    const rows: StudyRow[] = [];
    for (const batch of batchesOf([...new Set(uids)], this.#budget)) {
      const items = await this.#index.getMany(
        batch.map((uid) => keys.study(this.#tenant, uid)),
        this.#budget.meter,
      );
      for (const item of items) {
        const record = item && asRecord<StudyRecord>(item);
        if (record && record.instanceCount > 0) rows.push(new StudyRow(studySort(record), studyLine(record)));
      }
    }
    const sign = this.#range.descending ? -1 : 1;
    return rows.sort((a, b) => (a.place < b.place ? -sign : sign));
  }
}

const listQuery = (tenant: Tenant, { descending, from, to }: PlaceRange, after: string | undefined, limit: number) => ({
  partition: partitions.list(tenant),
  descending,
  limit,
  ...(from !== undefined && { from }),
  ...(to !== undefined && { to }),
  ...(after !== undefined && { after }),
});

/** The direction of the list that gives the order asked for; undefined when it has to be sorted. */
function listDirection(order: readonly OrderKey[]): 'ascending' | 'descending' | undefined {
  const [date, time, ...others] = order;
  if (date === undefined) return 'descending';
  if (date.tag !== STUDY_DATE || others.length > 0) return undefined;
  if (time !== undefined && (time.tag !== STUDY_TIME || time.descending !== date.descending)) return undefined;
  return date.descending ? 'descending' : 'ascending';
}

const isDateRange = ({ tag, key }: Condition): boolean => tag === STUDY_DATE && key.kind === 'range';

/** The modality, where nothing but it and whole days are asked for. */
function onlyModality(conditions: readonly Condition[]): string | undefined {
  const [condition, ...others] = conditions.filter((candidate) => !isDateRange(candidate));
  if (condition === undefined || others.length > 0 || condition.tag !== '00080061' || condition.key.kind !== 'values')
    return undefined;
  return condition.key.texts.length === 1 ? condition.key.texts[0] : undefined;
}

/** `~` stands behind everything that follows a date or a time in a place. */
function rangeOf(conditions: readonly Condition[], descending: boolean): PlaceRange {
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
const fromDay = (range: PlaceRange, day: string): PlaceRange =>
  range.descending
    ? { ...range, to: range.to !== undefined && range.to < `${day}~` ? range.to : `${day}~` }
    : { ...range, from: range.from !== undefined && range.from > day ? range.from : day };
