import { keys, type SeriesRecord, type StudyRecord, type Tenant } from '../archive/records.ts';
import type { DataSet } from '../dicom/types.ts';
import { asRecord, type IndexTable, newReadMeter, type ReadMeter } from '../ports/index-table.ts';
import { ReadBudget } from './cursors.ts';
import { type Condition, elementsOf, matchesAll } from './match.ts';
import { uidsIn } from './named.ts';
import { inOrder } from './order.ts';
import type { OrderKey, Query } from './query.ts';
import { type Results, type SearchServices, takePage } from './results.ts';
import { StudySearch } from './studies.ts';
import { inTagOrder, StudyRow, studyLine, studySort } from './study-list.ts';

export interface SeriesRow {
  readonly study: StudyRow;
  readonly record: SeriesRecord;
  /** attributes and what is counted of the series, without RetrieveURL */
  readonly dataSet: DataSet;
}

/** Display order within a study: SeriesNumber, then UID. */
const DISPLAY_ORDER: readonly OrderKey[] = [
  { tag: '00200011', vr: 'IS', descending: false },
  { tag: '0020000E', vr: 'UI', descending: false },
];
const SERIES_PAGE = 1_000;

/** The series that meet a query of level `series`: study by study in the order of the list, in display order within each. */
export async function searchSeriesRecords(
  services: SearchServices,
  tenant: Tenant,
  query: Query,
  meter: ReadMeter = newReadMeter(),
): Promise<Results<SeriesRow>> {
  const budget = new ReadBudget(services, meter);
  const search = new SeriesSearch(services, tenant, query, budget);
  const elementOf = (row: SeriesRow, tag: string) => row.dataSet[tag] ?? row.study.element(tag);
  return takePage(search.matches(), query, query.order.length === 0 ? undefined : elementOf, budget);
}

/** The series side of a search of level series or instance. */
export class SeriesSearch {
  readonly #services: SearchServices;
  readonly #index: IndexTable;
  readonly #tenant: Tenant;
  readonly #query: Query;
  readonly #budget: ReadBudget;
  readonly #conditions: readonly Condition[];

  constructor(services: SearchServices, tenant: Tenant, query: Query, budget: ReadBudget) {
    this.#services = services;
    this.#index = services.index;
    this.#tenant = tenant;
    this.#query = query;
    this.#budget = budget;
    this.#conditions = query.conditions.series;
  }

  async *matches(): AsyncGenerator<SeriesRow> {
    const { StudyInstanceUID, SeriesInstanceUID } = this.#query;
    if (StudyInstanceUID !== undefined && SeriesInstanceUID !== undefined) {
      const row = await this.#atPath(StudyInstanceUID, SeriesInstanceUID);
      if (row !== undefined) yield row;
      return;
    }
    const studies = new StudySearch(this.#services, this.#tenant, withModality(this.#query), this.#budget);
    for await (const study of studies.matches(this.#query.offset + this.#query.limit + 1)) {
      const records = (await this.#seriesOf(study.StudyInstanceUID)).filter((record) => record.instanceCount > 0);
      const rows = records.map((record) => ({ study, record, dataSet: seriesDataSet(record) }));
      const matching = rows.filter(({ dataSet }) => matchesAll(this.#conditions, elementsOf(dataSet)));
      yield* inOrder(matching, DISPLAY_ORDER, (row, tag) => row.dataSet[tag]);
    }
  }

  /** The series that a path names, with its study: one read for both. */
  async #atPath(study: string, series: string): Promise<SeriesRow | undefined> {
    if (this.#budget.grant(2) < 2) return undefined;
    const [studyItem, seriesItem] = await this.#index.getMany(
      [keys.study(this.#tenant, study), keys.series(this.#tenant, study, series)],
      this.#budget.meter,
    );
    if (studyItem === undefined || seriesItem === undefined) return undefined;
    const studyRecord = asRecord<StudyRecord>(studyItem);
    const record = asRecord<SeriesRecord>(seriesItem);
    if (studyRecord.instanceCount <= 0 || record.instanceCount <= 0) return undefined;
    const row = {
      study: new StudyRow(studySort(studyRecord), studyLine(studyRecord)),
      record,
      dataSet: seriesDataSet(record),
    };
    const { study: studyConditions } = withModality(this.#query).conditions;
    const matches =
      matchesAll(studyConditions, (tag) => row.study.element(tag)) &&
      matchesAll(this.#conditions, elementsOf(row.dataSet));
    return matches ? row : undefined;
  }

  async #seriesOf(study: string): Promise<SeriesRecord[]> {
    const named = this.#query.SeriesInstanceUID
      ? [this.#query.SeriesInstanceUID]
      : uidsIn(this.#conditions, '0020000E');
    if (named !== undefined && named.length <= 100) {
      if (this.#budget.grant(named.length) < named.length) return [];
      const items = await this.#index.getMany(
        named.map((uid) => keys.series(this.#tenant, study, uid)),
        this.#budget.meter,
      );
      return items.flatMap((item) => (item === undefined ? [] : [asRecord<SeriesRecord>(item)]));
    }
    const records: SeriesRecord[] = [];
    const { partition } = keys.series(this.#tenant, study, '');
    let after: string | undefined;
    for (;;) {
      const limit = this.#budget.grant(SERIES_PAGE);
      if (limit === 0) return records;
      const page = await this.#index.query(
        { partition, prefix: 'series|', limit, ...(after !== undefined && { after }) },
        this.#budget.meter,
      );
      for (const { item } of page.records) records.push(asRecord<SeriesRecord>(item));
      if (!page.more) return records;
      after = page.records.at(-1)?.sort;
    }
  }
}

/** A series' modality is one of its study's: the study list of that modality finds it. */
function withModality(query: Query): Query {
  const modality = query.conditions.series.find(({ tag, key }) => tag === '00080060' && key.kind === 'values');
  if (modality === undefined) return query;
  const study = [...query.conditions.study, { tag: '00080061', key: modality.key }];
  return { ...query, conditions: { ...query.conditions, study } };
}

function seriesDataSet(record: SeriesRecord): DataSet {
  return inTagOrder({
    ...record.attributes,
    '00080056': { vr: 'CS', Value: [record.availability] },
    '00080060': { vr: 'CS', Value: [record.modality] },
    '0020000D': { vr: 'UI', Value: [record.StudyInstanceUID] },
    '0020000E': { vr: 'UI', Value: [record.SeriesInstanceUID] },
    '00201209': { vr: 'IS', Value: [record.instanceCount] },
  });
}
