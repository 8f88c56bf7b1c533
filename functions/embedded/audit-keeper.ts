import { hostname } from 'node:os';
import { openAuditSigner } from '#adapters/local/audit-signer.ts';
import type { AuditEvent } from '#core/audit/event.ts';
import { AuditExport } from '#core/audit/export.ts';
import { sealAudit } from '#core/audit/seal.ts';
import type { Services } from '#core/services.ts';
import { openAuditRepository } from './audit-repository.ts';
import type { Config } from './config.ts';
import { describeError, type Log } from './log.ts';
import { observeAuditExport } from './metrics.ts';
import { tenantsOf } from './tenants.ts';

/** How often the counts of repeated acts are written (ms). */
const FLUSH_MS = 10_000;
/** How often what was recorded is sealed (ms). */
const SEAL_MS = 60_000;
/** How often it is looked for what the repository has not got yet (ms). */
const EXPORT_MS = 5_000;

/** Keeps a server process's part of the audit trails: its start and stop, the counts, the seals, what is handed over to a repository. */
export async function keepAudit(
  services: Services,
  config: Pick<Config, 'tenant' | 'dataDir' | 'dicom' | 'auditSource' | 'auditRepository'>,
  log: Log,
): Promise<{ close(): Promise<void> }> {
  const signer = await openAuditSigner(config.dataDir);
  const tenants = tenantsOf(config);
  const note = (event: AuditEvent['event']): Promise<void> =>
    services.audit.record(config.tenant, {
      at: services.clock.now(),
      event,
      action: 'E',
      outcome: 0,
      subject: 'nephos',
      roles: [],
      door: 'system',
    });
  const seal = async (): Promise<void> => {
    for (const tenant of tenants) {
      // Segment by segment, until little is left that has no seal.
      for (let sealed = await sealAudit(services, tenant, signer); sealed !== undefined; ) {
        if (sealed.entries < services.limits.auditSegmentEntries) break;
        sealed = await sealAudit(services, tenant, signer);
      }
    }
  };
  const logged = (work: Promise<unknown>): Promise<unknown> =>
    work.catch((error) => log.error('audit-failed', describeError(error)));
  const exporting = exportOf(services, config, tenants, log);
  await note('ApplicationStart');
  const timers = [
    setInterval(() => void logged(services.audit.flush()), FLUSH_MS),
    setInterval(() => void logged(seal()), SEAL_MS),
    ...(exporting === undefined ? [] : [setInterval(() => void logged(exporting.run()), EXPORT_MS)]),
  ];
  return {
    async close() {
      for (const timer of timers) clearInterval(timer);
      // What is under way comes to an end; the rest is handed over at the next start.
      if (exporting !== undefined) await logged(exporting.stop());
      await logged(services.audit.flush(true).then(() => note('ApplicationStop')));
      await logged(seal());
    },
  };
}

/** Hands the trails over to the repository, one run at a time; undefined where there is none. */
function exportOf(
  services: Services,
  { auditRepository, auditSource, dicom }: Pick<Config, 'auditRepository' | 'auditSource' | 'dicom'>,
  tenants: readonly string[],
  log: Log,
): { run(): Promise<void>; stop(): Promise<void> } | undefined {
  if (auditRepository === undefined) return undefined;
  const repository = openAuditRepository(auditRepository, hostname());
  const audit = new AuditExport(services, repository, { id: auditSource, aeTitle: dicom.aeTitle });
  let isStopping = false;
  let running: Promise<void> | undefined;
  const runOnce = async (): Promise<void> => {
    for (const tenant of tenants) {
      const { sent, lagMs, error } = await audit.run(tenant, () => isStopping);
      observeAuditExport(tenant, { sent, lagMs, failed: error !== undefined });
      if (error !== undefined) log.error('audit-repository', { tenant, ...describeError(error) });
    }
  };
  return {
    run: () => {
      running ??= runOnce().finally(() => {
        running = undefined;
      });
      return running;
    },
    async stop() {
      isStopping = true;
      repository.close();
      await running?.catch(() => {});
      await Promise.all(tenants.map((tenant) => audit.release(tenant)));
    },
  };
}
