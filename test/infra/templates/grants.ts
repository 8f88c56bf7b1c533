import { describe, expect, test } from 'vitest';
import { FUNCTIONS, type FunctionName, type FunctionSpec } from '#lambda/functions.ts';
import type { IndexGrant } from '#lambda/index-grants.ts';
import { isLike } from '#test/fixtures/iam-like.ts';
import { ACCOUNT, FARGATE, PROD, prodDeployment, synthesize } from '../synth.ts';

interface Statement {
  readonly Sid?: string;
  readonly Effect: string;
  readonly Action: string | string[];
  readonly Resource: unknown;
  readonly Condition?: object;
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

const INDEX_ACTIONS = {
  put: 'dynamodb:PutItem',
  add: 'dynamodb:UpdateItem',
  delete: 'dynamodb:DeleteItem',
  check: 'dynamodb:ConditionCheckItem',
  file: 'dynamodb:BatchWriteItem',
} as const;
/** Those that do things to studies: they write wherever that leads. */
const CHANGING: readonly FunctionName[] = ['store', 'transactions', 'admin', 'ingest', 'worker', 'deidentify', 'sweep'];

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

  test.each(names)('%s changes no more than its row grants', (name) => {
    const { grants }: FunctionSpec = FUNCTIONS[name];
    const reads = ['dynamodb:BatchGetItem', 'dynamodb:GetItem', 'dynamodb:Query'];
    const writes = grants.index.flatMap((grant) => grant.writes.map((write) => INDEX_ACTIONS[write]));
    expect(actionsOf(name, 'dynamodb:')).toEqual([...reads, ...writes].sort());
    const blobs = new Set([...grants.archive, ...grants.landing]);
    const objectActions = actionsOf(name, 's3:');
    expect(objectActions.includes('s3:PutObject')).toBe(blobs.has('write'));
    expect(objectActions.includes('s3:DeleteObject')).toBe(blobs.has('delete'));
    if (blobs.size === 0) expect(objectActions).toEqual([]);
  });

  test.each(names)(
    '%s writes to the partitions of its row alone, and only what changes studies writes everywhere',
    (name) => {
      const { grants }: FunctionSpec = FUNCTIONS[name];
      const statements = statementsOf(name).filter(({ Sid }) => Sid?.startsWith('Index') && Sid !== 'IndexKey');
      expect(statements.map(({ Sid }) => Sid)).toEqual(['Index', ...grants.index.map((grant) => `Index${grant.name}`)]);
      for (const { name: of, partitions } of grants.index) {
        const condition = statements.find(({ Sid }) => Sid === `Index${of}`)?.Condition;
        expect(condition).toEqual(
          partitions && { 'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': [...partitions] } },
        );
        for (const one of partitions ?? []) expect(one).toMatch(/^(\*\||_system\|)[\w*]/);
      }
      expect(grants.index.some(({ partitions }) => partitions === undefined)).toBe(CHANGING.includes(name));
    },
  );

  test('whoever only reads changes no instance and no account, and removes nothing; nobody but who reads a log files what it holds', () => {
    const written = (name: FunctionName, partition: string): boolean =>
      FUNCTIONS[name].grants.index.some(({ partitions }: IndexGrant) =>
        partitions?.some((one) => isLike(one, partition)),
      );
    const records = ['instances|1.2|1.3', 'metadata|1.2|1.3', 'sop|1.4', 'trash', 'users', 'tokens', 'audit\0pages'];
    for (const name of ['search', 'retrieve', 'render', 'events', 'authorizer'] as const) {
      for (const record of records) expect(written(name, `main|${record}`), `${name} ${record}`).toBe(false);
      // How soon a study can be had is noted by who reads it.
      expect(written(name, 'main|study|1.2'), name).toBe(name === 'retrieve' || name === 'render');
      expect(actionsOf(name, 'dynamodb:').includes('dynamodb:DeleteItem'), name).toBe(name === 'authorizer');
    }
    expect(names.filter((name) => actionsOf(name, 'dynamodb:').includes('dynamodb:BatchWriteItem'))).toEqual([
      'events',
      'admin',
      'route',
      'audit',
    ]);
  });

  test('the trail is sealed by who sees no object but its own', () => {
    const objects = statementsOf('audit').find(({ Sid }) => Sid === 'ArchiveObjects');
    expect(JSON.stringify(objects?.Resource)).toMatch(/-archive-.*\/\*\/audit\/\*/);
  });

  test('searches see no object but long metadata, and nobody who only reads may write one', () => {
    const objects = statementsOf('search').find(({ Sid }) => Sid === 'ArchiveObjects');
    expect(objects?.Action).toBe('s3:GetObject');
    expect(JSON.stringify(objects?.Resource)).toMatch(/-archive-.*\/\*\/\*\/\*\/\*\.json/);
    for (const name of ['retrieve', 'render'] as const)
      expect(actionsOf(name, 's3:')).toEqual(['s3:GetObject', 's3:ListBucket']);
  });

  test.each(names)('%s sends to the queues of its row alone', (name) => {
    const spec: FunctionSpec = FUNCTIONS[name];
    const sends = statementsOf(name)
      .filter(({ Sid }) => Sid === 'Send')
      .flatMap(({ Resource }) => listOf(Resource));
    expect(sends).toHaveLength(spec.grants.sends.length);
    for (const queue of spec.grants.sends) expect(JSON.stringify(sends)).toContain(queue.replaceAll('-', ''));
  });

  test('nobody may pass around the lock of objects, or see their old versions; but for what senders have put where it is taken in', () => {
    const ofVersions = names.flatMap((name) =>
      statementsOf(name)
        .filter(({ Action }) => listOf(Action).some((action) => /^s3:.*Version/.test(action)))
        .map(({ Action, Resource }) => ({ name, actions: listOf(Action), resource: JSON.stringify(Resource) })),
    );
    expect(ofVersions).toEqual([
      {
        name: 'ingest',
        actions: ['s3:DeleteObjectVersion', 's3:GetObjectVersion'],
        resource: expect.stringMatching(/landing[^,]*\/incoming\/\*"/),
      },
    ]);
    for (const name of names)
      for (const action of actionsOf(name, 's3:').filter((one) => !ofVersions[0]?.actions.includes(one)))
        expect([
          's3:GetObject',
          's3:RestoreObject',
          's3:PutObject',
          's3:AbortMultipartUpload',
          's3:DeleteObject',
          's3:PutObjectTagging',
          's3:ListBucket',
        ]).toContain(action);
  });

  test('HealthImaging: readers have frames, and who answers metadata has those, the worker imports, as one role and by one prefix; nobody else, and no other region', () => {
    const imaging = (name: FunctionName) => actionsOf(name, 'medical-imaging:');
    expect(imaging('retrieve')).toEqual(['medical-imaging:GetImageFrame', 'medical-imaging:GetImageSetMetadata']);
    expect(imaging('render')).toEqual(['medical-imaging:GetImageFrame']);
    expect(imaging('worker')).toEqual([
      'medical-imaging:DeleteImageSet',
      'medical-imaging:GetDICOMImportJob',
      'medical-imaging:GetImageSet',
      'medical-imaging:GetImageSetMetadata',
      'medical-imaging:StartDICOMImportJob',
    ]);
    for (const name of names)
      if (!['retrieve', 'render', 'worker'].includes(name)) expect(imaging(name), name).toEqual([]);
    const pass = names.flatMap(statementsOf).filter(({ Action }) => listOf(Action).includes('iam:PassRole'));
    expect(pass).toHaveLength(1);
    expect(pass[0]).toMatchObject({
      Condition: { StringEquals: { 'iam:PassedToService': 'medical-imaging.amazonaws.com' } },
    });
    const staged = statementsOf('worker').find(({ Sid }) => Sid === 'Staged');
    expect(JSON.stringify(staged?.Resource)).toMatch(/-landing-.*\/_imaging\/\*/);
    const told = prodDeployment()
      .all('Api', 'AWS::Lambda::Function')
      .filter(({ Properties }) => Properties.Environment?.Variables?.NEPHOS_IMAGING_METADATA === 'health-imaging');
    expect(told.map(({ Properties }) => Properties.FunctionName)).toEqual(['nephos-prod-retrieve']);
    const second = prodDeployment().all('Workers2', 'AWS::IAM::Policy');
    expect(JSON.stringify(second)).not.toContain('medical-imaging');
  });

  test('credentials for other archives: the function that sends there reads the one secret; every function knows the hosts, and it alone the secret', () => {
    const statements = names.flatMap((name) => statementsOf(name).map((statement) => ({ name, ...statement })));
    const reading = statements.filter(({ Action }) => listOf(Action).includes('secretsmanager:GetSecretValue'));
    const { routing } = prodDeployment().settings;
    expect(reading.map(({ name, Resource }) => ({ name, Resource }))).toEqual([
      { name: 'route', Resource: routing?.credentialsSecretArn },
    ]);
    expect(actionsOf('route', 's3:')).toEqual(['s3:GetObject', 's3:ListBucket']);
    for (const name of names) {
      const stack = FUNCTIONS[name].triggers.some(({ kind }) => kind === 'queue' || kind === 'schedule')
        ? 'Workers'
        : 'Api';
      const { Environment } = prodDeployment().one(
        stack,
        'AWS::Lambda::Function',
        ({ FunctionName }) => FunctionName?.endsWith(`-${name}`) ?? false,
      ).Properties;
      const { NEPHOS_ROUTING_HOSTS, NEPHOS_ROUTING_SECRET } = Environment.Variables;
      expect(NEPHOS_ROUTING_HOSTS, name).toBe('pacs.example,*.reading.example:8443');
      expect(NEPHOS_ROUTING_SECRET, name).toBe(name === 'route' ? routing?.credentialsSecretArn : undefined);
    }
  });

  test('what is shown to the issuer: functions that sign people in read the one secret, in each region its own copy; nothing else knows of it', () => {
    const arn = (region: string) => `arn:aws:secretsmanager:${region}:${ACCOUNT}:secret:nephos-issuer-AbCdEf`;
    const issuer = { url: 'https://login.example.org', audience: 'pacs', clientId: 'console', scopes: 'openid groups' };
    const deployment = synthesize({
      ...PROD,
      fargate: FARGATE,
      issuer: { ...issuer, clientSecretArn: arn('eu-west-1'), logoutUrl: 'https://login.example.org/out' },
    });
    for (const [suffix, region] of [
      ['', 'eu-west-1'],
      ['2', 'eu-central-1'],
    ] as const)
      for (const name of names) {
        const signsIn = name === 'admin' || name === 'authorizer';
        const stack = `${FUNCTIONS[name].triggers.some(({ kind }) => kind === 'queue' || kind === 'schedule') ? 'Workers' : 'Api'}${suffix}`;
        const reading = deployment
          .all(stack, 'AWS::IAM::Policy')
          .filter(({ Properties }) => Properties.PolicyName.startsWith(`${name}role`))
          .flatMap(({ Properties }): Statement[] => Properties.PolicyDocument.Statement)
          .filter(({ Sid }) => Sid === 'ClientSecret');
        expect(reading, name).toEqual(
          signsIn
            ? [
                {
                  ...{ Sid: 'ClientSecret', Effect: 'Allow', Action: 'secretsmanager:GetSecretValue' },
                  Resource: arn(region),
                },
              ]
            : [],
        );
        const { Variables } = deployment.one(
          stack,
          'AWS::Lambda::Function',
          ({ FunctionName }) => FunctionName?.endsWith(`-${name}`) ?? false,
        ).Properties.Environment;
        expect(Variables.NEPHOS_OIDC_CLIENT_SECRET_ARN, name).toBe(signsIn ? arn(region) : undefined);
        expect(Variables.NEPHOS_OIDC_CLIENT_ID, name).toBe(signsIn ? 'console' : undefined);
        expect(Variables.NEPHOS_OIDC_AUDIENCE, name).toBe('pacs');
      }
    // The service has no authorizer before it. The answers of all stacks hold the name alone.
    const service = JSON.stringify(deployment.stacks.get('Service'));
    expect(service).toContain(`"Sid":"ClientSecret"`);
    expect(service).toContain(arn('eu-west-1'));
    for (const [name, resources] of deployment.stacks)
      if (!/^(Api|Service)/.test(name)) expect(JSON.stringify(resources), name).not.toContain('nephos-issuer');
    for (const wrong of [
      { ...issuer, clientId: undefined, clientSecretArn: arn('eu-west-1') },
      { ...issuer, clientSecretArn: arn('us-east-1') },
    ])
      expect(() => synthesize({ ...PROD, issuer: wrong })).toThrow(/clientSecretArn/);
  });
});
