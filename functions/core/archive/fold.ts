import { PacsError } from '../errors.ts';
import { WRITE_LIMIT_OPERATIONS, type WriteOperation, type WriteOutcome } from '../ports/index-table.ts';
import { postingPuts } from '../search/postings.ts';
import type { Services } from '../services.ts';
import { asRecord, type Delta, keys, type StudyRecord, type Tenant } from './records.ts';
import { changeStudy, type KnownStudy, type StudyChange } from './study-change.ts';

type FoldPorts = Pick<Services, 'index' | 'clock' | 'jobs' | 'limits'>;

/** room left in the atomic fold for the study, its series and the counters */
const DELTAS_PER_FOLD = 20;
/** studies that are remembered, and series of each */
const KNOWN_STUDIES = 200;
const KNOWN_SERIES = 50;
const ATTEMPTS = 60;
/** the queue of studies that may have become quiet; payload { tenant, study } */
export const STUDY_QUIET = 'study-quiet';
const BACK_OFF_MS = { first: 2, most: 250 };

/**
 * Folds the deltas of studies into their study and series records.
 *
 * Where several writers store into one study, commits do not touch the study record: with 500 instances a second arriving for one study, one hot record would be written
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
  readonly #ports: FoldPorts;
  /** studies that this process has written last, as it left them: the next instance of a study need not read them again */
  readonly #known = new Map<string, KnownStudy>();
  /** per study of this process: the fold that runs, and the one that callers during it share */
  readonly #runs = new Map<string, { current: Promise<void>; next?: Promise<void> }>();

  constructor(ports: FoldPorts) {
    this.#ports = ports;
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
        const { clock } = this.#ports;
        await clock.sleep((ceiling * (clock.randomBytes(1)[0] ?? 0)) / 255);
      } else attempt = 0;
    }
    throw new PacsError('BUSY', 'the study is being changed by too many writers', {
      details: { StudyInstanceUID: study },
    });
  }

  async #foldOnce(tenant: Tenant, study: string): Promise<'done' | 'more' | 'lost'> {
    const { partition } = keys.study(tenant, study);
    const page = await this.#ports.index.query({ partition, prefix: 'delta|', limit: DELTAS_PER_FOLD });
    if (page.records.length === 0) return 'done';
    const deltas = page.records.map(({ item }) => asRecord<Delta>(item));
    const consumed: WriteOperation[] = page.records.flatMap(({ sort }) => [
      { kind: 'delete', key: { partition, sort }, if: 'present' },
      { kind: 'delete', key: keys.unfolded(tenant, sort.slice('delta|'.length)) },
    ]);
    const change = await this.change(tenant, study, deltas);
    const outcome = await this.write(tenant, study, change, consumed);
    return outcome.committed ? (page.more ? 'more' : 'done') : 'lost';
  }

  /** What deltas make of a study, as it is remembered or else read. */
  change(tenant: Tenant, study: string, deltas: readonly Delta[]): Promise<StudyChange> {
    return changeStudy(this.#ports, tenant, study, deltas, this.#known.get(`${tenant}|${study}`));
  }

  #remember(id: string, after: KnownStudy | undefined): void {
    const before = this.#known.get(id);
    this.#known.delete(id);
    if (after === undefined) return;
    const series = new Map([...(before?.series ?? []), ...after.series]);
    if (series.size <= KNOWN_SERIES) this.#known.set(id, { study: after.study, series });
    const [oldest] = this.#known.keys();
    if (this.#known.size > KNOWN_STUDIES && oldest !== undefined) this.#known.delete(oldest);
  }

  /**
   * Writes a change of a study in one with what it stands for: the deltas consumed by a fold, or the instances of a commit.
   * The caller sees to it that operations and `alongside` fit one atomic write; postings and words go along where there is room.
   */
  async write(
    tenant: Tenant,
    study: string,
    change: StudyChange,
    alongside: readonly WriteOperation[],
  ): Promise<WriteOutcome> {
    const { index, jobs, limits } = this.#ports;
    const { operations, vocabulary, puts, deletes } = change;
    const atomic = [...alongside, ...operations];
    if (atomic.length > WRITE_LIMIT_OPERATIONS) {
      throw new PacsError('INTERNAL', 'a change outgrew one atomic write', { details: { operations: atomic.length } });
    }
    const hints = [...vocabulary, ...puts];
    const together = atomic.length + hints.length + deletes.length <= WRITE_LIMIT_OPERATIONS;
    if (!together) await this.#writeAll(hints);
    const [outcome] = await Promise.all([
      index.write(together ? [...atomic, ...hints, ...deletes] : atomic),
      change.quietDue && jobs.enqueue(STUDY_QUIET, { tenant, study }, { delayMs: limits.studyQuietMs }),
    ]);
    this.#remember(`${tenant}|${study}`, outcome.committed ? change.after : undefined);
    if (outcome.committed && !together) await this.#deletePostings(tenant, change);
    return outcome;
  }

  /**
   * Postings removed behind the fold: another process may have folded meanwhile, and needed one of them again.
   *
   *   A  fold v7 (leaves list X) ──────────────────────── delete posting X
   *   B                          put posting X ── fold v8                   → A sees v8 and puts what v8 needs
   */
  async #deletePostings(tenant: Tenant, change: StudyChange): Promise<void> {
    if (change.deletes.length === 0) return;
    await this.#writeAll(change.deletes);
    const item = await this.#ports.index.get(change.key);
    const current = item && asRecord<StudyRecord>(item);
    if (current && current.version !== change.version) await this.#writeAll(postingPuts(tenant, undefined, current));
  }

  async #writeAll(operations: readonly WriteOperation[]): Promise<void> {
    for (let at = 0; at < operations.length; at += WRITE_LIMIT_OPERATIONS) {
      await this.#ports.index.write(operations.slice(at, at + WRITE_LIMIT_OPERATIONS), { durability: 'deferred' });
    }
  }
}
