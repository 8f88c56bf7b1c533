import type { IndexJobQueue } from '#adapters/local/index-job-queue.ts';
import { STORAGE_COMMITMENT } from '#core/archive/commitment.ts';
import { ARCHIVE_JOBS } from '#core/jobs.ts';
import { INSTANCE_AVAILABILITY } from '#core/procedure/availability.ts';
import { PROCEDURE_STEP_NOTICE } from '#core/procedure/notices.ts';

/** All queues of an archive that is spoken to over DIMSE as well. */
export const QUEUES = [
  ...Object.keys(ARCHIVE_JOBS),
  STORAGE_COMMITMENT,
  INSTANCE_AVAILABILITY,
  PROCEDURE_STEP_NOTICE,
] as const;

/** What a run that was killed, or stopped within a batch, had received would else be hidden for minutes. Only for who is alone in the data folder. */
export async function reclaimJobs(jobs: IndexJobQueue): Promise<number> {
  let count = 0;
  for (const queue of QUEUES) count += await jobs.reclaim(queue);
  return count;
}
