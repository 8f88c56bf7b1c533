import { type InstanceRecord, keys, type SopClaim, type Tenant } from '../archive/records.ts';
import type { DataSet } from '../dicom/types.ts';
import { asRecord, newReadMeter, type ReadMeter } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { searchAttribute } from './attributes.ts';
import { ReadBudget } from './cursors.ts';
import { type Condition, elementsOf, matchesAll } from './match.ts';
import { uidsIn } from './named.ts';
import { inOrder } from './order.ts';
import { LEVELS_FROM, type OrderKey, type Query } from './query.ts';
import { type Results, takePage } from './results.ts';
import { type SeriesRow, SeriesSearch } from './series.ts';
import { inTagOrder } from './study-list.ts';

export interface InstanceRow {
  readonly series: SeriesRow;
  readonly record: InstanceRecord;
  /** attributes of the instance without RetrieveURL; everything its metadata holds, where the query asks for that */
  readonly dataSet: DataSet;
}

const SOP_INSTANCE_UID = '00080018';

/** Display order within a series: InstanceNumber, AcquisitionTime, UID. */
const DISPLAY_ORDER: readonly OrderKey[] = [
  { tag: '00200013', vr: 'IS', descending: false },
  { tag: '00080032', vr: 'TM', descending: false },
  { tag: '00080018', vr: 'UI', descending: false },
];

/**
 * Series up to this many instances are listed in display order, which takes reading the whole series for each page. Longer
 * ones are listed by SOPInstanceUID, so that a page costs what stands on it and before it.
 */
const SORTED_INSTANCES = 5_000;
const PAGE = 1_000;

export type InstanceServices = Pick<Services, 'index' | 'limits' | 'clock' | 'blobs' | 'reach'>;

/** The instances that meet a query of level `instance`: series by series, in display order within each (but see SORTED_INSTANCES). */
export async function searchInstanceRecords(
  services: InstanceServices,
  tenant: Tenant,
  query: Query,
  meter: ReadMeter = newReadMeter(),
): Promise<Results<InstanceRow>> {
  const budget = new ReadBudget(services, meter);
  const search = new InstanceSearch(services, tenant, query, budget);
  const elementOf = (row: InstanceRow, tag: string) =>
    row.dataSet[tag] ?? row.series.dataSet[tag] ?? row.series.study.element(tag);
  return takePage(search.matches(), query, query.order.length === 0 ? undefined : elementOf, budget);
}

class InstanceSearch {
  readonly #services: InstanceServices;
  readonly #tenant: Tenant;
  readonly #query: Query;
  readonly #budget: ReadBudget;
  readonly #wholeMetadata: boolean;

  constructor(services: InstanceServices, tenant: Tenant, query: Query, budget: ReadBudget) {
    this.#services = services;
    this.#tenant = tenant;
    this.#query = query;
    this.#budget = budget;
    this.#wholeMetadata =
      query.metadataConditions.length > 0 || query.include === 'all' || [...query.include].some(isBeyondRecords);
  }

  async *matches(): AsyncGenerator<InstanceRow> {
    const { conditions, metadataConditions } = this.#query;
    const query = await this.#narrowed();
    for await (const series of new SeriesSearch(this.#services, this.#tenant, query, this.#budget).matches()) {
      for await (const records of this.#batchesOf(series)) {
        const rows = records.map((record) => ({
          series,
          record,
          dataSet: instanceDataSet(record, series.record.availability),
        }));
        const matching = rows.filter(({ dataSet }) => matchesAll(conditions.instance, elementsOf(dataSet)));
        if (!this.#wholeMetadata) {
          yield* matching;
          continue;
        }
        for (const row of await this.#withMetadata(matching)) {
          if (matchesAll(metadataConditions, elementsOf(row.dataSet))) yield row;
        }
      }
    }
  }

  /** Instances that are named are looked for only where the archive has them. */
  async #narrowed(): Promise<Query> {
    const named = uidsIn(this.#query.conditions.instance, SOP_INSTANCE_UID);
    if (named === undefined) return this.#query;
    const studies = new Set<string>();
    const series = new Set<string>();
    for (let at = 0; at < named.length; at += 100) {
      const batch = named.slice(at, at + this.#budget.grant(Math.min(100, named.length - at)));
      if (batch.length === 0) break;
      const items = await this.#services.index.getMany(
        batch.map((uid) => keys.sop(this.#tenant, uid)),
        this.#budget.meter,
      );
      for (const item of items) {
        if (item === undefined) continue;
        studies.add(asRecord<SopClaim>(item).StudyInstanceUID);
        series.add(asRecord<SopClaim>(item).SeriesInstanceUID);
      }
    }
    const among = (tag: string, uids: Set<string>): Condition => ({
      tag,
      key: { kind: 'values', texts: [...uids], folded: false },
    });
    const { conditions } = this.#query;
    return {
      ...this.#query,
      conditions: {
        ...conditions,
        study: [...conditions.study, among('0020000D', studies)],
        series: [...conditions.series, among('0020000E', series)],
      },
    };
  }

  async *#batchesOf(series: SeriesRow): AsyncGenerator<InstanceRecord[]> {
    const named = uidsIn(this.#query.conditions.instance, SOP_INSTANCE_UID);
    if (named !== undefined) {
      yield await this.#named(series, named);
      return;
    }
    if (series.record.instanceCount > SORTED_INSTANCES) {
      yield* this.#pages(series);
      return;
    }
    const records = (await Array.fromAsync(this.#pages(series))).flat();
    yield inOrder(records, DISPLAY_ORDER, (record, tag) =>
      tag === '00080018' ? { vr: 'UI', Value: [record.SOPInstanceUID] } : record.attributes[tag],
    );
  }

  async #named({ record: series }: SeriesRow, uids: readonly string[]): Promise<InstanceRecord[]> {
    const records: InstanceRecord[] = [];
    for (let at = 0; at < uids.length; at += 100) {
      const size = this.#budget.grant(Math.min(100, uids.length - at));
      const instanceKeys = uids
        .slice(at, at + size)
        .map((uid) => keys.instance(this.#tenant, series.StudyInstanceUID, series.SeriesInstanceUID, uid));
      if (instanceKeys.length === 0) break;
      const items = await this.#services.index.getMany(instanceKeys, this.#budget.meter);
      for (const item of items) if (item !== undefined) records.push(asRecord<InstanceRecord>(item));
    }
    return records;
  }

  async *#pages({ record: series }: SeriesRow): AsyncGenerator<InstanceRecord[]> {
    const { partition } = keys.instance(this.#tenant, series.StudyInstanceUID, series.SeriesInstanceUID, '');
    const { offset, limit: wanted } = this.#query;
    let after: string | undefined;
    for (;;) {
      const size = series.instanceCount > SORTED_INSTANCES ? Math.min(PAGE, offset + wanted + 1) : PAGE;
      const limit = this.#budget.grant(size);
      if (limit === 0) return;
      const page = await this.#services.index.query(
        { partition, limit, ...(after !== undefined && { after }) },
        this.#budget.meter,
      );
      yield page.records.map(({ item }) => asRecord<InstanceRecord>(item));
      if (!page.more) return;
      after = page.records.at(-1)?.sort;
    }
  }

  /** The same rows with everything that the instances' metadata holds, at the price of one read each. */
  async #withMetadata(rows: readonly InstanceRow[]): Promise<InstanceRow[]> {
    const { index, blobs } = this.#services;
    const whole: InstanceRow[] = [];
    for (let at = 0; at < rows.length; at += 100) {
      const batch = rows.slice(at, at + this.#budget.grant(Math.min(100, rows.length - at)));
      if (batch.length === 0) break;
      const items = await index.getMany(
        batch.map(({ record: r }) =>
          keys.metadata(this.#tenant, r.StudyInstanceUID, r.SeriesInstanceUID, r.SOPInstanceUID),
        ),
        this.#budget.meter,
      );
      for (const [i, row] of batch.entries()) {
        const item = items[i] as { json?: Uint8Array; blobKey?: string } | undefined;
        const bytes = item?.json ?? (item?.blobKey === undefined ? undefined : await blobs.readBytes(item.blobKey));
        const text = bytes === undefined ? '{}' : Buffer.from(bytes).toString();
        whole.push({ ...row, dataSet: inTagOrder({ ...row.dataSet, ...(JSON.parse(text) as DataSet) }) });
      }
    }
    return whole;
  }
}

/** Whether no record holds the attribute, so that it has to be read from the metadata. */
const isBeyondRecords = (tag: string): boolean =>
  LEVELS_FROM.instance.every((level) => searchAttribute(level, tag) === undefined);

function instanceDataSet(record: InstanceRecord, availability: string): DataSet {
  return inTagOrder({
    ...record.attributes,
    '00080016': { vr: 'UI', Value: [record.SOPClassUID] },
    '00080018': { vr: 'UI', Value: [record.SOPInstanceUID] },
    '00080056': { vr: 'CS', Value: [availability] },
    '00083002': { vr: 'UI', Value: [record.transferSyntaxUID] },
    '0020000D': { vr: 'UI', Value: [record.StudyInstanceUID] },
    '0020000E': { vr: 'UI', Value: [record.SeriesInstanceUID] },
  });
}
