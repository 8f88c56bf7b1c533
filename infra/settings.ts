/**
 * What a deployment is asked to be: the context key `nephos`, checked, with safe defaults. `dev` is cheap and deletes cleanly; `prod`
 * keeps what it holds. Every value of a kind may be set by itself.
 */
export interface Settings {
  /** names the deployment; opens every stack's and bucket's name: [a-z][a-z0-9]{0,11} */
  readonly stage: string;
  readonly kind: Kind;
  /** 12 digits, or undefined: the account of the credentials at deployment */
  readonly account: string | undefined;
  readonly region: string;
  /** objects and index are replicated there, and the reading functions run there too */
  readonly secondRegion: string | undefined;
  /** where changes go; `second` is what a person sets to fail over (docs/regions.md) */
  readonly writesTo: 'first' | 'second';
  /** the first tenant: of requests and schedules that name none */
  readonly tenant: string;
  /** all tenants that are served, the first one first */
  readonly tenants: readonly string[];
  /** tenants whose objects are encrypted with a key of their own (docs/deploy-aws.md, "Keys of tenants") */
  readonly tenantKeys: readonly string[];
  readonly domain: Domain | undefined;
  /** where browsers reach the archive: that of `domain`, or what the first deployment put out; without it nobody signs in but by token */
  readonly publicUrl: string | undefined;
  /** undefined: a Cognito user pool of its own */
  readonly issuer: Issuer | undefined;
  readonly retention: Retention;
  readonly tiers: readonly Tier[];
  /** steps down for studies that nobody reads, warmest first; none: lifecycle rules alone move objects */
  readonly tiering: readonly TieringStep[];
  /** S3 Replication Time Control: 15 minutes by contract, for about 0.015 USD a GB */
  readonly replicationTimeControl: boolean;
  /** undefined: no data store */
  readonly healthImaging: HealthImaging | undefined;
  readonly firewall: Firewall | undefined;
  /** what one principal, and failures of one address, may use of all functions together; undefined: no limit */
  readonly rates: Rates | undefined;
  /** CloudTrail data events of the archive bucket */
  readonly audit: boolean;
  readonly backup: Backup | undefined;
  /** who is told of alarms and budgets; nobody when empty */
  readonly alarmEmails: readonly string[];
  readonly monthlyBudgetUsd: number | undefined;
  /** hourly cost and usage data (CUR 2.0 and FOCUS) into a bucket */
  readonly costExport: boolean;
  /** where the audit trail is handed over to, by syslog over TLS; undefined: it is kept alone */
  readonly auditRepository: AuditRepository | undefined;
  /** where studies may be sent on to, by rules; undefined: nowhere */
  readonly routing: Routing | undefined;
  /** origins of other viewers that may read answers */
  readonly corsOrigins: readonly string[];
  /** that open the archive for the patient on their screens (SMART App Launch), as public clients: a secret would stand in the environment */
  readonly recordSystems: readonly RecordSystemRow[];
  /** concurrent executions that the object queue may take, so that reading is never starved: 2 to 1,000 */
  readonly ingestConcurrency: number;
  /** sets the role by which API Gateway writes logs, one of the whole account in the region; without one it refuses the stage */
  readonly apiLogRole: boolean;
  /** the functions answer whole instead of streaming; for engines without response streaming only */
  readonly bufferedResponses: boolean;
  /** the service for large bodies; undefined: the functions alone */
  readonly fargate: Fargate | undefined;
}

export interface HealthImaging {
  /** whose metadata of what is placed there are answered first; the other's, where those cannot be read */
  readonly metadata: 'archive' | 'health-imaging';
}

export type Kind = 'dev' | 'prod';

export interface AuditRepository {
  /** must be reachable from AWS: the function has no network of its own */
  readonly host: string;
  readonly port: number;
  /** secret of Secrets Manager: JSON of `ca`, `cert` and `key` in PEM; undefined: no client certificate, authorities that Node trusts */
  readonly secretArn: string | undefined;
}

export interface Routing {
  /** `[http://][*.]host[:port]` */
  readonly hosts: readonly string[];
  /** addresses and networks beside the public internet; the function has no network of its own, so they must be reachable from AWS */
  readonly networks: readonly string[];
  /** secret of Secrets Manager with the credentials that are shown there (docs/routing.md) */
  readonly credentialsSecretArn: string | undefined;
}

export interface Domain {
  readonly name: string;
  /** of AWS Certificate Manager in us-east-1, as CloudFront demands */
  readonly certificateArn: string;
  /** of Route 53; undefined: the record is made by hand */
  readonly hostedZoneId: string | undefined;
}

/** As adapters/smart reads it. */
export interface RecordSystemRow {
  readonly issuer: string;
  readonly clientId: string;
  readonly tenant: string;
  readonly scopes: string | undefined;
  readonly patientIdentifierSystem: string | undefined;
  readonly signIn: readonly string[];
}

export interface Issuer {
  readonly url: string;
  readonly audience: string;
  /** client (authorization code with PKCE) that people sign in by; undefined: they bring tokens from elsewhere */
  readonly clientId: string | undefined;
  /** secret of Secrets Manager with the secret or private key of that client; undefined: it is a public one */
  readonly clientSecretArn: string | undefined;
  /** what is asked for at sign-in, separated by spaces; undefined: what every issuer has */
  readonly scopes: string | undefined;
  /** where the issuer does not tell by discovery */
  readonly logoutUrl: string | undefined;
  /** claims that hold roles and tenant, and what the issuer calls our roles, as the functions' environment takes them */
  readonly rolesClaim: string | undefined;
  readonly roles: string | undefined;
  readonly tenantClaim: string | undefined;
}

export interface Retention {
  /** compliance cannot be undone by anybody before the days are over */
  readonly objectLock: 'none' | 'governance' | 'compliance';
  /** of new objects, in days; 0 without lock */
  readonly objectLockDays: number;
  /** of overwritten and deleted versions, in days */
  readonly noncurrentDays: number;
  readonly logDays: LogDays;
  /** of point-in-time recovery of the index, in days: 1 to 35 */
  readonly indexRecoveryDays: number;
  /** stacks may be deleted together with what they hold */
  readonly deletable: boolean;
}

export interface Tier {
  /** value of the object tag `nephos-tier`; `default`: every object. S3 itself leaves objects below 128 KiB where they are */
  readonly policy: string;
  readonly steps: readonly TierStep[];
}
/** From which day on a nightly run tags the objects of a study with a policy of `tiers`. */
export interface TieringStep {
  readonly policy: string;
  /** days since the study was last stored into or read */
  readonly idleDays: number;
  /** days since StudyDate (0) */
  readonly studyAgeDays: number;
}
export interface TierStep {
  readonly storageClass: StorageClassName;
  readonly afterDays: number;
}
export type StorageClassName = 'STANDARD_IA' | 'INTELLIGENT_TIERING' | 'GLACIER_IR' | 'DEEP_ARCHIVE';

export interface Firewall {
  /** requests of one address in five minutes: 100 to 2,000,000,000 */
  readonly requestsPerFiveMinutes: number;
}

export interface Rates {
  readonly requestsPerSecond: number;
  readonly bytesPerSecond: number;
  /** tokens that are not valid, of one address */
  readonly failuresPerMinute: number;
}

export interface Backup {
  readonly vaultLockDays: number;
  readonly compliance: boolean;
}

/** The optional service on Fargate, in the first region. */
export interface Fargate {
  /** the image of functions/fargate/Dockerfile in this account's registry (ECR) in the first region: `repository:tag` */
  readonly image: string;
  /** 0: nothing runs, and its requests go to the functions again */
  readonly tasks: number;
  /** name of the load balancer, by which CloudFront checks its certificate; it need not resolve */
  readonly name: string;
  /** of AWS Certificate Manager in the first region */
  readonly certificateArn: string;
  /** of com.amazonaws.global.cloudfront.origin-facing in the first region: `pl-…` */
  readonly cloudFrontPrefixList: string;
  /** units of 1/1024 vCPU */
  readonly cpu: number;
  readonly memoryMiB: number;
}

export const LOG_DAYS = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 3653,
] as const;
export type LogDays = (typeof LOG_DAYS)[number];

/** The context is wrong: the message is all a person needs. */
export class SettingsError extends Error {}
