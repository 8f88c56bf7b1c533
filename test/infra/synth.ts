import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App, type AppProps } from 'aws-cdk-lib';
import { Deployment } from '#infra/build.ts';
import { readSettings } from '#infra/read-settings.ts';
import type { Settings } from '#infra/settings.ts';

const ROOT = join(import.meta.dirname, '../..');
export const ACCOUNT = '123456789012';

/** The flags of cdk.json, as the command line hands them to the app. */
const FLAGS = (JSON.parse(readFileSync(join(ROOT, 'cdk.json'), 'utf8')) as { context: object }).context;

/** The whole deployment in two regions with everything on, as a group that has patients would run it. */
export const PROD = {
  kind: 'prod',
  region: 'eu-west-1',
  secondRegion: 'eu-central-1',
  replicationTimeControl: true,
  healthImaging: { metadata: 'health-imaging' },
  routing: {
    hosts: ['pacs.example', '*.reading.example:8443'],
    credentialsSecretArn: `arn:aws:secretsmanager:eu-west-1:${ACCOUNT}:secret:nephos-routing-AbCdEf`,
  },
  alarmEmails: ['pacs@example.org'],
  monthlyBudgetUsd: 500,
  domain: {
    name: 'pacs.example.org',
    certificateArn: `arn:aws:acm:us-east-1:${ACCOUNT}:certificate/0f0e0d0c-0000-4000-8000-000000000000`,
    hostedZoneId: 'Z0123456789ABC',
  },
} as const;

/** The optional service, in the context of PROD. */
export const FARGATE = {
  image: 'nephos-service:0.1.0',
  tasks: 2,
  name: 'service.pacs.example.org',
  certificateArn: 'arn:aws:acm:eu-west-1:123456789012:certificate/0f0e0d0c-0000-4000-8000-000000000001',
  cloudFrontPrefixList: 'pl-4fa04526',
} as const;

export interface Resource {
  readonly Type: string;
  // biome-ignore lint/suspicious/noExplicitAny: a template is whatever CloudFormation takes
  readonly Properties: any;
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
  readonly DependsOn?: string[];
}

/** What is kept when its stack goes, but not when the deployment that made it fails: the next one wants the same names. */
export const KEPT = 'RetainExceptOnCreate';

export interface Template {
  readonly Resources: Readonly<Record<string, Resource>>;
  readonly Outputs?: Readonly<Record<string, { readonly Export?: { readonly Name: string } }>>;
}

export interface Synthesized {
  readonly settings: Settings;
  readonly stacks: ReadonlyMap<string, Readonly<Record<string, Resource>>>;
  /** in the order in which the command line deploys them */
  readonly templates: ReadonlyMap<string, Template>;
  readonly regions: ReadonlyMap<string, string>;
  /** resources of a stack by type */
  all(stack: string, type: string): Resource[];
  /** the one resource of its type whose properties `accept` takes */
  one(stack: string, type: string, accept?: (properties: Resource['Properties']) => boolean): Resource;
}

export const newApp = (props: AppProps = {}): App =>
  new App({
    outdir: mkdtempSync(join(tmpdir(), 'nephos-cdk-')),
    context: { ...FLAGS, 'aws:cdk:bundling-stacks': [] },
    ...props,
  });

/**
 * Builds the stacks without bundling the functions and without the site's files, and reads the templates. CDK's own validation, which
 * takes longer than everything else here, is left to the test of the rule packs: it has it look at a deployment of every kind.
 */
export function synthesize(context: unknown, prepare: (app: App) => void = () => {}): Synthesized {
  const settings = readSettings(context, { CDK_DEFAULT_ACCOUNT: ACCOUNT, CDK_DEFAULT_REGION: 'us-east-1' });
  const app = newApp({ builtinCloudFormationValidation: false });
  new Deployment(app, settings, { siteContent: [] });
  prepare(app);
  const assembly = app.synth();
  const templates = new Map(assembly.stacks.map((stack) => [stack.id, stack.template as Template]));
  const regions = new Map(assembly.stacks.map((stack) => [stack.id, stack.environment.region]));
  const stacks = new Map([...templates].map(([id, template]) => [id, template.Resources]));
  rmSync(app.outdir, { recursive: true });
  const all = (stack: string, type: string) => {
    const resources = stacks.get(stack);
    if (resources === undefined) throw new Error(`no stack ${stack}; there are ${[...stacks.keys()].join(', ')}`);
    return Object.values(resources).filter((resource) => resource.Type === type);
  };
  return {
    settings,
    stacks,
    templates,
    regions,
    all,
    one(stack, type, accept = () => true) {
      const found = all(stack, type).filter(({ Properties }) => accept(Properties));
      if (found.length !== 1) throw new Error(`${found.length} resources ${type} in ${stack}`);
      return found[0]!;
    },
  };
}

/** Both kinds, made once a test file. */
let prod: Synthesized | undefined;
let dev: Synthesized | undefined;
export const prodDeployment = (): Synthesized => {
  prod ??= synthesize(PROD);
  return prod;
};
export const devDeployment = (): Synthesized => {
  dev ??= synthesize({});
  return dev;
};
