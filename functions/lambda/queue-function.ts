import middy from '@middy/core';
import type { SQSBatchItemFailure, SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { QUEUES } from '#adapters/aws/schema.ts';
import { parseMessage } from '#adapters/aws/sqs-message.ts';
import { describeError } from '#core/errors.ts';
import type { CloudArchive, OpenArchive } from './archive.ts';
import type { FunctionName, QueueName } from './functions.ts';
import { logger, type Observed, type Outcome, observing } from './observe.ts';

/** What is done with a message: done with it, or refused for good (it would fail again). What it throws, SQS brings again. */
export type Work = (archive: CloudArchive, queue: QueueName, record: SQSRecord) => Promise<'done' | 'refused'>;

/** A function behind queues: each message by itself; those that failed come again, and at last to the dead letters. */
export function queueFunction(name: FunctionName, open: OpenArchive, work: Work) {
  const archive = open();
  const workOff = async ({ Records }: SQSEvent): Promise<Observed> => {
    const outcomes: Outcome[] = [];
    const batchItemFailures: SQSBatchItemFailure[] = [];
    for (const record of Records) {
      const queue = queueOf(record.eventSourceARN);
      const tenant = tenantOf(record);
      try {
        outcomes.push({ name: queue, tenant, status: await work(archive, queue, record) });
      } catch (error) {
        const attempt = Number(record.attributes.ApproximateReceiveCount);
        logger.error('job-failed', { tenant, queue, attempt, failure: describeError(error) });
        outcomes.push({ name: queue, tenant, status: 'retried' });
        batchItemFailures.push({ itemIdentifier: record.messageId });
      }
    }
    const result: SQSBatchResponse = { batchItemFailures };
    return { result, outcomes };
  };
  return middy<SQSEvent, unknown>()
    .use(observing(name))
    .handler(workOff as never);
}

/** Of our own jobs; messages of S3 and EventBridge say it otherwise, and may speak of several. */
function tenantOf({ body }: SQSRecord): string | undefined {
  try {
    const { tenant } = parseMessage(body).payload;
    return typeof tenant === 'string' ? tenant : undefined;
  } catch {
    return undefined;
  }
}

/** Queues are named `{stage}-{kind}`. @throws Error for a queue of another kind: the deployment is wrong */
function queueOf(arn: string): QueueName {
  const name = arn.slice(arn.lastIndexOf(':') + 1);
  const kinds = Object.keys(QUEUES) as QueueName[];
  const found = kinds.find((kind) => name === kind || name.endsWith(`-${kind}`));
  if (found === undefined) throw new Error(`no work is known for the queue ${name}`);
  return found;
}
