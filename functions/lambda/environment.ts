import { OIDC_ENVIRONMENT } from '#adapters/oidc/environment.ts';

/**
 * The environment variables of the functions: infra sets them, wiring.ts reads them. Pure constants, so that infra may import them.
 */
export const ENVIRONMENT = {
  /** name of the DynamoDB table of the index */
  table: 'NEPHOS_TABLE',
  /** bucket of the received objects */
  archiveBucket: 'NEPHOS_ARCHIVE_BUCKET',
  /** bucket of parts and objects on their way in */
  landingBucket: 'NEPHOS_LANDING_BUCKET',
  /** bucket in which S3 delivers the inventory of the archive bucket */
  inventoryBucket: 'NEPHOS_INVENTORY_BUCKET',
  /** tenants that may be served, separated by commas (`main`) */
  tenants: 'NEPHOS_TENANTS',
  /** KMS keys of tenants that have one of their own, `tenant=arn`, separated by commas */
  tenantKeys: 'NEPHOS_TENANT_KEYS',
  /** scheme and authority under which clients reach the archive; without it, that of the request */
  publicUrl: 'NEPHOS_PUBLIC_URL',
  /** origins whose pages may read our answers, separated by commas; `*` for any */
  corsOrigins: 'NEPHOS_CORS_ORIGINS',
  /** a principal's requests and bytes a second, and tokens that are not valid a minute of one address; not set, or `off`: no limit */
  rateRequests: 'NEPHOS_RATE_REQUESTS',
  rateBytes: 'NEPHOS_RATE_BYTES',
  rateFailures: 'NEPHOS_RATE_FAILURES',
  /** keepFirst, version or replace */
  conflictPolicy: 'NEPHOS_CONFLICT_POLICY',
  /** on or off */
  sanitizePreamble: 'NEPHOS_SANITIZE_PREAMBLE',
  /** refuse or derive */
  missingUIDs: 'NEPHOS_MISSING_UIDS',
  /** steps down for studies that nobody reads: `tier:idleDays[:studyAgeDays]`, separated by commas */
  tiers: 'NEPHOS_TIERS',
  /** data store of HealthImaging from which frames and metadata are read, and the role by which it imports; none: no placement */
  imagingDatastore: 'NEPHOS_IMAGING_DATASTORE',
  imagingRole: 'NEPHOS_IMAGING_ROLE',
  /** `archive` or `health-imaging`: whose metadata of what is placed there are answered first */
  imagingMetadata: 'NEPHOS_IMAGING_METADATA',
  /** modalities whose studies are placed there, separated by commas */
  placementModalities: 'NEPHOS_PLACEMENT_MODALITIES',
  ...OIDC_ENVIRONMENT,
  /** secret with what the archive shows to the issuer: the client's secret, or its private key */
  oidcClientSecret: 'NEPHOS_OIDC_CLIENT_SECRET_ARN',
  /** record systems that may open us (SMART App Launch): a JSON list */
  smartIssuers: 'NEPHOS_SMART_ISSUERS',
  /** key of KMS that the audit trail is sealed with */
  auditKey: 'NEPHOS_AUDIT_KEY',
  /** `host:port` of the Audit Record Repository that it is handed over to; none: it is kept here alone */
  auditRepository: 'NEPHOS_AUDIT_REPOSITORY',
  /** secret with the certificates for that: JSON of `ca`, `cert` and `key` in PEM */
  auditSecret: 'NEPHOS_AUDIT_SECRET',
  /** what stops while the audit trail cannot be written: writes, all, off: nothing */
  audit: 'NEPHOS_AUDIT',
  /** hosts that studies may be sent on to, and networks beside the public internet, separated by commas (core/configuration.ts) */
  routingHosts: 'NEPHOS_ROUTING_HOSTS',
  routingNetworks: 'NEPHOS_ROUTING_NETWORKS',
  /** secret with the credentials that are shown there: JSON by name (docs/routing.md) */
  routingSecret: 'NEPHOS_ROUTING_SECRET',
  /** `stream` (default where the runtime can) or `buffered`: for engines that cannot stream responses */
  responseMode: 'NEPHOS_RESPONSE_MODE',
} as const;

/** The variable that holds the URL of a queue: `study-quiet` → NEPHOS_QUEUE_STUDY_QUIET. */
export const queueVariable = (queue: string): string => `NEPHOS_QUEUE_${queue.replaceAll('-', '_').toUpperCase()}`;

export { limitVariable } from '#core/limits.ts';
