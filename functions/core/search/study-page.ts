import type { StudyReach } from '../access/reach.ts';
import { factsOfRow } from '../access/rules.ts';
import type { Tenant } from '../archive/records.ts';
import type { IndexTable } from '../ports/index-table.ts';
import { StudyCounts } from './counts.ts';
import { type PlaceRange, PostingCursor, type ReadBudget } from './cursors.ts';
import { fromDay, isDateRange } from './date-range.ts';
import { type Condition, matchesAll } from './match.ts';
import { StudyPlanner } from './plan.ts';
import { partitions } from './postings.ts';
import type { Query } from './query.ts';
import type { Results, SearchServices } from './results.ts';
import { GET_MANY, LARGEST_PAGE, type StudyLines } from './study-lines.ts';
import type { StudyRow } from './study-list.ts';

const PATIENT_ID = '00100020';
/** restricted patients, and studies of theirs, up to which a page of the list is found by the counters */
const HIDDEN_PATIENTS = 50;
const HIDDEN_STUDIES = 1_000;

/** The way to a page that the counters of days know, however far behind: of the list, or of one modality's. */
export class StudyPage {
  readonly #index: IndexTable;
  readonly #tenant: Tenant;
  readonly #query: Query;
  readonly #budget: ReadBudget;
  readonly #lines: StudyLines;
  readonly #reach: StudyReach | undefined;
  readonly #conditions: readonly Condition[];

  constructor({ index, reach }: SearchServices, tenant: Tenant, query: Query, budget: ReadBudget, lines: StudyLines) {
    this.#index = index;
    this.#reach = reach;
    this.#tenant = tenant;
    this.#query = query;
    this.#budget = budget;
    this.#lines = lines;
    this.#conditions = query.conditions.study;
  }

  /** A page of the list, or of one modality's list, found by the counters; undefined when the query asks more than that. */
  async page(): Promise<Results<StudyRow> | undefined> {
    const { offset, limit } = this.#query;
    const modality = onlyModality(this.#conditions);
    if (modality === undefined && !this.#conditions.every(isDateRange)) return undefined;
    // The counters count every study: what is to be taken off must be known one by one.
    const hidden = await this.#hidden();
    if (hidden === undefined) return undefined;
    const counts = new StudyCounts(this.#index, this.#tenant, modality, this.#budget);
    const periods = await counts.periods(this.#lines.range);
    const all = periods.reduce((sum, period) => sum + period.studies, 0);
    const total = Math.max(0, all - hidden.length);
    const start = await this.#startOfPage(counts, periods, all);
    if (start === undefined) return { rows: [], total, more: offset < total, cut: this.#budget.cut };
    // As many more as are hidden: so the page is full whichever of them stand before it and on it.
    const size = limit + hidden.length;
    const rows =
      modality === undefined
        ? await this.#lines.from(start.range, start.before, size)
        : await this.#modalityLines(modality, start.range, start.before, size);
    return { rows: this.#seen(rows, hidden, limit), total, more: offset + limit < total, cut: this.#budget.cut };
  }

  /** Of lines that begin with the one that has `offset` before it, hidden ones counted: those of the page. */
  #seen(rows: readonly StudyRow[], hidden: readonly string[], limit: number): StudyRow[] {
    const [first] = rows;
    if (first === undefined || hidden.length === 0) return [...rows];
    const { descending } = this.#lines.range;
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
    const planner = new StudyPlanner(this.#index, this.#tenant, this.#budget, this.#lines.range, new Set());
    const plan = await planner.plan([{ tag: PATIENT_ID, key: { kind: 'values', texts, folded: false } }]);
    if (plan.kind === 'list') return undefined;
    const places: string[] = [];
    while (plan.kind === 'candidates' && places.length <= HIDDEN_STUDIES) {
      const rows = await this.#lines.next(plan.cursor, GET_MANY);
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
    if (offset === 0) return { range: this.#lines.range, before: 0 };
    const day = await counts.dayOf(periods, offset, this.#lines.range.descending);
    return day && { range: fromDay(this.#lines.range, day.day), before: day.before };
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
      const batch = await this.#lines.next(cursor, Math.min(GET_MANY, limit - rows.length));
      if (batch === undefined) break;
      rows.push(...batch.filter((row) => matchesAll(this.#conditions, (tag) => row.element(tag))));
    }
    return rows;
  }

  #isInReach(row: StudyRow): boolean {
    return this.#reach === undefined || this.#reach.admits(factsOfRow(row));
  }
}

/** The modality, where nothing but it and whole days are asked for. */
function onlyModality(conditions: readonly Condition[]): string | undefined {
  const [condition, ...others] = conditions.filter((candidate) => !isDateRange(candidate));
  if (condition === undefined || others.length > 0 || condition.tag !== '00080061' || condition.key.kind !== 'values')
    return undefined;
  return condition.key.texts.length === 1 ? condition.key.texts[0] : undefined;
}
