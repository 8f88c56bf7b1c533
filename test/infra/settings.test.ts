import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readSmartIssuers } from '#adapters/smart/settings.ts';
import { readSettings } from '#infra/read-settings.ts';
import { FARGATE } from './synth.ts';

const ENVIRONMENT = { CDK_DEFAULT_ACCOUNT: '123456789012', CDK_DEFAULT_REGION: 'eu-west-1' };
const read = (context: unknown) => readSettings(context, ENVIRONMENT);

describe('the context key "nephos"', () => {
  test('without one, a cheap deployment that can be deleted, in the region of the credentials', () => {
    expect(read(undefined)).toMatchObject({
      kind: 'dev',
      stage: 'dev',
      region: 'eu-west-1',
      account: '123456789012',
      secondRegion: undefined,
      firewall: undefined,
      rates: { requestsPerSecond: 2_000, bytesPerSecond: 1024 ** 3, failuresPerMinute: 30 },
      backup: undefined,
      audit: false,
      retention: { objectLock: 'none', objectLockDays: 0, deletable: true },
    });
  });

  test('prod keeps what it holds', () => {
    expect(read({ kind: 'prod' })).toMatchObject({
      stage: 'prod',
      audit: true,
      costExport: true,
      backup: { vaultLockDays: 35, compliance: false },
      retention: { objectLock: 'governance', objectLockDays: 30, deletable: false, indexRecoveryDays: 35 },
    });
  });

  test('several tenants, the first of them for whatever names none', () => {
    expect(read({ tenant: 'a', moreTenants: ['b', 'a'], tenantKeys: ['b'] })).toMatchObject({
      tenant: 'a',
      tenants: ['a', 'b'],
      tenantKeys: ['b'],
    });
  });

  test('the command line gives it as JSON', () => {
    expect(read('{"kind":"prod","stage":"clinic"}').stage).toBe('clinic');
  });

  test('a part may be switched on with its defaults, or off', () => {
    expect(read({ backup: true }).backup).toEqual({ vaultLockDays: 35, compliance: false });
    expect(read({ kind: 'prod', firewall: false }).firewall).toBeUndefined();
    expect(read({ rates: false }).rates).toBeUndefined();
    expect(read({ rates: { requestsPerSecond: 50 } }).rates).toMatchObject({
      requestsPerSecond: 50,
      failuresPerMinute: 30,
    });
  });

  test('HealthImaging: off, on, and on with its metadata first', () => {
    expect(read({}).healthImaging).toBeUndefined();
    expect(read({ healthImaging: false }).healthImaging).toBeUndefined();
    expect(read({ healthImaging: true }).healthImaging).toEqual({ metadata: 'archive' });
    expect(read({ healthImaging: {} }).healthImaging).toEqual({ metadata: 'archive' });
    expect(read({ healthImaging: { metadata: 'health-imaging' } }).healthImaging).toEqual({
      metadata: 'health-imaging',
    });
  });

  test.each([
    ['not JSON', '{', 'nephos: the context is no JSON'],
    ['a list', [], 'nephos: must be an object'],
    ['a misspelt key', { secondregion: 'eu-west-2' }, 'unknown key secondregion'],
    ['a misspelt key further down', { retention: { objectlock: 'none' } }, 'nephos.retention: unknown key objectlock'],
    ['an unknown kind', { kind: 'test' }, 'nephos.kind: must be one of dev, prod'],
    ['a stage that cannot name a bucket', { stage: 'Prod_1' }, 'nephos.stage'],
    ['no region', { region: 'europe' }, 'nephos.region'],
    ['twice the same region', { secondRegion: 'eu-west-1' }, 'nephos.secondRegion: must differ'],
    ['failing over to nowhere', { writesTo: 'second' }, 'nephos.writesTo: needs nephos.secondRegion'],
    ['time control of no replication', { replicationTimeControl: true }, 'nephos.replicationTimeControl: needs'],
    [
      'HealthImaging where it is not',
      { region: 'eu-central-1', healthImaging: true },
      'HealthImaging is in us-east-1, us-west-2, eu-west-1, eu-west-2, ap-southeast-2 only',
    ],
    [
      'metadata of nobody',
      { healthImaging: { metadata: 'both' } },
      'nephos.healthImaging.metadata: must be one of archive, health-imaging',
    ],
    ['a key of a stranger', { tenantKeys: ['north'] }, 'nephos.tenantKeys: north is none of the tenants main'],
    ['a tenant that cannot open a key', { moreTenants: ['North Clinic'] }, 'nephos.moreTenants'],
    ['an account of letters', { account: 'mine' }, 'nephos.account'],
    [
      'a certificate of another region',
      { domain: { name: 'a.example.org', certificateArn: 'arn:aws:acm:eu-west-1:123456789012:certificate/1' } },
      'nephos.domain.certificateArn',
    ],
    ['a domain without certificate', { domain: { name: 'a.example.org' } }, 'nephos.domain.certificateArn: is missing'],
    ['an issuer without TLS', { issuer: { url: 'http://login', audience: 'pacs' } }, 'nephos.issuer.url'],
    ['deletable locked objects', { retention: { objectLock: 'compliance' } }, 'locked objects cannot be deletable'],
    ['days that CloudWatch does not know', { retention: { logDays: 8 } }, 'CloudWatch takes 1, 3, 5, 7'],
    ['more days than DynamoDB keeps', { retention: { indexRecoveryDays: 36 } }, 'whole number from 1 to 35'],
    [
      'a tier that goes back',
      {
        tiers: [
          {
            policy: 'default',
            steps: [
              { storageClass: 'GLACIER_IR', afterDays: 30 },
              { storageClass: 'STANDARD_IA', afterDays: 60 },
            ],
          },
        ],
      },
      'later and colder',
    ],
    [
      'Standard-IA before its day',
      { tiers: [{ policy: 'default', steps: [{ storageClass: 'STANDARD_IA', afterDays: 10 }] }] },
      'from 30',
    ],
    [
      'a step to a tier that no rule knows',
      { tiering: [{ policy: 'frozen', idleDays: 400 }] },
      'nephos.tiering[0].policy: must be one of deep',
    ],
    ['a policy twice', { tiers: [{ policy: 'a' }, { policy: 'a' }] }, 'a policy stands twice'],
    ['half a person', { alarmEmails: ['nobody'] }, 'nephos.alarmEmails'],
    [
      'a text for a number',
      { ingestConcurrency: '5' },
      'nephos.ingestConcurrency: must be a whole number from 2 to 1000',
    ],
    ['the service without an image', { fargate: { tasks: 1 } }, 'nephos.fargate.image: is missing'],
    ['a stage that Cognito refuses', { stage: 'awsprod' }, 'nephos.stage: Cognito refuses'],
    ['GovCloud', { region: 'us-gov-west-1' }, 'are not supported'],
    ['the European Sovereign Cloud', { region: 'eusc-de-east-1' }, 'are not supported'],
    [
      'a processor that Fargate has not',
      { fargate: { ...FARGATE, cpu: 1_000 } },
      'nephos.fargate.cpu: Fargate takes 256, 512, 1024',
    ],
    [
      'more memory than a small task has',
      { fargate: { ...FARGATE, cpu: 256, memoryMiB: 4_096 } },
      'nephos.fargate.memoryMiB: with 256 of cpu Fargate takes 1024 to 2048',
    ],
    ['a text for yes', { audit: 'yes' }, 'nephos.audit: must be true or false'],
  ])('%s is refused, and the key named', (_, context, message) => {
    expect(() => read(context)).toThrow(message);
  });
});

describe('docs/deploy-aws.md', () => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/deploy-aws.md'), 'utf8');
  const blocks = [...page.matchAll(/```json\n([\s\S]*?)```/g)].map(([, json = '']) => json.replaceAll('…', '0000'));

  test('shows a context that is taken as it stands', () => {
    const { nephos } = JSON.parse(blocks[0]!);
    expect(read(nephos)).toMatchObject({ kind: 'prod', stage: 'clinic', secondRegion: 'eu-central-1' });
    const service = blocks.find((block) => block.includes('"fargate"'))!;
    const fargate = JSON.parse(`{${service}}`.replace('pl-0000', 'pl-4fa04526'));
    expect(read({ ...nephos, ...fargate }).fargate).toMatchObject({ tasks: 1, cpu: 1_024 });
  });

  test('has the console built before the CDK is called, which would not start without it', () => {
    const [block = ''] = [...page.matchAll(/```sh\n([\s\S]*?)```/g)]
      .map(([, text = '']) => text)
      .filter((text) => text.includes('cdk bootstrap'));
    const commands = block.split('\n').map((line) => line.replace(/\s+#.*/, ''));
    expect(commands.slice(0, 2)).toEqual(['npm ci', 'npm run build:web']);
    expect(commands.at(-2)).toBe('npm run deploy');
    const { scripts } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'));
    for (const name of ['build:web', 'deploy', 'redrive']) expect(scripts[name]).toBeDefined();
  });

  test('names every key there is', () => {
    const rows = [...page.matchAll(/^\| (`[^|]+?) \|/gm)].flatMap(([, cell = '']) =>
      [...cell.matchAll(/`(\.?[a-zA-Z]+(?:\.[a-zA-Z]+)?)`/g)].map(([, key = '']) => key),
    );
    const named = new Set(rows.map((key) => key.replace(/^\./, 'retention.').split('.')[0]!));
    // How the tests' engine is served is not for people; `tenants` is the two keys together.
    const own = new Set(['bufferedResponses', 'tenants']);
    const settings = Object.keys(read({ ...JSON.parse(blocks[0]!).nephos })).filter((key) => !own.has(key));
    expect(settings.filter((key) => !named.has(key))).toEqual([]);
  });

  test('record systems are registered without secrets, as the functions read them', () => {
    const row = { issuer: 'https://ehr.example/fhir', clientId: 'nephos', signIn: ['viewer'] };
    const { recordSystems } = read({ recordSystems: [row] });
    expect(readSmartIssuers(JSON.stringify(recordSystems), ['main'])).toMatchObject([{ ...row, tenant: 'main' }]);
    for (const wrong of [{ clientSecret: 'x' }, { issuer: 'http://ehr.example' }, { tenant: 'other' }])
      expect(() => read({ recordSystems: [{ ...row, ...wrong }] })).toThrow('nephos.recordSystems[0]');
  });
});
