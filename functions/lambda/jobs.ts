import type { SQSRecord } from 'aws-lambda';
import { parseMessage } from '#adapters/aws/sqs-message.ts';
import { ARCHIVE_JOBS } from '#core/jobs.ts';
import type { CloudArchive } from './archive.ts';
import type { QueueName } from './functions.ts';
import type { Work } from './queue-function.ts';

/** What came too early, where SQS cannot delay so long, is sent again with what is left of its delay; true when it was. */
export async function postponed({ services }: CloudArchive, queue: QueueName, record: SQSRecord): Promise<boolean> {
  const { payload, notBefore } = parseMessage(record.body);
  const delayMs = (notBefore ?? 0) - services.clock.now();
  if (delayMs <= 0) return false;
  await services.jobs.enqueue(queue, payload, { delayMs });
  return true;
}

/** A job of ours, as SqsJobQueue wrote it. */
export const workJob: Work = async (archive, queue, record) => {
  if (await postponed(archive, queue, record)) return 'done';
  const { services, config } = archive;
  const { payload } = parseMessage(record.body);
  const job = (ARCHIVE_JOBS as Partial<Record<string, (typeof ARCHIVE_JOBS)[keyof typeof ARCHIVE_JOBS]>>)[queue];
  if (!job) throw new Error(`no work is known for the queue ${queue}`);
  await job(services, payload, `${config.publicUrl ?? ''}/dicomweb`);
  return 'done';
};
