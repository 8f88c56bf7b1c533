import { keys, type StudyRecord, type Tenant } from '../archive/records.ts';
import { asRecord, type IndexTable, type Item, type Key } from '../ports/index-table.ts';
import type { Cursor, PlaceRange, ReadBudget } from './cursors.ts';
import { batchesOf } from './named.ts';
import { partitions } from './postings.ts';
import { StudyRow, studyLine, studySort } from './study-list.ts';

type Walk = Pick<Cursor, 'current' | 'advance'>;
/** lines that are read in one call */
export const GET_MANY = 100;
export const LARGEST_PAGE = 1_000;

/** Reads lines of the study list, within the budget of a query. */
export class StudyLines {
  readonly #index: IndexTable;
  readonly #tenant: Tenant;
  readonly #budget: ReadBudget;
  readonly range: PlaceRange;

  constructor(index: IndexTable, tenant: Tenant, budget: ReadBudget, range: PlaceRange) {
    this.#index = index;
    this.#tenant = tenant;
    this.#budget = budget;
    this.range = range;
  }

  /** `limit` lines from the beginning of a range on, `skip` passed over. */
  async from(range: PlaceRange, skip: number, limit: number): Promise<StudyRow[]> {
    const granted = this.#budget.grant(skip + limit);
    if (granted === 0) return [];
    const page = await this.#index.query(listQuery(this.#tenant, range, undefined, granted), this.#budget.meter);
    if (page.more && granted < skip + limit) this.#budget.cut = true;
    return page.records.slice(skip).map(({ sort, item }) => new StudyRow(sort, item));
  }

  /** All lines of the range; `wanted`: how many are likely to be taken. */
  async *scan(wanted: number): AsyncGenerator<StudyRow> {
    let after: string | undefined;
    for (let size = Math.min(Math.max(wanted, 25), LARGEST_PAGE); ; size = Math.min(2 * size, LARGEST_PAGE)) {
      const granted = this.#budget.grant(size);
      if (granted === 0) return;
      const page = await this.#index.query(listQuery(this.#tenant, this.range, after, granted), this.#budget.meter);
      for (const { sort, item } of page.records) yield new StudyRow(sort, item);
      if (!page.more) return;
      after = page.records.at(-1)?.sort;
      if (page.records.length === LARGEST_PAGE) await this.#budget.pause();
    }
  }

  /** The lines of the next places of a cursor; a posting without a line is one left behind. Undefined at the end. */
  async next(cursor: Walk, size: number): Promise<StudyRow[] | undefined> {
    return (await this.read(cursor, size, [])).rows;
  }

  /** The same, and in the same call these other records. */
  async read(
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

  /** The lines of studies that are there, in the order of the range. */
  async ofStudies(uids: readonly string[]): Promise<StudyRow[]> {
    const rows: StudyRow[] = [];
    for (const batch of batchesOf([...new Set(uids)], this.#budget)) {
      const items = await this.#index.getMany(
        batch.map((uid) => keys.study(this.#tenant, uid)),
        this.#budget.meter,
      );
      for (const item of items) {
        const record = asRecord<StudyRecord>(item);
        if (record && record.instanceCount > 0) rows.push(new StudyRow(studySort(record), studyLine(record)));
      }
    }
    const sign = this.range.descending ? -1 : 1;
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
