import { enrolStudies } from '#core/archive/tier-enrolment.ts';
import { applyTiers } from '#core/archive/tier-policy.ts';
import { awsArchive } from './archive.ts';
import { scheduledFunction } from './scheduled-function.ts';

export const handler = scheduledFunction('tier', awsArchive, async ({ services }, tenant, isOver) => ({
  enrolled: await enrolStudies(services, tenant, isOver),
  ...(await applyTiers(services, tenant, isOver)),
}));
