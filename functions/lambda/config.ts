import type { OidcSettings } from '#adapters/oidc/settings.ts';
import { readOidcSettings } from '#adapters/oidc/settings.ts';
import { readSmartIssuers, type SmartIssuer } from '#adapters/smart/settings.ts';
import { readRates, type ThrottleRates } from '#api/throttle.ts';
import {
  ConfigError,
  type Environment,
  listOf,
  oneOf,
  readLimits,
  readPolicy,
  readTierSteps,
  TENANT,
} from '#core/configuration.ts';
import type { Limits } from '#core/limits.ts';
import type { Policy } from '#core/services.ts';
import { ENVIRONMENT, queueVariable } from './environment.ts';

/** What a program of the cloud is told by its environment. */
export interface CloudConfig {
  /** the first is that of requests without a tenant, for the audit trail */
  readonly tenants: readonly [string, ...string[]];
  /** KMS keys (ARN) of tenants that have one of their own */
  readonly tenantKeys: ReadonlyMap<string, string>;
  readonly publicUrl: string | undefined;
  readonly corsOrigins: readonly string[];
  readonly policy: Policy;
  /** of a principal and an address, in all sandboxes together; undefined: none is limited here */
  readonly rates: ThrottleRates | undefined;
  readonly limits: Partial<Limits>;
  readonly oidc: OidcSettings | undefined;
  readonly smart: readonly SmartIssuer[];
  /** undefined where the function has no use for it */
  readonly table: string | undefined;
  readonly archiveBucket: string | undefined;
  readonly landingBucket: string | undefined;
  readonly inventoryBucket: string | undefined;
  /** HealthImaging; undefined: frames are read from the objects alone. The role is that of imports, where the program makes them */
  readonly imaging: { readonly datastoreId: string; readonly dataAccessRoleArn: string } | undefined;
  /** what seals the audit trail, and where it is handed over to */
  readonly audit: {
    readonly keyArn: string | undefined;
    readonly repository: { readonly host: string; readonly port: number } | undefined;
    readonly secretArn: string | undefined;
  };
  /** secret with the credentials that are shown to other archives */
  readonly routing: { readonly secretArn: string | undefined };
  /** secret with what is shown to the issuer, in programs that sign people in; undefined: a public client */
  readonly signIn: { readonly secretArn: string | undefined };
  /** @throws ConfigError when the function was not given the queue */
  readonly queueUrl: (kind: string) => string;
}

/** A request to a function is 6 MB of JSON, of which a body in base64 may be three quarters; headers need their part (bytes). */
export const REQUEST_BYTES = 4_500_000;
/** A response that is not streamed is 6 MB as well (bytes). */
const WHOLE_RESPONSE_BYTES = 4_400_000;
/** A streamed one is 200 MB (bytes), at 2 MB/s behind the first 6 MB: large objects are had faster from the bucket. */
const STREAMED_RESPONSE_BYTES = 199 * 1024 * 1024;
const REDIRECT_BYTES = 32 * 1024 * 1024;
/** One invocation stores an object: it is read and written at about 100 MB/s for at most 15 minutes, with room for a slow day (bytes). */
const OBJECT_BYTES = 32 * 1024 * 1024 * 1024;
/** Looking for events costs reads of the table, for every stream that is open (ms). */
const EVENT_POLL_MS = 2_000;
/** Rules about who reaches what are read once a second by each sandbox, not with every frame (ms). */
const ACCESS_POLICY_MS = 1_000;

export type LambdaConfig = CloudConfig;

/** What AWS allows a function, and what the environment says beside. @throws ConfigError that names the variable */
export const readLambdaConfig = (env: Environment, streaming: boolean): LambdaConfig =>
  readCloudConfig(env, {
    storeRequestBytes: REQUEST_BYTES,
    responseBytes: streaming ? STREAMED_RESPONSE_BYTES : WHOLE_RESPONSE_BYTES,
    transactionObjectBytes: OBJECT_BYTES,
    eventPollMs: EVENT_POLL_MS,
    redirectBytes: streaming ? REDIRECT_BYTES : WHOLE_RESPONSE_BYTES,
  });

/** `hostLimits`: of the host, where they are not the defaults; the environment has the last word. @throws ConfigError that names the variable */
export function readCloudConfig(env: Environment, hostLimits: Partial<Limits>): CloudConfig {
  const limits = { accessPolicyMs: ACCESS_POLICY_MS, ...hostLimits };
  const [first = 'main', ...more] = listOf(env[ENVIRONMENT.tenants]);
  const tenants = [first, ...more] as const;
  if (!tenants.every((tenant) => TENANT.test(tenant)))
    throw new ConfigError(`${ENVIRONMENT.tenants} must be names of [a-z0-9][a-z0-9-]{0,31}, separated by commas`);
  return {
    tenants,
    tenantKeys: readTenantKeys(env, tenants),
    publicUrl: env[ENVIRONMENT.publicUrl],
    corsOrigins: listOf(env[ENVIRONMENT.corsOrigins]),
    policy: {
      ...readPolicy(env),
      tiers: readTierSteps(env, ENVIRONMENT.tiers),
      prices: { kind: 'aws' },
      ...(env[ENVIRONMENT.placementModalities] !== undefined && {
        placementModalities: listOf(env[ENVIRONMENT.placementModalities]),
      }),
      metadataFrom:
        oneOf(env, ENVIRONMENT.imagingMetadata, ['archive', 'health-imaging'], 'archive') === 'archive'
          ? 'archive'
          : 'placement',
    },
    rates: readRates(env, {}),
    limits: { ...limits, ...readLimits(env) },
    oidc: readOidcSettings(env, tenants),
    smart: readSmartIssuers(env[ENVIRONMENT.smartIssuers], tenants),
    table: env[ENVIRONMENT.table],
    archiveBucket: env[ENVIRONMENT.archiveBucket],
    landingBucket: env[ENVIRONMENT.landingBucket],
    inventoryBucket: env[ENVIRONMENT.inventoryBucket],
    imaging:
      env[ENVIRONMENT.imagingDatastore] === undefined
        ? undefined
        : {
            datastoreId: env[ENVIRONMENT.imagingDatastore] ?? '',
            dataAccessRoleArn: env[ENVIRONMENT.imagingRole] ?? '',
          },
    audit: {
      keyArn: env[ENVIRONMENT.auditKey],
      repository: readRepository(env[ENVIRONMENT.auditRepository]),
      secretArn: env[ENVIRONMENT.auditSecret],
    },
    routing: { secretArn: env[ENVIRONMENT.routingSecret] },
    signIn: { secretArn: env[ENVIRONMENT.oidcClientSecret] },
    queueUrl: (kind) => {
      const url = env[queueVariable(kind)];
      if (url === undefined)
        throw new ConfigError(`${queueVariable(kind)} is not set: this function sends nothing there`);
      return url;
    },
  };
}

function readTenantKeys(env: Environment, tenants: readonly string[]): Map<string, string> {
  const keys = new Map<string, string>();
  for (const entry of listOf(env[ENVIRONMENT.tenantKeys])) {
    const at = entry.indexOf('=');
    const [tenant, arn] = [entry.slice(0, at), entry.slice(at + 1)];
    if (at < 0 || !tenants.includes(tenant) || !arn.startsWith('arn:'))
      throw new ConfigError(
        `${ENVIRONMENT.tenantKeys} must be tenant=arn of tenants that are served, separated by commas`,
      );
    keys.set(tenant, arn);
  }
  return keys;
}

/** RFC 5425 §4.1 */
const SYSLOG_TLS_PORT = '6514';

/** @throws ConfigError */
function readRepository(text: string | undefined): CloudConfig['audit']['repository'] {
  if (text === undefined) return undefined;
  const [, host = '', port = SYSLOG_TLS_PORT] = /^([^:\s]+)(?::(\d{1,5}))?$/.exec(text) ?? [];
  if (host === '') throw new ConfigError(`${ENVIRONMENT.auditRepository} must be host or host:port`);
  return { host, port: Number(port) };
}

/** Whether responses are streamed: where the runtime can, and the engine behind it is not said to buffer. */
export const canStream = (env: Environment): boolean =>
  'awslambda' in globalThis && oneOf(env, ENVIRONMENT.responseMode, ['stream', 'buffered'], 'stream') === 'stream';
