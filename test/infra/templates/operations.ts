import { TagManager } from 'aws-cdk-lib';
import { CfnResource } from 'aws-cdk-lib/core';
import { describe, expect, test } from 'vitest';
import { ASSUMED } from '#core/costs/assumptions.ts';
import { FUNCTIONS } from '#lambda/functions.ts';
import { PROD, prodDeployment, type Resource, synthesize } from '../synth.ts';

const alarms = (stack = 'Operations'): Resource['Properties'][] =>
  prodDeployment()
    .all(stack, 'AWS::CloudWatch::Alarm')
    .map(({ Properties }) => Properties);

describe('what wakes somebody', () => {
  test.each(Object.keys(FUNCTIONS))('%s has alarms for its errors, and for finding no room to run in', (name) => {
    for (const kind of ['errors', 'throttled'])
      expect(alarms().map(({ AlarmName }) => AlarmName)).toContain(`nephos-prod-${name}-${kind}`);
  });

  test('every alarm leads to a person: by the topic, or by "patients affected"', () => {
    const [composite] = prodDeployment().all('Operations', 'AWS::CloudWatch::CompositeAlarm');
    const rule = JSON.stringify(composite!.Properties.AlarmRule);
    const entries = Object.entries(prodDeployment().stacks.get('Operations')!);
    for (const [id, { Type, Properties }] of entries)
      if (Type === 'AWS::CloudWatch::Alarm')
        expect((Properties.AlarmActions?.length ?? 0) > 0 || rule.includes(`"${id}"`), Properties.AlarmName).toBe(true);
  });

  test('each region is asked every half minute whether it answers, and somebody told when it does not', () => {
    const checks = prodDeployment().all('HealthChecks', 'AWS::Route53::HealthCheck');
    expect(checks.map(({ Properties }) => Properties.HealthCheckConfig)).toMatchObject([
      { Type: 'HTTPS', ResourcePath: '/live/healthz', RequestInterval: 30 },
      { Type: 'HTTPS', ResourcePath: '/live/healthz', RequestInterval: 30 },
    ]);
    for (const alarm of alarms('HealthChecks'))
      expect(alarm).toMatchObject({ TreatMissingData: 'breaching', AlarmActions: [expect.anything()] });
    expect(alarms('HealthChecks')).toHaveLength(2);
  });
});

test('the dashboard has traffic, latency by percentiles, backlog, errors, storage by tier and what costs', () => {
  const { Properties } = prodDeployment().one('Operations', 'AWS::CloudWatch::Dashboard');
  const text = JSON.stringify(Properties.DashboardBody);
  for (const shown of [
    'Count',
    '5XXError',
    'p50',
    'p95',
    'p99',
    'ApproximateNumberOfMessagesVisible',
    'Errors',
    'BucketSizeBytes',
    'IntelligentTieringIAStorage',
    'DeepArchiveStorage',
    'Invocations',
    'ConsumedReadCapacityUnits',
    'ConsumedWriteCapacityUnits',
  ])
    expect(text, shown).toContain(shown);
});

test('the name of the domain leads to the distribution, by both versions of IP, and pages are sent compressed', () => {
  const records = prodDeployment()
    .all('Front', 'AWS::Route53::RecordSet')
    .map(({ Properties }) => Properties);
  expect(records.map(({ Type, Name }) => [Type, Name])).toEqual([
    ['A', 'pacs.example.org.'],
    ['AAAA', 'pacs.example.org.'],
  ]);
  const { DefaultCacheBehavior } = prodDeployment().one('Front', 'AWS::CloudFront::Distribution').Properties
    .DistributionConfig;
  expect(DefaultCacheBehavior.Compress).toBe(true);
});

test('whatever can be tagged says to which deployment and part it belongs, for the bill', () => {
  const seen = new Set<string>();
  const untagged: string[] = [];
  synthesize(PROD, (app) => {
    app.node.addValidation({
      validate: () => {
        for (const construct of app.node.findAll()) {
          if (!CfnResource.isCfnResource(construct)) continue;
          const tags = TagManager.of(construct)?.tagValues();
          // A resource that CDK makes for itself has the tags of its stack.
          if (tags === undefined) continue;
          seen.add(construct.cfnResourceType);
          if (tags['nephos:stage'] !== 'prod' || tags['nephos:part'] === undefined) untagged.push(construct.node.path);
        }
        return [];
      },
    });
  });
  expect(seen.size).toBeGreaterThan(20);
  expect(untagged).toEqual([]);
});

describe('what the cost model supposes to stand there all month', () => {
  const regions = ['', '2'];

  test('alarms, paid by the metrics they look at; a composite one costs as much as five', () => {
    const metrics = alarms().reduce((sum, { Metrics }) => sum + (Metrics?.filter(isMetric).length ?? 1), 0);
    expect(metrics + 5 * prodDeployment().all('Operations', 'AWS::CloudWatch::CompositeAlarm').length).toBe(
      ASSUMED.alarms,
    );
  });

  test('rules of the firewalls', () => {
    for (const stack of ['FrontFirewall', 'ApiFirewall'])
      expect(prodDeployment().one(stack, 'AWS::WAFv2::WebACL').Properties.Rules).toHaveLength(ASSUMED.firewallRules);
  });

  test('queues that functions poll', () => {
    for (const region of regions)
      expect(prodDeployment().all(`Workers${region}`, 'AWS::Lambda::EventSourceMapping')).toHaveLength(ASSUMED.queues);
  });

  test('keys', () => {
    for (const region of regions) {
      const keys = [`Keys${region}`, `AuditKey${region}`].flatMap((stack) =>
        ['AWS::KMS::Key', 'AWS::KMS::ReplicaKey'].flatMap((type) => prodDeployment().all(stack, type)),
      );
      expect(keys).toHaveLength(ASSUMED.keys);
    }
  });

  test('runs of the sweeper', () => {
    expect(FUNCTIONS.sweep.triggers).toEqual([{ kind: 'schedule', schedule: 'rate(10 minutes)' }]);
    expect(ASSUMED.sweepsPerMonth).toBe((60 / 10) * 24 * 30);
  });
});

const isMetric = ({ MetricStat }: { MetricStat?: unknown }): boolean => MetricStat !== undefined;
