import { ARCHIVE_JOBS, type JobHandlers } from '#core/jobs.ts';
import { ROUTE } from '#core/routing/enqueue.ts';
import type { Services } from '#core/services.ts';
import { describeError, type Log } from './log.ts';

const POLL_MS = 1_000;
const BATCH = 10;
const VISIBILITY_MS = 5 * 60_000;
const MAX_ATTEMPTS = 10;

export type { JobHandlers };

/** What is sent elsewhere has workers of its own (routing.ts): an archive that does not answer must not hold up the work of this one. */
const { [ROUTE]: _, ...OWN_JOBS } = ARCHIVE_JOBS;

/** Works off the queues, `root` being the DICOMweb root that clients are likely to use, until `signal` aborts. Every process may run one: the queue shares the jobs out. */
export async function workQueues(
  services: Services,
  root: string,
  log: Log,
  signal: AbortSignal,
  others: JobHandlers = {},
): Promise<void> {
  await workEach(services, root, log, signal, { ...OWN_JOBS, ...others });
}

/** Works off the queues that there are handlers for, `batch` jobs of each at a time, one after the other. */
export async function workEach(
  services: Services,
  root: string,
  log: Log,
  signal: AbortSignal,
  handlers: JobHandlers,
  batch = BATCH,
): Promise<void> {
  while (!signal.aborted) {
    let worked = 0;
    for (const [queue, handler] of Object.entries(handlers)) {
      try {
        worked += await workQueue(services, root, log, queue, handler, signal, batch);
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
  max: number,
): Promise<number> {
  const jobs = await services.jobs.receive(queue, {
    max,
    visibilityMs: VISIBILITY_MS,
    maxAttempts: MAX_ATTEMPTS,
  });
  for (const job of jobs) {
    if (signal.aborted) break;
    try {
      await handler?.(services, job.payload, root);
      await services.jobs.complete(queue, job);
    } catch (error) {
      log.error('job-failed', { tenant: job.payload.tenant, queue, attempt: job.attempt, ...describeError(error) });
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
