import { describe, expect, test } from 'vitest';
import { QUEUES, TABLE } from '#adapters/aws/schema.ts';
import { devDeployment, KEPT, prodDeployment, type Resource, type Synthesized } from '../synth.ts';

const bucket = (deployment: Synthesized, stack: string, kind: string): Resource =>
  deployment.one(stack, 'AWS::S3::Bucket', ({ BucketName }) => BucketName.includes(`-${kind}-`));
const statements = (deployment: Synthesized, stack: string, logicalId: string) =>
  deployment
    .all(stack, 'AWS::S3::BucketPolicy')
    .filter(({ Properties }) => JSON.stringify(Properties.Bucket).includes(logicalId))
    .flatMap(({ Properties }) => Properties.PolicyDocument.Statement);

describe.each([
  ['dev', devDeployment],
  ['prod', prodDeployment],
] as const)('every bucket of %s', (_, deployment) => {
  const buckets = () =>
    [...deployment().stacks].flatMap(([stack, resources]) =>
      Object.entries(resources)
        .filter(([, { Type }]) => Type === 'AWS::S3::Bucket')
        .map(([id, resource]) => ({ stack, id, ...resource })),
    );

  test('is closed to the public, owned by its account, versioned and encrypted, and takes no keys of customers', () => {
    expect(buckets().length).toBeGreaterThan(3);
    for (const { Properties } of buckets()) {
      expect(Properties).toMatchObject({
        PublicAccessBlockConfiguration: {
          BlockPublicAcls: true,
          BlockPublicPolicy: true,
          IgnorePublicAcls: true,
          RestrictPublicBuckets: true,
        },
        OwnershipControls: { Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] },
        VersioningConfiguration: { Status: 'Enabled' },
      });
      const [rule] = Properties.BucketEncryption.ServerSideEncryptionConfiguration;
      expect(rule.BlockedEncryptionTypes).toEqual({ EncryptionType: ['SSE-C'] });
    }
  });

  test('answers TLS 1.2 and newer only', () => {
    for (const { stack, id } of buckets()) {
      const denied = statements(deployment(), stack, id).filter(({ Effect }) => Effect === 'Deny');
      expect(denied).toContainEqual(
        expect.objectContaining({
          Principal: { AWS: '*' },
          Action: 's3:*',
          Condition: { Bool: { 'aws:SecureTransport': 'false' } },
        }),
      );
      expect(denied).toContainEqual(
        expect.objectContaining({ Condition: { NumericLessThan: { 's3:TlsVersion': 1.2 } } }),
      );
    }
  });
});

describe('the archive bucket', () => {
  test('is encrypted with the key of the deployment, by bucket keys', () => {
    for (const [deployment, stack] of [
      [devDeployment(), 'Storage'],
      [prodDeployment(), 'Storage'],
      [prodDeployment(), 'Storage2'],
    ] as const) {
      const [rule] = bucket(deployment, stack, 'archive').Properties.BucketEncryption.ServerSideEncryptionConfiguration;
      expect(rule).toMatchObject({
        BucketKeyEnabled: true,
        ServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' },
      });
      expect(JSON.stringify(rule.ServerSideEncryptionByDefault.KMSMasterKeyID)).toMatch(/Key/);
    }
  });

  test('of prod is locked and stays when its stack goes; of dev it goes', () => {
    const prod = bucket(prodDeployment(), 'Storage', 'archive');
    expect(prod).toMatchObject({ DeletionPolicy: KEPT, UpdateReplacePolicy: 'Retain' });
    expect(prod.Properties).toMatchObject({
      ObjectLockEnabled: true,
      ObjectLockConfiguration: { Rule: { DefaultRetention: { Mode: 'GOVERNANCE', Days: 30 } } },
    });
    const dev = bucket(devDeployment(), 'Storage', 'archive');
    expect(dev.DeletionPolicy).toBe('Delete');
    expect(dev.Properties.ObjectLockEnabled).toBeUndefined();
  });

  test('tells of objects that it moves and restores, to the queue of the worker', () => {
    const bucket = prodDeployment().one('Storage', 'AWS::S3::Bucket', ({ BucketName }) => /-archive-/.test(BucketName));
    expect(bucket.Properties.NotificationConfiguration).toEqual({
      EventBridgeConfiguration: { EventBridgeEnabled: true },
    });
    const { Properties } = prodDeployment().one('Queues', 'AWS::Events::Rule');
    expect(Properties.EventPattern.detail.bucket.name).toEqual([bucket.Properties.BucketName]);
    expect(Properties.EventPattern['detail-type']).toContain('Object Restore Completed');
    expect(JSON.stringify(Properties.Targets)).toMatch(/"moved[^d]*\w*"/);
  });

  test('moves objects by what happens to them: to an infrequent class on the 90th day, to Deep Archive by tag only', () => {
    const { Rules, TransitionDefaultMinimumObjectSize } = bucket(prodDeployment(), 'Storage', 'archive').Properties
      .LifecycleConfiguration;
    const rule = (id: string) => Rules.find(({ Id }: { Id: string }) => Id === id);
    expect(TransitionDefaultMinimumObjectSize).toBe('all_storage_classes_128K');
    expect(rule('tier-default')).toMatchObject({
      Status: 'Enabled',
      Transitions: [{ StorageClass: 'INTELLIGENT_TIERING', TransitionInDays: 60 }],
    });
    expect(rule('tier-default').TagFilters).toBeUndefined();
    expect(rule('tier-deep')).toMatchObject({
      TagFilters: [{ Key: 'nephos-tier', Value: 'deep' }],
      Transitions: [{ StorageClass: 'DEEP_ARCHIVE', TransitionInDays: 90 }],
    });
    expect(rule('old-versions')).toMatchObject({
      NoncurrentVersionExpiration: { NoncurrentDays: 90 },
      AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 },
    });
    // Nothing in the archive expires by age.
    for (const { ExpirationInDays, ExpirationDate } of Rules)
      expect([ExpirationInDays, ExpirationDate]).toEqual([undefined, undefined]);
  });

  test('is replicated to the second region within 15 minutes, encrypted with the key there, deletions excepted', () => {
    const [rule] = bucket(prodDeployment(), 'Storage', 'archive').Properties.ReplicationConfiguration.Rules;
    expect(rule).toMatchObject({
      Status: 'Enabled',
      DeleteMarkerReplication: { Status: 'Disabled' },
      SourceSelectionCriteria: { SseKmsEncryptedObjects: { Status: 'Enabled' } },
      Destination: { ReplicationTime: { Status: 'Enabled', Time: { Minutes: 15 } }, Metrics: { Status: 'Enabled' } },
    });
    expect(JSON.stringify(rule.Destination.Bucket)).toContain('nephos-prod-archive-123456789012-eu-central-1');
    expect(JSON.stringify(rule.Destination.EncryptionConfiguration)).toContain(':kms:eu-central-1:');
    expect(bucket(devDeployment(), 'Storage', 'archive').Properties.ReplicationConfiguration).toBeUndefined();
  });

  test('is listed every day for the reconciliation', () => {
    expect(bucket(prodDeployment(), 'Storage', 'archive').Properties.InventoryConfigurations).toMatchObject([
      { Enabled: true, ScheduleFrequency: 'Daily', Destination: { Format: 'CSV' } },
    ]);
  });
});

describe('the landing bucket', () => {
  test('tells the queue of what lands to be stored, and forgets it all after a week', () => {
    const { NotificationConfiguration, LifecycleConfiguration } = bucket(
      prodDeployment(),
      'Storage',
      'landing',
    ).Properties;
    expect(NotificationConfiguration.QueueConfigurations).toMatchObject([
      { Event: 's3:ObjectCreated:*', Filter: { S3Key: { Rules: [{ Name: 'prefix', Value: 'incoming/' }] } } },
    ]);
    expect(LifecycleConfiguration.Rules).toMatchObject([
      {
        ExpirationInDays: 7,
        AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 },
      },
      { Prefix: '_uploads/', NoncurrentVersionExpiration: { NoncurrentDays: 1 } },
      { Prefix: '_imaging/', NoncurrentVersionExpiration: { NoncurrentDays: 1 } },
      { Prefix: 'incoming/', NoncurrentVersionExpiration: { NoncurrentDays: 7 } },
    ]);
  });

  test('alone may send to that queue, and S3 alone for it', () => {
    const policy = prodDeployment().one('Queues', 'AWS::SQS::QueuePolicy', ({ PolicyDocument }) =>
      JSON.stringify(PolicyDocument).includes('ObjectsThatLand'),
    );
    const [allowed] = policy.Properties.PolicyDocument.Statement.filter(
      ({ Effect }: { Effect: string }) => Effect === 'Allow',
    );
    expect(allowed).toMatchObject({
      Principal: { Service: 's3.amazonaws.com' },
      Action: 'sqs:SendMessage',
      Condition: { StringEquals: { 'aws:SourceAccount': '123456789012' } },
    });
    expect(JSON.stringify(allowed.Condition)).toContain('nephos-prod-landing-123456789012-eu-west-1');
  });
});

describe('the index', () => {
  const table = (deployment: Synthesized) => deployment.one('Index', 'AWS::DynamoDB::GlobalTable').Properties;

  test('has the keys that the adapter writes', () => {
    expect(table(devDeployment()).KeySchema).toEqual([
      { AttributeName: TABLE.partitionKey, KeyType: 'HASH' },
      { AttributeName: TABLE.sortKey, KeyType: 'RANGE' },
    ]);
    expect(table(devDeployment()).BillingMode).toBe('PAY_PER_REQUEST');
  });

  test('of prod can be had back from any second of 35 days, cannot be deleted, and has a replica with the key there', () => {
    const { Replicas, SSESpecification } = table(prodDeployment());
    expect(SSESpecification).toMatchObject({ SSEEnabled: true, SSEType: 'KMS' });
    expect(Replicas.map(({ Region }: { Region: string }) => Region).sort()).toEqual(['eu-central-1', 'eu-west-1']);
    for (const replica of Replicas) {
      expect(replica).toMatchObject({
        DeletionProtectionEnabled: true,
        PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true, RecoveryPeriodInDays: 35 },
      });
      expect(JSON.stringify(replica.SSESpecification.KMSMasterKeyId)).toMatch(
        replica.Region === 'eu-central-1' ? /eu-central-1/ : /Key/,
      );
    }
    expect(prodDeployment().one('Index', 'AWS::DynamoDB::GlobalTable').DeletionPolicy).toBe(KEPT);
  });

  test('has the stream of a global table before it is one, as it cannot be given with the first replica; nothing in it expires', () => {
    for (const deployment of [devDeployment(), prodDeployment()])
      expect(table(deployment).StreamSpecification).toEqual({ StreamViewType: 'NEW_AND_OLD_IMAGES' });
    expect(table(devDeployment()).TimeToLiveSpecification).toBeUndefined();
  });
});

describe('the queues', () => {
  test.each(Object.entries(QUEUES))(
    '%s gives up to its dead letters',
    (name, { visibilitySeconds, maxReceiveCount }) => {
      const deployment = prodDeployment();
      const queue = deployment.one('Queues', 'AWS::SQS::Queue', ({ QueueName }) => QueueName === `nephos-prod-${name}`);
      expect(queue.Properties).toMatchObject({
        VisibilityTimeout: visibilitySeconds,
        RedrivePolicy: { maxReceiveCount },
        SqsManagedSseEnabled: true,
        MessageRetentionPeriod: 14 * 86_400,
      });
      const dead = queue.Properties.RedrivePolicy.deadLetterTargetArn['Fn::GetAtt'][0];
      expect(deployment.stacks.get('Queues')?.[dead]?.Properties.QueueName).toBe(`nephos-prod-${name}-dead`);
    },
  );
});

describe('the keys', () => {
  test('are one in two regions, rotated, and stay', () => {
    const prod = prodDeployment();
    expect(prod.one('Keys', 'AWS::KMS::Key')).toMatchObject({
      DeletionPolicy: KEPT,
      Properties: { MultiRegion: true, EnableKeyRotation: true },
    });
    expect(prod.one('Keys2', 'AWS::KMS::ReplicaKey').DeletionPolicy).toBe(KEPT);
  });
});

describe('who may sign in', () => {
  test('is told by the group, with a second factor, and groups are the roles of the archive', () => {
    const pool = prodDeployment().one('Identity', 'AWS::Cognito::UserPool').Properties;
    expect(pool).toMatchObject({
      AdminCreateUserConfig: { AllowAdminCreateUserOnly: true },
      MfaConfiguration: 'ON',
      DeletionProtection: 'ACTIVE',
    });
    const groups = prodDeployment().all('Identity', 'AWS::Cognito::UserPoolGroup');
    expect(groups.map(({ Properties }) => Properties.GroupName).sort()).toEqual([
      'admin',
      'auditor',
      'finance',
      'radiologist',
      'referrer',
      'researcher',
      'technologist',
      'viewer',
    ]);
  });

  test('comes by a code with PKCE, from and to the address of the archive alone, once that is known', () => {
    const client = prodDeployment().one('Identity', 'AWS::Cognito::UserPoolClient').Properties;
    expect(client).toMatchObject({
      AllowedOAuthFlows: ['code'],
      AllowedOAuthScopes: ['openid', 'profile'],
      CallbackURLs: ['https://pacs.example.org/api/session/callback'],
      LogoutURLs: ['https://pacs.example.org/'],
      GenerateSecret: false,
      SupportedIdentityProviders: ['COGNITO'],
    });
    // Whose studies somebody sees is written by who administers the pool, not by himself.
    expect(client.WriteAttributes).not.toContain('custom:tenant');
    const pages = prodDeployment().one('Identity', 'AWS::Cognito::UserPoolDomain').Properties;
    expect(pages.Domain).toBe('nephos-prod-123456789012');
    const { Variables } = prodDeployment().one(
      'Api',
      'AWS::Lambda::Function',
      ({ FunctionName }) => FunctionName === 'nephos-prod-admin',
    ).Properties.Environment;
    expect(Variables.NEPHOS_OIDC_CLIENT_ID).toEqual(Variables.NEPHOS_OIDC_AUDIENCE);
    expect(JSON.stringify(Variables.NEPHOS_OIDC_LOGOUT_URL)).toMatch(/amazoncognito\.com\/logout/);

    const unknown = devDeployment();
    expect(unknown.one('Identity', 'AWS::Cognito::UserPoolClient').Properties.AllowedOAuthFlows).toBeUndefined();
    expect(unknown.all('Identity', 'AWS::Cognito::UserPoolDomain')).toEqual([]);
  });
});
