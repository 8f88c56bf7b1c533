import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { type SyslogCertificates, SyslogRepository } from '#adapters/syslog/syslog-repository.ts';
import { ConfigError, type Environment } from '#core/configuration.ts';

/** An Audit Record Repository that the trail is handed over to; PEM files. */
export interface AuditRepositorySettings {
  readonly host: string;
  readonly port: number;
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

/** RFC 5425 §4.1 */
const SYSLOG_TLS_PORT = '6514';

/** @throws ConfigError that names the variable */
export function readAuditRepository(env: Environment): AuditRepositorySettings | undefined {
  const text = env.NEPHOS_AUDIT_REPOSITORY;
  const ca = env.NEPHOS_AUDIT_REPOSITORY_CA;
  const cert = env.NEPHOS_AUDIT_REPOSITORY_CERT;
  const key = env.NEPHOS_AUDIT_REPOSITORY_KEY;
  if (text === undefined) {
    if (ca ?? cert ?? key)
      throw new ConfigError('NEPHOS_AUDIT_REPOSITORY names the repository that certificates are for');
    return undefined;
  }
  const [, name = '', portText = SYSLOG_TLS_PORT] = /^(\[[0-9A-Fa-f:.]+\]|[^:\s[\]]+)(?::(\d{1,5}))?$/.exec(text) ?? [];
  const port = Number(portText);
  if (name === '' || port < 1 || port > 65_535)
    throw new ConfigError('NEPHOS_AUDIT_REPOSITORY must be host or host:port');
  if ((cert === undefined) !== (key === undefined))
    throw new ConfigError('NEPHOS_AUDIT_REPOSITORY_CERT and NEPHOS_AUDIT_REPOSITORY_KEY go together');
  const settings = { host: name.replace(/^\[|\]$/g, ''), port, ca, cert, key };
  try {
    createSecureContext(readCertificates(settings));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new ConfigError(`NEPHOS_AUDIT_REPOSITORY: its certificates cannot be used (${code ?? message})`);
  }
  return settings;
}

const readCertificates = ({ ca, cert, key }: AuditRepositorySettings): SyslogCertificates => ({
  ...(ca !== undefined && { ca: readFileSync(ca) }),
  ...(cert !== undefined && { cert: readFileSync(cert) }),
  ...(key !== undefined && { key: readFileSync(key) }),
});

export const openAuditRepository = (settings: AuditRepositorySettings, hostName: string): SyslogRepository =>
  new SyslogRepository({ ...settings, hostName, certificates: () => readCertificates(settings) });
