import { DEFAULT_RATES } from '#api/default-rates.ts';
import { readTiering, readTiers } from './read-tiers.ts';
import { SectionReader } from './section-reader.ts';
import {
  type AuditRepository,
  type Backup,
  type Domain,
  type Fargate,
  type Firewall,
  type HealthImaging,
  type Issuer,
  type Kind,
  LOG_DAYS,
  type LogDays,
  type Rates,
  type RecordSystemRow,
  type Retention,
  type Routing,
  type Settings,
  SettingsError,
} from './settings.ts';

/**
 * The context key `nephos`: an object, or its JSON as the command line gives it.
 * @throws SettingsError that names the key
 */
export function readSettings(context: unknown, environment: Readonly<Record<string, string | undefined>>): Settings {
  const raw = typeof context === 'string' ? parsed(context) : (context ?? {});
  const at = new SectionReader('nephos', raw);
  const kind = at.oneOf<Kind>('kind', ['dev', 'prod'], 'dev');
  const prod = kind === 'prod';
  const stage = at.text('stage', /^[a-z][a-z0-9]{0,11}$/, kind);
  const reserved = ['aws', 'amazon', 'cognito'].find((word) => stage.includes(word));
  if (reserved !== undefined)
    throw new SettingsError(`nephos.stage: Cognito refuses addresses of sign-in pages with ${reserved} in them`);
  const region = at.text('region', REGION, environment.CDK_DEFAULT_REGION ?? 'us-east-1');
  const secondRegion = at.optionalText('secondRegion', REGION);
  for (const one of [region, secondRegion])
    if (one !== undefined && OTHER_PARTITION.test(one))
      throw new SettingsError(
        `nephos.region: ${one} has no CloudFront, and its services other names: AWS GovCloud, China and the other partitions are not supported`,
      );
  if (secondRegion === region) throw new SettingsError('nephos.secondRegion: must differ from nephos.region');
  const tiers = readTiers(at.list('tiers'));
  const tenant = at.text('tenant', TENANT, 'main');
  const tenants = [...new Set([tenant, ...at.texts('moreTenants', TENANT)])];
  const domain = at.section('domain', readDomain);
  const settings: Settings = {
    kind,
    stage,
    region,
    secondRegion,
    writesTo: at.oneOf('writesTo', ['first', 'second'] as const, 'first'),
    account: at.optionalText('account', /^\d{12}$/) ?? environment.CDK_DEFAULT_ACCOUNT,
    tenant,
    tenants,
    tenantKeys: at.texts('tenantKeys', TENANT),
    domain,
    publicUrl: domain ? `https://${domain.name}` : at.optionalText('publicUrl', /^https?:\/\/[^/\s]+$/),
    issuer: at.section('issuer', readIssuer),
    retention: readRetention(at.reader('retention'), prod),
    tiers,
    tiering: readTiering(at.list('tiering'), tiers),
    replicationTimeControl: at.flag('replicationTimeControl', false),
    healthImaging: at.section('healthImaging', readHealthImaging),
    firewall: at.section('firewall', readFirewall, prod ? {} : undefined),
    rates: at.section('rates', readRates, {}),
    audit: at.flag('audit', prod),
    auditRepository: at.section('auditRepository', readAuditRepository),
    routing: at.section('routing', readRouting),
    backup: at.section('backup', readBackup, prod ? {} : undefined),
    alarmEmails: at.texts('alarmEmails', /^[^@\s]+@[^@\s]+$/),
    monthlyBudgetUsd: at.optionalNumber('monthlyBudgetUsd', 1, 10_000_000),
    costExport: at.flag('costExport', prod),
    corsOrigins: at.texts('corsOrigins', /^https?:\/\/[^/\s]+$/),
    recordSystems: readRecordSystems(at.list('recordSystems'), tenants),
    ingestConcurrency: at.number('ingestConcurrency', 2, 1_000, prod ? 50 : 5),
    apiLogRole: at.flag('apiLogRole', true),
    bufferedResponses: at.flag('bufferedResponses', false),
    fargate: at.section('fargate', readFargate),
  };
  at.end();
  checkTogether(settings);
  return settings;
}

/** What no key can tell by itself. @throws SettingsError */
function checkTogether(settings: Settings): void {
  const { region, secondRegion, tenants } = settings;
  const stranger = settings.tenantKeys.find((one) => !tenants.includes(one));
  if (stranger !== undefined)
    throw new SettingsError(`nephos.tenantKeys: ${stranger} is none of the tenants ${tenants.join(', ')}`);
  if (settings.replicationTimeControl && secondRegion === undefined)
    throw new SettingsError('nephos.replicationTimeControl: needs nephos.secondRegion');
  const { clientId, clientSecretArn } = settings.issuer ?? {};
  if (clientSecretArn !== undefined && clientId === undefined)
    throw new SettingsError('nephos.issuer.clientSecretArn: needs nephos.issuer.clientId');
  if (clientSecretArn !== undefined && clientSecretArn.split(':')[3] !== region)
    throw new SettingsError(`nephos.issuer.clientSecretArn: must be of ${region}; a second region reads its replica`);
  if (settings.writesTo === 'second' && secondRegion === undefined)
    throw new SettingsError('nephos.writesTo: needs nephos.secondRegion');
  if (settings.healthImaging && !HEALTH_IMAGING_REGIONS.has(region)) {
    const regions = [...HEALTH_IMAGING_REGIONS].join(', ');
    throw new SettingsError(`nephos.healthImaging: AWS HealthImaging is in ${regions} only, not in ${region}`);
  }
  const bytes = variableBytes(settings);
  if (bytes > VARIABLE_BYTES)
    throw new SettingsError(
      `nephos: the functions take 4 KB of variables, and tenants, tenantKeys, recordSystems, routing, corsOrigins and issuer together would take ${bytes} bytes of the ${VARIABLE_BYTES} that are left`,
    );
}

/** What is left of Lambda's 4,096 bytes beside names of queues, buckets and variables (test/infra/on-aws.test.ts). */
const VARIABLE_BYTES = 2_300;
/** `arn:aws:kms:ap-southeast-4:123456789012:key/mrk-` and 32 digits, with `=` and `,` */
const KEY_BYTES = 85;

/** Bytes of what has no fixed length in a function's variables (infra/environment.ts). */
function variableBytes({
  tenants,
  tenantKeys,
  recordSystems,
  routing,
  corsOrigins,
  issuer,
  tiering,
}: Settings): number {
  const texts = [...tenants, ...corsOrigins, ...(routing?.hosts ?? []), ...(routing?.networks ?? [])];
  const others = Object.values(issuer ?? {}).filter((value) => value !== undefined);
  return (
    [...texts, ...others].reduce((sum, text) => sum + text.length + 1, 0) +
    tenantKeys.reduce((sum, tenant) => sum + tenant.length + KEY_BYTES, 0) +
    (recordSystems.length > 0 ? JSON.stringify(recordSystems).length : 0) +
    tiering.reduce((sum, { policy }) => sum + policy.length + 14, 0)
  );
}

const TENANT = /^[a-z0-9][a-z0-9-]{0,31}$/;
/** GovCloud, China, the isolated regions, the European Sovereign Cloud: partitions of their own */
const OTHER_PARTITION = /^(us-gov|cn|us-iso[a-z]?|eu-isoe|eusc)-/;
const REGION = /^[a-z]{2,4}(-[a-z]+)+-\d$/;
const HEALTH_IMAGING_REGIONS = new Set(['us-east-1', 'us-west-2', 'eu-west-1', 'eu-west-2', 'ap-southeast-2']);

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new SettingsError('nephos: the context is no JSON');
  }
}

const readDomain = (at: SectionReader): Domain => ({
  name: at.text('name', /^([a-z0-9-]+\.)+[a-z]{2,}$/),
  certificateArn: at.text('certificateArn', /^arn:aws[\w-]*:acm:us-east-1:\d{12}:certificate\/[\w-]+$/),
  hostedZoneId: at.optionalText('hostedZoneId', /^Z[A-Z0-9]+$/),
});

const SECRET_ARN = /^arn:aws[\w-]*:secretsmanager:[\w-]+:\d{12}:secret:[\w/+=.@-]+$/;

const readAuditRepository = (at: SectionReader): AuditRepository => ({
  host: at.text('host', /^([A-Za-z0-9-]+\.)+[A-Za-z0-9-]+$/),
  port: at.number('port', 1, 65_535, 6514),
  secretArn: at.optionalText('secretArn', SECRET_ARN),
});

const readRouting = (at: SectionReader): Routing => ({
  hosts: at.texts('hosts', /^(https?:\/\/)?(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?$/),
  networks: at.texts('networks', /^[0-9a-fA-F:.]+(\/\d{1,3})?$/),
  credentialsSecretArn: at.optionalText('credentialsSecretArn', SECRET_ARN),
});

const readIssuer = (at: SectionReader): Issuer => ({
  url: at.text('url', /^https:\/\/[^\s?#]+$/),
  audience: at.text('audience', /^\S{1,200}$/),
  clientId: at.optionalText('clientId', /^\S{1,200}$/),
  clientSecretArn: at.optionalText('clientSecretArn', SECRET_ARN),
  scopes: at.optionalText('scopes', /^\S+( \S+)*$/),
  logoutUrl: at.optionalText('logoutUrl', /^https:\/\/\S+$/),
  rolesClaim: at.optionalText('rolesClaim', /^\S{1,200}$/),
  roles: at.optionalText('roles', /^[^\s=]+=[A-Za-z+]+(,[^\s=]+=[A-Za-z+]+)*$/),
  tenantClaim: at.optionalText('tenantClaim', /^\S{1,200}$/),
});

function readRetention(at: SectionReader, prod: boolean): Retention {
  const objectLock = at.oneOf(
    'objectLock',
    ['none', 'governance', 'compliance'] as const,
    prod ? 'governance' : 'none',
  );
  const locked = objectLock !== 'none';
  const retention: Retention = {
    objectLock,
    objectLockDays: locked ? at.number('objectLockDays', 1, 36_500, 30) : 0,
    noncurrentDays: at.number('noncurrentDays', 1, 36_500, prod ? 90 : 1),
    logDays: readLogDays(at, prod ? 365 : 7),
    indexRecoveryDays: at.number('indexRecoveryDays', 1, 35, prod ? 35 : 1),
    deletable: at.flag('deletable', !prod),
  };
  if (retention.deletable && locked)
    throw new SettingsError(
      'nephos.retention: locked objects cannot be deletable; set objectLock to none or deletable to false',
    );
  at.end();
  return retention;
}

function readLogDays(at: SectionReader, fallback: LogDays): LogDays {
  const days = at.number('logDays', 1, 3_653, fallback);
  const found = LOG_DAYS.find((candidate) => candidate === days);
  if (found === undefined) throw new SettingsError(`nephos.retention.logDays: CloudWatch takes ${LOG_DAYS.join(', ')}`);
  return found;
}

function readRecordSystems(raw: readonly unknown[] = [], tenants: readonly string[]): readonly RecordSystemRow[] {
  return raw.map((one, index) => {
    const at = new SectionReader(`nephos.recordSystems[${index}]`, one);
    const row = {
      issuer: at.text('issuer', /^https:\/\/\S+$/),
      clientId: at.text('clientId', /^\S{1,200}$/),
      tenant: at.oneOf('tenant', tenants, tenants[0]),
      scopes: at.optionalText('scopes', /^\S+( \S+)*$/),
      patientIdentifierSystem: at.optionalText('patientIdentifierSystem', /^\S{1,500}$/),
      signIn: at.texts('signIn', /^[A-Za-z]+$/),
    };
    at.end();
    return row;
  });
}

const readFirewall = (at: SectionReader): Firewall => ({
  // A viewer asks for every slice: a study of 5,000 images within a minute is ordinary reading, and a hospital has one address.
  requestsPerFiveMinutes: at.number('requestsPerFiveMinutes', 100, 2_000_000_000, 100_000),
});
const readRates = (at: SectionReader): Rates => ({
  requestsPerSecond: at.number('requestsPerSecond', 1, 1_000_000, DEFAULT_RATES.requestsPerSecond),
  bytesPerSecond: at.number('bytesPerSecond', 65_536, 1_099_511_627_776, DEFAULT_RATES.bytesPerSecond),
  failuresPerMinute: at.number('failuresPerMinute', 1, 1_000_000, DEFAULT_RATES.failuresPerMinute),
});
const readHealthImaging = (at: SectionReader): HealthImaging => ({
  metadata: at.oneOf('metadata', ['archive', 'health-imaging'] as const, 'archive'),
});
/** GiB of memory that Fargate takes with so much of a processor: the least, the most, and in steps of */
const FARGATE_MEMORY: Readonly<Record<number, readonly [number, number, number]>> = {
  256: [1, 2, 1],
  512: [1, 4, 1],
  1024: [2, 8, 1],
  2048: [4, 16, 1],
  4096: [8, 30, 1],
  8192: [16, 60, 4],
  16384: [32, 120, 8],
};

function readFargate(at: SectionReader): Fargate {
  const fargate = readTask(at);
  const [least, most, step] = FARGATE_MEMORY[fargate.cpu] ?? [];
  const gib = fargate.memoryMiB / 1024;
  if (least === undefined || most === undefined || step === undefined)
    throw new SettingsError(`nephos.fargate.cpu: Fargate takes ${Object.keys(FARGATE_MEMORY).join(', ')}`);
  if (gib < least || gib > most || (gib - least) % step !== 0)
    throw new SettingsError(
      `nephos.fargate.memoryMiB: with ${fargate.cpu} of cpu Fargate takes ${least * 1024} to ${most * 1024} in steps of ${step * 1024}`,
    );
  return fargate;
}
const readTask = (at: SectionReader): Fargate => ({
  image: at.text('image', /^[a-z0-9][a-z0-9._/-]{1,255}:[\w.-]{1,128}$/),
  tasks: at.number('tasks', 0, 100, 1),
  name: at.text('name', /^([a-z0-9-]+\.)+[a-z]{2,}$/),
  certificateArn: at.text('certificateArn', /^arn:aws[\w-]*:acm:[\w-]+:\d{12}:certificate\/[\w-]+$/),
  cloudFrontPrefixList: at.text('cloudFrontPrefixList', /^pl-[0-9a-f]{8,17}$/),
  cpu: at.number('cpu', 256, 16_384, 1_024),
  memoryMiB: at.number('memoryMiB', 1_024, 122_880, 2_048),
});
const readBackup = (at: SectionReader): Backup => ({
  vaultLockDays: at.number('vaultLockDays', 1, 36_500, 35),
  compliance: at.flag('compliance', false),
});
