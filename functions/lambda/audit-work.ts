import { kmsClient, secretsClient } from '#adapters/aws/clients.ts';
import { KmsAuditSigner } from '#adapters/aws/kms-audit-signer.ts';
import { readSecret } from '#adapters/aws/secret.ts';
import { type SyslogCertificates, SyslogRepository } from '#adapters/syslog/syslog-repository.ts';
import { AuditExport } from '#core/audit/export.ts';
import { type AuditSigner, sealAudit } from '#core/audit/seal.ts';
import { ConfigError } from '#core/configuration.ts';
import type { Services } from '#core/services.ts';
import type { CloudConfig } from './config.ts';

/** What keeps the trails of the cloud; one a sandbox. */
export interface AuditWork {
  readonly signer: AuditSigner;
  /** undefined: the trail is kept here alone */
  readonly exporter: Pick<AuditExport, 'run' | 'release'> | undefined;
}

export interface AuditReport {
  readonly segments: number;
  readonly sent: number;
  readonly lagMs: number;
}

/**
 * Seals what was recorded, segment by segment, then hands it over where there is a repository: what cannot be handed over has been sealed.
 * @throws what the repository said, so that the function is seen to fail; it goes on from there the next time
 */
export async function keepTrail(
  services: Services,
  { signer, exporter }: AuditWork,
  tenant: string,
  isOver: () => boolean,
): Promise<AuditReport> {
  let segments = 0;
  while (!isOver()) {
    const seal = await sealAudit(services, tenant, signer);
    if (seal === undefined) break;
    segments++;
    if (seal.entries < services.limits.auditSegmentEntries) break;
  }
  if (exporter === undefined) return { segments, sent: 0, lagMs: 0 };
  const { sent, lagMs = 0, error } = await exporter.run(tenant, isOver);
  await exporter.release(tenant);
  if (error !== undefined) throw error;
  return { segments, sent, lagMs };
}

/** By the names in the environment. The secret is JSON with `ca`, `cert` and `key` in PEM, each of which may be absent. */
export async function openAuditWork(services: Services, { audit, publicUrl }: CloudConfig): Promise<AuditWork> {
  if (audit.keyArn === undefined) throw new ConfigError('this function was not given the key of the audit trail');
  const signer = await KmsAuditSigner.open(kmsClient(), audit.keyArn);
  const { repository, secretArn } = audit;
  if (repository === undefined) return { signer, exporter: undefined };
  const name = publicUrl === undefined ? 'nephos' : new URL(publicUrl).hostname;
  const secrets = secretsClient();
  const certificates = async (): Promise<SyslogCertificates> =>
    secretArn === undefined ? {} : (JSON.parse(await readSecret(secrets, secretArn)) as SyslogCertificates);
  const syslog = new SyslogRepository({ ...repository, hostName: name, certificates });
  return { signer, exporter: new AuditExport(services, syslog, { id: name, aeTitle: 'NEPHOS' }) };
}
