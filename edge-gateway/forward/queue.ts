import type { InstanceRecord, Tenant } from '#core/archive/records.ts';
import type { Clock } from '#core/ports/clock.ts';
import { asItem, asRecord, type IndexTable, pagesIn, recordsIn, type WriteOperation } from '#core/ports/index-table.ts';
import type { Evidence } from '../config.ts';
import { placesOf } from './intake.ts';
import {
  arrivalIn,
  countIn,
  dueIn,
  type ForwardCounts,
  type ForwardRecord,
  forwardKeys,
  laterBound,
  NO_COUNTS,
  PRIORITIES,
  type QueueItem,
  queueKeyOf,
  RANKS,
  type SentObject,
  type StudyOrder,
} from './records.ts';

export interface Waiting extends QueueItem {
  readonly queueKey: string;
}

/** `transient`: again later. `ambiguous`: the upstream is asked first. `permanent`: refused; several times, and it is held. */
export type FailureClass = 'transient' | 'ambiguous' | 'permanent';

/** What becomes of an instance after an attempt. */
export type Transition =
  | { readonly to: 'sending' }
  | { readonly to: 'confirmed'; readonly evidence: Evidence | 'person' }
  | { readonly to: 'held'; readonly reason: string; readonly keptAside?: boolean }
  /** it had been confirmed, and is not there any more: the copy here, which may be another encoding of it, is what is left */
  | { readonly to: 'missing'; readonly reason: string; readonly here: Pick<InstanceRecord, 'sha256' | 'sizeBytes'> }
  /** a person has said that it need not go there */
  | { readonly to: 'unwanted' }
  /** pending again: at once, or not before `due`. `ask`: whether its outcome is unknown. `own`: it failed, not the way there */
  | {
      readonly to: 'pending';
      readonly ask: boolean;
      readonly due?: number;
      readonly reason?: string;
      readonly own?: 'failed' | 'refused';
    }
  | { readonly to: 'prepared'; readonly sent: SentObject }
  /** elsewhere in the order; it is what it was */
  | { readonly to: 'moved'; readonly queueKey: string };

/** records of one atomic write: three operations each, and the counts */
const RECORDS_PER_WRITE = 32;
const GET_RECORDS = 100;
const PAGE = 500;

/** The queue of one destination: every change of an instance's state is one atomic write, with the places where it stands and the counts. */
export class DestinationQueue {
  readonly destination: string;
  /** attempts of instances that failed since the start, by what is to be done about it */
  readonly failures: Record<FailureClass, number> = { transient: 0, ambiguous: 0, permanent: 0 };
  readonly #index: IndexTable;
  readonly #clock: Clock;
  readonly #tenant: Tenant;

  constructor(ports: { index: IndexTable; clock: Clock }, tenant: Tenant, destination: string) {
    this.#index = ports.index;
    this.#clock = ports.clock;
    this.#tenant = tenant;
    this.destination = destination;
  }

  /** The first ones that `taken` does not name, in order; `prefix` limits them to a priority. */
  async first(limit: number, taken: ReadonlySet<string>, prefix = ''): Promise<Waiting[]> {
    const { partition } = forwardKeys.queue(this.#tenant, this.destination, '-');
    const found: Waiting[] = [];
    if (limit <= 0) return found;
    const waiting = recordsIn(this.#index, { partition, limit: PAGE, ...(prefix !== '' && { prefix }) });
    for await (const { sort, item } of waiting) {
      if (taken.has(sort)) continue;
      found.push({ ...asRecord<QueueItem>(item), queueKey: sort });
      if (found.length >= limit) break;
    }
    return found;
  }

  /**
   * Puts those whose time has come back in their order. None is made to wait longer than `mostMs`: a time beyond that was set by a clock
   * that has been put back since. @returns when the next one's comes; undefined: none waits
   */
  async wakeLater(mostMs: number): Promise<number | undefined> {
    const { partition } = forwardKeys.later(this.#tenant, this.destination, 0, '-');
    const now = this.#clock.now();
    const last = await this.#index.query({ partition, descending: true, limit: 1, keysOnly: true });
    const isAstray = last.records[0] !== undefined && dueIn(last.records[0].sort) > now + mostMs;
    const range = isAstray ? { from: laterBound(now + mostMs) } : { to: laterBound(now) };
    const due = await this.#index.query({ partition, ...range, limit: RECORDS_PER_WRITE });
    if (due.records.length > 0) {
      const sops = due.records.map(({ item }) => asRecord<QueueItem>(item).SOPInstanceUID);
      await this.apply(
        (await this.records(sops)).map((record) => [record, { to: 'pending', ask: record.ask === true }]),
      );
      return now;
    }
    const next = await this.#index.query({ partition, limit: 1, keysOnly: true });
    return next.records[0] && dueIn(next.records[0].sort);
  }

  async records(sops: readonly string[]): Promise<ForwardRecord[]> {
    const found: ForwardRecord[] = [];
    for (let at = 0; at < sops.length; at += GET_RECORDS) {
      const keys = sops
        .slice(at, at + GET_RECORDS)
        .map((sop) => forwardKeys.forward(this.#tenant, sop, this.destination));
      for (const item of await this.#index.getMany(keys)) if (item) found.push(asRecord<ForwardRecord>(item));
    }
    return found;
  }

  /**
   * @returns the records as they then are; those that had changed since they were read are left as they are, and missing
   */
  async apply(
    changes: readonly (readonly [record: ForwardRecord, transition: Transition])[],
  ): Promise<ForwardRecord[]> {
    const changed: ForwardRecord[] = [];
    for (let at = 0; at < changes.length; at += RECORDS_PER_WRITE)
      changed.push(...(await this.#applySome(changes.slice(at, at + RECORDS_PER_WRITE))));
    return changed;
  }

  async #applySome(changes: readonly (readonly [ForwardRecord, Transition])[]): Promise<ForwardRecord[]> {
    let left = [...changes];
    while (left.length > 0) {
      const operations: WriteOperation[] = [];
      const owners = new Map<number, number>();
      const counts = { ...NO_COUNTS };
      const next = left.map(([record, transition], i) => {
        const made = after(record, transition, this.#clock.now());
        owners.set(operations.length, i);
        operations.push({
          kind: 'put',
          key: forwardKeys.forward(this.#tenant, record.SOPInstanceUID, this.destination),
          item: asItem(made),
          if: { version: record.version },
        });
        operations.push(...this.#moves(record, made));
        if (!record.fetched) countIn(counts, record, -1);
        countIn(counts, made, 1);
        return made;
      });
      const increments = Object.fromEntries(Object.entries(counts).filter(([, value]) => value !== 0));
      if (Object.keys(increments).length > 0)
        operations.push({ kind: 'add', key: forwardKeys.counts(this.#tenant, this.destination), increments });
      const outcome = await this.#index.write(operations);
      if (outcome.committed) {
        for (const [, transition] of left) this.#countFailure(transition);
        return next;
      }
      const stale = new Set(outcome.failed.map((operation) => owners.get(operation)));
      left = left.filter((_, i) => !stale.has(i));
    }
    return [];
  }

  #countFailure(transition: Transition): void {
    if (transition.to === 'held') this.failures.permanent++;
    if (transition.to !== 'pending' || transition.reason === undefined) return;
    if (transition.own === 'refused') this.failures.permanent++;
    else if (transition.ask) this.failures.ambiguous++;
    else this.failures.transient++;
  }

  #moves(from: ForwardRecord, to: ForwardRecord): WriteOperation[] {
    const before = placesOf(this.#tenant, this.destination, from);
    const now = placesOf(this.#tenant, this.destination, to);
    const isSame = before[0]?.partition === now[0]?.partition && before[0]?.sort === now[0]?.sort;
    if (isSame) return [];
    const item = { SOPInstanceUID: to.SOPInstanceUID, sizeBytes: to.sizeBytes };
    return [
      ...before.map((key): WriteOperation => ({ kind: 'delete', key })),
      ...now.map((key): WriteOperation => ({ kind: 'put', key, item })),
    ];
  }

  async counts(): Promise<ForwardCounts> {
    const item = await this.#index.get(forwardKeys.counts(this.#tenant, this.destination));
    return { ...NO_COUNTS, ...(item as Partial<ForwardCounts> | undefined) };
  }

  /** When the study arrived that has waited longest; undefined: nothing waits. Held ones are not asked about. */
  async oldestArrival(): Promise<number | undefined> {
    const { partition } = forwardKeys.queue(this.#tenant, this.destination, '-');
    const later = forwardKeys.later(this.#tenant, this.destination, 0, '-').partition;
    const heads = await Promise.all([
      ...RANKS.map((rank) => this.#index.query({ partition, prefix: `${rank}|`, limit: 1, keysOnly: true })),
      this.#index.query({ partition: later, limit: PAGE, keysOnly: true }),
    ]);
    const arrivals = heads.flatMap(({ records }) =>
      records.map(({ sort }) => arrivalIn(/^\d{13}\|/.test(sort) ? sort.slice(14) : sort)),
    );
    return arrivals.length === 0 ? undefined : Math.min(...arrivals);
  }

  /** Moves what waits of a study ahead, to where its priority now belongs. What is being sent, or waits for its time, stays where it is. */
  async raise(study: string, order: StudyOrder): Promise<void> {
    const { partition } = forwardKeys.queue(this.#tenant, this.destination, '-');
    const ahead = queueKeyOf(order, study, '');
    for (const priority of PRIORITIES.slice(PRIORITIES.indexOf(order.priority) + 1)) {
      const prefix = queueKeyOf({ ...order, priority }, study, '');
      for await (const page of pagesIn(this.#index, { partition, prefix, limit: PAGE })) {
        const sops = page.map(({ item }) => asRecord<QueueItem>(item).SOPInstanceUID);
        const waiting = (await this.records(sops)).filter(
          ({ state, queueKey }) => state === 'pending' && queueKey.startsWith(prefix),
        );
        await this.apply(
          waiting.map((record) => [record, { to: 'moved', queueKey: ahead + record.queueKey.slice(prefix.length) }]),
        );
      }
    }
  }

  /** Any of those that wait: now, for their time, or held. */
  async waiting(limit: number): Promise<QueueItem[]> {
    const places = [
      forwardKeys.queue(this.#tenant, this.destination, '-'),
      forwardKeys.later(this.#tenant, this.destination, 0, '-'),
      forwardKeys.held(this.#tenant, this.destination, '-'),
    ];
    const found: QueueItem[] = [];
    for (const { partition } of places) {
      if (found.length === limit) break;
      const { records } = await this.#index.query({ partition, limit: limit - found.length });
      found.push(...records.map(({ item }) => asRecord<QueueItem>(item)));
    }
    return found;
  }

  /** In the order in which they would have been sent. */
  async held(limit: number, after?: string): Promise<Waiting[]> {
    const { partition } = forwardKeys.held(this.#tenant, this.destination, '-');
    const page = await this.#index.query({ partition, limit, ...(after !== undefined && { after }) });
    return page.records.map(({ sort, item }) => ({ ...asRecord<QueueItem>(item), queueKey: sort }));
  }
}

function after(record: ForwardRecord, transition: Transition, now: number): ForwardRecord {
  const next: ForwardRecord = { ...record, version: record.version + 1 };
  switch (transition.to) {
    case 'sending':
      return { ...next, state: 'sending', due: undefined, ask: true };
    case 'moved':
      return { ...next, queueKey: transition.queueKey };
    case 'prepared':
      return { ...next, sent: transition.sent };
    case 'confirmed':
      return {
        ...next,
        state: 'confirmed',
        due: undefined,
        ask: undefined,
        reason: undefined,
        sent: undefined,
        attempts: 0,
        refusals: 0,
        confirmedAt: now,
        evidence: transition.evidence,
        upstreamSha256: record.sent?.sha256,
        missing: undefined,
        keptAside: undefined,
      };
    case 'held':
      return {
        ...next,
        state: 'held',
        due: undefined,
        reason: transition.reason,
        keptAside: transition.keptAside,
      };
    case 'missing':
      return {
        ...next,
        ...transition.here,
        state: 'held',
        reason: transition.reason,
        missing: true,
        fetched: undefined,
        confirmedAt: undefined,
        evidence: undefined,
        upstreamSha256: undefined,
      };
    case 'unwanted':
      return { ...next, state: 'unwanted', due: undefined, ask: undefined, sent: undefined };
    case 'pending':
      return {
        ...next,
        state: 'pending',
        due: transition.due,
        ask: transition.ask || undefined,
        reason: transition.reason ?? record.reason,
        missing: undefined,
        keptAside: undefined,
        attempts: record.attempts + (transition.own === undefined ? 0 : 1),
        refusals: record.refusals + (transition.own === 'refused' ? 1 : 0),
      };
  }
}
