import { FROM_UPSTREAM } from '#core/archive/evict.ts';
import { INSTANCE_AVAILABILITY } from '#core/procedure/availability.ts';
import { instancesOfStudy } from '#core/retrieve/find.ts';
import type { Services } from '#core/services.ts';
import { sendAvailability } from '#dimse/services/availability.ts';
import { type JobHandlers, workEach } from '#embedded/jobs.ts';
import { availabilityJobs, patient } from '#embedded/notification-jobs.ts';
import type { BackgroundWorker, EdgeContext } from '../context.ts';
import { forwardKeys } from '../forward/records.ts';
import { remoteOf } from '../remote.ts';

/**
 * Instance Availability Notification from the hospital's own network, where the archive may not reach the department system: what
 * modalities have stored here is here to be retrieved, whether the line is up or not. A study that was only fetched back is no news.
 */
export const availabilityAtTheEdge = (context: EdgeContext): JobHandlers =>
  availabilityJobs(() => context.config.availabilityListeners.map(({ aeTitle }) => aeTitle), cameFromAModality);

/** What was evicted and fetched back makes a study quiet again, and tells nobody anything new. */
async function cameFromAModality(services: Services, tenant: string, study: string) {
  const { index } = services;
  let latestAt = 0;
  for await (const { source, storedAt } of instancesOfStudy(services, tenant, study))
    if (source !== FROM_UPSTREAM) latestAt = Math.max(latestAt, storedAt);
  const told = ((await index.get(forwardKeys.told(tenant, study)))?.latestAt as number | undefined) ?? 0;
  if (latestAt <= told) return false;
  return async () => {
    await index.write([{ kind: 'put', key: forwardKeys.told(tenant, study), item: { latestAt } }]);
  };
}

/** Tells them. Apart from the other queues: a system that does not answer must not hold up answers to storage commitment. */
export const availabilityWorker: BackgroundWorker = {
  name: 'availability',
  run: (context, signal) =>
    workEach(
      context.services,
      '',
      context.log,
      signal,
      patient(context.log, {
        [INSTANCE_AVAILABILITY]: async (_, payload) => {
          const { tenant, study, destination, uid } = payload as Record<string, string>;
          const row = context.config.availabilityListeners.find(({ aeTitle }) => aeTitle === destination);
          // Nobody is to be told any more who has been taken off the list.
          if (row !== undefined) await sendAvailability(context.access, tenant!, study!, remoteOf(row), uid!);
        },
      }),
    ),
};
