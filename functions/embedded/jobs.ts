import { STUDY_QUIET } from '#core/archive/fold.ts';
import { settleStudy } from '#core/archive/quiet.ts';
import { FINISH_REMOVAL, finishRemoval } from '#core/archive/remove.ts';
import { RESTORE, restoreSeries } from '#core/archive/tiering.ts';
import { STORE_UPLOADED, storeUploaded, type UploadedObjects } from '#core/archive/uploaded.ts';
import type { Item } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import { describeError, type Log } from './log.ts';

/** What each queue's jobs do. Each may run twice. */
export type JobHandlers = Readonly<
  Record<string, (services: Services, payload: Item, root: string) => Promise<unknown>>
>;
const HANDLERS: JobHandlers = {
  [STUDY_QUIET]: (services, payload, root) =>
    settleStudy(services, payload.tenant as string, payload.study as string, root),
  [RESTORE]: (services, payload) => restoreSeries(services, payload as unknown as Parameters<typeof restoreSeries>[1]),
  [FINISH_REMOVAL]: (services, payload) => finishRemoval(services, payload.tenant as string, payload.id as string),
  [STORE_UPLOADED]: (services, payload) => storeUploaded(services, payload as unknown as UploadedObjects),
};

const POLL_MS = 1_000;
const BATCH = 10;
const VISIBILITY_MS = 5 * 60_000;
const MAX_ATTEMPTS = 10;

/** Works off the queues, `root` being the DICOMweb root that clients are likely to use, until `signal` aborts. Every process may run one: the queue shares the jobs out. */
export async function workQueues(
  services: Services,
  root: string,
  log: Log,
  signal: AbortSignal,
  others: JobHandlers = {},
): Promise<void> {
  const handlers = { ...HANDLERS, ...others };
  while (!signal.aborted) {
    let worked = 0;
    for (const [queue, handler] of Object.entries(handlers)) {
      try {
        worked += await workQueue(services, root, log, queue, handler, signal);
      } catch (error) {
        log.error('queue-failed', { queue, ...describeError(error) });
      }
    }
    if (worked === 0) await pause(POLL_MS, signal);
  }
}

async function workQueue(
  services: Services,
  root: string,
  log: Log,
  queue: string,
  handler: JobHandlers[string],
  signal: AbortSignal,
): Promise<number> {
  const jobs = await services.jobs.receive(queue, {
    max: BATCH,
    visibilityMs: VISIBILITY_MS,
    maxAttempts: MAX_ATTEMPTS,
  });
  for (const job of jobs) {
    if (signal.aborted) break;
    try {
      await handler?.(services, job.payload, root);
      await services.jobs.complete(queue, job);
    } catch (error) {
      log.error('job-failed', { queue, attempt: job.attempt, ...describeError(error) });
      await services.jobs.release(queue, job, Math.min(60_000, 1_000 * 2 ** job.attempt));
    }
  }
  return jobs.length;
}

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
  });
