import { describe, expect, test, vi } from 'vitest';
import { FUNCTIONS, type FunctionName, isInLoop } from '#lambda/functions.ts';
import {
  devDeployment,
  FARGATE,
  KEPT,
  PROD,
  prodDeployment,
  type Resource,
  type Synthesized,
  synthesize,
} from './synth.ts';

// The first test of a deployment waits for it to be synthesized.
vi.setConfig({ testTimeout: 600_000 });

// What AWS refuses and no emulator does: found by reading, each with the deployment that would have met it.

type Template = Readonly<Record<string, Resource>>;
const entries = (stacks: ReadonlyMap<string, Template>): [string, string, Resource][] =>
  [...stacks].flatMap(([stack, resources]) =>
    Object.entries(resources).map(([id, resource]): [string, string, Resource] => [stack, id, resource]),
  );

/** of types whose names AWS holds against each other; `everywhere`: in all regions together */
const NAMES: Readonly<Record<string, { readonly name: string; readonly longest: number; readonly everywhere?: true }>> =
  {
    'AWS::S3::Bucket': { name: 'BucketName', longest: 63, everywhere: true },
    'AWS::DynamoDB::GlobalTable': { name: 'TableName', longest: 255 },
    'AWS::Lambda::Function': { name: 'FunctionName', longest: 64 },
    'AWS::SNS::Topic': { name: 'TopicName', longest: 256 },
    'AWS::SQS::Queue': { name: 'QueueName', longest: 80 },
    'AWS::Logs::LogGroup': { name: 'LogGroupName', longest: 512 },
    'AWS::CloudWatch::Alarm': { name: 'AlarmName', longest: 255 },
    'AWS::CloudWatch::Dashboard': { name: 'DashboardName', longest: 255, everywhere: true },
    'AWS::KMS::Alias': { name: 'AliasName', longest: 256 },
    'AWS::WAFv2::WebACL': { name: 'Name', longest: 128 },
    'AWS::CloudFront::Function': { name: 'Name', longest: 64, everywhere: true },
    'AWS::Backup::BackupVault': { name: 'BackupVaultName', longest: 50 },
    'AWS::Cognito::UserPoolDomain': { name: 'Domain', longest: 63 },
  };

const LONG_TENANTS = Array.from(
  { length: 12 },
  (_, index) => `tenant-${String(index).padStart(2, '0')}-of-a-large-group`,
);
const LONGEST = {
  kind: 'prod',
  stage: 'abcdefghijkl',
  region: 'ap-southeast-4',
  secondRegion: 'ap-southeast-2',
  publicUrl: 'https://a-rather-long-name-of-an-archive.a-group-of-hospitals.example.org',
  moreTenants: LONG_TENANTS,
  tenantKeys: LONG_TENANTS,
};
const AT_HOME_IN_US_EAST_1 = {
  kind: 'prod',
  region: 'us-east-1',
  secondRegion: 'us-west-2',
  alarmEmails: ['a@example.org'],
};
let longest: Synthesized | undefined;
const longestDeployment = (): Synthesized => {
  longest ??= synthesize(LONGEST);
  return longest;
};

describe('names', () => {
  test.each([
    ['prod', prodDeployment],
    ['the longest names', longestDeployment],
    ['a first region that is also that of CloudFront', () => synthesize(AT_HOME_IN_US_EAST_1)],
  ] as const)('of %s are short enough, and no two resources have the same', { timeout: 600_000 }, (_, deployment) => {
    const taken = new Map<string, string>();
    const { stacks, regions } = deployment();
    let seen = 0;
    for (const [stack, id, { Type, Properties }] of entries(stacks)) {
      const { name, longest: limit = 0, everywhere } = NAMES[Type] ?? {};
      const value = name && Properties?.[name];
      if (typeof value !== 'string') continue;
      seen++;
      expect(value.length, value).toBeLessThanOrEqual(limit);
      const key = `${Type} ${everywhere ? '' : regions.get(stack)} ${value}`;
      expect(taken.get(key), `${key} of ${stack}/${id}`).toBeUndefined();
      taken.set(key, `${stack}/${id}`);
    }
    expect(seen).toBeGreaterThan(150);
  });
});

describe('a deployment that failed', () => {
  test('leaves nothing behind whose name the next one wants', () => {
    for (const [stack, id, { Type, Properties, DeletionPolicy }] of entries(prodDeployment().stacks)) {
      const { name } = NAMES[Type] ?? {};
      if (name && Properties?.[name] !== undefined)
        expect([KEPT, 'Delete', undefined], `${stack}/${id}`).toContain(DeletionPolicy);
    }
  });

  test('stacks that may be deleted at any time keep nothing whose name they want when they are made anew', () => {
    const stateful = new Set([
      'Keys',
      'Storage',
      'Index',
      'Queues',
      'Identity',
      'Audit',
      'Backup',
      'Logs',
      'AuditKey',
      'Costs',
      'Site',
    ]);
    for (const [stack, id, { Type, Properties, DeletionPolicy }] of entries(prodDeployment().stacks)) {
      const { name } = NAMES[Type] ?? {};
      if (stateful.has(stack.replace(/^Front(?=Logs)|2$/g, '')) || stack === 'Imaging') continue;
      if (name && Properties?.[name] !== undefined) expect(DeletionPolicy, `${stack}/${id}`).not.toBe(KEPT);
    }
  });

  test('dev goes with what its buckets hold, which CloudFormation alone would not delete; prod does not', () => {
    const emptied = (deployment: Synthesized) =>
      entries(deployment.stacks).filter(([, , { Type }]) => Type === 'Custom::S3AutoDeleteObjects').length;
    const buckets = entries(devDeployment().stacks).filter(([, , { Type }]) => Type === 'AWS::S3::Bucket').length;
    expect(emptied(devDeployment())).toBe(buckets);
    expect(emptied(prodDeployment())).toBe(0);
  });
});

describe('an empty account', () => {
  test('has no role by which API Gateway may write logs, without which a stage with access logs is refused', () => {
    for (const stack of ['Api', 'Api2']) {
      const role = prodDeployment().one(stack, 'AWS::ApiGateway::Account');
      const stage = prodDeployment().one(stack, 'AWS::ApiGateway::Stage');
      expect(role.DeletionPolicy, 'it is of all APIs of the account').toBe('Retain');
      const [id] = Object.entries(prodDeployment().stacks.get(stack)!).find(([, one]) => one === role)!;
      expect(stage.DependsOn).toContain(id);
    }
    expect(synthesize({ apiLogRole: false }).all('Api', 'AWS::ApiGateway::Account')).toEqual([]);
  });
});

describe('Lambda', () => {
  /** As long as what stands there when it is deployed: queue URLs, ids of keys, pools and data stores. */
  const lengthOf = (value: unknown): number => {
    if (typeof value === 'string') return value.length;
    if (typeof value !== 'object' || value === null) return String(value).length;
    const { 'Fn::Join': join, 'Fn::ImportValue': imported, Ref } = value as Record<string, unknown>;
    const known = { 'AWS::Partition': 3, 'AWS::AccountId': 12, 'AWS::Region': 14 }[Ref as string];
    if (known !== undefined) return known;
    if (Array.isArray(join)) return (join[1] as unknown[]).reduce<number>((sum, part) => sum + lengthOf(part), 0);
    if (typeof imported === 'string') return /Tenant|Key/.test(imported) ? 36 : 100;
    return 100;
  };

  test('takes 4 KB of variables: as many tenants as the settings take leave room', { timeout: 600_000 }, () => {
    for (const [stack, id, { Type, Properties }] of entries(longestDeployment().stacks)) {
      if (Type !== 'AWS::Lambda::Function' || Properties.FunctionName === undefined) continue;
      const bytes = Object.entries(Properties.Environment?.Variables ?? {}).reduce(
        (sum, [name, value]) => sum + name.length + lengthOf(value),
        0,
      );
      expect(bytes, `${stack}/${id}`).toBeLessThan(4_096);
    }
    expect(() =>
      synthesize({ ...LONGEST, tenantKeys: [...LONG_TENANTS, ...more], moreTenants: [...LONG_TENANTS, ...more] }),
    ).toThrow('the functions take 4 KB of variables');
  });
  const more = Array.from({ length: 30 }, (_, index) => `another-tenant-of-the-group-${index}`);

  test('takes policies of 10,240 characters a role, and templates 1 MB and 500 resources', { timeout: 600_000 }, () => {
    const of = new Map<string, number>();
    for (const [stack, resources] of longestDeployment().stacks) {
      expect(Object.keys(resources).length, stack).toBeLessThanOrEqual(450);
      expect(JSON.stringify(resources).length, stack).toBeLessThan(950_000);
      for (const { Type, Properties } of Object.values(resources)) {
        if (Type !== 'AWS::IAM::Policy') continue;
        const key = `${stack} ${JSON.stringify(Properties.Roles)}`;
        of.set(key, (of.get(key) ?? 0) + JSON.stringify(Properties.PolicyDocument).length);
      }
    }
    expect(of.size).toBeGreaterThan(20);
    for (const [role, characters] of of) expect(characters, role).toBeLessThan(10_240);
  });

  test('ends a chain of work after 16 rounds unless it is meant: all that work queues off are in one', () => {
    const names = Object.keys(FUNCTIONS) as FunctionName[];
    expect(names.filter(isInLoop)).toEqual(['ingest', 'worker', 'deidentify', 'route']);
    for (const [, , { Type, Properties }] of entries(prodDeployment().stacks)) {
      if (Type !== 'AWS::Lambda::Function' || Properties.FunctionName === undefined) continue;
      const name = Properties.FunctionName.replace('nephos-prod-', '') as FunctionName;
      expect(Properties.RecursiveLoop, name).toBe(isInLoop(name) ? 'Allow' : undefined);
    }
  });

  test('takes the events of schedules before it works at them: those that fail for good go where the alarm looks', () => {
    const scheduled = Object.entries(FUNCTIONS).filter(([, { triggers }]) =>
      triggers.some(({ kind }) => kind === 'schedule'),
    );
    expect(scheduled.length).toBeGreaterThan(3);
    const missed = Object.entries(prodDeployment().stacks.get('Workers')!).find(
      ([, { Properties }]) => Properties?.QueueName === 'nephos-prod-missed',
    )![0];
    for (const [name] of scheduled) {
      const { Properties } = prodDeployment().one(
        'Workers',
        'AWS::Lambda::Function',
        ({ FunctionName }) => FunctionName === `nephos-prod-${name}`,
      );
      expect(Properties.DeadLetterConfig).toEqual({ TargetArn: { 'Fn::GetAtt': [missed, 'Arn'] } });
    }
  });

  test('is not given a queue whose messages come back while it works', () => {
    for (const { triggers, timeoutSeconds } of Object.values(FUNCTIONS))
      for (const trigger of triggers)
        if (trigger.kind === 'queue') {
          const queue = prodDeployment().one(
            'Queues',
            'AWS::SQS::Queue',
            ({ QueueName }) => QueueName === `nephos-prod-${trigger.queue}`,
          );
          expect(queue.Properties.VisibilityTimeout).toBeGreaterThanOrEqual(timeoutSeconds);
        }
  });
});

test('CloudFront takes functions of 10 KB and policies of 1,783 characters a header', () => {
  for (const deployment of [prodDeployment(), longestDeployment()]) {
    for (const { Properties } of deployment.all('Front', 'AWS::CloudFront::Function'))
      expect(Properties.FunctionCode.length).toBeLessThan(10_240);
    for (const { Properties } of deployment.all('Front', 'AWS::CloudFront::ResponseHeadersPolicy')) {
      const policy = Properties.ResponseHeadersPolicyConfig.SecurityHeadersConfig.ContentSecurityPolicy;
      expect(policy?.ContentSecurityPolicy.length ?? 0).toBeLessThanOrEqual(1_783);
    }
  }
});

test('readers outside of Europe and North America have edges of CloudFront near them', () => {
  const priceClass = ({ one }: Synthesized) =>
    one('Front', 'AWS::CloudFront::Distribution').Properties.DistributionConfig.PriceClass;
  expect(priceClass(prodDeployment())).toBe('PriceClass_100');
  expect(priceClass(longestDeployment())).toBe('PriceClass_All');
});

describe('the firewall', () => {
  test('counts long paths, which lists of frames are, and takes no limit higher than the service does', () => {
    const rules = synthesize({ firewall: { requestsPerFiveMinutes: 2_000_000_000 } }).one(
      'ApiFirewall',
      'AWS::WAFv2::WebACL',
    ).Properties.Rules;
    expect(rules[0].Statement.RateBasedStatement.Limit).toBe(2_000_000_000);
    const counted = rules[1].Statement.ManagedRuleGroupStatement.RuleActionOverrides.map(
      ({ Name }: { Name: string }) => Name,
    );
    expect(counted).toContain('SizeRestrictions_URIPATH');
  });
});

test('Cognito puts the tenant into tokens only where the client may read it', () => {
  for (const deployment of [devDeployment(), longestDeployment()]) {
    const { ReadAttributes, WriteAttributes } = deployment.one('Identity', 'AWS::Cognito::UserPoolClient').Properties;
    expect(ReadAttributes).toContain('custom:tenant');
    expect(WriteAttributes).not.toContain('custom:tenant');
  }
});

test('HealthImaging has a key of one region: ids of multi-region keys are none that it takes', () => {
  const datastore = prodDeployment().one('Imaging', 'AWS::HealthImaging::Datastore');
  const key = prodDeployment().one('Imaging', 'AWS::KMS::Key');
  const [id] = Object.entries(prodDeployment().stacks.get('Imaging')!).find(([, one]) => one === key)!;
  expect(datastore.Properties.KmsKeyArn).toEqual({ 'Fn::GetAtt': [id, 'Arn'] });
  expect(key.Properties.MultiRegion).toBeUndefined();
  expect(JSON.stringify(key.Properties.KeyPolicy)).toContain('medical-imaging.amazonaws.com');
});

test('the service on Fargate is deployed with a task that Fargate has', () => {
  const context = { ...PROD, fargate: { ...FARGATE, cpu: 2_048, memoryMiB: 4_096 } };
  const { Properties } = synthesize(context).one('Service', 'AWS::ECS::TaskDefinition');
  expect([Properties.Cpu, Properties.Memory]).toEqual(['2048', '4096']);
});
