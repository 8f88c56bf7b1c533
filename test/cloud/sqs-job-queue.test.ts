import { setTimeout as sleep } from 'node:timers/promises';
import {
  CreateQueueCommand,
  GetQueueUrlCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  type SQSClient,
} from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { sqsClient } from '#adapters/aws/clients.ts';
import { SqsJobQueue } from '#adapters/aws/sqs-job-queue.ts';
import type { Clock } from '#core/ports/clock.ts';
import { jobQueueContract } from '#test/contract/job-queue.ts';
import { ENGINE_IDENTITY, type Engine, startMiniStack } from './helpers/engines.ts';
import { systemClock } from './helpers/table.ts';

let engine: Engine;
let client: SQSClient;
const made = new Set<string>();
/** longer than a busy machine takes between two steps */
const lease = { max: 10, visibilityMs: 600_000 };

/** Queues as the infrastructure makes them, made when they are first spoken of. */
function queuesOnDemand(clock: Clock): SqsJobQueue {
  const url = (name: string): string => `${engine.endpoint}/000000000000/${name}`;
  const queue = new SqsJobQueue({ client, clock, queueUrl: url, deadLetterUrl: (kind) => url(`${kind}-dead`) });
  return new Proxy(queue, {
    get(target, property) {
      const member = target[property as keyof SqsJobQueue] as unknown;
      if (typeof member !== 'function') return member;
      return async (kind: string, ...rest: unknown[]) => {
        for (const name of [kind, `${kind}-dead`]) if (!made.has(name)) await create(name);
        return (member as (...all: unknown[]) => unknown).call(target, kind, ...rest);
      };
    },
  });
}

async function create(name: string): Promise<void> {
  await client.send(new CreateQueueCommand({ QueueName: name }));
  made.add(name);
}

beforeAll(async () => {
  engine = await startMiniStack();
  client = sqsClient({ ...ENGINE_IDENTITY, endpoint: engine.endpoint });
});
afterAll(async () => {
  client.destroy();
  await engine.stop();
});

describe('SqsJobQueue on MiniStack', () =>
  jobQueueContract(async () => ({
    queue: queuesOnDemand(systemClock),
    // SQS counts whole seconds; what has been away for longer than any lease of these tests stays away
    pass: (ms) => sleep(ms > 10_000 ? 2_100 : Math.ceil(ms / 1000) * 1000 + 100),
    differences: {
      exactTimes: 'SQS delays and hides by whole seconds',
      lateReceipts: 'SQS promises nothing for a receipt that has run out; jobs may run twice',
    },
    close: async () => {},
  })));

describe('in whole seconds', () => {
  const brief = { max: 1, visibilityMs: 1_000 };
  /** Asks until there is a job. @returns it, and ms since `since`: never fewer than it was away, and more by what a busy machine takes */
  async function nextJob(jobs: SqsJobQueue, queue: string, since: number) {
    const job = await vi.waitUntil(async () => (await jobs.receive(queue, brief))[0], { timeout: 120_000 });
    return { job, afterMs: performance.now() - since };
  }

  test('a job waits for its delay, and is hidden while it is worked on', async () => {
    const jobs = queuesOnDemand(systemClock);
    const enqueuedAt = performance.now();
    await jobs.enqueue('seconds', { n: 1 }, { delayMs: 1_500 });
    const first = await nextJob(jobs, 'seconds', enqueuedAt);
    expect(first.job).toMatchObject({ attempt: 1 });
    expect(first.afterMs).toBeGreaterThanOrEqual(1_500);
    await jobs.complete('seconds', first.job);

    await jobs.enqueue('seconds', { n: 2 });
    const receivedAt = performance.now();
    const [held] = await jobs.receive('seconds', brief);
    expect(held).toMatchObject({ attempt: 1, payload: { n: 2 } });
    const again = await nextJob(jobs, 'seconds', receivedAt);
    expect(again.job).toStrictEqual({ ...held, attempt: 2 });
    // By two clocks.
    expect(again.afterMs).toBeGreaterThanOrEqual(950);
  });

  test('a delay longer than SQS knows is kept: received too early, the job goes back for what is left', async () => {
    let now = Date.now();
    const jobs = queuesOnDemand({ ...systemClock, now: () => now });
    await jobs.enqueue('long', { n: 1 }, { delayMs: 3_600_000 });
    expect(await jobs.depth('long')).toStrictEqual({ waiting: 1, inFlight: 0, dead: 0 });
    // SQS delivers it after a quarter of an hour at the latest: here at once
    const { QueueUrl } = await client.send(new GetQueueUrlCommand({ QueueName: 'long' }));
    const early = JSON.stringify({ payload: { n: 2 }, notBefore: now + 3_600_000 });
    await client.send(new SendMessageCommand({ QueueUrl, MessageBody: early }));
    expect(await jobs.receive('long', lease)).toStrictEqual([]);
    expect(await jobs.depth('long')).toStrictEqual({ waiting: 2, inFlight: 0, dead: 0 });
    now += 3_600_000;
    await client.send(new SendMessageCommand({ QueueUrl, MessageBody: early }));
    expect(await jobs.receive('long', lease)).toMatchObject([{ payload: { n: 2 } }]);
  });
});

test('dead letters that somebody else sent, as S3 does, go back as they came', async () => {
  const jobs = queuesOnDemand(systemClock);
  await jobs.enqueue('landed', {});
  await jobs.complete('landed', (await jobs.receive('landed', lease))[0]!);
  const event = '{"Records":[{"s3":{"object":{"key":"incoming/main/IM_1"}}}]}';
  const urlOf = async (QueueName: string) => (await client.send(new GetQueueUrlCommand({ QueueName }))).QueueUrl;
  await client.send(new SendMessageCommand({ QueueUrl: await urlOf('landed-dead'), MessageBody: event }));
  expect(await jobs.deadLetters('landed', 10)).toMatchObject([{ payload: { body: event } }]);
  expect(await jobs.redrive('landed')).toBe(1);
  const asked = new ReceiveMessageCommand({ QueueUrl: await urlOf('landed') });
  expect((await client.send(asked)).Messages?.map(({ Body }) => Body)).toEqual([event]);
  expect(await jobs.depth('landed')).toMatchObject({ dead: 0 });
});
