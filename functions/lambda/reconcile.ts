import { reconcile } from '#core/archive/reconcile.ts';
import { awsArchive } from './archive.ts';
import { scheduledFunction } from './scheduled-function.ts';

export const handler = scheduledFunction('reconcile', awsArchive, ({ services }, tenant, isOver) =>
  reconcile(services, tenant, isOver),
);
