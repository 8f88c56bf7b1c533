import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { TlsOptions, Server as TlsServer } from 'node:tls';
import type { Principal } from '#core/access.ts';
import { STORAGE_COMMITMENT } from '#core/archive/commitment.ts';
import { asRecord } from '#core/ports/index-table.ts';
import type { TokenVerifier } from '#core/ports/token-verifier.ts';
import { INSTANCE_AVAILABILITY } from '#core/procedure/availability.ts';
import { type NoticeOfStep, PROCEDURE_STEP_NOTICE } from '#core/procedure/notices.ts';
import type { Services } from '#core/services.ts';
import { ARCHIVE_POLICY, archiveServices } from '#dimse/archive.ts';
import { COMMAND } from '#dimse/command-set.ts';
import type { RemoteEntity } from '#dimse/scu.ts';
import { createDimseServer, type DimseServer, type DimseServerOptions, entityOf } from '#dimse/server.ts';
import { sendAvailability } from '#dimse/services/availability.ts';
import { answerCommitment } from '#dimse/services/commitment.ts';
import type { MoveAccess } from '#dimse/services/move.ts';
import { notifyOfStep } from '#dimse/services/procedure-scu.ts';
import type { Session } from '#dimse/session.ts';
import { watchCertificate } from './certificate.ts';
import { type Config, ConfigError } from './config.ts';
import { BCP_195, type DicomDestination, pem, remoteOf } from './dicom-destinations.ts';
import { identityPolicy } from './dicom-users.ts';
import type { JobHandlers } from './jobs.ts';
import { describeError, type Log } from './log.ts';
import { observeAssociation, observeOperation } from './metrics.ts';
import { availabilityJobs, patient } from './notification-jobs.ts';

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
export async function listenDicom(
  services: Services,
  config: Config,
  log: Log,
  tokens: TokenVerifier = NO_TOKENS,
): Promise<DicomHost> {
  const { dicom, tenant } = config;
  const reached = (destination: DicomDestination | undefined): RemoteEntity | undefined =>
    destination && remoteOf(destination, dicom.tls);
  // Files that cannot be read are told of now, and not when somebody is to be called.
  for (const one of [...dicom.destinations, ...dicom.availability, ...dicom.stepListeners]) reached(one);
  const access: MoveAccess = {
    services,
    aeTitle: dicom.aeTitle,
    principalOf: (callingAETitle, session) => session.principal ?? entityPrincipal(config, callingAETitle, session),
    destinationOf: (title) => reached(dicom.destinations.find(({ aeTitle }) => aeTitle === title)),
  };
  const tenantOf = (session: Session): string | undefined =>
    access.principalOf(session.callingAETitle, session)?.tenant;
  const options: DimseServerOptions = {
    aeTitle: dicom.aeTitle,
    checkCalledAETitle: dicom.checkCalledAETitle,
    allowed: dicom.allowed,
    maxAssociations: dicom.maxAssociations,
    policy: ARCHIVE_POLICY,
    identity: identityPolicy(dicom, tokens, tenant),
    services: archiveServices(access),
    onDefect: (error) => log.error('operation-failed', describeError(error)),
    onOperation: ({ session, commandField, status, seconds }) => {
      const command = COMMAND_NAMES.get(commandField) ?? 'other';
      observeOperation({ command, status, seconds });
      log.debug('operation', { tenant: tenantOf(session), command, status, ms: Math.round(seconds * 1e6) / 1e3 });
    },
    onEnd: ({ callingAETitle, session, address, accepted, error, operations, received, sent, seconds }) => {
      const outcome = error?.kind ?? 'released';
      observeAssociation({ outcome, received, sent });
      const ms = Math.round(seconds * 1e3);
      const of = { tenant: session && tenantOf(session), callingAETitle, address };
      log.info('association', { ...of, accepted, outcome, operations, received, sent, ms });
    },
  };
  const servers: DimseServer[] = [];
  const listen = async (port: number, tls?: TlsOptions): Promise<DimseServer> => {
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
    return made;
  };
  const plain = dicom.port === undefined ? undefined : await listen(dicom.port);
  const secure = dicom.tls && (await listen(dicom.tls.port, tlsOptions(dicom.tls)));
  const unwatch = secure && watchTls(secure, dicom.tls!, log);
  return {
    port: plain && portOf(plain),
    tlsPort: secure && portOf(secure),
    jobs: {
      ...availabilityJobs(() => dicom.availability.map(({ aeTitle }) => aeTitle)),
      ...patient(log, {
        [STORAGE_COMMITMENT]: (_, payload) => answerCommitment(access, payload.tenant as string, payload.id as string),
        [INSTANCE_AVAILABILITY]: async (_, payload) => {
          const { tenant, study, destination, uid } = payload as Record<string, string>;
          const remote = reached(dicom.availability.find(({ aeTitle }) => aeTitle === destination));
          // Nobody is to be told any more who has been taken off the list.
          if (remote !== undefined) await sendAvailability(access, tenant!, study!, remote, uid!);
        },
        [PROCEDURE_STEP_NOTICE]: async (_, payload) => {
          const notice = asRecord<NoticeOfStep>(payload);
          const remote = reached(dicom.stepListeners.find(({ aeTitle }) => aeTitle === notice.listener));
          if (remote !== undefined) await notifyOfStep(access, notice, remote);
        },
      }),
    },
    close: async () => {
      unwatch?.();
      await Promise.all(servers.map((each) => each.close(CLOSE_MS)));
    },
  };
}

const portOf = ({ server }: DimseServer): number => (server.address() as AddressInfo).port;

/** Certificate, key and authority are taken anew when they are replaced; associations under way go on with what they began with. */
function watchTls({ server }: DimseServer, tls: NonNullable<Config['dicom']['tls']>, log: Log): () => void {
  const refused = (error: unknown): void => log.error('certificate-refused', { reason: String(error) });
  const renewed = (): void => {
    try {
      (server as TlsServer).setSecureContext(tlsOptions(tls));
      log.info('certificate-renewed');
    } catch (error) {
      refused(error);
    }
  };
  return watchCertificate({ cert: tls.cert, key: tls.key, clientCa: tls.ca }, renewed, refused);
}

const NO_TOKENS: TokenVerifier = { verify: async () => undefined };

/** Whom an AE title stands for, where no user identity says better. */
function entityPrincipal({ dicom: { allowed }, tenant }: Config, subject: string, session: Session): Principal {
  if (allowed === 'any') return { tenant, subject, roles: ['modality'] };
  const entity = entityOf(allowed, subject, session.peerAddress);
  return { tenant: entity?.tenant ?? tenant, subject, roles: entity?.roles ?? [] };
}

/** For an acceptor, from PEM files. @throws ConfigError when one cannot be read */
export function tlsOptions({ cert, key, ca }: Omit<NonNullable<Config['dicom']['tls']>, 'port'>): TlsOptions {
  return {
    cert: pem(cert),
    key: pem(key),
    ...BCP_195,
    honorCipherOrder: true,
    // Groups for DHE by the strength of the certificate; without, OpenSSL offers none.
    dhparam: 'auto',
    handshakeTimeout: 30_000,
    ...(ca !== undefined && { ca: pem(ca), requestCert: true, rejectUnauthorized: true }),
  };
}
