import { describe, expect, test } from 'vitest';
import { FUNCTIONS, type FunctionName, type FunctionSpec } from '#lambda/functions.ts';
import { prodDeployment } from '../synth.ts';

interface Statement {
  readonly Sid?: string;
  readonly Effect: string;
  readonly Action: string | string[];
  readonly Resource: unknown;
}
const listOf = <T>(value: T | T[]): T[] => (Array.isArray(value) ? value : [value]);

const statementsOf = (name: FunctionName): Statement[] => {
  const deployment = prodDeployment();
  return ['Api', 'Workers'].flatMap((stack) =>
    deployment
      .all(stack, 'AWS::IAM::Policy')
      .filter(({ Properties }) => Properties.PolicyName.startsWith(`${name}role`))
      .flatMap(({ Properties }) => Properties.PolicyDocument.Statement),
  );
};
const actionsOf = (name: FunctionName, prefix: string): string[] =>
  statementsOf(name)
    .flatMap(({ Action }) => listOf(Action))
    .filter((action) => action.startsWith(prefix))
    .sort();

describe('the roles', () => {
  const names = Object.keys(FUNCTIONS) as FunctionName[];

  test.each(names)('%s: no action with a wildcard; everything in the account names its resource', (name) => {
    const statements = statementsOf(name);
    expect(statements.length).toBeGreaterThan(1);
    for (const { Action, Resource, Effect } of statements) {
      expect(Effect).toBe('Allow');
      const actions = listOf(Action);
      expect(actions.filter((action) => action.includes('*'))).toEqual([]);
      if (listOf(Resource).includes('*')) expect(actions.every((action) => action.startsWith('xray:'))).toBe(true);
    }
  });

  test('who reads cannot change, and who answers searches sees no object', () => {
    for (const name of ['search', 'retrieve', 'render', 'authorizer', 'reconcile'] as const) {
      expect(actionsOf(name, 'dynamodb:')).toEqual(['dynamodb:BatchGetItem', 'dynamodb:GetItem', 'dynamodb:Query']);
      expect(actionsOf(name, 's3:').filter((action) => /Put|Delete/.test(action))).toEqual([]);
      expect(actionsOf(name, 'kms:')).not.toContain('kms:GenerateDataKey');
    }
    expect(actionsOf('search', 's3:')).toEqual([]);
  });

  test('who writes the index only, or parts of it, sees no other', () => {
    expect(actionsOf('events', 's3:')).toEqual([]);
    expect(actionsOf('store', 'sqs:')).toContain('sqs:SendMessage');
  });

  test.each(names)('%s sends to the queues of its row alone', (name) => {
    const spec: FunctionSpec = FUNCTIONS[name];
    const sends = statementsOf(name)
      .filter(({ Sid }) => Sid === 'Send')
      .flatMap(({ Resource }) => listOf(Resource));
    expect(sends).toHaveLength(spec.grants.sends.length);
    for (const queue of spec.grants.sends) expect(JSON.stringify(sends)).toContain(queue.replaceAll('-', ''));
  });

  test('nobody may pass around the lock of objects, or see their old versions', () => {
    for (const name of names)
      for (const action of actionsOf(name, 's3:'))
        expect([
          's3:GetObject',
          's3:RestoreObject',
          's3:PutObject',
          's3:AbortMultipartUpload',
          's3:DeleteObject',
          's3:ListBucket',
        ]).toContain(action);
  });
});
