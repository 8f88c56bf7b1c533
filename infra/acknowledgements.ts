import { type App, Validations } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';
import { INVENTORY } from '#adapters/aws/schema.ts';
import { FUNCTIONS as ROWS } from '#lambda/functions.ts';
import { Names } from './names.ts';
import type { Settings } from './settings.ts';

/** A finding of the rule packs or of CDK that is as it should be, and why. */
export interface Acknowledgement {
  readonly id: string;
  /** constructs, by path, at and below which it is acknowledged */
  readonly where: RegExp;
  readonly reason: string;
}

const ROLES = /^(Api|Workers)2?\/\w+-role\/DefaultPolicy$/;
const STAGES = /^Api2?\/Http\/Api\/DeploymentStage\.live$/;
const FUNCTIONS = /^(Api|Workers)2?\/\w+$/;
const nag = (id: string, where: RegExp, reason: string): Acknowledgement => ({
  id: `${id.startsWith('HIPAA') ? 'HIPAA.Security' : 'AwsSolutions'}::${id}`,
  where,
  reason,
});

/** Of the optional service (stacks/service.ts). */
const SERVICE_FINDINGS: readonly Acknowledgement[] = [
  nag(
    'AwsSolutions-IAM5[Resource::*]',
    /^Service\/Task\/ExecutionRole\/DefaultPolicy$/,
    'The token of the registry has no resource to name; what it pulls has: the one repository.',
  ),
  nag(
    'AwsSolutions-ECS2',
    /^Service\/Task$/,
    'Names of table, buckets, queues and issuer, of which none is a secret: the role is what lets in.',
  ),
  ...['AwsSolutions-ELB2', 'HIPAA.Security-ELBLoggingEnabled'].map((id) =>
    nag(
      id,
      /^Service\/LoadBalancer$/,
      "Its access logs would hold queries, in which QIDO has patients' names. The service logs every request without them.",
    ),
  ),
  nag(
    'HIPAA.Security-VPCNoUnrestrictedRouteToIGW',
    /^Service\/Network\/natSubnet\d$/,
    'The way out of the NAT gateways, which are alone in these subnets; nothing else has a public address.',
  ),
  nag(
    'HIPAA.Security-VPCDefaultSecurityGroupClosed',
    /^Service\/Network$/,
    'Nothing is in the default group: load balancer and tasks have groups of their own.',
  ),
];

/** test/infra/nag.test.ts allows none besides, and none that nothing calls for. */
const acknowledgements = (
  objects: readonly string[],
  copied: readonly string[],
  groups: readonly string[],
  settings: Settings,
): readonly Acknowledgement[] => [
  // Roles. test/infra/grants.test.ts allows two kinds of wildcard: the objects of one bucket, and X-Ray, which has no resources.
  nag(
    'AwsSolutions-IAM5[Resource::*]',
    ROLES,
    'X-Ray has no resources to name. No other statement of a function has this wildcard (test/infra/grants.test.ts).',
  ),
  ...(settings.healthImaging
    ? [
        nag(
          `AwsSolutions-IAM5[Resource::${new Names(settings).stack('Imaging')}:ExportsOutputFnGetAttDatastoreDatastoreArnBA4E829D/imageset/*]`,
          ROLES,
          'The image sets of the one data store, whose names HealthImaging gives.',
        ),
      ]
    : []),
  ...groups.map((arn) =>
    nag(
      `AwsSolutions-IAM5[Resource::${arn}:*]`,
      /\/(\w+-role|ExecutionRole|IAMRole)\/DefaultPolicy$/,
      'The streams of one log group, whose names the service gives that writes them.',
    ),
  ),
  ...objects.map((pattern) =>
    nag(
      `AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:s3:::${pattern}]`,
      /\/DefaultPolicy$/,
      'The objects of one bucket, whose keys nobody knows beforehand.',
    ),
  ),
  ...['sweepD7957AFE', 'reconcileD5DE7DCB', 'tier909B795B', 'auditA48D740E'].map((logicalId) =>
    nag(
      `AwsSolutions-IAM5[Resource::<${logicalId}.Arn>:*]`,
      /\/SchedulerRoleForTarget-\w+\/DefaultPolicy$/,
      'Versions of the one function that the schedule calls; written by CDK.',
    ),
  ),
  ...[
    ['BackupRole', 'service-role/AWSBackupServiceRolePolicyForBackup'],
    ['BackupRole', 'AWSBackupServiceRolePolicyForS3Backup'],
    ['RestoreRole', 'service-role/AWSBackupServiceRolePolicyForRestores'],
  ].map(([role, policy]) =>
    nag(
      `AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/${policy}]`,
      new RegExp(`^Backup/${role}$`),
      'AWS Backup asks for its own managed policies.',
    ),
  ),
  nag(
    'HIPAA.Security-IAMNoInlinePolicy',
    /\/DefaultPolicy$/,
    'A policy of one role only, made and deleted with it: nothing else can come to have it.',
  ),

  // The REST API.
  nag(
    'AwsSolutions-APIG2',
    /^Api2?\/Http\/Api$/,
    'DICOMweb queries and bodies are checked by the archive, which knows their rules; API Gateway cannot.',
  ),
  nag(
    'AwsSolutions-APIG3',
    STAGES,
    'The firewall is in a stack of its own (ApiFirewall), on by default in prod; dev may be without.',
  ),
  nag(
    'AwsSolutions-APIG4',
    /^Api2?\/Http\/Api\/Default$/,
    'Public by intention: health, sessions, capabilities, and what no route names, which is answered 404. test/infra/api.test.ts lists them.',
  ),
  nag(
    'AwsSolutions-COG4',
    /^Api2?\/Http\/Api\/Default$/,
    'Any OIDC issuer may be named: a function verifies the tokens.',
  ),
  nag(
    'AwsSolutions-APIG6',
    STAGES,
    "Execution logs hold queries and bodies, which hold patients' names. Access logs without them are on.",
  ),
  nag(
    'HIPAA.Security-APIGWExecutionLoggingEnabled',
    STAGES,
    "Execution logs hold queries and bodies, which hold patients' names. Access logs without them are on.",
  ),
  nag('HIPAA.Security-APIGWCacheEnabledAndEncrypted', STAGES, 'Nothing is cached: answers belong to who asked.'),
  nag(
    'HIPAA.Security-APIGWSSLEnabled',
    STAGES,
    'A client certificate is shown to HTTP back ends; behind this API are functions, called with IAM.',
  ),

  nag(
    'AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs]',
    /^Api2?\/Http\/Api\/CloudWatchRole$/,
    "The one role of the account in this region by which API Gateway writes logs, whichever API they are of: AWS's own policy for it.",
  ),

  // Functions.
  nag(
    'HIPAA.Security-LambdaConcurrency',
    FUNCTIONS,
    'Queues are limited by maxConcurrency of their event sources; reserving would take from the rest of the account.',
  ),
  nag(
    'HIPAA.Security-LambdaDLQ',
    FUNCTIONS,
    'Called synchronously, or by queues with dead letters; those that schedules start have one.',
  ),
  nag(
    'HIPAA.Security-LambdaInsideVPC',
    FUNCTIONS,
    'They reach AWS services alone, by TLS and IAM; a VPC would add gateways and endpoints but no control.',
  ),

  // Queues, buckets, logs.
  nag('AwsSolutions-SQS3', /^Workers2?\/Missed$/, 'It is the queue for what failed.'),
  nag(
    'HIPAA.Security-S3BucketReplicationEnabled',
    /\/(Logs|Landing|Site|Trail|Costs)$|^Storage2\/Archive$/,
    'The archive is replicated. The rest is short-lived, can be made again, or is the copy.',
  ),
  nag(
    'HIPAA.Security-S3BucketReplicationEnabled',
    /^Storage\/Archive$/,
    'With one region there is nowhere to replicate to: versions and AWS Backup are what there is. See docs/regions.md.',
  ),
  nag(
    'HIPAA.Security-S3DefaultEncryptionKMS',
    /\/(Logs|Site|Costs)$/,
    "No patient data: S3's own key, which is the only one that log delivery and CloudFront without further grants can use.",
  ),
  nag('AwsSolutions-S1', /^Costs2?\/Costs$/, 'The bill, written and read by the billing services.'),
  nag(
    'HIPAA.Security-S3BucketLoggingEnabled',
    /^Costs2?\/Costs$/,
    'The bill, written and read by the billing services.',
  ),
  nag(
    'HIPAA.Security-CloudWatchLogGroupEncrypted',
    /^FrontLogs2?\/firewall$/,
    "In us-east-1, without queries, tokens and cookies: CloudWatch's own key.",
  ),
  nag(
    'HIPAA.Security-CloudTrailCloudWatchLogsEnabled',
    /^Audit\/ObjectTrail$/,
    'The trail is kept in its bucket, with digests; events of every object in CloudWatch would cost more than the objects.',
  ),
  nag(
    'HIPAA.Security-CloudWatchAlarmAction',
    /^Operations2?\/(api-|search-|retrieve-|authorizer-|store-|transactions-|ingest-(?!dead)|index-)/,
    'Part of the composite alarm "patients affected", which acts.',
  ),

  // CDK's own function that copies the site's files into their bucket.
  ...[
    'AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]',
    ...['GetBucket', 'GetObject', 'List', 'Abort', 'DeleteObject'].map(
      (action) => `AwsSolutions-IAM5[Action::s3:${action}*]`,
    ),
    ...copied.map((resource) => `AwsSolutions-IAM5[Resource::${resource}/*]`),
    'AwsSolutions-L1',
    'HIPAA.Security-LambdaConcurrency',
    'HIPAA.Security-LambdaDLQ',
    'HIPAA.Security-LambdaInsideVPC',
    'HIPAA.Security-CloudWatchLogGroupEncrypted',
  ].map((id) =>
    nag(
      id,
      /^SiteContent\/Custom::CDKBucketDeployment[^/]*$/,
      "CDK's own: from its assets to the site's bucket, at deployment only; no patient data.",
    ),
  ),

  ...(settings.fargate === undefined ? [] : SERVICE_FINDINGS),

  // Where nobody's images are.
  ...(settings.kind === 'dev'
    ? [
        nag('AwsSolutions-COG2', /^Identity\/Users$/, 'dev: a second factor may be used; in prod it must.'),
        nag(
          'AwsSolutions-COG8',
          /^Identity\/Users$/,
          'dev: without threat protection, which is paid by user; prod has it.',
        ),
      ]
    : []),
  ...(settings.firewall === undefined
    ? [
        nag(
          'AwsSolutions-CFR2',
          /^Front\/Distribution$/,
          'The deployment asks for no firewall; prod has one by default.',
        ),
      ]
    : []),

  // CloudFront.
  nag(
    'AwsSolutions-CFR1',
    /^Front\/Distribution$/,
    'Who reads from where is for the group to say; the firewall can be given countries.',
  ),
  nag(
    'AwsSolutions-CFR3',
    /^Front\/Distribution$/,
    "CloudFront's logs hold queries, in which QIDO has patients' names. The API's access logs hold every call without them.",
  ),
  nag(
    'AwsSolutions-CFR4',
    /^Front\/Distribution$/,
    "CloudFront's own name has its own certificate and policy. With a domain of the group TLS 1.2 is the least.",
  ),
  {
    id: 'Annotation::@aws-cdk/aws-cloudfront-origins:updateImportedBucketPolicyOac',
    where: /^Front\/Distribution$/,
    reason: "The bucket's own stack lets CloudFront read it (stacks/site.ts).",
  },
];

export function acknowledgeFindings(app: App, settings: Settings): void {
  const names = new Names({ stage: settings.stage, account: settings.account ?? '<AWS::AccountId>' });
  const regions = [settings.region, ...(settings.secondRegion === undefined ? [] : [settings.secondRegion])];
  const objects = regions.flatMap((region) => [
    `${names.bucket('archive', region)}/*`,
    `${names.bucket('landing', region)}/*`,
    `${names.bucket('landing', region)}/_imaging/*`,
    `${names.bucket('landing', region)}/incoming/*`,
    `${names.bucket('logs', region)}/${INVENTORY.prefix}/*`,
    // what search reads: metadata too long for the index; and the segments of every tenant's trail
    `${names.bucket('archive', region)}/*/*/*/*.json`,
    `${names.bucket('archive', region)}/*/audit/*`,
  ]);
  const account = settings.account ?? '<AWS::AccountId>';
  const copied = [
    `arn:aws:s3:::cdk-hnb659fds-assets-${account}-${settings.region}`,
    `${names.stack('Site')}:ExportsOutputFnGetAttSiteE53D7754ArnEE3E64EC`,
  ];
  const groups = regions.flatMap((region) =>
    [...Object.keys(ROWS), 'service', 'service-flow'].map(
      (of) => `arn:aws:logs:${region}:${account}:log-group:${names.logGroup(of)}`,
    ),
  );
  const constructs = app.node.findAll();
  for (const { id, where, reason } of acknowledgements(objects, copied, groups, settings)) {
    for (const construct of constructs) {
      if (where.test(construct.node.path) && !above(construct, where))
        Validations.of(construct).acknowledge({ id, reason });
    }
  }
}

/** Acknowledged at the outermost construct only: what is below has it from there. */
const above = (construct: IConstruct, where: RegExp): boolean =>
  construct.node.scopes.slice(0, -1).some((scope) => where.test(scope.node.path));
