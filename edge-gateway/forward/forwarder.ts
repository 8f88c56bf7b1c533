import type { Tenant } from '#core/archive/records.ts';
import { keptInstance } from '#core/archive/trashed.ts';
import { describeError, PacsError } from '#core/errors.ts';
import { asRecord, type IndexTable } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import type { EdgeContext } from '../context.ts';
import type { UpstreamState } from '../upstream.ts';
import { COMPRESSED } from './compression.ts';
import { takeIn, untaken } from './intake.ts';
import { Lane, type LaneCounts } from './lane.ts';
import { DestinationQueue, type Transition } from './queue.ts';
import { type ForwardCounts, type ForwardRecord, forwardKeys, NOBODY } from './records.ts';
import { raiseUrgent } from './urgent.ts';

/** What an instance is known to be, at each destination that is to have it. */
export interface InstanceEvidence {
  /** it has been looked at: without, nothing can be said of it yet */
  readonly known: boolean;
  /** every destination that wants it vouches for its SHA-256; true as well where none wants it */
  readonly confirmed: boolean;
  /** those that are configured, and those that no longer are while it still waits for them */
  readonly destinations: readonly (ForwardRecord & { readonly destination: string })[];
}

export interface DestinationStatus extends ForwardCounts, LaneCounts {
  readonly name: string;
  readonly url: string;
  readonly upstream: UpstreamState;
  /** of `pending`: in requests under way */
  readonly sending: number;
  /** arrival of the study that has waited longest (ms since 1970) */
  readonly oldestAt: number | undefined;
  /** why nothing goes out, and when that is tried again */
  readonly pause: { readonly reason: string; readonly until: number } | undefined;
  /** the schedule's limit of this moment; undefined: none */
  readonly bytesPerSecondLimit: number | undefined;
}

/** What waits for a destination that the configuration no longer has: it stays here until that is back, or a person drops it. */
export interface LeftDestination extends ForwardCounts {
  readonly name: string;
  readonly oldestAt: number | undefined;
}

export interface HeldInstance {
  readonly destination: string;
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
  readonly sizeBytes: number;
  readonly reason: string | undefined;
  /** it had been confirmed, and then was not there any more */
  readonly missing: boolean;
  /** the destination keeps it aside, for a person to decide there */
  readonly keptAside: boolean;
  /** continue behind this one */
  readonly cursor: string;
}

/** The feed is looked at this often while it is quiet (ms). */
const QUIET_MS = 100;
const UNTAKEN_COUNTED = 100;
const RELEASE_AT_A_TIME = 100;
const DROP_AT_A_TIME = 100;
const MISSING = 'it had confirmed it, and does not have it any more: deleted there, or lost';
/** destinations that there have ever been */
const DESTINATIONS = 1_000;

/** Carries what the local archive stores to every upstream that wants it: intake from the ordered feed, one lane a destination. */
export class Forwarder {
  readonly #context: EdgeContext;
  readonly #lanes = new Map<string, Lane>();

  constructor(context: EdgeContext) {
    this.#context = context;
  }

  async run(signal: AbortSignal): Promise<void> {
    await removeStale(this.#context);
    const lanes: Promise<void>[] = [];
    let told: EdgeContext['upstreams'] | undefined;
    while (!signal.aborted) {
      if (told !== this.#context.upstreams) {
        told = this.#context.upstreams;
        await this.#tellOfLeft();
      }
      for (const { name } of this.#context.upstreams) {
        if (this.#lanes.has(name)) continue;
        const lane = new Lane(this.#context, name);
        this.#lanes.set(name, lane);
        lanes.push(lane.run(signal));
      }
      const woken = await this.#takeIn();
      for (const name of woken ?? []) this.#lanes.get(name)?.wake();
      if (woken === undefined) await this.#context.clock.sleep(QUIET_MS);
    }
    await Promise.all(lanes);
  }

  async #takeIn(): Promise<ReadonlySet<string> | undefined> {
    try {
      const woken = await takeIn(this.#context);
      await raiseUrgent(this.#context, woken === undefined);
      return woken;
    } catch (error) {
      // A full disk, as a rule: what was stored waits in the feed.
      this.#context.log.error('intake-failed', describeError(error));
      await this.#context.clock.sleep(1_000);
      return undefined;
    }
  }

  /** Instances that have been stored and that no destination's queue has yet, counted up to a hundred. */
  async untaken(): Promise<number> {
    return untaken(this.#context, UNTAKEN_COUNTED);
  }

  async #tellOfLeft(): Promise<void> {
    for (const { name, pending, held } of await this.left())
      this.#context.log.error('destination-not-configured', { destination: name, waiting: pending, held });
  }

  /** Destinations that are no longer configured, and for which instances still wait. */
  async left(): Promise<LeftDestination[]> {
    const { services, tenant } = this.#context;
    const { partition } = forwardKeys.counts(tenant, NOBODY);
    const { records } = await services.index.query({ partition, limit: DESTINATIONS, keysOnly: true });
    const names = records.map(({ sort }) => sort).filter((name) => this.#context.upstream(name) === undefined);
    const all = await Promise.all(
      names.map(async (name) => {
        const queue = this.#queue(name);
        return { name, ...(await queue.counts()), oldestAt: await queue.oldestArrival() };
      }),
    );
    return all.filter(({ pending, held }) => pending + held > 0);
  }

  /**
   * What waits for a destination that is no longer configured need not go there any more. @returns how many instances
   * @throws PacsError CONFLICT: the destination is configured
   */
  async drop(destination: string): Promise<number> {
    const queue = this.#queue(destination);
    let dropped = 0;
    for (;;) {
      // Whoever adds it again meanwhile keeps what is left.
      if (this.#context.upstream(destination) !== undefined)
        throw new PacsError('CONFLICT', 'the destination is configured: what waits for it is sent there');
      const waiting = await queue.waiting(DROP_AT_A_TIME);
      const records = await queue.records(waiting.map(({ SOPInstanceUID }) => SOPInstanceUID));
      if (records.length === 0) return dropped;
      // Those that changed meanwhile, as they were just being sent when the destination was taken out, have their turn in the next round.
      const changed = await queue.apply(records.map((record) => [record, { to: 'unwanted' }]));
      dropped += changed.length;
      const gone = new Set(changed.map(({ SOPInstanceUID }) => SOPInstanceUID));
      for (const { SOPInstanceUID, sent } of records)
        if (sent !== undefined && gone.has(SOPInstanceUID)) await this.#context.services.blobs.delete(sent.blobKey);
    }
  }

  /** Of the destinations that are configured, in their order. */
  status(): Promise<DestinationStatus[]> {
    return Promise.all(
      this.#context.upstreams.map(async ({ name, config, state }) => {
        const lane = this.#lanes.get(name) ?? new Lane(this.#context, name);
        return {
          name,
          url: config.url,
          upstream: state,
          ...(await lane.queue.counts()),
          ...lane.counts,
          sending: lane.sending,
          oldestAt: await lane.queue.oldestArrival(),
          pause: lane.pause,
          bytesPerSecondLimit: lane.bytesPerSecond,
        };
      }),
    );
  }

  /** Instances that were refused for good, with why, at most `limit` of them. */
  async held(destination: string, limit: number, after?: string): Promise<HeldInstance[]> {
    const queue = this.#queue(destination);
    const waiting = await queue.held(limit, after);
    const records = new Map(
      (await queue.records(waiting.map(({ SOPInstanceUID }) => SOPInstanceUID))).map((one) => [
        one.SOPInstanceUID,
        one,
      ]),
    );
    return waiting.flatMap(({ SOPInstanceUID, queueKey }) => {
      const record = records.get(SOPInstanceUID);
      if (record === undefined) return [];
      const { StudyInstanceUID, SeriesInstanceUID, sizeBytes, reason, missing = false, keptAside = false } = record;
      const instance = { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, sizeBytes };
      return [{ destination, ...instance, reason, missing, keptAside, cursor: queueKey }];
    });
  }

  /** Puts held instances back in their order: one, or all of a destination. @returns how many */
  async release(destination: string, SOPInstanceUID?: string): Promise<number> {
    const queue = this.#queue(destination);
    let released = 0;
    for (;;) {
      const sops =
        SOPInstanceUID === undefined
          ? (await queue.held(RELEASE_AT_A_TIME)).map((one) => one.SOPInstanceUID)
          : [SOPInstanceUID];
      const records = (await queue.records(sops)).filter(({ state }) => state === 'held');
      const changed = await queue.apply(
        records.map((record) => [
          { ...record, refusals: 0, attempts: 0 },
          { to: 'pending', ask: true },
        ]),
      );
      released += changed.length;
      if (changed.length === 0 || SOPInstanceUID !== undefined) break;
    }
    this.#lanes.get(destination)?.retryNow();
    return released;
  }

  /** They had been confirmed, and the destination has not got them any more: what of them is here is held until a person has looked. */
  async missing(destination: string, records: readonly ForwardRecord[]): Promise<void> {
    const { services, tenant, log } = this.#context;
    const changes: [ForwardRecord, Transition][] = [];
    for (const record of records) {
      const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = record;
      const kept = await keptInstance(services, tenant, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID);
      if (kept === undefined) continue;
      const { sha256, sizeBytes } = kept;
      changes.push([record, { to: 'missing', reason: MISSING, here: { sha256, sizeBytes } }]);
    }
    const held = await this.#queue(destination).apply(changes);
    if (held.length > 0) log.error('confirmed-and-missing', { destination, instances: held.length });
  }

  /**
   * A person says that what was found missing there, as all of it or one of it, has been deleted on purpose, or that what is kept aside there is decided there: its
   * copy here may be evicted.
   * @returns how many
   */
  async letGo(destination: string, SOPInstanceUID?: string): Promise<number> {
    const queue = this.#queue(destination);
    let count = 0;
    for (let after: string | undefined; ; ) {
      const page: readonly { SOPInstanceUID: string; queueKey?: string }[] =
        SOPInstanceUID === undefined ? await queue.held(RELEASE_AT_A_TIME, after) : [{ SOPInstanceUID }];
      const records = (await queue.records(page.map((one) => one.SOPInstanceUID))).filter(
        ({ state, missing, keptAside }) => state === 'held' && (missing || keptAside),
      );
      const changed = await queue.apply(records.map((record) => [record, { to: 'confirmed', evidence: 'person' }]));
      count += changed.length;
      const gone = new Set(changed.map((one) => one.SOPInstanceUID));
      for (const { SOPInstanceUID: sop, sent } of records)
        if (sent !== undefined && gone.has(sop)) await this.#context.services.blobs.delete(sent.blobKey);
      after = page.at(-1)?.queueKey;
      if (after === undefined) return count;
    }
  }

  /** Tries a destination at once that is waiting for its time. */
  retryNow(destination: string): void {
    this.#lanes.get(destination)?.retryNow();
  }

  /** What the gateway can vouch for: Storage Commitment and eviction from the cache go by this. */
  evidenceOf(SOPInstanceUID: string): Promise<InstanceEvidence> {
    const { services, tenant, upstreams } = this.#context;
    return evidenceOf(
      services,
      tenant,
      SOPInstanceUID,
      upstreams.map(({ name }) => name),
    );
  }

  #queue(destination: string): DestinationQueue {
    return (
      this.#lanes.get(destination)?.queue ??
      new DestinationQueue(this.#context.services, this.#context.tenant, destination)
    );
  }
}

/** `destinations`: those that count, as configured now. */
export async function evidenceOf(
  { index }: { readonly index: IndexTable },
  tenant: Tenant,
  SOPInstanceUID: string,
  destinations: readonly string[],
): Promise<InstanceEvidence> {
  const { partition } = forwardKeys.forward(tenant, SOPInstanceUID, NOBODY);
  const { records } = await index.query({ partition, limit: 1_000 });
  const found = records
    .map(({ sort, item }) => ({ ...asRecord<ForwardRecord>(item), destination: sort }))
    // Waiting for one that is not configured (any more) it has not arrived everywhere.
    .filter(
      ({ destination, state }) => state !== 'unwanted' && (state !== 'confirmed' || destinations.includes(destination)),
    );
  return {
    known: records.length > 0,
    confirmed: records.length > 0 && found.every(({ state }) => state === 'confirmed'),
    destinations: found,
  };
}

/** Compressed copies whose instances were confirmed just before a crash. */
async function removeStale({ services, tenant }: { services: Services; tenant: Tenant }): Promise<void> {
  const prefix = `${COMPRESSED}${tenant}/`;
  for await (const { key } of services.blobs.list(prefix)) {
    const [destination = '', file = ''] = key.slice(prefix.length).split('/');
    const sop = file.split('.').slice(0, -2).join('.');
    const item = await services.index.get(forwardKeys.forward(tenant, sop, destination));
    if (item === undefined || asRecord<ForwardRecord>(item).sent?.blobKey !== key) await services.blobs.delete(key);
  }
}
