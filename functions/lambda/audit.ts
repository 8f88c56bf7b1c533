import { awsArchive } from './archive.ts';
import { type AuditWork, keepTrail, openAuditWork } from './audit-work.ts';
import { countAudit } from './observe.ts';
import { scheduledFunction } from './scheduled-function.ts';

let opened: Promise<AuditWork> | undefined;

export const handler = scheduledFunction('audit', awsArchive, async ({ services, config }, tenant, isOver) => {
  opened ??= openAuditWork(services, config).catch((error) => {
    opened = undefined;
    throw error;
  });
  const report = await keepTrail(services, await opened, tenant, isOver);
  countAudit(tenant, report);
  return report;
});
