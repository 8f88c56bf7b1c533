import { describe, expect, test } from 'vitest';
import { FUNCTIONS } from '#lambda/functions.ts';
import { KEPT, PROD, type Resource, type Synthesized, synthesize } from '../synth.ts';

let made: Synthesized | undefined;
const deployment = (): Synthesized => {
  made ??= synthesize({ ...PROD, moreTenants: ['north'], tenantKeys: ['north'] });
  return made;
};

interface Statement {
  readonly Action: string | readonly string[];
  readonly Resource: unknown;
}

describe('a tenant with a key of its own', () => {
  const keyOf = (stack: string, type: string): Resource =>
    deployment().one(stack, type, ({ Description }) => /objects of the tenant north/.test(String(Description)));

  test('has one that rotates, is kept, and has a replica in the second region', () => {
    const key = keyOf('Keys', 'AWS::KMS::Key');
    expect(key).toMatchObject({
      Properties: { EnableKeyRotation: true, MultiRegion: true },
      DeletionPolicy: KEPT,
    });
    const replica = keyOf('Keys2', 'AWS::KMS::ReplicaKey');
    expect(replica.DeletionPolicy).toBe(KEPT);
    const alias = deployment().one('Keys', 'AWS::KMS::Alias', ({ AliasName }) => AliasName.endsWith('-tenant-north'));
    expect(alias).toBeDefined();
  });

  test('has its objects replicated into the key of the other region; the others keep theirs', () => {
    const bucket = deployment().one('Storage', 'AWS::S3::Bucket', ({ BucketName }) =>
      JSON.stringify(BucketName).includes('-archive-'),
    );
    const rules = bucket.Properties.ReplicationConfiguration.Rules as {
      Id: string;
      Priority: number;
      Filter: { Prefix: string };
      Destination: { EncryptionConfiguration: { ReplicaKmsKeyID: unknown } };
    }[];
    expect(rules.map(({ Id, Filter }) => [Id, Filter.Prefix])).toEqual([
      ['all', ''],
      ['tenant-north', 'north/'],
    ]);
    // Of rules that both hold for an object, S3 takes the one of the higher priority.
    expect(rules[1]!.Priority).toBeGreaterThan(rules[0]!.Priority);
    const [all, north] = rules.map((rule) => JSON.stringify(rule.Destination.EncryptionConfiguration.ReplicaKmsKeyID));
    expect(north).not.toBe(all);
    expect(north).toContain('eu-central-1');
  });

  test('is known to the functions that store, and its key to all that read or write objects, in the name of S3 alone', () => {
    for (const stack of ['Api', 'Workers', 'Api2', 'Workers2'])
      for (const { Properties } of deployment().all(stack, 'AWS::Lambda::Function')) {
        const name = String(Properties.FunctionName).split('-').at(-1) as keyof typeof FUNCTIONS;
        const row = FUNCTIONS[name];
        if (row === undefined) continue;
        const variables = Properties.Environment.Variables as Record<string, unknown>;
        expect(variables.NEPHOS_TENANTS).toBe('main,north');
        const archive: readonly string[] = row.grants.archive;
        expect(JSON.stringify(variables.NEPHOS_TENANT_KEYS ?? '').includes('north='), name).toBe(
          archive.includes('write'),
        );
      }
    const policies = deployment().all('Api', 'AWS::IAM::Policy');
    const ofStore = policies.find(({ Properties }) => /store/i.test(JSON.stringify(Properties.Roles)))!;
    const statements = (ofStore.Properties.PolicyDocument as { Statement: (Statement & { Sid?: string })[] }).Statement;
    const objectKey = statements.find(({ Sid }) => Sid === 'ObjectKey')!;
    expect(objectKey.Resource).toHaveLength(2);
    expect(JSON.stringify(objectKey)).toContain('"kms:ViaService":"s3.eu-west-1.amazonaws.com"');
    const indexKey = statements.find(({ Sid }) => Sid === 'IndexKey')!;
    expect(Array.isArray(indexKey.Resource)).toBe(false);
  });
});
