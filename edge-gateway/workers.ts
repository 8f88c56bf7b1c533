import { setTimeout as sleep } from 'node:timers/promises';
import { sweep } from '#core/archive/sweep.ts';
import { describeError } from '#core/errors.ts';
import { workQueues } from '#embedded/jobs.ts';
import { QUEUES } from '#embedded/reclaim.ts';
import type { BackgroundWorker } from './context.ts';
import { ledgerWorker } from './forward/ledger.ts';
import { availabilityWorker } from './queues/availability.ts';
import { procedureStepWorker } from './queues/step-delivery.ts';
import { worklistWorker } from './queues/worklist.ts';
import { cacheWorker } from './read/cache.ts';
import { inventoryWorker } from './read/inventory.ts';
import { edgeJobs } from './services.ts';
import { heartbeat } from './status/heartbeat.ts';
import { statusKeeper, statusServer } from './status/workers.ts';

const SWEEP_MS = 10 * 60_000;
const HASTEN_MS = 5_000;
/** Longer than any job of a gateway is made to wait. */
const LONGEST_WAIT_MS = 60 * 60_000;

/** The local archive's own queues: quiet studies, removals, answers to storage commitment. */
const jobs: BackgroundWorker = {
  name: 'jobs',
  run: (context, signal) =>
    workQueues(context.services, 'http://localhost/dicomweb', context.log, signal, edgeJobs(context)),
};

/** A clock that is put back by days must not keep modalities waiting for their answers as long. */
const hastener: BackgroundWorker = {
  name: 'hasten',
  async run({ jobs: queues, log }, signal) {
    while (!signal.aborted) {
      for (const queue of QUEUES) {
        const count = await queues.hasten(queue, LONGEST_WAIT_MS);
        if (count > 0) log.info('jobs-hastened', { queue, count });
      }
      await sleep(HASTEN_MS, undefined, { signal }).catch(() => {});
    }
  },
};

/** What interrupted stores and removals left. */
const sweeper: BackgroundWorker = {
  name: 'sweep',
  async run({ services, tenant, log }, signal) {
    while (!signal.aborted) {
      await sleep(SWEEP_MS, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      await sweep(services, tenant).catch((error: unknown) => log.error('sweep-failed', describeError(error)));
    }
  },
};

/** See Forwarder: the one of the context, whom others ask. */
const forward: BackgroundWorker = {
  name: 'forward',
  run: (context, signal) => context.forwarder.run(signal),
};

/** All that goes on beside the associations. A new one: one file, one line here. */
export const WORKERS: readonly BackgroundWorker[] = [
  forward,
  jobs,
  hastener,
  sweeper,
  cacheWorker,
  inventoryWorker,
  ledgerWorker,
  worklistWorker,
  procedureStepWorker,
  availabilityWorker,
  statusServer,
  statusKeeper,
  heartbeat,
];
