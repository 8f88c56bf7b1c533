import { newVersion } from '#core/ids.ts';
import type { Clock } from '#core/ports/clock.ts';
import {
  asRecord,
  type IndexTable,
  type Item,
  type Key,
  pagesIn,
  recordsIn,
  type WriteOperation,
} from '#core/ports/index-table.ts';
import type { Job, JobQueue } from '#core/ports/job-queue.ts';

/**
 * JobQueue on records of an IndexTable; any number of workers in any number of processes.
 *
 * | record | partition           | sort            | holds                                             |
 * |--------|---------------------|-----------------|---------------------------------------------------|
 * | job    | queue|{name}|jobs   | {id}            | StoredJob                                         |
 * | due    | queue|{name}|due    | {time}|{id}     | {}: waiting; may be received from `time` on       |
 * | leased | queue|{name}|leased | {time}|{id}     | {}: received; returns to the others at `time`     |
 * | dead   | queue|{name}|dead   | {id}            | StoredJob                                         |
 *
 * A job that is not dead has one `due` or `leased` record, and its StoredJob names it. Whoever changes a job writes both under
 * the condition that the job's `version` is the one that was read: of several workers that reach for the same job, one wins.
 */
interface StoredJob {
  readonly version: number;
  readonly payload: Item;
  readonly attempt: number;
  /** of its last receive; Number.MAX_SAFE_INTEGER for no limit */
  readonly maxAttempts: number;
  readonly place: 'due' | 'leased' | 'dead';
  /** ms since 1970 */
  readonly time: number;
}

const PAGE = 100;
const DEPTH_PAGE = 10_000;

export class IndexJobQueue implements JobQueue {
  readonly #index: IndexTable;
  readonly #clock: Clock;

  constructor(index: IndexTable, clock: Clock) {
    this.#index = index;
    this.#clock = clock;
  }

  async enqueue(queue: string, payload: Item, options: { readonly delayMs?: number } = {}): Promise<void> {
    const id = newVersion(this.#clock);
    const time = this.#clock.now() + (options.delayMs ?? 0);
    const job: StoredJob = {
      version: 1,
      payload,
      attempt: 0,
      maxAttempts: Number.MAX_SAFE_INTEGER,
      place: 'due',
      time,
    };
    await this.#index.write([putJob(queue, id, job, 'absent'), putPointer(queue, id, job)]);
  }

  async receive(
    queue: string,
    options: { readonly max: number; readonly visibilityMs: number; readonly maxAttempts?: number },
  ): Promise<Job[]> {
    const received: Job[] = [];
    for (const place of ['leased', 'due'] as const) {
      let after: string | undefined;
      for (let more = true; more && received.length < options.max; ) {
        const page = await this.#index.query({
          partition: partition(queue, place),
          to: timeText(this.#clock.now() + 1),
          ...(after === undefined ? {} : { after }),
          limit: Math.min(PAGE, options.max - received.length),
          keysOnly: true,
        });
        const claimed = await Promise.all(page.records.map(({ sort }) => this.#claim(queue, place, sort, options)));
        received.push(...claimed.filter((job) => job !== undefined));
        after = page.records.at(-1)?.sort;
        more = page.more;
      }
    }
    return received;
  }

  async complete(queue: string, job: Job): Promise<void> {
    for (;;) {
      const stored = await this.#read(queue, job.id);
      if (stored === undefined) return; // completed before
      const outcome = await this.#index.write([
        { kind: 'delete', key: jobKey(queue, job.id), if: { version: stored.version } },
        ...deletePointer(queue, job.id, stored),
      ]);
      if (outcome.committed) return;
    }
  }

  async release(queue: string, job: Job, delayMs: number): Promise<void> {
    const stored = await this.#read(queue, job.id);
    // when its time ran out and another worker has it, it is no longer this worker's to release
    if (stored?.place !== 'leased' || stored.attempt !== job.attempt) return;
    if (stored.attempt >= stored.maxAttempts) await this.#bury(queue, job.id, stored);
    else await this.#move(queue, job.id, stored, { ...stored, place: 'due', time: this.#clock.now() + delayMs });
  }

  /**
   * Gives back at once what was received and neither completed nor released. For who is alone with the index, and so knows that nobody works
   * on it any more: otherwise it stays hidden until its time is over.
   * @returns how many
   */
  async reclaim(queue: string): Promise<number> {
    let count = 0;
    const range = { partition: partition(queue, 'leased'), limit: PAGE, keysOnly: true };
    for await (const { sort } of recordsIn(this.#index, range)) {
      const id = sort.slice(sort.indexOf('|') + 1);
      const stored = await this.#read(queue, id);
      if (stored?.place !== 'leased' || pointerSort(id, stored) !== sort) continue;
      if (await this.#move(queue, id, stored, { ...stored, place: 'due', time: this.#clock.now() })) count++;
    }
    return count;
  }

  /**
   * Makes due what waits for a time further off than `mostMs`: it was lined up by a clock that has been put back since. For queues whose
   * jobs are never made to wait as long as that.
   * @returns how many
   */
  async hasten(queue: string, mostMs: number): Promise<number> {
    let count = 0;
    for (let more = true; more; ) {
      const now = this.#clock.now();
      const page = await this.#index.query({
        partition: partition(queue, 'due'),
        from: timeText(now + mostMs + 1),
        limit: PAGE,
        keysOnly: true,
      });
      let moved = 0;
      for (const { sort } of page.records) {
        const id = sort.slice(sort.indexOf('|') + 1);
        const stored = await this.#read(queue, id);
        if (stored?.place !== 'due' || pointerSort(id, stored) !== sort) continue;
        if (await this.#move(queue, id, stored, { ...stored, time: now })) moved++;
      }
      count += moved;
      more = page.more && moved > 0;
    }
    return count;
  }

  /** Jobs that are neither completed nor dead, the oldest first, without receiving them. */
  async pending(queue: string, limit = Number.POSITIVE_INFINITY): Promise<Job[]> {
    const found: Job[] = [];
    for await (const { sort, item } of recordsIn(this.#index, { partition: partition(queue, 'jobs'), limit: PAGE })) {
      found.push(asJob(sort, asRecord<StoredJob>(item)));
      if (found.length === limit) break;
    }
    return found;
  }

  async deadLetters(queue: string, limit: number): Promise<Job[]> {
    const page = await this.#index.query({ partition: partition(queue, 'dead'), limit });
    return page.records.map(({ sort, item }) => asJob(sort, asRecord<StoredJob>(item)));
  }

  async redrive(queue: string): Promise<number> {
    let count = 0;
    for (;;) {
      const page = await this.#index.query({ partition: partition(queue, 'dead'), limit: PAGE });
      for (const { sort: id, item } of page.records) {
        const dead = asRecord<StoredJob>(item);
        const job: StoredJob = {
          ...dead,
          version: dead.version + 1,
          attempt: 0,
          place: 'due',
          time: this.#clock.now(),
        };
        const outcome = await this.#index.write([
          { kind: 'delete', key: deadKey(queue, id), if: 'present' },
          putJob(queue, id, job, 'absent'),
          putPointer(queue, id, job),
        ]);
        if (outcome.committed) count++;
      }
      if (!page.more) return count;
    }
  }

  async depth(queue: string): Promise<{ readonly waiting: number; readonly inFlight: number; readonly dead: number }> {
    const now = timeText(this.#clock.now() + 1);
    const due = await this.#count(partition(queue, 'due'));
    const expired = await this.#count(partition(queue, 'leased'), undefined, now);
    const inFlight = await this.#count(partition(queue, 'leased'), now);
    return { waiting: due + expired, inFlight, dead: await this.#count(partition(queue, 'dead')) };
  }

  /** The job under a due or expired pointer, now leased; undefined when another worker was faster, or when it is dead. */
  async #claim(
    queue: string,
    place: 'due' | 'leased',
    sort: string,
    options: { readonly visibilityMs: number; readonly maxAttempts?: number },
  ): Promise<Job | undefined> {
    const id = sort.slice(sort.indexOf('|') + 1);
    const stored = await this.#read(queue, id);
    if (stored === undefined || stored.place !== place || pointerSort(id, stored) !== sort) return undefined;
    const maxAttempts = options.maxAttempts ?? Number.MAX_SAFE_INTEGER;
    if (stored.attempt >= maxAttempts) {
      await this.#bury(queue, id, stored);
      return undefined;
    }
    const leased: StoredJob = {
      ...stored,
      attempt: stored.attempt + 1,
      maxAttempts,
      place: 'leased',
      time: this.#clock.now() + options.visibilityMs,
    };
    return (await this.#move(queue, id, stored, leased)) ? asJob(id, leased) : undefined;
  }

  async #move(queue: string, id: string, from: StoredJob, to: StoredJob): Promise<boolean> {
    const outcome = await this.#index.write([
      putJob(queue, id, { ...to, version: from.version + 1 }, { version: from.version }),
      ...(pointerSort(id, from) === pointerSort(id, to) && from.place === to.place
        ? []
        : deletePointer(queue, id, from)),
      putPointer(queue, id, to),
    ]);
    return outcome.committed;
  }

  async #bury(queue: string, id: string, stored: StoredJob): Promise<void> {
    await this.#index.write([
      { kind: 'delete', key: jobKey(queue, id), if: { version: stored.version } },
      ...deletePointer(queue, id, stored),
      { kind: 'put', key: deadKey(queue, id), item: { ...stored, place: 'dead' } },
    ]);
  }

  async #read(queue: string, id: string): Promise<StoredJob | undefined> {
    return asRecord<StoredJob>(await this.#index.get(jobKey(queue, id)));
  }

  async #count(inPartition: string, from?: string, to?: string): Promise<number> {
    let count = 0;
    const between = { ...(from !== undefined && { from }), ...(to !== undefined && { to }) };
    const range = { partition: inPartition, ...between, limit: DEPTH_PAGE, keysOnly: true };
    for await (const page of pagesIn(this.#index, range)) count += page.length;
    return count;
  }
}

const partition = (queue: string, place: 'jobs' | 'due' | 'leased' | 'dead'): string => `queue|${queue}|${place}`;
const jobKey = (queue: string, id: string): Key => ({ partition: partition(queue, 'jobs'), sort: id });
const deadKey = (queue: string, id: string): Key => ({ partition: partition(queue, 'dead'), sort: id });
const asJob = (id: string, { payload, attempt }: StoredJob): Job => ({ id, payload, attempt });

/** Fixed width, so that the order of the text is the order of time. */
const timeText = (time: number): string => String(Math.max(0, Math.floor(time))).padStart(16, '0');
const pointerSort = (id: string, job: StoredJob): string => `${timeText(job.time)}|${id}`;

const pointerKey = (queue: string, id: string, job: StoredJob): Key => ({
  partition: partition(queue, job.place),
  sort: pointerSort(id, job),
});

const putPointer = (queue: string, id: string, job: StoredJob): WriteOperation => ({
  kind: 'put',
  key: pointerKey(queue, id, job),
  item: {},
});

const deletePointer = (queue: string, id: string, job: StoredJob): WriteOperation[] => [
  { kind: 'delete', key: pointerKey(queue, id, job) },
];

const putJob = (
  queue: string,
  id: string,
  job: StoredJob,
  condition: 'absent' | { version: number },
): WriteOperation => ({
  kind: 'put',
  key: jobKey(queue, id),
  item: { ...job },
  if: condition,
});
