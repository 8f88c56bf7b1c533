import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { availableParallelism, hostname } from 'node:os';
import { resolve } from 'node:path';
import { type OidcSettings, readOidcSettings } from '#adapters/oidc/settings.ts';
import { readSmartIssuers, type SmartIssuer } from '#adapters/smart/settings.ts';
import { DEFAULT_RATES } from '#api/default-rates.ts';
import { readRates, type ThrottleRates } from '#api/throttle.ts';
import type { Role } from '#core/access.ts';
import {
  ConfigError,
  type Environment,
  listOf,
  oneOf,
  readLimits,
  readPolicy,
  TENANT,
  whole,
} from '#core/configuration.ts';
import type { Limits } from '#core/limits.ts';
import type { Policy } from '#core/services.ts';
import type { AllowedEntity } from '#dimse/server.ts';
import { type AuditRepositorySettings, readAuditRepository } from './audit-repository.ts';
import type { CertificateFiles } from './certificate.ts';
import type { ConnectionLimits } from './connection-limits.ts';
import { aeTitle, type DicomDestination, readDestination } from './dicom-destinations.ts';

/** What the environment says, checked. Names and defaults of DESIGN §10. */
export interface Config {
  readonly bind: string;
  readonly httpPort: number;
  readonly dataDir: string;
  /** master keys; objects are encrypted */
  readonly encryptionKeyFile?: string | undefined;
  /** what one process keeps in memory of objects that are asked for again and again (bytes) */
  readonly hotObjectBytes: number;
  /** how often, and how fast (bytes a second), all objects are compared with their SHA-256 */
  readonly verify: 'off' | { readonly days: number; readonly bytesPerSecond: number };
  readonly auth: 'on' | 'off';
  readonly tenant: string;
  /** whose tokens are taken beside our own */
  readonly oidc?: OidcSettings | undefined;
  /** record systems that may open us for whom they have on their screens */
  readonly smart: readonly SmartIssuer[];
  readonly workers: number;
  readonly policy: Partial<Policy>;
  /** files: credentials for the archives that objects are sent to (docs/routing.md), and who signs their certificates beside those known */
  readonly routing: { readonly credentials: string | undefined; readonly ca: string | undefined };
  /** AuditSourceID of messages about what is done here */
  readonly auditSource: string;
  /** where the audit trail is handed over to, beside being kept */
  readonly auditRepository?: AuditRepositorySettings | undefined;
  readonly limits: Partial<Limits>;
  /** PEM files: HTTP is TLS */
  readonly tls: CertificateFiles | undefined;
  /** of one server process; undefined: no limits of rate */
  readonly rates: ThrottleRates | undefined;
  /** of HTTP; of one server process */
  readonly connections: ConnectionLimits;
  /** origins whose pages may read our answers; `*` for any */
  readonly corsOrigins: readonly string[];
  /** scheme and authority under which clients reach us, where a proxy stands before us */
  readonly publicUrl: string | undefined;
  readonly logLevel: 'debug' | 'info' | 'error';
  readonly dicom: DicomConfig;
}

/** Who may associate, and what it may do there; `tenant` where that is not the archive's own. */
export interface PermittedEntity extends AllowedEntity {
  readonly roles: readonly Role[];
  readonly tenant?: string;
}

export interface DicomConfig {
  /** undefined: no DIMSE */
  readonly port: number | undefined;
  readonly aeTitle: string;
  /** associations that call another AE title are rejected */
  readonly checkCalledAETitle: boolean;
  readonly allowed: 'any' | readonly PermittedEntity[];
  /** user identities: a JSON file of users, and whether one is demanded (see dicom-users.ts) */
  readonly users: string | undefined;
  readonly identity: 'off' | 'optional' | 'required';
  /** who is told by Instance Availability Notification that a study is here */
  readonly availability: readonly DicomDestination[];
  /** who is told by N-EVENT-REPORT that a performed procedure step has changed */
  readonly stepListeners: readonly DicomDestination[];
  /** where C-MOVE sends to, by AE title */
  readonly destinations: readonly DicomDestination[];
  /** of one server process */
  readonly maxAssociations: number;
  /** files in PEM; with `ca` clients must show a certificate of it */
  readonly tls:
    | { readonly port: number; readonly cert: string; readonly key: string; readonly ca?: string }
    | undefined;
}

export { ConfigError, TENANT };

/** Where clients most likely reach the archive. */
export function originOf(config: Pick<Config, 'bind' | 'publicUrl' | 'tls'>, port: number): string {
  const host = config.bind.includes(':') ? `[${config.bind}]` : config.bind;
  return config.publicUrl ?? `${config.tls ? 'https' : 'http'}://${host}:${port}`;
}

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);

/** @throws ConfigError that names the variable */
export function readConfig(env: Environment): Config {
  const bind = env.NEPHOS_BIND ?? '127.0.0.1';
  const auth = oneOf(env, 'NEPHOS_AUTH', ['on', 'off'], 'on');
  if (auth === 'off' && !LOOPBACK.has(bind)) {
    throw new ConfigError(`NEPHOS_AUTH=off is refused on ${bind}: without access control only loopback may be served`);
  }
  const tenant = env.NEPHOS_TENANT ?? 'main';
  if (!TENANT.test(tenant)) throw new ConfigError(`NEPHOS_TENANT must match ${TENANT.source}`);
  const dicom = readDicom(env, bind);
  return {
    bind,
    auth,
    tenant,
    oidc: readOidcSettings(env, [tenant]),
    smart: readSmartIssuers(textOrFile('NEPHOS_SMART_ISSUERS', env.NEPHOS_SMART_ISSUERS), [tenant]),
    httpPort: whole(env, 'NEPHOS_HTTP_PORT', 8080, 0, 65_535),
    dataDir: resolve(env.NEPHOS_DATA_DIR ?? './data'),
    encryptionKeyFile: env.NEPHOS_ENCRYPTION_KEY_FILE,
    hotObjectBytes: whole(env, 'NEPHOS_HOT_OBJECT_BYTES', 96 * 1024 * 1024, 0, Number.MAX_SAFE_INTEGER),
    verify: readVerify(env),
    workers: whole(env, 'NEPHOS_WORKERS', availableParallelism(), 1, 256),
    policy: { ...readPolicy(env), procedureStepListeners: dicom.stepListeners.map(({ aeTitle }) => aeTitle) },
    routing: { credentials: env.NEPHOS_ROUTING_CREDENTIALS, ca: env.NEPHOS_ROUTING_CA },
    auditSource: env.NEPHOS_AUDIT_SOURCE ?? hostname(),
    auditRepository: readAuditRepository(env),
    limits: readLimits(env),
    tls: readTls(env),
    // Generous where a network is served, none on loopback.
    rates: readRates(env, LOOPBACK.has(bind) ? {} : DEFAULT_RATES),
    connections: {
      connections: whole(env, 'NEPHOS_HTTP_CONNECTIONS', 5_000, 1, 1_000_000),
      ofAddress: whole(env, 'NEPHOS_HTTP_CONNECTIONS_ADDRESS', 1_000, 1, 1_000_000),
    },
    corsOrigins: readCorsOrigins(env, auth),
    publicUrl: readPublicUrl(env),
    logLevel: oneOf(env, 'NEPHOS_LOG', ['debug', 'info', 'error'], 'info'),
    dicom,
  };
}

/**
 * Scheme and authority each, or `*`. A page in a sandbox is of the origin `null`, whoever made it: that is nobody to be named.
 * @throws ConfigError
 */
function readCorsOrigins(env: Environment, auth: Config['auth']): string[] {
  const origins = listOf(env.NEPHOS_CORS_ORIGINS);
  if (!origins.every((origin) => origin === '*' || /^[a-z][a-z0-9+.-]*:\/\/[^/\s]+$/i.test(origin)))
    throw new ConfigError('NEPHOS_CORS_ORIGINS must be a list of origins: https://viewer.example');
  if (auth === 'off' && origins.includes('*'))
    throw new ConfigError(
      'NEPHOS_CORS_ORIGINS=* is refused with NEPHOS_AUTH=off: any page of the internet would read the archive',
    );
  return origins;
}

/** The JSON itself, or the file that holds it: secrets of clients are better kept in one. */
function textOrFile(name: string, value: string | undefined): string | undefined {
  if (value === undefined || /^\s*(\[|$)/.test(value)) return value;
  try {
    return readFileSync(value, 'utf8');
  } catch (error) {
    throw new ConfigError(`${name}: ${value} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}

function readTls(env: Environment): CertificateFiles | undefined {
  const cert = env.NEPHOS_TLS_CERT;
  const key = env.NEPHOS_TLS_KEY;
  const clientCa = env.NEPHOS_TLS_CLIENT_CA;
  if (cert === undefined && key === undefined && clientCa === undefined) return undefined;
  if (cert === undefined || key === undefined) throw new ConfigError('NEPHOS_TLS_CERT and NEPHOS_TLS_KEY go together');
  return { cert, key, ...(clientCa !== undefined && { clientCa }) };
}

function readDicom(env: Environment, bind: string): DicomConfig {
  return {
    port: env.NEPHOS_DICOM_PORT === 'off' ? undefined : whole(env, 'NEPHOS_DICOM_PORT', 11112, 0, 65_535),
    aeTitle: aeTitle('NEPHOS_AE_TITLE', env.NEPHOS_AE_TITLE ?? 'NEPHOS'),
    checkCalledAETitle: oneOf(env, 'NEPHOS_DICOM_CHECK_CALLED_AE', ['on', 'off'], 'off') === 'on',
    allowed: readAllowed(env.NEPHOS_DICOM_ALLOWED_AES ?? '', bind),
    users: env.NEPHOS_DICOM_USERS,
    identity: readIdentity(env),
    destinations: listOf(env.NEPHOS_DICOM_DESTINATIONS).map(readDestination('NEPHOS_DICOM_DESTINATIONS')),
    availability: listOf(env.NEPHOS_DICOM_IAN).map(readDestination('NEPHOS_DICOM_IAN')),
    stepListeners: listOf(env.NEPHOS_DICOM_MPPS_LISTENERS).map(readDestination('NEPHOS_DICOM_MPPS_LISTENERS')),
    maxAssociations: whole(env, 'NEPHOS_DICOM_MAX_ASSOCIATIONS', 100, 1, 10_000),
    tls: readDicomTls(env),
  };
}

function readIdentity(env: Environment): DicomConfig['identity'] {
  const identity = oneOf(env, 'NEPHOS_DICOM_IDENTITY', ['off', 'optional', 'required'], 'off');
  if (env.NEPHOS_DICOM_USERS !== undefined && identity === 'off')
    throw new ConfigError('NEPHOS_DICOM_USERS needs NEPHOS_DICOM_IDENTITY=optional or required');
  return identity;
}

/** Nobody is let in from a network by default: an AE title proves nothing. */
function readAllowed(text: string, bind: string): DicomConfig['allowed'] {
  const names = listOf(text);
  if (names.includes('*') || (names.length === 0 && LOOPBACK.has(bind))) return 'any';
  return names.map(readEntity);
}

/** `AET@address=right+right/tenant`: the address may be a network, all but the title may be left out. */
function readEntity(text: string): PermittedEntity {
  const name = 'NEPHOS_DICOM_ALLOWED_AES';
  const [entity = '', permission = ''] = text.split(/=(.*)/s);
  const [title = '', address] = entity.split('@');
  const [rights = '', tenant] = permission.split('/');
  if (address !== undefined && !isNetwork(address))
    throw new ConfigError(`${name}: ${JSON.stringify(address)} is neither an address nor a network`);
  if (tenant !== undefined && !TENANT.test(tenant))
    throw new ConfigError(`${name}: a tenant must match ${TENANT.source}`);
  return {
    aeTitle: title === '*' ? title : aeTitle(name, title),
    ...(address !== undefined && { address }),
    roles: rights === '' && !text.endsWith('=') ? ['modality'] : rights.split('+').map(roleOf(name)),
    ...(tenant !== undefined && { tenant }),
  };
}

/** An address, or a network as `address/bits`. */
export function isNetwork(text: string): boolean {
  const [address = '', bits] = text.split('/');
  const most = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  return most >= 0 && (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= most));
}

/** Rights of an application entity or of a user of one, by the words of the configuration. */
export const DICOM_RIGHTS: Readonly<Record<string, Role>> = {
  store: 'sender',
  query: 'finder',
  retrieve: 'retriever',
  commit: 'committer',
  worklist: 'worklistReader',
  mpps: 'performer',
};

/** @throws ConfigError naming where the right was asked for */
export const roleOf =
  (name: string) =>
  (right: string): Role => {
    const role = DICOM_RIGHTS[right];
    if (role === undefined) throw new ConfigError(`${name}: a right is one of ${Object.keys(DICOM_RIGHTS).join(', ')}`);
    return role;
  };

function readDicomTls(env: Environment): DicomConfig['tls'] {
  const cert = env.NEPHOS_DICOM_TLS_CERT;
  const key = env.NEPHOS_DICOM_TLS_KEY;
  const ca = env.NEPHOS_DICOM_TLS_CA;
  if (cert === undefined && key === undefined && ca === undefined) return undefined;
  if (cert === undefined || key === undefined)
    throw new ConfigError('NEPHOS_DICOM_TLS_CERT and NEPHOS_DICOM_TLS_KEY go together');
  const port = whole(env, 'NEPHOS_DICOM_TLS_PORT', 2762, 0, 65_535);
  return { port, cert, key, ...(ca !== undefined && { ca }) };
}

function readPublicUrl(env: Environment): string | undefined {
  const text = env.NEPHOS_PUBLIC_URL;
  if (text === undefined) return undefined;
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new ConfigError('NEPHOS_PUBLIC_URL must be an http or https URL');
  }
  return new URL(text).origin;
}

function readVerify(env: Environment): Config['verify'] {
  if (env.NEPHOS_VERIFY_DAYS === 'off') return 'off';
  return {
    days: whole(env, 'NEPHOS_VERIFY_DAYS', 30, 1, 3_650),
    bytesPerSecond: whole(env, 'NEPHOS_VERIFY_BYTES', 8 * 1024 * 1024, 1, Number.MAX_SAFE_INTEGER),
  };
}
