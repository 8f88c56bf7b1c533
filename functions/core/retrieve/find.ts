import { type InstanceRecord, keys, type SeriesRecord, type StudyRecord, type Tenant } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import { asRecord, type IndexTable, type Item, type ReadMeter, recordsIn } from '../ports/index-table.ts';

/** records of one page while instances are walked */
const PAGE_RECORDS = 1_000;
/** records that one call gets by their keys */
const GET_RECORDS = 100;

type Reads = { readonly index: IndexTable };

/** @throws PacsError NOT_FOUND */
export async function findStudy(
  { index }: Reads,
  tenant: Tenant,
  study: string,
  meter?: ReadMeter,
): Promise<StudyRecord> {
  const item = await index.get(keys.study(tenant, study), meter);
  if (!item || asRecord<StudyRecord>(item).instanceCount <= 0) throw notFound('study', { StudyInstanceUID: study });
  return asRecord<StudyRecord>(item);
}

/** A series as its record has it, or undefined while its first instances are not folded in yet. */
export async function seriesRecord(
  { index }: Reads,
  tenant: Tenant,
  study: string,
  series: string,
  meter?: ReadMeter,
): Promise<SeriesRecord | undefined> {
  const item = await index.get(keys.series(tenant, study, series), meter);
  return asRecord<SeriesRecord>(item);
}

/**
 * True when every commit to the study is in its records: only then do their revisions stand for what a reader sees. A delta
 * lies there for the moment between a commit and its fold, or longer when a host died between them.
 */
export async function isFolded({ index }: Reads, tenant: Tenant, study: string, meter?: ReadMeter): Promise<boolean> {
  const { partition } = keys.delta(tenant, study, '');
  const page = await index.query({ partition, prefix: 'delta|', limit: 1, keysOnly: true }, meter);
  return page.records.length === 0;
}

/**
 * The series of a study, by SeriesNumber, then UID; those without a number last. @throws PacsError NOT_FOUND when the study
 * holds none
 */
export async function seriesOfStudy(
  { index }: Reads,
  tenant: Tenant,
  study: string,
  meter?: ReadMeter,
): Promise<SeriesRecord[]> {
  const { partition } = keys.study(tenant, study);
  const found: SeriesRecord[] = [];
  const range = { partition, prefix: 'series|', limit: PAGE_RECORDS };
  for await (const { item } of recordsIn(index, range, meter)) found.push(asRecord<SeriesRecord>(item));
  const visible = found.filter((series) => series.instanceCount > 0);
  if (visible.length === 0) throw notFound('study', { StudyInstanceUID: study });
  const number = (series: SeriesRecord): number => numberOf(series.attributes['00200011']?.Value?.[0]);
  return visible.sort(
    (a, b) => compareNumbers(number(a), number(b)) || compareText(a.SeriesInstanceUID, b.SeriesInstanceUID),
  );
}

/**
 * One instance, by the UIDs of its path. The record stands under all three, so an instance is found only in the study and series
 * that it belongs to. @throws PacsError NOT_FOUND
 */
export async function findInstance(
  { index }: Reads,
  tenant: Tenant,
  study: string,
  series: string,
  sop: string,
  meter?: ReadMeter,
): Promise<InstanceRecord> {
  const item = await index.get(keys.instance(tenant, study, series, sop), meter);
  if (!item) {
    throw notFound('instance', { StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: sop });
  }
  return asRecord<InstanceRecord>(item);
}

/**
 * The instances of a series in display order: InstanceNumber, then UID. Up to a page they are sorted in memory; in a larger
 * series only numbers and UIDs are held, and the records are read again in order, so memory stays flat.
 * @throws PacsError NOT_FOUND when there are none
 */
export async function* instancesOfSeries(
  { index }: Reads,
  tenant: Tenant,
  study: string,
  series: string,
  meter?: ReadMeter,
): AsyncGenerator<InstanceRecord, void, undefined> {
  const { partition } = keys.instance(tenant, study, series, '');
  const place = (item: Item): Placed<InstanceRecord> => {
    const value = asRecord<InstanceRecord>(item);
    return { number: numberOf(value.attributes['00200013']?.Value?.[0]), value };
  };
  for await (const some of inOrder(index, partition, place, meter)) yield* some;
}

/** All instances of a study, series by series. @throws PacsError NOT_FOUND */
export async function* instancesOfStudy(
  services: Reads,
  tenant: Tenant,
  study: string,
  meter?: ReadMeter,
): AsyncGenerator<InstanceRecord, void, undefined> {
  for (const { SeriesInstanceUID } of await seriesOfStudy(services, tenant, study, meter)) {
    yield* instancesOfSeries(services, tenant, study, SeriesInstanceUID, meter);
  }
}

/** What a record is worth to the reader, and the number that it is ordered by. */
export interface Placed<V> {
  readonly number: number;
  readonly value: V;
}

/**
 * The records of a partition by a number that each of them tells, then by sort key: as many at a time as are in memory together.
 * @throws PacsError NOT_FOUND when empty
 */
export async function* inOrder<V>(
  index: IndexTable,
  partition: string,
  place: (item: Item, sort: string) => Placed<V> | Promise<Placed<V>>,
  meter?: ReadMeter,
): AsyncGenerator<V[], void, undefined> {
  interface Found {
    readonly sort: string;
    readonly number: number;
    readonly value: V | undefined;
  }
  const found: Found[] = [];
  let small = true;
  for (let after: string | undefined; ; ) {
    const page = await index.query(
      { partition, limit: PAGE_RECORDS, ...(after === undefined ? {} : { after }) },
      meter,
    );
    if (page.more) small = false;
    for (const { sort, item } of page.records) {
      const placed = place(item, sort);
      const { number, value } = placed instanceof Promise ? await placed : placed;
      found.push({ sort, number, value: small ? value : undefined });
    }
    after = page.records.at(-1)?.sort;
    if (!page.more) break;
  }
  if (found.length === 0) throw new PacsError('NOT_FOUND', 'there is no such series');
  found.sort((a, b) => compareNumbers(a.number, b.number) || compareText(a.sort, b.sort));
  if (small) {
    yield found.map(({ value }) => value!);
    return;
  }
  for (let at = 0; at < found.length; at += GET_RECORDS) {
    const sorts = found.slice(at, at + GET_RECORDS).map(({ sort }) => sort);
    const items = await index.getMany(
      sorts.map((sort) => ({ partition, sort })),
      meter,
    );
    const placed: V[] = [];
    for (const [i, item] of items.entries()) {
      // Removed between the two reads: gone is gone.
      if (item) placed.push((await place(item, sorts[i]!)).value);
    }
    yield placed;
  }
}

/** IS values are numbers in the DICOM JSON Model, and strings where a modality wrote what is none. */
export const numberOf = (value: unknown): number => {
  const number =
    typeof value === 'number' ? value : typeof value === 'string' && value !== '' ? Number(value) : Number.NaN;
  return Number.isFinite(number) ? number : Number.POSITIVE_INFINITY;
};

const compareNumbers = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);
const compareText = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);

const notFound = (what: string, uids: Record<string, string>): PacsError =>
  new PacsError('NOT_FOUND', `there is no such ${what}`, { details: uids });
