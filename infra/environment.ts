import { ENVIRONMENT, queueVariable } from '#lambda/environment.ts';
import type { FunctionSpec, Grants, QueueName } from '#lambda/functions.ts';
import type { Issuer, Settings } from './settings.ts';

export interface Deployed {
  readonly settings: Settings;
  readonly tableName: string;
  readonly archiveBucket: string;
  readonly landingBucket: string;
  /** of logs: S3 delivers the inventory there */
  readonly inventoryBucket: string;
  /** HealthImaging, where the deployment has it */
  readonly imaging: { readonly datastoreId: string; readonly importRoleArn: string } | undefined;
  /** ARNs by tenant, of those that have a key of their own */
  readonly tenantKeyArns: ReadonlyMap<string, string>;
  /** of the key that the audit trail is sealed with */
  readonly auditKeyArn: string;
  readonly queueUrl: (name: QueueName) => string;
  readonly issuer: Issuer;
  /** of what is shown to the issuer, as this region has it */
  readonly clientSecretArn: string | undefined;
  /** the pool of the deployment itself has its keys where every pool has them */
  readonly ownPool: boolean;
}

const addressOf = (repository: Settings['auditRepository']): string | undefined =>
  repository && `${repository.host}:${repository.port}`;

const ratesOf = ({ rates }: Settings): Record<string, string> =>
  rates
    ? {
        [ENVIRONMENT.rateRequests]: String(rates.requestsPerSecond),
        [ENVIRONMENT.rateBytes]: String(rates.bytesPerSecond),
        [ENVIRONMENT.rateFailures]: String(rates.failuresPerMinute),
      }
    : {};

/** The variables of a function, or of the service: those it has use for, by its grants. */
export function environmentOf(
  spec: { readonly grants: Grants } & Partial<Pick<FunctionSpec, 'triggers'>>,
  deployed: Deployed,
): Record<string, string> {
  const { settings, issuer } = deployed;
  const { grants } = spec;
  // The service has no triggers: it listens.
  const answers = spec.triggers?.some(({ kind }) => kind === 'http' || kind === 'authorizer') ?? true;
  const imports = grants.imaging === 'import' && deployed.imaging !== undefined;
  const writes = grants.archive.includes('write');
  const set = (name: string, value: string | undefined) =>
    value === undefined || value === '' ? {} : { [name]: value };
  const queues = Object.fromEntries([...grants.sends].map((name) => [queueVariable(name), deployed.queueUrl(name)]));
  return {
    NODE_OPTIONS: '--enable-source-maps',
    ...set(ENVIRONMENT.tenants, settings.tenants.join(',')),
    ...set(ENVIRONMENT.tenantKeys, writes ? [...deployed.tenantKeyArns].map((pair) => pair.join('=')).join(',') : ''),
    ...set(ENVIRONMENT.publicUrl, settings.publicUrl),
    ...set(ENVIRONMENT.corsOrigins, settings.corsOrigins.join(',')),
    ...set(ENVIRONMENT.smartIssuers, settings.recordSystems.length > 0 ? JSON.stringify(settings.recordSystems) : ''),
    ...set(
      ENVIRONMENT.tiers,
      settings.tiering.map((step) => `${step.policy}:${step.idleDays}:${step.studyAgeDays}`).join(','),
    ),
    ...(answers ? ratesOf(settings) : {}),
    ...set(ENVIRONMENT.responseMode, settings.bufferedResponses ? 'buffered' : undefined),
    ...set(ENVIRONMENT.table, deployed.tableName),
    ...set(ENVIRONMENT.archiveBucket, grants.archive.length > 0 ? deployed.archiveBucket : undefined),
    ...set(ENVIRONMENT.landingBucket, grants.landing.length > 0 || imports ? deployed.landingBucket : undefined),
    ...set(ENVIRONMENT.imagingDatastore, grants.imaging && deployed.imaging?.datastoreId),
    ...set(
      ENVIRONMENT.imagingMetadata,
      grants.imaging === 'read' && deployed.imaging ? settings.healthImaging?.metadata : undefined,
    ),
    ...set(ENVIRONMENT.imagingRole, imports ? deployed.imaging?.importRoleArn : undefined),
    ...set(ENVIRONMENT.inventoryBucket, grants.inventory && deployed.inventoryBucket),
    ...set(ENVIRONMENT.auditKey, grants.seals && deployed.auditKeyArn),
    ...set(ENVIRONMENT.auditRepository, grants.seals && addressOf(settings.auditRepository)),
    ...set(ENVIRONMENT.auditSecret, grants.seals && settings.auditRepository?.secretArn),
    ...set(ENVIRONMENT.routingHosts, settings.routing?.hosts.join(',')),
    ...set(ENVIRONMENT.routingNetworks, settings.routing?.networks.join(',')),
    ...set(ENVIRONMENT.routingSecret, grants.routes && settings.routing?.credentialsSecretArn),
    ...set(ENVIRONMENT.oidcIssuer, issuer.url),
    ...set(ENVIRONMENT.oidcAudience, issuer.audience),
    // No function need ask for it first.
    ...set(ENVIRONMENT.oidcJwksUrl, deployed.ownPool ? `${issuer.url}/.well-known/jwks.json` : undefined),
    ...set(ENVIRONMENT.oidcClientId, grants.signsIn && issuer.clientId),
    ...set(ENVIRONMENT.oidcClientSecret, grants.signsIn && deployed.clientSecretArn),
    ...set(ENVIRONMENT.oidcScopes, grants.signsIn && issuer.scopes),
    ...set(ENVIRONMENT.oidcLogoutUrl, grants.signsIn && issuer.logoutUrl),
    ...set(ENVIRONMENT.oidcRolesClaim, issuer.rolesClaim),
    ...set(ENVIRONMENT.oidcRoles, issuer.roles),
    ...set(ENVIRONMENT.oidcTenantClaim, settings.tenants.length > 1 ? issuer.tenantClaim : undefined),
    ...queues,
  };
}
