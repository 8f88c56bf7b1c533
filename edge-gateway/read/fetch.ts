import type { InstanceRecord } from '#core/archive/records.ts';
import type { Services } from '#core/services.ts';
import type { Arriving, Unavailable } from '#dimse/services/retrieve.ts';
import { Turns } from '#dimse/services/turns.ts';
import type { Log } from '#embedded/log.ts';
import { type Errand, type FetchOptions, FetchRun, type WantedInstance } from './fetch-run.ts';
import type { Passing } from './passing.ts';
import type { UpstreamArchive } from './upstream-archive.ts';

/** How somebody wants what is fetched. */
export interface FetchManner {
  /** large objects are given while they arrive, as `Arriving` */
  readonly passing?: boolean | undefined;
  /** Priority (0000,0700) of who waits: of all that wait for a request, the most urgent gets the next one */
  readonly priority?: number | undefined;
}

const DEFAULTS: FetchOptions = { parallel: 4, inAll: 8, storing: 8, attempts: 2, restoreMs: 15 * 60_000 };
/** instances of one series from which on it is asked for as a whole */
const WHOLE_SERIES = 2;

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
