import { PacsError } from '../errors.ts';
import { newVersion } from '../ids.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import { type IndexTable, type Key, WRITE_LIMIT_OPERATIONS, type WriteOperation } from '../ports/index-table.ts';
import type { JobQueue } from '../ports/job-queue.ts';
import { countWrites, newTermWrites, postingDeletes, postingPuts } from '../search/postings.ts';
import type { Services } from '../services.ts';
import { asItem, asRecord, type Delta, keys, type SeriesRecord, type StudyRecord, type Tenant } from './records.ts';

/** room left in the atomic fold for the study, its series and the counters */
const DELTAS_PER_FOLD = 20;
const ATTEMPTS = 60;
/** the queue of studies that may have become quiet; payload { tenant, study } */
export const STUDY_QUIET = 'study-quiet';
/** a study-quiet job that has not come after this many quiet times is taken for lost */
const OVERDUE_AFTER = 20;
const BACK_OFF_MS = { first: 2, most: 250 };

/**
 * Folds the deltas of studies into their study and series records.
 *
 * Commits do not touch the study record: with 500 instances a second arriving for one study, one hot record would be written
 * 500 times a second. They leave deltas, and whoever folds takes all that lie there:
 *
 *   writer 1   delta a ─┐                     ┌─ read study v7, deltas a b c ── write { study v8 if v7, delete a b c } ── won
 *   writer 2   delta b ─┼─ each then folds ───┤
 *   writer 3   delta c ─┘                     └─ read study v7, deltas a b c ── write { study v8 if v7, … } ── lost, reads
 *                                                again: no deltas left, done
 *
 * Each delta leaves in the same atomic write that counts it, so it counts exactly once. A delta whose writer died is
 * folded by the next writer of the study, or by the sweeper.
 */
export class StudyFolder {
  readonly #index: IndexTable;
  readonly #clock: Clock;
  readonly #jobs: JobQueue;
  readonly #limits: Limits;
  /** per study of this process: the fold that runs, and the one that callers during it share */
  readonly #runs = new Map<string, { current: Promise<void>; next?: Promise<void> }>();

  constructor(ports: Pick<Services, 'index' | 'clock' | 'jobs' | 'limits'>) {
    this.#index = ports.index;
    this.#clock = ports.clock;
    this.#jobs = ports.jobs;
    this.#limits = ports.limits;
  }

  /** Resolves when every delta that was there at the call is folded, durably. @throws PacsError BUSY after many lost races. */
  fold(tenant: Tenant, study: string): Promise<void> {
    const id = `${tenant}|${study}`;
    const run = this.#runs.get(id);
    if (run) {
      // The running fold may have read its deltas before ours was written: share the one after it.
      run.next ??= run.current.catch(() => {}).then(() => this.#start(id, tenant, study));
      return run.next;
    }
    return this.#start(id, tenant, study);
  }

  #start(id: string, tenant: Tenant, study: string): Promise<void> {
    const current = this.#foldAll(tenant, study);
    const run: { current: Promise<void>; next?: Promise<void> } = { current };
    this.#runs.set(id, run);
    const done = () => {
      if (this.#runs.get(id) === run && !run.next) this.#runs.delete(id);
    };
    current.then(done, done);
    return current;
  }

  async #foldAll(tenant: Tenant, study: string): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const outcome = await this.#foldOnce(tenant, study);
      if (outcome === 'done') return;
      if (outcome === 'lost') {
        const ceiling = Math.min(BACK_OFF_MS.most, BACK_OFF_MS.first * 2 ** Math.min(attempt, 10));
        await this.#clock.sleep((ceiling * (this.#clock.randomBytes(1)[0] ?? 0)) / 255);
      } else attempt = 0;
    }
    throw new PacsError('BUSY', 'the study is being changed by too many writers', {
      details: { StudyInstanceUID: study },
    });
  }

  async #foldOnce(tenant: Tenant, study: string): Promise<'done' | 'more' | 'lost'> {
    const studyKey = keys.study(tenant, study);
    const page = await this.#index.query({ partition: studyKey.partition, prefix: 'delta|', limit: DELTAS_PER_FOLD });
    if (page.records.length === 0) return 'done';
    const deltas = page.records.map(({ item }) => asRecord<Delta>(item));
    const seriesUIDs = [...new Set(deltas.map((delta) => delta.SeriesInstanceUID))];
    const [studyItem, ...seriesItems] = await this.#index.getMany([
      studyKey,
      ...seriesUIDs.map((series) => keys.series(tenant, study, series)),
    ]);
    const before = studyItem && asRecord<StudyRecord>(studyItem);
    const revision = newVersion(this.#clock);
    const after = before ? structuredClone(before) : newStudy(study, deltas[0]!);
    after.version++;
    after.revision = revision;

    const operations: WriteOperation[] = page.records.flatMap(({ sort }) => [
      { kind: 'delete', key: { partition: studyKey.partition, sort }, if: 'present' },
      { kind: 'delete', key: keys.unfolded(tenant, sort.slice('delta|'.length)) },
    ]);
    seriesUIDs.forEach((seriesUID, i) => {
      const item = seriesItems[i];
      const own = deltas.filter((delta) => delta.SeriesInstanceUID === seriesUID);
      const series = item ? asRecord<SeriesRecord>(item) : newSeries(study, own[0]!);
      const { version: versionBefore, instanceCount: countBefore } = series;
      for (const delta of own) applyDelta(after, series, delta);
      series.version++;
      series.revision = revision;
      after.seriesCount += Number(series.instanceCount > 0) - Number(countBefore > 0);
      operations.push(replace(keys.series(tenant, study, seriesUID), item && versionBefore, series));
      if (series.instanceCount === 0) {
        operations.push({ kind: 'delete', key: keys.seriesOf(tenant, seriesUID, study) });
      }
    });
    const visible = after.instanceCount > 0 ? after : undefined;
    const quietDue = visible && this.#startsQuietTime(visible);
    operations.push(replace(studyKey, before?.version, after), ...countWrites(tenant, before, visible));
    if (operations.length > WRITE_LIMIT_OPERATIONS) {
      throw new PacsError('INTERNAL', 'a fold outgrew one atomic write', {
        details: { operations: operations.length },
      });
    }

    // Postings are hints that the study's line verifies: written with it or before it, removed with it or after it, they
    // never hide a study. Vocabulary is shared by all studies, so it stays out of the atomic write.
    await this.#writeAll(await newTermWrites(this.#index, tenant, visible));
    const puts = postingPuts(tenant, before, visible);
    const deletes = postingDeletes(tenant, before, visible);
    const together = operations.length + puts.length + deletes.length <= WRITE_LIMIT_OPERATIONS;
    if (!together) await this.#writeAll(puts);
    const [outcome] = await Promise.all([
      this.#index.write(together ? [...operations, ...puts, ...deletes] : operations),
      quietDue && this.#jobs.enqueue(STUDY_QUIET, { tenant, study }, { delayMs: this.#limits.studyQuietMs }),
    ]);
    if (!outcome.committed) return 'lost';
    if (!together) await this.#deletePostings(tenant, studyKey, after.version, deletes);
    return page.more ? 'more' : 'done';
  }

  /** Marks the study as one whose quiet is awaited. True when a job must see to it; again when the last one is long overdue. */
  #startsQuietTime(study: StudyRecord): boolean {
    const now = this.#clock.now();
    const { quietJobAt } = study;
    if (quietJobAt !== undefined && now - quietJobAt < OVERDUE_AFTER * this.#limits.studyQuietMs) return false;
    study.quietJobAt = now;
    return true;
  }

  /**
   * Postings removed behind the fold: another process may have folded meanwhile, and needed one of them again.
   *
   *   A  fold v7 (leaves list X) ──────────────────────── delete posting X
   *   B                          put posting X ── fold v8                   → A sees v8 and puts what v8 needs
   */
  async #deletePostings(tenant: Tenant, key: Key, version: number, deletes: readonly WriteOperation[]): Promise<void> {
    if (deletes.length === 0) return;
    await this.#writeAll(deletes);
    const item = await this.#index.get(key);
    const current = item && asRecord<StudyRecord>(item);
    if (current && current.version !== version) await this.#writeAll(postingPuts(tenant, undefined, current));
  }

  async #writeAll(operations: readonly WriteOperation[]): Promise<void> {
    for (let at = 0; at < operations.length; at += WRITE_LIMIT_OPERATIONS) {
      await this.#index.write(operations.slice(at, at + WRITE_LIMIT_OPERATIONS), { durability: 'deferred' });
    }
  }
}

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

function newStudy(study: string, delta: Delta): StudyRecord {
  return {
    version: 0,
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

function newSeries(study: string, delta: Delta): SeriesRecord {
  return {
    version: 0,
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
}

function addTo(counts: Record<string, number>, name: string, count: number): void {
  const sum = (counts[name] ?? 0) + count;
  if (sum === 0) delete counts[name];
  else counts[name] = sum;
}
