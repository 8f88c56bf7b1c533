import { asRecord, type Tenant } from '#core/archive/records.ts';
import { describeError } from '#core/errors.ts';
import type { IndexTable } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import type { EdgeContext } from '../context.ts';
import type { UpstreamState } from '../upstream.ts';
import { COMPRESSED } from './compression.ts';
import { takeIn } from './intake.ts';
import { Lane, type LaneCounts } from './lane.ts';
import { DestinationQueue } from './queue.ts';
import { type ForwardCounts, type ForwardRecord, forwardKeys, NOBODY } from './records.ts';

/** What an instance is known to be, at each destination that is to have it. */
export interface InstanceEvidence {
  /** it has been looked at: without, nothing can be said of it yet */
  readonly known: boolean;
  /** every destination that wants it vouches for its SHA-256; true as well where none wants it */
  readonly confirmed: boolean;
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

export interface HeldInstance {
  readonly destination: string;
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
  readonly sizeBytes: number;
  readonly reason: string | undefined;
  /** continue behind this one */
  readonly cursor: string;
}

/** The feed is looked at this often while it is quiet (ms). */
const QUIET_MS = 100;
const RELEASE_AT_A_TIME = 100;

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
    while (!signal.aborted) {
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
      return await takeIn(this.#context);
    } catch (error) {
      // A full disk, as a rule: what was stored waits in the feed.
      this.#context.log.error('intake-failed', describeError(error));
      await this.#context.clock.sleep(1_000);
      return undefined;
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
      const { StudyInstanceUID, SeriesInstanceUID, sizeBytes, reason } = record;
      return [
        { destination, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, sizeBytes, reason, cursor: queueKey },
      ];
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
    .filter(({ sort }) => destinations.includes(sort))
    .map(({ sort, item }) => ({ ...asRecord<ForwardRecord>(item), destination: sort }));
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
