import { reconcile } from '#core/archive/reconcile.ts';
import { awsArchive } from './archive.ts';
import { inventoryReader } from './inventory.ts';
import { countFindings } from './observe.ts';
import { scheduledFunction } from './scheduled-function.ts';

const inventoryOf = inventoryReader();

export const handler = scheduledFunction('reconcile', awsArchive, async ({ services, config }, tenant, isOver) => {
  const report = await reconcile(services, tenant, isOver, await inventoryOf(config, tenant, isOver));
  countFindings(tenant, report);
  return report;
});
