import { openAuditSigner } from '#adapters/local/audit-signer.ts';
import type { AuditEvent } from '#core/audit/event.ts';
import { sealAudit } from '#core/audit/seal.ts';
import type { Services } from '#core/services.ts';
import type { Config } from './config.ts';
import { describeError, type Log } from './log.ts';

/** How often the counts of repeated acts are written (ms). */
const FLUSH_MS = 10_000;
/** How often what was recorded is sealed (ms). */
const SEAL_MS = 60_000;

/** Keeps a server process's part of the audit trail: its start and stop, the counts, the seals. */
export async function keepAudit(
  services: Services,
  { tenant, dataDir }: Pick<Config, 'tenant' | 'dataDir'>,
  log: Log,
): Promise<{ close(): Promise<void> }> {
  const signer = await openAuditSigner(dataDir);
  const note = (event: AuditEvent['event']): Promise<void> =>
    services.audit.record(tenant, {
      at: services.clock.now(),
      event,
      action: 'E',
      outcome: 0,
      subject: 'nephos',
      roles: [],
      door: 'system',
    });
  const seal = async (): Promise<void> => {
    // Segment by segment, until little is left that has no seal.
    for (let sealed = await sealAudit(services, tenant, signer); sealed !== undefined; ) {
      if (sealed.entries < services.limits.auditSegmentEntries) break;
      sealed = await sealAudit(services, tenant, signer);
    }
  };
  const logged = (work: Promise<unknown>): Promise<unknown> =>
    work.catch((error) => log.error('audit-failed', describeError(error)));
  await note('ApplicationStart');
  const timers = [
    setInterval(() => void logged(services.audit.flush()), FLUSH_MS),
    setInterval(() => void logged(seal()), SEAL_MS),
  ];
  return {
    async close() {
      for (const timer of timers) clearInterval(timer);
      await logged(services.audit.flush(true).then(() => note('ApplicationStop')));
      await logged(seal());
    },
  };
}
