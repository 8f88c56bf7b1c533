import { STUDY_QUIET } from '#core/archive/fold.ts';
import { doubledMs } from '#core/backoff.ts';
import { ARCHIVE_JOBS, type JobHandlers } from '#core/jobs.ts';
import type { Job } from '#core/ports/job-queue.ts';
import { ROUTE } from '#core/routing/enqueue.ts';
import type { Services } from '#core/services.ts';
import { describeError, type Log } from './log.ts';

const POLL_MS = 1_000;
const BATCH = 10;
const VISIBILITY_MS = 5 * 60_000;
const MAX_ATTEMPTS = 10;
const RETRY = { firstMs: 2_000, mostMs: 60_000 } as const;

export type { JobHandlers };

/** What is sent elsewhere has workers of its own (routing.ts): an archive that does not answer must not hold up the work of this one. */
const { [ROUTE]: _, ...OWN_JOBS } = ARCHIVE_JOBS;

/** Small jobs, one for every study that is stored, which mostly wait for the index: so many at a time are done at once, and share its transactions. */
const TOGETHER: ReadonlyMap<string, number> = new Map([[STUDY_QUIET, 40]]);

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

/** Works off the queues that there are handlers for, `batch` jobs of each at a time, one after the other but for small ones (TOGETHER). */
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
    max: TOGETHER.get(queue) ?? max,
    visibilityMs: VISIBILITY_MS,
    maxAttempts: MAX_ATTEMPTS,
  });
  const work = async (job: Job): Promise<void> => {
    try {
      await handler?.(services, job.payload, root);
      await services.jobs.complete(queue, job);
    } catch (error) {
      log.error('job-failed', { tenant: job.payload.tenant, queue, attempt: job.attempt, ...describeError(error) });
      await services.jobs.release(queue, job, doubledMs(job.attempt, RETRY));
    }
  };
  if (TOGETHER.has(queue)) {
    // All have come to an end before one that failed is told of: the index may be closed then.
    for (const done of await Promise.allSettled(jobs.map(work))) if (done.status === 'rejected') throw done.reason;
    return jobs.length;
  }
  for (const job of jobs) {
    if (signal.aborted) break;
    await work(job);
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
