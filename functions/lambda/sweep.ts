import { sweep } from '#core/archive/sweep.ts';
import { backlogOf } from '#core/routing/deliveries.ts';
import { awsArchive } from './archive.ts';
import { countBacklog } from './observe.ts';
import { scheduledFunction } from './scheduled-function.ts';

export const handler = scheduledFunction('sweep', awsArchive, async ({ services }, tenant) => {
  const report = await sweep(services, tenant);
  if (services.policy.routing.hosts.length > 0)
    countBacklog(tenant, await backlogOf(services, tenant), services.clock.now());
  return report;
});
