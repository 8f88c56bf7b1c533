import { setTimeout as sleep } from 'node:timers/promises';
import { FROM_UPSTREAM } from '#core/archive/evict.ts';
import { asRecord, type InstanceRecord, keys } from '#core/archive/records.ts';
import { type StoreOutcome, storeObject } from '#core/archive/store.ts';
import { asPacsError, describeError, type PacsError } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import type { Arriving, Unavailable } from '#dimse/services/retrieve.ts';
import { Turns } from '#dimse/services/turns.ts';
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

/** How somebody wants what is fetched. */
export interface FetchManner {
  /** large objects are given while they arrive, as `Arriving` */
  readonly passing?: boolean | undefined;
  /** Priority (0000,0700) of who waits: of all that wait for a request, the most urgent gets the next one */
  readonly priority?: number | undefined;
}

const DEFAULTS: FetchOptions = { parallel: 4, inAll: 8, storing: 8, attempts: 2, restoreMs: 15 * 60_000 };
/** When upstream says that it will have the objects later, it is asked again no later than this (ms). */
const ASK_AGAIN_MS = 30_000;
/** How long one who is being given an object that has broken off is kept waiting for the rest of it, and how often that is asked for (ms). */
const BROKEN_OFF_MS = 30_000;
const BROKEN_OFF_AGAIN_MS = 500;
/** instances of one series from which on it is asked for as a whole */
const WHOLE_SERIES = 2;

/** One request: a whole series, or one instance. */
interface Errand {
  readonly wanted: readonly WantedInstance[];
  readonly whole: boolean;
  readonly attempt: number;
}

/**
 * Brings instances from the archive upstream into the local one, as they are stored there. Who asks for an instance that is being
 * fetched already shares that. What was interrupted is asked for again, instance by instance.
 */
export class Fetcher {
  readonly #services: Services;
  readonly #archive: () => UpstreamArchive;
  readonly #log: Log;
  readonly #options: FetchOptions;
  /** by SOP Instance UID: settles when it is here, or could not be had */
  readonly #underWay = new Map<string, Promise<InstanceRecord | undefined>>();
  readonly #turns: Turns;
  readonly #performed = new Set<Promise<void>>();

  constructor(services: Services, archive: () => UpstreamArchive, log: Log, options: Partial<FetchOptions> = {}) {
    this.#services = services;
    this.#archive = archive;
    this.#log = log;
    this.#options = { ...DEFAULTS, ...options };
    this.#turns = new Turns(this.#options.inAll);
  }

  /**
   * The instances as they come, in any order, each once. `isWhole` tells of a series whether all that upstream has of it is wanted: then it
   * comes in one response. Ends early when `signal` aborts or the reader goes away; what is being stored then still is.
   */
  async *fetch(
    tenant: string,
    wanted: readonly WantedInstance[],
    isWhole: (SeriesInstanceUID: string) => boolean,
    signal: AbortSignal,
    { passing = false, priority }: FetchManner = {},
  ): AsyncGenerator<InstanceRecord | Unavailable | Arriving> {
    const gone = new AbortController();
    const run = new FetchRun(
      this.#services,
      this.#archive(),
      this.#log,
      this.#options,
      tenant,
      AbortSignal.any([signal, gone.signal]),
      (work, aborted) => this.#noted(this.#turns.run(priority, work, aborted)),
    );
    const arrived: (InstanceRecord | Unavailable | Arriving)[] = [];
    const given = new Set<string>();
    let wake = (): void => {};
    let left = wanted.length;
    const own = wanted.filter(({ SOPInstanceUID }) => !this.#underWay.has(SOPInstanceUID));
    const started = run.start(errandsOf(own, isWhole), own);
    const byUid = new Map(wanted.map((one) => [one.SOPInstanceUID, one]));
    const offer = (large: Passing): void => {
      const { SOPInstanceUID, SOPClassUID, transferSyntaxUID } = large.meta;
      const one = byUid.get(SOPInstanceUID);
      const promise = started.get(SOPInstanceUID);
      if (one === undefined || promise === undefined || given.has(SOPInstanceUID)) return;
      given.add(SOPInstanceUID);
      const stored = promise.then((found) => found ?? ({ SOPInstanceUID, unavailable: true } as const));
      const { StudyInstanceUID } = one;
      const take = () => large.take();
      arrived.push({ arriving: true, StudyInstanceUID, SOPInstanceUID, SOPClassUID, transferSyntaxUID, take, stored });
      wake();
    };
    // Nothing has come yet: the first errand only begins.
    if (passing) run.onLarge = offer;
    for (const [sop, promise] of started) {
      this.#underWay.set(sop, promise);
      void promise.finally(() => this.#underWay.delete(sop));
    }
    for (const one of wanted) {
      const { SOPInstanceUID } = one;
      const shared = started.has(SOPInstanceUID) ? undefined : this.#underWay.get(SOPInstanceUID);
      // Whom we share it with may have gone away: then it is ours to fetch.
      const promise =
        shared === undefined ? started.get(SOPInstanceUID)! : shared.then((found) => found ?? run.one(one));
      void promise.then((found) => {
        if (!given.has(SOPInstanceUID)) arrived.push(found ?? { SOPInstanceUID, unavailable: true });
        left--;
        wake();
      });
    }
    try {
      while (left > 0 || arrived.length > 0) {
        if (arrived.length > 0) yield arrived.shift()!;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
            if (arrived.length > 0) resolve();
          });
      }
    } finally {
      gone.abort();
    }
  }

  /** Resolves when nothing is being fetched or stored any more; nobody may wait then, nor an upstream answer. */
  async settled(): Promise<void> {
    while (this.#performed.size > 0) await Promise.allSettled(this.#performed);
  }

  #noted(work: Promise<void>): Promise<void> {
    const noted: Promise<void> = work.finally(() => this.#performed.delete(noted));
    this.#performed.add(noted);
    return noted;
  }
}

function errandsOf(wanted: readonly WantedInstance[], isWhole: (series: string) => boolean): Errand[] {
  return [...Map.groupBy(wanted, ({ SeriesInstanceUID }) => SeriesInstanceUID)].flatMap(([series, group]): Errand[] =>
    group.length >= WHOLE_SERIES && isWhole(series)
      ? [{ wanted: group, whole: true, attempt: 1 }]
      : group.map((one) => ({ wanted: [one], whole: false, attempt: 1 })),
  );
}

/** @throws what `signal` was aborted for, before its turn */
type InTurn = (work: () => Promise<void>, signal: AbortSignal) => Promise<void>;

/** What is fetched for one who waits. */
class FetchRun {
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
