import { setTimeout as sleep } from 'node:timers/promises';
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { CreateBucketCommand } from '@aws-sdk/client-s3';
import { CreateQueueCommand } from '@aws-sdk/client-sqs';
import { dynamoClient, s3Client, sqsClient } from '#adapters/aws/clients.ts';
import { DynamoIndexTable } from '#adapters/aws/dynamo-index-table.ts';
import type { RetryPolicy } from '#adapters/aws/retry.ts';
import { S3BlobStore } from '#adapters/aws/s3-blob-store.ts';
import { deadLetterName, QUEUES, queueName } from '#adapters/aws/schema.ts';
import { SqsJobQueue } from '#adapters/aws/sqs-job-queue.ts';
import { assemble } from '#core/assemble.ts';
import type { Limits } from '#core/limits.ts';
import type { Services } from '#core/services.ts';
import { noPixels, store } from '#test/fixtures/services.ts';
import { ENGINE_IDENTITY, type Engine, startDynamoDb, startMiniStack } from './engines.ts';
import { type CallCounts, dieAfter, type FaultOptions, watch } from './faults.ts';
import { createTable, systemClock } from './table.ts';

const STAGE = 'test';
const BUCKET = 'archive';
export const TABLE_NAME = 'index';

/** AWS as one archive needs it: table, bucket and queues on their engines. */
export interface Cloud {
  /** of the engine that has everything but the table */
  readonly endpoint: string;
  /** another function of the deployment: clients and an archive of its own, on the same data */
  open(options?: {
    faults?: FaultOptions;
    limits?: Partial<Limits>;
    retry?: RetryPolicy;
    /** calls of AWS after which the function is dead */
    diesAfter?: number;
    /** size of the parts that objects are uploaded in; the engine minds none */
    partBytes?: number;
  }): CloudArchive;
  /**
   * Resolves when no function has made a call for a while: of what a function that failed or died had begun, some may still be under way, and arrive
   * when everything has been put in order.
   */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

/** without a call (ms); longer than any function of these tests waits between two attempts */
const STILL_MS = 300;

export interface CloudArchive {
  readonly services: Services;
  /** its client of the table, to look at calls */
  readonly dynamo: DynamoDBClient;
  /** all its clients */
  readonly clients: readonly unknown[];
  readonly counts: { readonly dynamo: CallCounts; readonly s3: CallCounts; readonly sqs: CallCounts };
  calls(): number;
  reset(): void;
}

/** Stores instances that are ready to be committed at the same moment, as those of one request mostly are. @throws unless all are stored */
export async function storeTogether(services: Services, objects: readonly Uint8Array[]): Promise<void> {
  const { commits } = services;
  const ready = Promise.withResolvers<void>();
  let waiting = 0;
  const together = {
    commit: async (prepared: Parameters<typeof commits.commit>[0]) => {
      if (++waiting === objects.length) ready.resolve();
      await ready.promise;
      return commits.commit(prepared);
    },
  } as typeof commits;
  const stored = await Promise.all(objects.map((one) => store({ ...services, commits: together }, one)));
  for (const { kind } of stored) if (kind !== 'stored') throw new Error(`an instance is ${kind}, not stored`);
}

export async function startCloud(): Promise<Cloud> {
  const [database, stackEngine]: [Engine, Engine] = await Promise.all([startDynamoDb(), startMiniStack()]);
  const table = { ...ENGINE_IDENTITY, endpoint: database.endpoint };
  const stack = { ...ENGINE_IDENTITY, endpoint: stackEngine.endpoint };
  const s3Config = { ...stack, forcePathStyle: true };
  await createTable(dynamoClient(table), TABLE_NAME);
  await s3Client(s3Config).send(new CreateBucketCommand({ Bucket: BUCKET }));
  const sqs = sqsClient(stack);
  for (const kind of Object.keys(QUEUES))
    for (const QueueName of [queueName(STAGE, kind), deadLetterName(STAGE, kind)])
      await sqs.send(new CreateQueueCommand({ QueueName }));
  const clients: { destroy(): void }[] = [sqs];
  const watched: CallCounts[] = [];

  return {
    endpoint: stackEngine.endpoint,
    open({ faults, limits = {}, retry, diesAfter, partBytes } = {}) {
      const clientOf = { dynamo: dynamoClient(table), s3: s3Client(s3Config), sqs: sqsClient(stack) };
      clients.push(...Object.values(clientOf));
      const counts = {
        dynamo: watch(clientOf.dynamo, faults),
        s3: watch(clientOf.s3, faults),
        sqs: watch(clientOf.sqs, faults),
      };
      if (diesAfter !== undefined) dieAfter(Object.values(clientOf), diesAfter);
      const common = { clock: systemClock, ...(retry && { retry }) };
      const queueUrl = (name: string): string => `${stack.endpoint}/000000000000/${name}`;
      const services = assemble(
        {
          ...common,
          index: new DynamoIndexTable({ ...common, client: clientOf.dynamo, tableName: TABLE_NAME }),
          blobs: new S3BlobStore({ ...common, client: clientOf.s3, bucket: BUCKET, ...(partBytes && { partBytes }) }),
          jobs: new SqsJobQueue({
            ...common,
            client: clientOf.sqs,
            queueUrl: (kind) => queueUrl(queueName(STAGE, kind)),
            deadLetterUrl: (kind) => queueUrl(deadLetterName(STAGE, kind)),
          }),
          pixels: noPixels,
        },
        { limits },
      );
      const all = Object.values(counts);
      watched.push(...all);
      return {
        services,
        dynamo: clientOf.dynamo,
        clients: Object.values(clientOf),
        counts,
        calls: () => all.reduce((sum, one) => sum + one.total(), 0),
        reset: () => {
          for (const one of all) one.reset();
        },
      };
    },
    async settled() {
      const calls = () => watched.reduce((sum, one) => sum + one.total(), 0);
      for (let before = -1; watched.some((one) => one.open() > 0) || calls() !== before; await sleep(STILL_MS))
        before = calls();
    },
    async stop() {
      for (const client of clients) client.destroy();
      await Promise.all([database.stop(), stackEngine.stop()]);
    },
  };
}
