import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import type { TlsOptions } from 'node:tls';
import type { Role } from '#core/access.ts';
import { STORAGE_COMMITMENT } from '#core/archive/commitment.ts';
import type { Services } from '#core/services.ts';
import { ARCHIVE_POLICY, archiveServices } from '#dimse/archive.ts';
import { COMMAND } from '#dimse/command-set.ts';
import { createDimseServer, type DimseServer, type DimseServerOptions } from '#dimse/server.ts';
import { answerCommitment } from '#dimse/services/commitment.ts';
import type { MoveAccess } from '#dimse/services/move.ts';
import { type Config, ConfigError } from './config.ts';
import type { JobHandlers } from './jobs.ts';
import { describeError, type Log } from './log.ts';
import { observeAssociation, observeOperation } from './metrics.ts';

/** How long associations may go on when the archive is stopped (ms). */
const CLOSE_MS = 10_000;
const COMMAND_NAMES = new Map(Object.entries(COMMAND).map(([name, field]) => [field as number, name]));

export interface DicomHost {
  /** undefined: DIMSE is off */
  readonly port: number | undefined;
  readonly tlsPort: number | undefined;
  readonly jobs: JobHandlers;
  close(): Promise<void>;
}

/** DIMSE for the archive, on TCP and, where there is a certificate, on TLS. @throws ConfigError where it cannot listen */
export async function listenDicom(services: Services, config: Config, log: Log): Promise<DicomHost> {
  const { dicom, tenant } = config;
  const destinations = new Map(dicom.destinations.map((remote) => [remote.aeTitle, remote]));
  const access: MoveAccess = {
    services,
    aeTitle: dicom.aeTitle,
    principalOf: (callingAETitle) => ({ tenant, subject: callingAETitle, roles: rolesOf(dicom, callingAETitle) }),
    destinationOf: (aeTitle) => destinations.get(aeTitle),
  };
  const options: DimseServerOptions = {
    aeTitle: dicom.aeTitle,
    checkCalledAETitle: dicom.checkCalledAETitle,
    allowed: dicom.allowed,
    maxAssociations: dicom.maxAssociations,
    policy: ARCHIVE_POLICY,
    services: archiveServices(access),
    onDefect: (error) => log.error('operation-failed', describeError(error)),
    onOperation: ({ commandField, status, seconds }) => {
      const command = COMMAND_NAMES.get(commandField) ?? 'other';
      observeOperation({ command, status, seconds });
      log.debug('operation', { command, status, ms: Math.round(seconds * 1e6) / 1e3 });
    },
    onEnd: ({ callingAETitle, address, accepted, error, operations, received, sent, seconds }) => {
      const outcome = error?.kind ?? 'released';
      observeAssociation({ outcome, received, sent });
      const ms = Math.round(seconds * 1e3);
      log.info('association', { callingAETitle, address, accepted, outcome, operations, received, sent, ms });
    },
  };
  const servers: DimseServer[] = [];
  const listen = async (port: number, tls?: TlsOptions): Promise<number> => {
    const made = createDimseServer({ ...options, tls });
    made.server.listen(port, config.bind);
    try {
      await once(made.server, 'listening');
    } catch (error) {
      throw new ConfigError(
        `cannot listen for DICOM on ${config.bind}:${port}: ${(error as NodeJS.ErrnoException).code} (NEPHOS_DICOM_PORT, NEPHOS_DICOM_TLS_PORT)`,
      );
    }
    servers.push(made);
    return (made.server.address() as AddressInfo).port;
  };
  return {
    port: dicom.port === undefined ? undefined : await listen(dicom.port),
    tlsPort: dicom.tls === undefined ? undefined : await listen(dicom.tls.port, tlsOptions(dicom.tls)),
    jobs: {
      [STORAGE_COMMITMENT]: (_, payload) => answerCommitment(access, payload.tenant as string, payload.id as string),
    },
    close: async () => {
      await Promise.all(servers.map((each) => each.close(CLOSE_MS)));
    },
  };
}

const rolesOf = ({ allowed }: Config['dicom'], aeTitle: string): readonly Role[] =>
  allowed === 'any' ? ['modality'] : (allowed.find((one) => one.aeTitle === aeTitle)?.roles ?? []);

/** The BCP 195 TLS Secure Transport Connection Profile (PS3.15 B.9): 1.2 or later, forward secrecy, authenticated encryption. */
const BCP_195_CIPHERS = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'DHE-RSA-AES256-GCM-SHA384',
  'DHE-RSA-AES128-GCM-SHA256',
].join(':');

/** For an acceptor, from PEM files. @throws ConfigError when one cannot be read */
export function tlsOptions({ cert, key, ca }: Omit<NonNullable<Config['dicom']['tls']>, 'port'>): TlsOptions {
  const pem = (path: string): Buffer => {
    try {
      return readFileSync(path);
    } catch (error) {
      throw new ConfigError(`${path} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
    }
  };
  return {
    cert: pem(cert),
    key: pem(key),
    minVersion: 'TLSv1.2',
    ciphers: BCP_195_CIPHERS,
    honorCipherOrder: true,
    handshakeTimeout: 30_000,
    ...(ca !== undefined && { ca: pem(ca), requestCert: true, rejectUnauthorized: true }),
  };
}
