import { setTimeout as sleep } from 'node:timers/promises';
import { FROM_UPSTREAM } from '#core/archive/evict.ts';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { type StoreOutcome, storeObject } from '#core/archive/store.ts';
import { asPacsError, describeError, type PacsError } from '#core/errors.ts';
import { asRecord } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import type { Log } from '#embedded/log.ts';
import { Passing } from './passing.ts';
import type { UpstreamArchive } from './upstream-archive.ts';

export interface WantedInstance {
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
}

export interface FetchOptions {
  /** requests under way for one who waits */
  readonly parallel: number;
  /** requests under way for all who wait */
  readonly inAll: number;
  /** objects of one response that are being made durable while the next ones come */
  readonly storing: number;
  /** times an instance is asked for, where nothing came */
  readonly attempts: number;
  /** how long one who waits is kept waiting for objects that upstream has to bring back from slow media first (ms) */
  readonly restoreMs: number;
}

/** When upstream says that it will have the objects later, it is asked again no later than this (ms). */
const ASK_AGAIN_MS = 30_000;
/** How long one who is being given an object that has broken off is kept waiting for the rest of it, and how often that is asked for (ms). */
const BROKEN_OFF_MS = 30_000;
const BROKEN_OFF_AGAIN_MS = 500;
/** One request: a whole series, or one instance. */
export interface Errand {
  readonly wanted: readonly WantedInstance[];
  readonly whole: boolean;
  readonly attempt: number;
}

/** @throws what `signal` was aborted for, before its turn */
type InTurn = (work: () => Promise<void>, signal: AbortSignal) => Promise<void>;

/** What is fetched for one who waits: its requests, a few at a time, and what becomes of each. */
export class FetchRun {
  readonly #services: Services;
  readonly #archive: UpstreamArchive;
  readonly #log: Log;
  readonly #options: FetchOptions;
  readonly #tenant: string;
  readonly #signal: AbortSignal;
  /** runs a request when it is its turn */
  readonly #inTurn: InTurn;
  readonly #errands: Errand[] = [];
  readonly #waiting = new Map<string, (found: InstanceRecord | undefined) => void>();
  readonly #startedAt: number;
  /** large objects that somebody is taking while they arrive, by SOP Instance UID */
  readonly #passing = new Map<string, Passing>();
  /** of those that broke off: since when none of their bytes have come that had not come before, and how many had */
  readonly #broken = new Map<string, { readonly since: number; readonly passedBytes: number }>();
  #running = 0;
  /** is told of objects that may be taken while they arrive */
  onLarge: ((passing: Passing) => void) | undefined;

  constructor(
    services: Services,
    archive: UpstreamArchive,
    log: Log,
    options: FetchOptions,
    tenant: string,
    signal: AbortSignal,
    inTurn: InTurn,
  ) {
    this.#services = services;
    this.#archive = archive;
    this.#log = log;
    this.#options = options;
    this.#tenant = tenant;
    this.#signal = signal;
    this.#inTurn = inTurn;
    this.#startedAt = services.clock.now();
  }

  start(
    errands: readonly Errand[],
    wanted: readonly WantedInstance[],
  ): Map<string, Promise<InstanceRecord | undefined>> {
    const promises = new Map<string, Promise<InstanceRecord | undefined>>();
    for (const { SOPInstanceUID } of wanted)
      promises.set(SOPInstanceUID, new Promise((resolve) => this.#waiting.set(SOPInstanceUID, resolve)));
    this.#errands.push(...errands);
    this.#next();
    return promises;
  }

  one(wanted: WantedInstance): Promise<InstanceRecord | undefined> {
    return this.start([{ wanted: [wanted], whole: false, attempt: 1 }], [wanted]).get(wanted.SOPInstanceUID)!;
  }

  #next(): void {
    while (this.#running < this.#options.parallel) {
      const errand = this.#errands.shift();
      if (errand === undefined) return;
      this.#running++;
      void this.#perform(errand).finally(() => {
        this.#running--;
        this.#next();
      });
    }
  }

  /** Never rejects. */
  async #perform(errand: Errand): Promise<void> {
    let failure: PacsError | undefined;
    try {
      if (!this.#signal.aborted) await this.#inTurn(() => this.#bring(errand), this.#signal);
    } catch (error) {
      failure = asPacsError(error);
      const { StudyInstanceUID } = errand.wanted[0]!;
      if (!this.#signal.aborted) this.#log.info('fetch-failed', { StudyInstanceUID, ...describeError(failure) });
    }
    const missing = errand.wanted.filter(({ SOPInstanceUID }) => this.#waiting.has(SOPInstanceUID));
    const laterMs = failure?.details.retryAfterMs;
    if (typeof laterMs === 'number' && this.#isPatient(laterMs)) {
      await sleep(Math.min(laterMs, ASK_AGAIN_MS), undefined, { signal: this.#signal }).catch(() => {});
      if (missing.length > 0) this.#errands.push({ ...errand, wanted: missing });
      return;
    }
    const brokenOff = missing.filter((one) => this.#isAwaited(one.SOPInstanceUID));
    if (brokenOff.length > 0) {
      // Whoever has got half of it gets the other half, if there is any way.
      await sleep(BROKEN_OFF_AGAIN_MS, undefined, { signal: this.#signal }).catch(() => {});
      for (const one of brokenOff) this.#errands.push({ wanted: [one], whole: false, attempt: 1 });
    }
    const goOn =
      !this.#signal.aborted &&
      (errand.whole || (errand.attempt < this.#options.attempts && failure?.code === 'OUTCOME_UNKNOWN'));
    for (const one of missing.filter((each) => !brokenOff.includes(each))) {
      if (goOn) this.#errands.push({ wanted: [one], whole: false, attempt: errand.whole ? 1 : errand.attempt + 1 });
      else this.#settle(one.SOPInstanceUID, undefined);
    }
  }

  #isPatient(laterMs: number): boolean {
    const waitedMs = this.#services.clock.now() - this.#startedAt;
    return !this.#signal.aborted && waitedMs + Math.min(laterMs, ASK_AGAIN_MS) < this.#options.restoreMs;
  }

  /** Somebody has got part of it, and is still waiting for the rest. */
  #isAwaited(sop: string): boolean {
    const passing = this.#passing.get(sop);
    if (passing?.isTaken !== true || this.#signal.aborted) return false;
    const now = this.#services.clock.now();
    const passedBytes = passing.passed;
    const before = this.#broken.get(sop);
    // It has gone on since it broke off, or the clock was put back: the time begins anew.
    const since = before === undefined || passedBytes > before.passedBytes ? now : Math.min(now, before.since);
    this.#broken.set(sop, { since, passedBytes });
    return now - since < BROKEN_OFF_MS;
  }

  #settle(sop: string, found: InstanceRecord | undefined): void {
    // Has it come to its end, this changes nothing.
    this.#passing.get(sop)?.fail();
    this.#passing.delete(sop);
    this.#waiting.get(sop)?.(found);
    this.#waiting.delete(sop);
  }

  /** @throws PacsError where the response broke off or was refused; what came before that is stored */
  async #bring({ wanted, whole }: Errand): Promise<void> {
    const [first] = wanted;
    const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = first!;
    const path = { StudyInstanceUID, SeriesInstanceUID, ...(!whole && { SOPInstanceUID }) };
    const storing = new Set<Promise<void>>();
    try {
      for await (const object of this.#archive.retrieve(path, this.#signal)) {
        const { body, settled } = this.#passed(object);
        const { received, outcome } = storeObject(
          this.#services,
          {
            tenant: this.#tenant,
            source: FROM_UPSTREAM,
            StudyInstanceUID,
            ...(!whole && { SOPInstanceUID }),
          },
          body,
        );
        const stored = outcome
          .finally(settled)
          .then((each) => this.#stored(each))
          .finally(() => storing.delete(stored));
        // Its failure is seen below, or by the response that is torn.
        stored.catch(() => {});
        storing.add(stored);
        await received;
        if (storing.size >= this.#options.storing) await Promise.race(storing).catch(() => {});
      }
    } finally {
      await Promise.allSettled(storing);
    }
  }

  /**
   * The object's bytes; of a large one that somebody may want them at once is told. `settled`: its store has come to an outcome. Whoever
   * takes it has not had all of it before: sent to ourselves, it would else come in as a new object, and go upstream once more.
   */
  #passed(object: AsyncIterable<Uint8Array>): { body: AsyncIterable<Uint8Array>; settled: () => void } {
    const { onLarge } = this;
    if (onLarge === undefined) return { body: object, settled: () => {} };
    let whole: Passing | undefined;
    const body = Passing.through(
      object,
      (sop) => {
        const before = this.#passing.get(sop);
        return before?.isTaken === true ? before : undefined;
      },
      (passing) => {
        const { SOPInstanceUID } = passing.meta;
        if (!this.#waiting.has(SOPInstanceUID)) return;
        this.#passing.set(SOPInstanceUID, passing);
        onLarge(passing);
      },
      (passing) => {
        whole = passing;
      },
    );
    return { body, settled: () => whole?.end() };
  }

  async #stored(outcome: StoreOutcome): Promise<void> {
    if (outcome.kind === 'failed') {
      this.#log.info('fetched-object-refused', { ...outcome.id, ...describeError(outcome.error) });
      return;
    }
    const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = outcome.id;
    const key = keys.instance(this.#tenant, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID);
    const item = await this.#services.index.get(key);
    if (item !== undefined) this.#settle(SOPInstanceUID, asRecord<InstanceRecord>(item));
  }
}
