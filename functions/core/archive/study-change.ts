import { monthOf, usageWrites } from '../costs/usage-records.ts';
import { newVersion } from '../ids.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import { asItem, asRecord, type IndexTable, type Item, type Key, type WriteOperation } from '../ports/index-table.ts';
import { countWrites, newTermWrites, postingDeletes, postingPuts } from '../search/postings.ts';
import {
  type Delta,
  type FoldLease,
  keys,
  type SeriesRecord,
  STUDY_SITES,
  type StudyRecord,
  type Tenant,
} from './records.ts';

/** a study-quiet job that has not come after this many quiet times is taken for lost */
const OVERDUE_AFTER = 20;

/** What deltas make of a study: the writes that must be one, under the locks of what was read, and the hints around them. */
export interface StudyChange {
  readonly key: Key;
  /** of the study record after the change */
  readonly version: number;
  /** study, series, line in the study list, counters: to be written atomically, with what the deltas stand for */
  readonly operations: readonly WriteOperation[];
  /** words new to the archive, each behind the rows that lead to it: written before the study changes or with it */
  readonly vocabulary: readonly WriteOperation[];
  /** postings: written before the study changes or with it … */
  readonly puts: readonly WriteOperation[];
  /** … and removed after it or with it; they never hide a study */
  readonly deletes: readonly WriteOperation[];
  /** the study's quiet must be awaited from now on */
  readonly quietDue: boolean;
  /** the records as they stand when the change is written; undefined when nothing is left of the study */
  readonly after: KnownStudy | undefined;
  /** what was changed was remembered, not read: when the change fails, that may be why */
  readonly remembered: boolean;
  /** somebody is folding deltas of the study just now: others store into it too */
  readonly beingFolded: boolean;
}

/** A study's record, and those of its series that are known. */
export interface KnownStudy {
  readonly study: StudyRecord;
  readonly series: ReadonlyMap<string, SeriesRecord>;
}

/**
 * Reads the study and the series that the deltas touch, unless they are `known`, and works out what becomes of them. Writes nothing. What
 * is known may have changed since: the locks of the change find out.
 */
export async function changeStudy(
  ports: { readonly index: IndexTable; readonly clock: Clock; readonly limits: Limits },
  tenant: Tenant,
  study: string,
  deltas: readonly Delta[],
  known?: KnownStudy,
): Promise<StudyChange> {
  const { index } = ports;
  const key = keys.study(tenant, study);
  const seriesUIDs = seriesOf(deltas);
  const remembered = known !== undefined && seriesUIDs.every((series) => known.series.has(series));
  const [leaseItem, studyItem, ...seriesItems] = remembered
    ? [undefined, asItem(known.study), ...seriesUIDs.map((series) => asItem(copyOf(known.series.get(series)!)))]
    : await index.getMany([
        keys.folding(tenant, study),
        key,
        ...seriesUIDs.map((series) => keys.series(tenant, study, series)),
      ]);
  const beingFolded = leaseItem !== undefined && asRecord<FoldLease>(leaseItem).until > ports.clock.now();
  const { before, after, change } = applied(ports, tenant, study, deltas, studyItem, seriesItems);
  const found = { ...change, remembered, beingFolded };
  if (before !== undefined && isFoundAlike(before, after)) return { ...found, vocabulary: [], puts: [], deletes: [] };
  const visible = after.instanceCount > 0 ? after : undefined;
  return {
    ...found,
    vocabulary: await newTermWrites(index, tenant, visible),
    puts: postingPuts(tenant, before, visible),
    deletes: postingDeletes(tenant, before, visible),
  };
}

/**
 * The same at once, from what `read` finds, where the same searches lead to the study afterwards; undefined where others do, or where it
 * is new.
 */
export function changeStudyNow(
  ports: { readonly clock: Clock; readonly limits: Limits },
  tenant: Tenant,
  study: string,
  deltas: readonly Delta[],
  read: (key: Key) => Item | undefined,
): StudyChange | undefined {
  const studyItem = read(keys.study(tenant, study));
  if (studyItem === undefined) return undefined;
  const seriesItems = seriesOf(deltas).map((series) => read(keys.series(tenant, study, series)));
  const { before, after, change } = applied(ports, tenant, study, deltas, studyItem, seriesItems);
  if (before === undefined || !isFoundAlike(before, after)) return undefined;
  return { ...change, remembered: false, beingFolded: false, vocabulary: [], puts: [], deletes: [] };
}

const seriesOf = (deltas: readonly Delta[]): string[] => [...new Set(deltas.map((delta) => delta.SeriesInstanceUID))];

/** What deltas make of the records that were found. */
function applied(
  { clock, limits }: { readonly clock: Clock; readonly limits: Limits },
  tenant: Tenant,
  study: string,
  deltas: readonly Delta[],
  studyItem: Item | undefined,
  seriesItems: readonly (Item | undefined)[],
) {
  const key = keys.study(tenant, study);
  const before = asRecord<StudyRecord>(studyItem);
  const revision = newVersion(clock);
  // Attributes are replaced, never changed: what is the same object below has the same words, identifiers and dates.
  const after: StudyRecord = before
    ? {
        ...before,
        modalities: { ...before.modalities },
        sopClasses: { ...before.sopClasses },
        ...(before.sites !== undefined && { sites: { ...before.sites } }),
      }
    : newStudy(clock, study, deltas[0]!);
  after.version++;
  after.revision = revision;

  const operations: WriteOperation[] = [];
  const seriesAfter = new Map<string, SeriesRecord>();
  seriesOf(deltas).forEach((seriesUID, i) => {
    const item = seriesItems[i];
    const own = deltas.filter((delta) => delta.SeriesInstanceUID === seriesUID);
    const series = item ? asRecord<SeriesRecord>(item) : newSeries(clock, study, own[0]!);
    const { version: versionBefore, instanceCount: countBefore } = series;
    for (const delta of own) applyDelta(after, series, delta);
    series.version++;
    series.revision = revision;
    after.seriesCount += Number(series.instanceCount > 0) - Number(countBefore > 0);
    operations.push(replace(keys.series(tenant, study, seriesUID), item && versionBefore, series));
    if (series.instanceCount > 0) seriesAfter.set(seriesUID, series);
    // Here, not with each instance: writers that meet at one record wait for each other.
    const studyOf = keys.seriesOf(tenant, seriesUID, study);
    if (series.instanceCount > 0 && countBefore <= 0) operations.push({ kind: 'put', key: studyOf, item: {} });
    if (series.instanceCount === 0) operations.push({ kind: 'delete', key: studyOf });
  });
  const visible = after.instanceCount > 0 ? after : undefined;
  const quietDue = visible !== undefined && startsQuietTime(visible, clock.now(), limits.studyQuietMs);
  if (visible === undefined && after.counted !== undefined) {
    operations.push(...usageWrites(tenant, after.counted, undefined, monthOf(clock.now())));
    after.counted = undefined;
  }
  operations.push(replace(key, before?.version, after), ...countWrites(tenant, before, visible));
  const left = visible && { study: visible, series: seriesAfter };
  return { before, after, change: { key, version: after.version, operations, quietDue, after: left } };
}

/** Of a series that is remembered, to be changed; its attributes are replaced, never changed. */
const copyOf = (series: SeriesRecord): SeriesRecord => ({ ...series, sopClasses: { ...series.sopClasses } });

/** Whether the same searches lead to the study as before: so it is with all but the first of its instances. */
const isFoundAlike = (before: StudyRecord, after: StudyRecord): boolean =>
  before.attributes === after.attributes &&
  before.instanceCount > 0 &&
  after.instanceCount > 0 &&
  Object.keys(after.modalities).length === Object.keys(before.modalities).length &&
  Object.keys(after.modalities).every((modality) => modality in before.modalities);

/** Marks the study as one whose quiet is awaited. True when a job must see to it; again when the last one is long overdue. */
function startsQuietTime(study: StudyRecord, now: number, quietMs: number): boolean {
  const { quietJobAt } = study;
  if (quietJobAt !== undefined && now - quietJobAt < OVERDUE_AFTER * quietMs) return false;
  study.quietJobAt = now;
  return true;
}

/**
 * Where a record's versions begin: never where they were before. A study that was removed and sent again must not come to a version that
 * another process remembers of its former life (the ABA race).
 */
const firstVersion = (clock: Clock): number => clock.now() * 256 + clock.randomBytes(1)[0]!;

/** Puts the record under its optimistic lock, or removes it when nothing is left in it. */
function replace(
  key: { partition: string; sort: string },
  version: number | undefined,
  record: StudyRecord | SeriesRecord,
): WriteOperation {
  const condition = version === undefined ? ('absent' as const) : { version };
  // A count below zero means that a removal overtook its store: kept, invisible, until the missing delta comes.
  return record.instanceCount !== 0
    ? { kind: 'put', key, item: asItem(record), if: condition }
    : version === undefined
      ? { kind: 'check', key, if: 'absent' }
      : { kind: 'delete', key, if: condition };
}

function newStudy(clock: Clock, study: string, delta: Delta): StudyRecord {
  return {
    version: firstVersion(clock),
    StudyInstanceUID: study,
    attributes: delta.studyAttributes,
    modalities: {},
    sopClasses: {},
    seriesCount: 0,
    instanceCount: 0,
    sizeBytes: 0,
    firstStoredAt: delta.at,
    lastStoredAt: delta.at,
    availability: 'ONLINE',
    revision: '',
  };
}

function newSeries(clock: Clock, study: string, delta: Delta): SeriesRecord {
  return {
    version: firstVersion(clock),
    StudyInstanceUID: study,
    SeriesInstanceUID: delta.SeriesInstanceUID,
    attributes: delta.seriesAttributes,
    modality: delta.modality,
    sopClasses: {},
    instanceCount: 0,
    sizeBytes: 0,
    firstStoredAt: delta.at,
    lastStoredAt: delta.at,
    availability: 'ONLINE',
    revision: '',
  };
}

function applyDelta(study: StudyRecord, series: SeriesRecord, delta: Delta): void {
  if (delta.overwrite) {
    study.attributes = delta.studyAttributes;
    series.attributes = delta.seriesAttributes;
    series.modality = delta.modality;
  }
  for (const record of [study, series]) {
    record.instanceCount += delta.instances;
    record.sizeBytes += delta.sizeBytes;
    record.firstStoredAt = Math.min(record.firstStoredAt, delta.at);
    record.lastStoredAt = Math.max(record.lastStoredAt, delta.at);
    for (const [sopClass, count] of Object.entries(delta.sopClasses)) addTo(record.sopClasses, sopClass, count);
  }
  addTo(study.modalities, delta.modality, delta.instances);
  if (delta.deidentified !== undefined) study.deidentified = (study.deidentified ?? 0) + delta.deidentified;
  for (const [site, count] of Object.entries(delta.sites ?? {})) {
    study.sites ??= {};
    if (site in study.sites || Object.keys(study.sites).length < STUDY_SITES) addTo(study.sites, site, count);
  }
}

function addTo(counts: Record<string, number>, name: string, count: number): void {
  const sum = (counts[name] ?? 0) + count;
  if (sum === 0) delete counts[name];
  else counts[name] = sum;
}
