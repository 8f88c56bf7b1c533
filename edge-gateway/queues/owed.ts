import { STORAGE_COMMITMENT } from '#core/archive/commitment.ts';
import { type CommitmentRecord, keys } from '#core/archive/records.ts';
import { timeOf } from '#core/ids.ts';
import { asRecord, recordsIn } from '#core/ports/index-table.ts';
import { INSTANCE_AVAILABILITY } from '#core/procedure/availability.ts';
import { QUEUES } from '#embedded/reclaim.ts';
import type { EdgeContext } from '../context.ts';

/** What a system of the hospital is still to hear from this gateway. */
export interface Owed {
  readonly aeTitle: string;
  readonly count: number;
  /** ms since 1970 */
  readonly oldestAt: number;
  /** why it has not been told, where that was tried */
  readonly reason?: string | undefined;
}

/** Each list counts up to OWED_LIMIT in all. */
export interface OwedStatus {
  /** answers to storage commitment, by who asked */
  readonly commitments: readonly Owed[];
  /** notifications of available instances, by who is to be told */
  readonly notices: readonly Owed[];
  /** jobs of any queue that were given up after many attempts, or a week */
  readonly givenUp: readonly { readonly queue: string; readonly count: number }[];
}

export const OWED_LIMIT = 1_000;

/** The payload of a job of INSTANCE_AVAILABILITY. */
interface Notice {
  readonly destination: string;
  /** names the notification, however often it is tried */
  readonly uid: string;
  readonly since?: number;
  readonly reason?: string;
}

export async function owedStatus({ services, tenant, jobs }: EdgeContext): Promise<OwedStatus> {
  const commitments = new Tally();
  const { partition } = keys.commitment(tenant, '');
  const requests = await services.index.query({ partition, limit: OWED_LIMIT });
  for (const { item } of requests.records) {
    const { aeTitle, requestedAt } = asRecord<CommitmentRecord>(item);
    commitments.add(aeTitle, requestedAt);
  }
  const notices = new Tally();
  const notified = new Set<string>();
  for (const { id, payload } of await jobs.pending(INSTANCE_AVAILABILITY, OWED_LIMIT)) {
    const { destination, since, reason, uid } = asRecord<Notice>(payload);
    // One that was not taken is lined up anew before its job is over: for a moment there are two of it.
    notices.add(destination, since ?? timeOf(id), { reason, isAnother: !notified.has(uid) });
    notified.add(uid);
  }
  const dead = await Promise.all(
    QUEUES.map(async (queue) => ({ queue, count: (await jobs.deadLetters(queue, OWED_LIMIT)).length })),
  );
  return { commitments: commitments.rows, notices: notices.rows, givenUp: dead.filter(({ count }) => count > 0) };
}

/** Takes up again what was given up. @returns how many jobs */
export async function takeUpAgain({ jobs }: EdgeContext): Promise<number> {
  let count = 0;
  for (const queue of QUEUES) count += await jobs.redrive(queue);
  return count;
}

/**
 * Requests for storage commitment that no job looks after: the gateway was killed between noting one and lining up its job, or the job was
 * given up. Whoever asked is owed an answer.
 */
export async function resumeCommitments({ services, tenant, jobs }: Pick<EdgeContext, 'services' | 'tenant' | 'jobs'>) {
  const lookedAfter = new Set<unknown>();
  for (const { payload } of await jobs.pending(STORAGE_COMMITMENT)) lookedAfter.add(payload.id);
  const { partition } = keys.commitment(tenant, '');
  for await (const { sort: id } of recordsIn(services.index, { partition, limit: 100 }))
    if (!lookedAfter.has(id)) await services.jobs.enqueue(STORAGE_COMMITMENT, { tenant, id });
}

class Tally {
  readonly #rows = new Map<string, Owed>();

  /** `isAnother`: it has not been counted yet */
  add(
    aeTitle: string,
    at: number,
    { reason, isAnother = true }: { reason?: string | undefined; isAnother?: boolean } = {},
  ): void {
    const known = this.#rows.get(aeTitle);
    this.#rows.set(aeTitle, {
      aeTitle,
      count: (known?.count ?? 0) + (isAnother ? 1 : 0),
      oldestAt: Math.min(known?.oldestAt ?? at, at),
      reason: reason ?? known?.reason,
    });
  }

  /** who waits longest first */
  get rows(): Owed[] {
    return [...this.#rows.values()].sort((a, b) => a.oldestAt - b.oldestAt);
  }
}
