import { parseMessage } from '#adapters/aws/sqs-message.ts';
import { ARCHIVE_JOBS } from '#core/jobs.ts';
import type { Work } from './queue-function.ts';

/** A job of ours, as SqsJobQueue wrote it. What came too early, where SQS cannot delay so long, is sent again with what is left. */
export const workJob: Work = async ({ services, config }, queue, record) => {
  const { payload, notBefore } = parseMessage(record.body);
  const delayMs = (notBefore ?? 0) - services.clock.now();
  if (delayMs > 0) {
    await services.jobs.enqueue(queue, payload, { delayMs });
    return 'done';
  }
  const job = (ARCHIVE_JOBS as Partial<Record<string, (typeof ARCHIVE_JOBS)[keyof typeof ARCHIVE_JOBS]>>)[queue];
  if (!job) throw new Error(`no work is known for the queue ${queue}`);
  await job(services, payload, `${config.publicUrl ?? ''}/dicomweb`);
  return 'done';
};
