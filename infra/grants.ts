import type * as iam from 'aws-cdk-lib/aws-iam';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { INVENTORY, LANDING_BUCKET } from '#adapters/aws/schema.ts';
import type { BlobGrant, Grants } from '#lambda/functions.ts';
import type { IndexWrite } from '#lambda/index-grants.ts';

/** Where a function of one region finds what it may touch. */
export interface Resources {
  readonly tableArn: string;
  readonly archiveArn: string;
  readonly landingArn: string;
  /** of the bucket that holds the inventory, beside access logs */
  readonly inventoryArn: string;
  readonly keyArn: string;
  /** of tenants that have a key of their own */
  readonly tenantKeyArns: readonly string[];
  readonly region: string;
  /** HealthImaging, where the deployment has it */
  readonly imaging: { readonly datastoreArn: string; readonly importRoleArn: string } | undefined;
  readonly auditKeyArn: string;
  /** of the certificates for an audit repository, where there is one */
  readonly auditSecretArn: string | undefined;
  /** of the credentials that are shown to other archives, where there are any */
  readonly routingSecretArn: string | undefined;
  /** of what is shown to an issuer that wants more than a public client */
  readonly clientSecretArn: string | undefined;
  readonly queueArn: (name: Grants['sends'][number]) => string;
}

/** The calls that DynamoIndexTable makes (a transaction needs the rights of its operations, and those alone). */
const INDEX_READS = ['dynamodb:GetItem', 'dynamodb:BatchGetItem', 'dynamodb:Query'];
const INDEX_WRITES = {
  put: 'dynamodb:PutItem',
  add: 'dynamodb:UpdateItem',
  delete: 'dynamodb:DeleteItem',
  check: 'dynamodb:ConditionCheckItem',
  file: 'dynamodb:BatchWriteItem',
} as const satisfies Record<IndexWrite, string>;

/** The calls that S3BlobStore makes of objects. */
const OBJECT_ACTIONS = {
  read: ['s3:GetObject'],
  write: ['s3:PutObject', 's3:AbortMultipartUpload'],
  delete: ['s3:DeleteObject'],
  list: [],
  restore: ['s3:RestoreObject'],
  tier: ['s3:PutObjectTagging'],
  versions: [],
} as const satisfies Record<BlobGrant, readonly string[]>;

/** Of what senders have put into the landing bucket, and of nothing else: versions of the archive's objects are under lock. */
const LANDED_VERSION_ACTIONS = ['s3:GetObjectVersion', 's3:DeleteObjectVersion'];

/** S3 and DynamoDB ask KMS in the name of who calls them. An upload in parts is decrypted while it is put together. */
const OBJECT_KEY_ACTIONS = {
  read: ['kms:Decrypt'],
  write: ['kms:GenerateDataKey', 'kms:Decrypt'],
  delete: [],
  list: [],
  restore: [],
  tier: [],
  versions: ['kms:Decrypt'],
} as const satisfies Record<BlobGrant, readonly string[]>;
const INDEX_KEY_ACTIONS = [
  'kms:Decrypt',
  'kms:DescribeKey',
  'kms:Encrypt',
  'kms:ReEncryptFrom',
  'kms:ReEncryptTo',
  'kms:GenerateDataKey',
];

/**
 * Statements for what a function's row grants. Who reads may also list: without it S3 answers 403 instead of 404 for what is not
 * there, and an absent object would look like a fault.
 */
export function statementsFor(grants: Grants, resources: Resources): iam.PolicyStatement[] {
  const statements: iam.PolicyStatement[] = [];
  const allow = (sid: string, actions: readonly string[], where: string[]) => {
    if (actions.length > 0 && where.length > 0)
      statements.push(new PolicyStatement({ sid, actions: [...actions], resources: where }));
  };
  allow('Index', INDEX_READS, [resources.tableArn]);
  for (const { name, writes, partitions } of grants.index) {
    const conditions = { 'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': partitions } };
    statements.push(
      new PolicyStatement({
        sid: `Index${name}`,
        actions: writes.map((write) => INDEX_WRITES[write]),
        resources: [resources.tableArn],
        ...(partitions && { conditions }),
      }),
    );
  }
  for (const [sid, blobs, arn, keys = '*'] of [
    ['Archive', grants.archive, resources.archiveArn, grants.archiveKeys],
    ['Landing', grants.landing, resources.landingArn],
  ] as const) {
    allow(
      `${sid}Objects`,
      blobs.flatMap((grant) => OBJECT_ACTIONS[grant]),
      [`${arn}/${keys}`],
    );
    allow(`${sid}Keys`, blobs.some((grant) => grant === 'read' || grant === 'list') ? ['s3:ListBucket'] : [], [arn]);
  }
  if (grants.landing.includes('versions'))
    allow('LandedVersions', LANDED_VERSION_ACTIONS, [`${resources.landingArn}/${LANDING_BUCKET.incomingPrefix}*`]);
  const { imaging } = resources;
  if (imaging && (grants.imaging === 'frames' || grants.imaging === 'read'))
    allow('Frames', ['medical-imaging:GetImageFrame'], [`${imaging.datastoreArn}/imageset/*`]);
  if (imaging && grants.imaging === 'read')
    allow('Metadata', ['medical-imaging:GetImageSetMetadata'], [`${imaging.datastoreArn}/imageset/*`]);
  if (imaging && grants.imaging === 'import') {
    allow(
      'Import',
      ['medical-imaging:StartDICOMImportJob', 'medical-imaging:GetDICOMImportJob'],
      [imaging.datastoreArn],
    );
    const sets = ['GetImageSet', 'GetImageSetMetadata', 'DeleteImageSet'].map((action) => `medical-imaging:${action}`);
    allow('ImageSets', sets, [`${imaging.datastoreArn}/imageset/*`]);
    const staged = `${resources.landingArn}/${LANDING_BUCKET.imagingPrefix}*`;
    allow('Staged', ['s3:GetObject', 's3:PutObject', 's3:DeleteObject'], [staged]);
    allow('StagedKeys', ['s3:ListBucket'], [resources.landingArn]);
    const conditions = { StringEquals: { 'iam:PassedToService': 'medical-imaging.amazonaws.com' } };
    const resourcesOf = [imaging.importRoleArn];
    statements.push(
      new PolicyStatement({ sid: 'ImportAs', actions: ['iam:PassRole'], resources: resourcesOf, conditions }),
    );
  }
  if (grants.inventory) {
    allow('InventoryFiles', ['s3:GetObject'], [`${resources.inventoryArn}/${INVENTORY.prefix}/*`]);
    const conditions = { StringLike: { 's3:prefix': `${INVENTORY.prefix}/*` } };
    const actions = ['s3:ListBucket'];
    statements.push(
      new PolicyStatement({ sid: 'Inventory', actions, resources: [resources.inventoryArn], conditions }),
    );
  }
  if (grants.seals) {
    allow('Seal', ['kms:Sign', 'kms:GetPublicKey'], [resources.auditKeyArn]);
    if (resources.auditSecretArn !== undefined)
      allow('Certificates', ['secretsmanager:GetSecretValue'], [resources.auditSecretArn]);
  }
  if (grants.routes && resources.routingSecretArn !== undefined)
    allow('Credentials', ['secretsmanager:GetSecretValue'], [resources.routingSecretArn]);
  if (grants.signsIn && resources.clientSecretArn !== undefined)
    allow('ClientSecret', ['secretsmanager:GetSecretValue'], [resources.clientSecretArn]);
  allow('Send', ['sqs:SendMessage'], [...grants.sends].map(resources.queueArn));
  const via = (sid: string, service: string, actions: readonly string[], keyArns: readonly string[]) => {
    if (actions.length === 0) return;
    const conditions = { StringEquals: { 'kms:ViaService': `${service}.${resources.region}.amazonaws.com` } };
    statements.push(new PolicyStatement({ sid, actions: [...actions], resources: [...keyArns], conditions }));
  };
  const blobs = new Set([...grants.archive, ...grants.landing].flatMap((grant) => OBJECT_KEY_ACTIONS[grant]));
  via('ObjectKey', 's3', [...blobs], [resources.keyArn, ...(grants.archive.length > 0 ? resources.tenantKeyArns : [])]);
  via('IndexKey', 'dynamodb', INDEX_KEY_ACTIONS, [resources.keyArn]);
  return statements;
}
