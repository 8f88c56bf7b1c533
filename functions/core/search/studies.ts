import type { StudyReach } from '../access/reach.ts';
import { conditionsOf, factsOfRow } from '../access/rules.ts';
import type { Tenant } from '../archive/records.ts';
import { type IndexTable, newReadMeter, type ReadMeter } from '../ports/index-table.ts';
import { ArrayCursor, type Cursor, ReadBudget, UnionCursor } from './cursors.ts';
import { isDateRange, listDirection, rangeOf } from './date-range.ts';
import { type Condition, matchesAll } from './match.ts';
import { type Named, namedBy, studiesNamed } from './named.ts';
import { type StudyPlan, StudyPlanner } from './plan.ts';
import { overflowMark } from './postings.ts';
import type { Query } from './query.ts';
import { type Results, type SearchServices, takePage } from './results.ts';
import { GET_MANY, StudyLines } from './study-lines.ts';
import type { StudyRow } from './study-list.ts';
import { StudyPage } from './study-page.ts';

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

/** rules of who asks that are made plans of; who has more is answered by the query's own plan */
const RULES_PLANNED = 64;

/** The study side of a search of any level: the studies that meet the study conditions, in the order of the list. */
export class StudySearch {
  readonly #services: SearchServices;
  readonly #index: IndexTable;
  readonly #tenant: Tenant;
  readonly #query: Query;
  readonly #budget: ReadBudget;
  readonly #reach: StudyReach | undefined;
  readonly #conditions: readonly Condition[];
  readonly #named: Named | undefined;
  readonly #lines: StudyLines;
  /** the stream of matches is in the order asked for */
  readonly sorted: boolean;

  constructor(services: SearchServices, tenant: Tenant, query: Query, budget: ReadBudget) {
    const { index, reach } = services;
    this.#services = services;
    this.#index = index;
    this.#reach = reach;
    this.#tenant = tenant;
    this.#query = query;
    this.#budget = budget;
    this.#conditions = query.conditions.study;
    this.#named = namedBy(query);
    const direction = listDirection(query.order);
    this.sorted = direction !== undefined;
    const range = rangeOf(this.#conditions, direction !== 'ascending');
    this.#lines = new StudyLines(index, tenant, budget, range);
  }

  /** A page that the counters find; undefined where the query asks more than that. */
  async page(): Promise<Results<StudyRow> | undefined> {
    if (!this.sorted || this.#named !== undefined) return undefined;
    return new StudyPage(this.#services, this.#tenant, this.#query, this.#budget, this.#lines).page();
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
      yield* await this.#lines.ofStudies(studies);
      return;
    }
    // Values with more words than are indexed are rare, and there are none in most archives: whether there are is read along with the first lines.
    let overflowing: ReadonlySet<string> = new Set();
    for (;;) {
      const planner = new StudyPlanner(this.#index, this.#tenant, this.#budget, this.#lines.range, overflowing);
      const plan = await this.#planned(planner);
      if (plan.kind === 'none') return;
      if (plan.kind === 'list') {
        yield* this.#lines.scan(this.#conditions.every(isDateRange) ? wanted : 4 * wanted);
        return;
      }
      const trusted = [...planner.trusted];
      const marks = trusted.map((tag) => overflowMark(this.#tenant, tag));
      const first = await this.#lines.read(plan.cursor, Math.min(GET_MANY - marks.length, wanted), marks);
      if (first.marked.every((mark) => mark === undefined)) {
        for (let { rows } = first; rows !== undefined; rows = await this.#lines.next(plan.cursor, GET_MANY))
          yield* rows;
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
    return { kind: 'candidates', cursor: new UnionCursor(cursors, this.#lines.range.descending) };
  }

  async #placesOf(studies: readonly string[]): Promise<Cursor> {
    return new ArrayCursor(
      (await this.#lines.ofStudies(studies)).map(({ place }) => place),
      this.#lines.range,
    );
  }
}
