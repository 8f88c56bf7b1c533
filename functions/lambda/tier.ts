import { applyTiers } from '#core/archive/tier-policy.ts';
import { awsArchive } from './archive.ts';
import { scheduledFunction } from './scheduled-function.ts';

export const handler = scheduledFunction('tier', awsArchive, ({ services }, tenant, isOver) =>
  applyTiers(services, tenant, isOver),
);
