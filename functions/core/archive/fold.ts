import { doubledMs } from '../backoff.ts';
import { PacsError } from '../errors.ts';
import {
  asItem,
  asRecord,
  recordsIn,
  WRITE_LIMIT_OPERATIONS,
  type WriteOperation,
  type WriteOptions,
  type WriteOutcome,
} from '../ports/index-table.ts';
import { postingPuts } from '../search/postings.ts';
import type { Services } from '../services.ts';
import { type Delta, type FoldLease, keys, type StudyRecord, type Tenant } from './records.ts';
import { changeStudy, changeStudyNow, type KnownStudy, type StudyChange } from './study-change.ts';

type FoldPorts = Pick<Services, 'index' | 'clock' | 'jobs' | 'limits' | 'policy'>;

/** Deltas of one atomic fold: two operations each, and room left for the study, its series and the counters. */
const DELTAS_PER_FOLD = 40;
const FOLD_OPERATIONS = 84;
/** studies that are remembered, and series of each */
const KNOWN_STUDIES = 200;
const KNOWN_SERIES = 50;
const DELTA = 'delta|';
const GET_MANY = 90;
/** races lost in one turn, and time waited for one, before the writer says that it is too much */
const ATTEMPTS = 20;
const WAIT_MS = 20_000;
/** the queue of studies that may have become quiet; payload { tenant, study } */
export const STUDY_QUIET = 'study-quiet';
const BACKOFF = { firstMs: 2, mostMs: 250 } as const;
/** a turn at folding; longer than a fold takes, and as short as others can wait for one whose process died */
const LEASE_MS = 1_000;
/** how long who waits for his turn waits before he looks again */
const TURN_MS = { least: 15, most: 75 };
/** a study into which several writers have just been seen to store is one of that kind for so long */
const CONTENDED_MS = 10_000;

/**
 * Folds the deltas of studies into their study and series records.
 *
 * Where several writers store into one study, commits do not touch the study record: with 500 instances a second arriving for one study, one hot record would be written
 * 500 times a second. They leave deltas. One of them at a time folds, under a lease, all that lie there; the others wait until theirs are gone:
 *
 *   writer 1   delta a ─┐  lease free: takes it ── read deltas a b ── write { study v8 if v7, delete a b } ── gives it back
 *   writer 2   delta b ─┼─ lease taken: waits ───────────────────────────────────────────────────────────── b is gone: done
 *   writer 3   delta c ─┘  lease taken: waits ─────────── (came too late for that fold) ── lease free: takes it …
 *
 * The lease only spares the others their attempts, which an engine behind a network charges for, and which make each other fail. What makes
 * it right is the lock of the study record. Each delta leaves in the same atomic write that counts it, so it counts exactly
 * once. A delta whose writer died is folded by the next writer of the study, or by the sweeper.
 */
export class StudyFolder {
  readonly #ports: FoldPorts;
  /** studies that this process has written last, as it left them: the next instance of a study need not read them again */
  readonly #known = new Map<string, KnownStudy>();
  /** studies into which several writers store: until when (ms) */
  readonly #contended = new Map<string, number>();
  /** per study of this process: the fold that runs, and the one that callers during it share */
  readonly #runs = new Map<string, { current: Promise<void>; next?: Promise<void> }>();

  constructor(ports: FoldPorts) {
    this.#ports = ports;
  }

  /** Whether several writers have been seen to store into the study lately: then commits leave deltas at once. */
  isContended(tenant: Tenant, study: string): boolean {
    const until = this.#contended.get(`${tenant}|${study}`);
    return until !== undefined && until > this.#ports.clock.now();
  }

  markContended(tenant: Tenant, study: string): void {
    const id = `${tenant}|${study}`;
    this.#contended.delete(id);
    this.#contended.set(id, this.#ports.clock.now() + CONTENDED_MS);
    const [oldest] = this.#contended.keys();
    if (this.#contended.size > KNOWN_STUDIES && oldest !== undefined) this.#contended.delete(oldest);
  }

  /**
   * Resolves when these deltas, or every one that was there at the call, are folded, durably.
   * @throws PacsError BUSY after many lost races.
   */
  fold(tenant: Tenant, study: string, deltas?: readonly string[]): Promise<void> {
    if (deltas !== undefined) return this.#foldAll(tenant, study, deltas);
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

  /** @param awaited ids of deltas; undefined: all that are there now */
  async #foldAll(tenant: Tenant, study: string, awaited?: readonly string[]): Promise<void> {
    const { index, clock } = this.#ports;
    let left = awaited ?? (await this.#deltasNow(tenant, study));
    const giveUpAt = clock.now() + WAIT_MS;
    while (left.length > 0) {
      const looked = left.slice(0, GET_MANY).map((id) => keys.delta(tenant, study, id));
      const [leaseItem, ...items] = await index.getMany([keys.folding(tenant, study), ...looked]);
      left = left.filter((_, i) => i >= GET_MANY || items[i] !== undefined);
      if (left.length === 0) return;
      const turnEndsAt = await this.#takeTurn(tenant, study, asRecord<FoldLease>(leaseItem));
      if (turnEndsAt !== undefined) await this.#foldInTurn(tenant, study, turnEndsAt);
      else {
        this.markContended(tenant, study);
        if (clock.now() > giveUpAt) throw tooManyWriters(study);
        await this.#pause(TURN_MS.least, TURN_MS.most);
      }
    }
  }

  /** @returns until when (ms since 1970); undefined: it is another's turn */
  async #takeTurn(tenant: Tenant, study: string, lease: FoldLease | undefined): Promise<number | undefined> {
    const { index, clock } = this.#ports;
    if (lease !== undefined && lease.until > clock.now()) return undefined;
    const until = clock.now() + LEASE_MS;
    if (index.conflictsAreCheap) return until;
    const item = asItem({ version: (lease?.version ?? 0) + 1, until } satisfies FoldLease);
    const condition = lease === undefined ? ('absent' as const) : { version: lease.version };
    const key = keys.folding(tenant, study);
    const outcome = await index.write([{ kind: 'put', key, item, if: condition }], { durability: 'deferred' });
    return outcome.committed ? until : undefined;
  }

  /** Folds until nothing lies there any more, or the turn is over. */
  async #foldInTurn(tenant: Tenant, study: string, turnEndsAt: number): Promise<void> {
    const { index, clock } = this.#ports;
    try {
      for (let lost = 0; lost < ATTEMPTS; ) {
        const outcome = await this.#foldOnce(tenant, study);
        if (outcome === 'done' || clock.now() >= turnEndsAt) return;
        if (outcome === 'lost') await this.#pause(0, doubledMs(++lost, BACKOFF));
      }
      throw tooManyWriters(study);
    } finally {
      if (!index.conflictsAreCheap) {
        // Not under its version: should it have run out and be another's now, two fold for once, which is only dearer.
        const release: WriteOperation = { kind: 'delete', key: keys.folding(tenant, study) };
        await index.write([release], { durability: 'deferred' });
      }
    }
  }

  /** Rules may want what is stored to be sent on at once: then somebody looks before the study is quiet. */
  get #firstLookMs(): number {
    const { limits, policy } = this.#ports;
    const { studyQuietMs, routingStoredMs } = limits;
    return policy.routing.hosts.length > 0 ? Math.min(studyQuietMs, routingStoredMs) : studyQuietMs;
  }

  #pause(leastMs: number, mostMs: number): Promise<void> {
    const { clock } = this.#ports;
    return clock.sleep(leastMs + ((mostMs - leastMs) * (clock.randomBytes(1)[0] ?? 0)) / 255);
  }

  /** ids of the deltas that lie there */
  async #deltasNow(tenant: Tenant, study: string): Promise<string[]> {
    const { partition } = keys.study(tenant, study);
    const range = { partition, prefix: DELTA, limit: 1_000, keysOnly: true };
    return Array.fromAsync(recordsIn(this.#ports.index, range), ({ sort }) => sort.slice(DELTA.length));
  }

  /** `more`: a fold was full, and there may be others waiting. */
  async #foldOnce(tenant: Tenant, study: string): Promise<'done' | 'more' | 'lost'> {
    const { partition } = keys.study(tenant, study);
    const { records: found } = await this.#ports.index.query({ partition, prefix: DELTA, limit: DELTAS_PER_FOLD });
    if (found.length === 0) return 'done';
    const taken = fitting(found.map(({ sort, item }) => ({ sort, delta: asRecord<Delta>(item) })));
    const consumed: WriteOperation[] = taken.flatMap(({ sort }) => [
      { kind: 'delete', key: { partition, sort }, if: 'present' },
      { kind: 'delete', key: keys.unfolded(tenant, sort.slice(DELTA.length)) },
    ]);
    const deltas = taken.map(({ delta }) => delta);
    const change = await this.change(tenant, study, deltas);
    const outcome = await this.write(tenant, study, change, consumed);
    if (!outcome.committed) return 'lost';
    return taken.length < found.length || found.length === DELTAS_PER_FOLD ? 'more' : 'done';
  }

  /** What deltas make of a study, as it is remembered or else read. */
  change(tenant: Tenant, study: string, deltas: readonly Delta[], mayBeRemembered = true): Promise<StudyChange> {
    const known = mayBeRemembered ? this.#known.get(`${tenant}|${study}`) : undefined;
    return changeStudy(this.#ports, tenant, study, deltas, known);
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
   * `deltas`: what the change was made of. Where another writer was first, and nothing else is in the way, it is made anew from what stands there, in
   * the same moment, if the index can do so: two processes that store into one study would else fail at each other in turns.
   */
  async write(
    tenant: Tenant,
    study: string,
    change: StudyChange,
    alongside: readonly WriteOperation[],
    deltas?: readonly Delta[],
  ): Promise<WriteOutcome> {
    const { index, jobs } = this.#ports;
    const { operations, vocabulary, puts, deletes } = change;
    const atomic = [...alongside, ...operations];
    if (atomic.length > WRITE_LIMIT_OPERATIONS) {
      throw new PacsError('INTERNAL', 'a change outgrew one atomic write', { details: { operations: atomic.length } });
    }
    const hints = [...vocabulary, ...puts];
    const together = atomic.length + hints.length + deletes.length <= WRITE_LIMIT_OPERATIONS;
    if (!together) await this.#writeAll(hints);
    let written = change;
    const instead: WriteOptions['instead'] = (failed, read) => {
      if (deltas === undefined || deletes.length > 0 || failed.some((i) => i < alongside.length)) return undefined;
      const anew = changeStudyNow(this.#ports, tenant, study, deltas, read);
      if (anew === undefined || (anew.quietDue && !change.quietDue)) return undefined;
      written = anew;
      return [...alongside, ...anew.operations];
    };
    const [outcome] = await Promise.all([
      index.write(together ? [...atomic, ...hints, ...deletes] : atomic, { instead }),
      change.quietDue && jobs.enqueue(STUDY_QUIET, { tenant, study }, { delayMs: this.#firstLookMs }),
    ]);
    this.#remember(`${tenant}|${study}`, outcome.committed ? written.after : undefined);
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
    const current = asRecord<StudyRecord>(item);
    if (current && current.version !== change.version) await this.#writeAll(postingPuts(tenant, undefined, current));
  }

  async #writeAll(operations: readonly WriteOperation[]): Promise<void> {
    for (let at = 0; at < operations.length; at += WRITE_LIMIT_OPERATIONS) {
      await this.#ports.index.write(operations.slice(at, at + WRITE_LIMIT_OPERATIONS), { durability: 'deferred' });
    }
  }
}

/** As many as one atomic write holds: each series of theirs is an operation or two more. */
function fitting<D extends { readonly delta: Delta }>(found: readonly D[]): readonly D[] {
  const series = new Set<string>();
  const count = found.findIndex(({ delta }, i) => {
    series.add(delta.SeriesInstanceUID);
    return i > 0 && 2 * (i + 1) + 2 * series.size > FOLD_OPERATIONS;
  });
  return count < 0 ? found : found.slice(0, count);
}

const tooManyWriters = (study: string): PacsError =>
  new PacsError('BUSY', 'the study is being changed by too many writers', { details: { StudyInstanceUID: study } });
