import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Clock } from '#core/ports/clock.ts';
import type { Job, JobQueue } from '#core/ports/job-queue.ts';

export interface OpenJobQueue {
  readonly queue: JobQueue;
  /** lets time pass where the queue has a clock of its own */
  pass?(ms: number): Promise<void>;
  /** what the queue cannot do, and why */
  readonly differences?: { readonly exactTimes?: string; readonly lateReceipts?: string };
  close(): Promise<void>;
}

/** A clock that stands still until it is moved. */
class SetClock implements Clock {
  time = 1_700_000_000_000;
  now = (): number => this.time;
  randomBytes = (count: number): Uint8Array => new Uint8Array(randomBytes(count));
  sleep = async (): Promise<void> => undefined;
}

/** Every sentence of core/ports/job-queue.ts, for whatever `open` gives. Each test uses a queue of its own. */
export function jobQueueContract(open: (clock: Clock) => Promise<OpenJobQueue>): void {
  const clock = new SetClock();
  let opened: OpenJobQueue;
  let jobs: JobQueue;
  let queues = 0;
  const pass = async (ms: number): Promise<void> => {
    clock.time += ms;
    await opened.pass?.(ms);
  };
  const newQueue = (): string => `contract-${queues++}`;
  /** runs out while a test lets time pass */
  const brief = { max: 10, visibilityMs: 1000 };
  /** does not run out between two steps of a test, however long a machine takes for them where the queue has a clock of its own */
  const lease = { max: 10, visibilityMs: 10_000 };
  const payloads = (received: readonly Job[]): unknown[] => received.map(({ payload }) => payload.n).toSorted();

  beforeAll(async () => {
    opened = await open(clock);
    jobs = opened.queue;
  });
  afterAll(() => opened.close());

  describe('receiving', () => {
    test('gives what was enqueued, once, with attempt 1', async () => {
      const queue = newQueue();
      expect(await jobs.receive(queue, lease)).toStrictEqual([]);
      await jobs.enqueue(queue, { tenant: 'a', n: 1, bytes: new Uint8Array([1]) });
      const [job, ...others] = await jobs.receive(queue, lease);
      expect(others).toStrictEqual([]);
      expect(job).toMatchObject({ attempt: 1, payload: { tenant: 'a', n: 1, bytes: new Uint8Array([1]) } });
      expect(await jobs.receive(queue, lease)).toStrictEqual([]);
    });

    test('takes at most max, and the rest later', async () => {
      const queue = newQueue();
      for (let n = 0; n < 25; n++) await jobs.enqueue(queue, { n });
      const batches = [
        await jobs.receive(queue, lease),
        await jobs.receive(queue, lease),
        await jobs.receive(queue, lease),
      ];
      expect(batches.map((batch) => batch.length)).toStrictEqual([10, 10, 5]);
      expect(new Set(batches.flat().map(({ payload }) => payload.n)).size).toBe(25);
    });

    test('waits for the delay', async ({ skip }) => {
      if (opened.differences?.exactTimes !== undefined) return skip(opened.differences.exactTimes);
      const queue = newQueue();
      await jobs.enqueue(queue, { n: 1 }, { delayMs: 500 });
      expect(await jobs.receive(queue, lease)).toStrictEqual([]);
      await pass(499);
      expect(await jobs.receive(queue, lease)).toStrictEqual([]);
      await pass(1);
      expect(await jobs.receive(queue, lease)).toHaveLength(1);
    });

    test('hides a job for its visibility, then gives it again with attempt one higher', async ({ skip }) => {
      if (opened.differences?.exactTimes !== undefined) return skip(opened.differences.exactTimes);
      const queue = newQueue();
      await jobs.enqueue(queue, { n: 1 });
      const [first] = await jobs.receive(queue, brief);
      await pass(999);
      expect(await jobs.receive(queue, lease)).toStrictEqual([]);
      await pass(1);
      const [second] = await jobs.receive(queue, lease);
      expect(second).toStrictEqual({ ...first, attempt: 2 });
      expect(await jobs.receive(queue, lease)).toStrictEqual([]);
    });

    test('by many workers at once gives each job to one of them', async () => {
      const queue = newQueue();
      await Promise.all(Array.from({ length: 60 }, (_, n) => jobs.enqueue(queue, { n })));
      const received: Job[] = [];
      for (let round = 0; received.length < 60 && round < 60; round++) {
        const batches = await Promise.all(Array.from({ length: 8 }, () => jobs.receive(queue, { ...lease, max: 3 })));
        received.push(...batches.flat());
      }
      expect(received.map(({ payload }) => payload.n as number).toSorted((a, b) => a - b)).toStrictEqual(
        Array.from({ length: 60 }, (_, n) => n),
      );
    });

    test('does not mix queues', async () => {
      const queue = newQueue();
      await jobs.enqueue(`${queue}x`, { n: 1 });
      expect(await jobs.receive(queue, lease)).toStrictEqual([]);
    });
  });

  describe('a received job', () => {
    test('that is completed does not come back; completing it twice is no error', async () => {
      const queue = newQueue();
      await jobs.enqueue(queue, { n: 1 });
      const [job] = (await jobs.receive(queue, lease)) as [Job];
      await jobs.complete(queue, job);
      await jobs.complete(queue, job);
      await pass(10_000);
      expect(await jobs.receive(queue, lease)).toStrictEqual([]);
      expect(await jobs.depth(queue)).toStrictEqual({ waiting: 0, inFlight: 0, dead: 0 });
    });

    test('that is completed late, when another worker has it, is done all the same', async ({ skip }) => {
      if (opened.differences?.lateReceipts !== undefined) return skip(opened.differences.lateReceipts);
      const queue = newQueue();
      await jobs.enqueue(queue, { n: 1 });
      const [slow] = (await jobs.receive(queue, brief)) as [Job];
      await pass(1000);
      await jobs.receive(queue, lease);
      await jobs.complete(queue, slow);
      await pass(10_000);
      expect(await jobs.receive(queue, lease)).toStrictEqual([]);
    });

    test('that is released comes back after the delay with attempt one higher', async () => {
      const queue = newQueue();
      await jobs.enqueue(queue, { n: 1 });
      const [job] = (await jobs.receive(queue, lease)) as [Job];
      await jobs.release(queue, job, 10_000);
      expect(await jobs.receive(queue, lease)).toStrictEqual([]);
      await pass(10_000);
      const [again] = await jobs.receive(queue, lease);
      expect(again).toMatchObject({ id: job.id, attempt: 2 });
    });

    test('that is released late stays with the worker that has it now', async ({ skip }) => {
      if (opened.differences?.lateReceipts !== undefined) return skip(opened.differences.lateReceipts);
      const queue = newQueue();
      await jobs.enqueue(queue, { n: 1 });
      const [slow] = (await jobs.receive(queue, brief)) as [Job];
      await pass(1000);
      await jobs.receive(queue, lease);
      await jobs.release(queue, slow, 0);
      expect(await jobs.receive(queue, lease)).toStrictEqual([]);
    });
  });

  describe('dead letters', () => {
    const fail = async (queue: string, times: number): Promise<void> => {
      for (let i = 0; i < times; i++) {
        await jobs.receive(queue, { ...brief, maxAttempts: 3 });
        await pass(1000);
      }
    };

    test('are the jobs received maxAttempts times without being completed', async () => {
      const queue = newQueue();
      await jobs.enqueue(queue, { n: 1 });
      await fail(queue, 3);
      expect(await jobs.receive(queue, { ...lease, maxAttempts: 3 })).toStrictEqual([]);
      expect(await jobs.deadLetters(queue, 10)).toMatchObject([{ payload: { n: 1 }, attempt: 3 }]);
      await pass(1_000_000);
      expect(await jobs.receive(queue, lease)).toStrictEqual([]);
      expect(await jobs.depth(queue)).toStrictEqual({ waiting: 0, inFlight: 0, dead: 1 });
    });

    test('take in a job whose last attempt is released', async () => {
      const queue = newQueue();
      await jobs.enqueue(queue, { n: 1 });
      await fail(queue, 2);
      const [last] = (await jobs.receive(queue, { ...lease, maxAttempts: 3 })) as [Job];
      await jobs.release(queue, last, 0);
      expect(await jobs.deadLetters(queue, 10)).toMatchObject([{ id: last.id, attempt: 3 }]);
    });

    test('do not keep the jobs behind them from being received', async () => {
      const queue = newQueue();
      for (let n = 0; n < 5; n++) await jobs.enqueue(queue, { n });
      await fail(queue, 3);
      for (let n = 5; n < 8; n++) await jobs.enqueue(queue, { n });
      expect(payloads(await jobs.receive(queue, { ...lease, max: 5, maxAttempts: 3 }))).toStrictEqual([5, 6, 7]);
    });

    test('go back to work with attempt 0 when redriven', async () => {
      const queue = newQueue();
      for (let n = 0; n < 3; n++) await jobs.enqueue(queue, { n });
      await fail(queue, 4);
      expect(await jobs.deadLetters(queue, 2)).toHaveLength(2);
      expect(await jobs.redrive(queue)).toBe(3);
      expect(await jobs.redrive(queue)).toBe(0);
      expect(await jobs.deadLetters(queue, 10)).toStrictEqual([]);
      const again = await jobs.receive(queue, { ...lease, maxAttempts: 3 });
      expect(payloads(again)).toStrictEqual([0, 1, 2]);
      expect(again.every(({ attempt }) => attempt === 1)).toBe(true);
    });
  });

  test('depth counts waiting, in flight and dead', async () => {
    const queue = newQueue();
    for (let n = 0; n < 4; n++) await jobs.enqueue(queue, { n });
    await jobs.enqueue(queue, { n: 4 }, { delayMs: 60_000 });
    await jobs.receive(queue, { ...lease, max: 3 });
    expect(await jobs.depth(queue)).toStrictEqual({ waiting: 2, inFlight: 3, dead: 0 });
    await pass(10_000); // their time is up: they wait again
    expect(await jobs.depth(queue)).toStrictEqual({ waiting: 5, inFlight: 0, dead: 0 });
  });
}
