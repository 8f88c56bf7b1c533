import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { FARGATE, PROD, prodDeployment, type Synthesized, synthesize } from './synth.ts';
import { remove, type Standing, update } from './updates.ts';

// A path has up to four deployments to synthesize.
vi.setConfig({ testTimeout: 900_000 });

const ONE = { kind: 'prod', region: 'eu-west-1', domain: PROD.domain };
const TWO = { ...ONE, secondRegion: 'eu-central-1' };
const made = new Map<string, Synthesized>();
const deployment = (context: object): Synthesized => {
  const key = JSON.stringify(context);
  if (!made.has(key)) made.set(key, synthesize(context));
  return made.get(key)!;
};
const NOTHING: Standing = new Map();
const page = (name: string): string => readFileSync(join(import.meta.dirname, `../../docs/${name}`), 'utf8');

describe('CloudFormation refuses to let go of what another stack still imports', () => {
  test.each([
    ['a second region, failed over to and back again', [ONE, TWO, { ...TWO, writesTo: 'second' }, TWO]],
    [
      'the service on Fargate, without tasks for a while, and taken away',
      [ONE, { ...ONE, fargate: FARGATE }, { ...ONE, fargate: { ...FARGATE, tasks: 0 } }, ONE],
    ],
    ['HealthImaging, and without again', [ONE, { ...ONE, healthImaging: true }, ONE]],
    [
      'firewall, trail, backups and cost data, off and on again',
      [ONE, { ...ONE, firewall: false, audit: false, backup: false, costExport: false }, ONE],
    ],
    ['an issuer of the clinic', [ONE, { ...ONE, issuer: { url: 'https://login.example.org', audience: 'pacs' } }]],
    ['a tenant with a key of its own', [TWO, { ...TWO, moreTenants: ['north'], tenantKeys: ['north'] }]],
  ] as const)('%s: one deployment of everything each', { timeout: 900_000 }, (_, contexts) => {
    let standing = NOTHING;
    for (const context of contexts) {
      const after = update(standing, deployment(context));
      expect(after.refused).toEqual([]);
      standing = after.standing;
    }
  });

  /** The stacks that a command of the page names, by their names behind `Nephos-STAGE-` or as they are. */
  const named = (text: string): string[] => text.trim().split(/\s+/);

  test('taking the key of a tenant away goes by the commands of the page, and not without', {
    timeout: 900_000,
  }, () => {
    const before = deployment({ ...TWO, moreTenants: ['north'], tenantKeys: ['north'] });
    const after = deployment(TWO);
    let { standing } = update(NOTHING, before);
    expect(update(standing, after).refused).not.toEqual([]);
    const section = page('deploy-aws.md').split('### Keys of tenants')[1]!.split('\n### ')[0]!;
    const commands = [...section.matchAll(/^npx cdk deploy --exclusively ([\w ]+?)\s*(#.*)?$/gm)];
    expect(commands.length).toBe(2);
    for (const [, stacks = ''] of commands) {
      const step = update(standing, after, named(stacks));
      expect(step.refused).toEqual([]);
      standing = step.standing;
    }
    expect(update(standing, after).refused).toEqual([]);
  });

  test('taking the second region away goes by the commands of the page, and not without', { timeout: 900_000 }, () => {
    const after = deployment(ONE);
    let { standing } = update(NOTHING, deployment(TWO));
    expect(update(standing, after).refused).not.toEqual([]);
    const section = page('regions.md').split('## Without the second region again')[1]!;
    const [, first = ''] = /^npx cdk deploy --exclusively ([\w ]+?)\s*(#.*)?$/m.exec(section) ?? [];
    const step = update(standing, after, named(first));
    expect(step.refused).toEqual([]);
    const [, stacks = ''] = /^for STACK in ([\w ]+); do$/m.exec(section) ?? [];
    const left = remove(step.standing, named(stacks));
    expect(left.refused).toEqual([]);
    standing = left.standing;
    expect([...standing.keys()].filter((stack) => stack.endsWith('2') || stack === 'HealthChecks')).toEqual([]);
    expect(update(standing, after).refused).toEqual([]);
  });
});

/** Types that hold what cannot be made again, and the properties that CloudFormation cannot change without another resource in its place. */
const HOLD_DATA: Readonly<Record<string, readonly string[]>> = {
  'AWS::S3::Bucket': ['BucketName'],
  'AWS::DynamoDB::GlobalTable': ['TableName', 'KeySchema', 'AttributeDefinitions'],
  'AWS::KMS::Key': ['MultiRegion', 'KeySpec', 'KeyUsage'],
  'AWS::KMS::ReplicaKey': [],
  'AWS::SQS::Queue': ['QueueName'],
  'AWS::Logs::LogGroup': ['LogGroupName'],
  'AWS::Cognito::UserPool': ['UsernameAttributes', 'UsernameConfiguration'],
  'AWS::Cognito::UserPoolClient': ['GenerateSecret'],
  'AWS::Backup::BackupVault': ['BackupVaultName'],
  'AWS::HealthImaging::Datastore': ['DatastoreName'],
  'AWS::CloudTrail::Trail': ['TrailName'],
};

test('an update puts no other resource in the place of one that holds data: ids and fixed properties are those of the version before', async () => {
  const found = Object.fromEntries(
    [...prodDeployment().stacks].flatMap(([stack, resources]) =>
      Object.entries(resources)
        .filter(([, { Type }]) => HOLD_DATA[Type] !== undefined)
        .map(([id, { Type, Properties }]) => {
          const fixed = HOLD_DATA[Type]!.map((name) => [name, Properties[name]]).filter(
            ([, value]) => value !== undefined,
          );
          return [`${stack}/${id}`, { Type, ...Object.fromEntries(fixed) }];
        }),
    ),
  );
  expect(Object.keys(found).length).toBeGreaterThan(60);
  // What is new may be written anew (vitest -u). What changes or goes would be another bucket, table or key: then there is something to be said to whoever updates.
  await expect(`${JSON.stringify(found, undefined, 2)}\n`).toMatchFileSnapshot('stateful-resources.json');
});
