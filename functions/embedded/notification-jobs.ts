import { STUDY_QUIET } from '#core/archive/fold.ts';
import { ARCHIVE_JOBS, type JobHandlers } from '#core/jobs.ts';
import { endProcedureStep, requestAvailability } from '#core/procedure/availability.ts';
import { PROCEDURE_STEP_ENDED } from '#core/procedure/procedure-step.ts';
import type { Services } from '#core/services.ts';
import { describeError, type Log } from './log.ts';

/**
 * Who is configured is told of a study when it gets quiet, and when a procedure step is done and all of it has arrived.
 * @param destinations AE titles, as they are configured at that moment
 * @param isNews whether a study that got quiet is something to tell of; what it resolves with is called when the jobs for that are there
 */
export const availabilityJobs = (
  destinations: () => readonly string[],
  isNews: (services: Services, tenant: string, study: string) => Promise<false | (() => Promise<void>)> = async () =>
    async () => {},
): JobHandlers => ({
  [PROCEDURE_STEP_ENDED]: (services, payload) =>
    endProcedureStep(services, payload.tenant as string, payload.sop as string, destinations()),
  [STUDY_QUIET]: async (services, payload, root) => {
    const { tenant, study } = payload as { tenant: string; study: string };
    const outcome = await ARCHIVE_JOBS[STUDY_QUIET](services, payload, root);
    const told = destinations();
    if (outcome !== 'quiet' || told.length === 0) return;
    const news = await isNews(services, tenant, study);
    if (news === false) return;
    await requestAvailability(services, tenant, study, told);
    await news();
  },
});

/** Who is to be told over an association of ours, and cannot be reached, is tried for this long (ms), each time after a quarter of the time so far. */
const CALL_BACK_MS = 7 * 24 * 60 * 60 * 1000;
const AGAIN_MS = { least: 2_000, most: 10 * 60_000 };

/**
 * A queue gives a job up after some attempts, within minutes. Another system may be down for a weekend: its jobs come again, anew, and
 * only after a week are they left to the queue, and so to the dead letters.
 */
export const patient = (log: Log, handlers: JobHandlers): JobHandlers =>
  Object.fromEntries(
    Object.entries(handlers).map(([queue, handler]) => [
      queue,
      async (services, payload, root) => {
        try {
          await handler(services, payload, root);
        } catch (error) {
          const now = services.clock.now();
          const since = typeof payload.since === 'number' ? payload.since : now;
          log.info('not-told', { queue, ...describeError(error) });
          if (now - since > CALL_BACK_MS) throw error;
          const delayMs = Math.max(AGAIN_MS.least, Math.min(AGAIN_MS.most, (now - since) / 4));
          const reason = (error as Error).message;
          await services.jobs.enqueue(queue, { ...payload, since, reason }, { delayMs });
        }
      },
    ]),
  );
