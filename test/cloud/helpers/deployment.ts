import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '#test/fixtures/free-port.ts';
import type { Answer } from '#test/hosts/client.ts';
import lacks from '../ministack-lacks.json' with { type: 'json' };
import { copySources } from './assembly.ts';
import { ROOT, run } from './command.ts';
import { type Engine, startMiniStack } from './engines.ts';
import { callThrough, localize, redirectKeys } from './localize.ts';
import { type Recorder, record } from './recorder.ts';
import { replicate } from './second-region.ts';

const ACCOUNT = '000000000000';
const REGION = 'us-east-1';
export const SECOND_REGION = 'us-west-2';
export const STAGE = 'dev';
const PEERS = process.env.NEPHOS_PEERS_DIR ?? '/var/tmp/nephos-peers';
/** beside the project's packages: what functions of CDK itself find in Lambda's runtime */
const LAMBDA_SDK = join(PEERS, 'lambda-sdk/node_modules');

/** where the suite starts an archive that studies may be sent on to: the deployment must know it beforehand */
export const ELSEWHERE_PORT = await freePort();

/** All that a deployment in two regions can have, so that the engine sees every stack. */
const SETTINGS = {
  kind: 'dev',
  secondRegion: SECOND_REGION,
  firewall: true,
  audit: true,
  backup: true,
  costExport: true,
  monthlyBudgetUsd: 100,
  alarmEmails: ['pacs@example.org'],
  // No engine has it: functions that are granted a data store could not be deployed. Its stack is tested as a template.
  healthImaging: false,
  tenantKeys: ['main'],
  routing: { hosts: [`http://127.0.0.1:${ELSEWHERE_PORT}`], networks: ['127.0.0.1'] },
  bufferedResponses: true,
};

/** Functions that run still write to the folder until they have noticed that the engine is gone. */
const WRITTEN_TO = { maxRetries: 20, retryDelay: 250 } as const;

export interface Template {
  readonly Resources: Readonly<Record<string, { readonly Type: string; readonly Properties: Record<string, unknown> }>>;
}

export interface Deployed {
  readonly engine: Engine;
  /** as the CDK synthesized them, before anything was taken out */
  readonly templates: ReadonlyMap<string, Template>;
  /** of what the engine lacks, or has something else for: type → resources */
  readonly dropped: Readonly<Record<string, number>>;
  output(stack: string, name: string): string;
  /** what the REST API answers, asked as CloudFront asks: below the stage, with the name the client used */
  ask(path: string, init?: { method?: string; headers?: Record<string, string>; body?: Uint8Array }): Promise<Answer>;
  /** the same of the second region's API */
  askSecond: Deployed['ask'];
  /** the stages of the REST APIs in the engine */
  readonly api: URL;
  readonly secondApi: URL;
  /** what each function (`stack/name`) asked of AWS */
  readonly recorders: ReadonlyMap<string, Recorder>;
  /** the most memory that a process of the function has had so far (bytes) */
  peakRssBytes(name: string): Promise<number>;
  /** the value of an export, as templates import it */
  resolve(reference: string): string;
  readonly environment: Readonly<Record<string, string>>;
  /** folder of the cloud assembly that was deployed */
  readonly assembly: string;
  /**
   * folder of another assembly of the same settings, synthesized of the same sources in another folder and in another time zone while the first
   * one was deployed, and made ready for the engine as it was
   */
  readonly again: string;
  /** `cdk diff` of stacks as they are in an assembly with what is deployed. @throws when they differ: what it said */
  diff(assembly: string, stacks?: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

/** the name under which clients know the deployment, which the front passes on */
export const PUBLIC_HOST = 'pacs.example.org';

/** `cdk bootstrap` and `cdk deploy` of the whole app to a MiniStack of its own, by the command line that a user runs. */
export async function deploy(): Promise<Deployed> {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-deploy-'));
  const engine = await startMiniStack({
    PATH: `${join(ROOT, 'node_modules/node/bin')}:${process.env.PATH}`,
    NODE_PATH: `${join(ROOT, 'node_modules')}:${LAMBDA_SDK}`,
    CLOUDTRAIL_RECORDING: '1',
    TMPDIR: folder,
  });
  const environment = {
    AWS_ENDPOINT_URL: engine.endpoint,
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    AWS_REGION: REGION,
    AWS_DEFAULT_REGION: REGION,
    CDK_DEFAULT_ACCOUNT: ACCOUNT,
    CDK_DEFAULT_REGION: REGION,
    // The command line keeps which account a key belongs to in the home folder.
    HOME: folder,
    CDK_DISABLE_CLI_TELEMETRY: '1',
    CI: '1',
  };
  try {
    const context = ['-c', `nephos=${JSON.stringify(SETTINGS)}`];
    const assembly = join(folder, 'cdk.out');
    // From a folder without an app: it would be synthesized for nothing.
    const places = [REGION, SECOND_REGION].map((region) => `aws://${ACCOUNT}/${region}`);
    await run('cdk', ['bootstrap', ...places], { env: environment, cwd: folder });
    const synthesize = (output: string, elsewhere: Parameters<typeof run>[2] = {}) =>
      run('cdk', ['synth', '-q', ...context, '-o', output], {
        ...elsewhere,
        env: { ...environment, ...elsewhere.env },
      });
    await synthesize(assembly);
    const elsewhere = join(folder, 'another-clone');
    copySources(elsewhere);
    const templates = readTemplates(assembly);
    const recorders = new Map<string, Recorder>();
    for (const name of functionNames(templates))
      recorders.set(name, await record(name, regionOf(name), engine.endpoint));
    const makeReady = (of: string): Record<string, number> => {
      const taken = localize(of, lacks);
      if (redirectKeys(of, engine.endpoint) === 0) throw new Error('no function asks for keys');
      callThrough(of, recorders);
      return taken;
    };
    const dropped = makeReady(assembly);
    const stacks = [...templates.keys()].filter((stack) => !(stack in lacks.stacks));
    const outputsFile = join(folder, 'outputs.json');
    const again = join(folder, 'again');
    const how = ['--concurrency', '4', '--require-approval', 'never', '--outputs-file', outputsFile];
    // CloudFormation mostly waits, and so there is time.
    await Promise.all([
      run('cdk', ['deploy', ...stacks, '--app', assembly, ...how], { env: environment }),
      synthesize(again, { cwd: elsewhere, env: { TZ: 'Pacific/Kiritimati', LC_ALL: 'C.UTF-8' } }),
    ]);
    makeReady(again);
    const outputs = JSON.parse(readFileSync(outputsFile, 'utf8')) as Record<string, Record<string, string>>;
    const output = (stack: string, name: string): string => {
      const found = outputs[`Nephos-${STAGE}-${stack}`]?.[name];
      if (found === undefined) throw new Error(`${stack} has no output ${name}`);
      return found;
    };
    const apiOf = (stack: string) => new URL(`/_aws/execute-api/${output(stack, 'ApiId')}/live`, engine.endpoint);
    const [api, secondApi] = [apiOf('Api'), apiOf('Api2')];
    await replicate(engine, `nephos-${STAGE}-index`, [
      output('Storage', 'ArchiveBucket'),
      output('Storage2', 'ArchiveBucket'),
    ]);
    return {
      engine,
      templates,
      dropped,
      output,
      environment,
      assembly,
      again,
      diff: (of, some = stacks) => run('cdk', ['diff', ...some, '--app', of, '--fail'], { env: environment }),
      recorders,
      api,
      secondApi,
      ask: (path, init) => ask(api, path, init),
      askSecond: (path, init) => ask(secondApi, path, init),
      peakRssBytes: (name) => peakRssBytes(recorders.get(`Workers/nephos-${STAGE}-${name}`)!.endpoint),
      resolve(reference) {
        const [stack = '', name = ''] = reference.split(':');
        return outputs[stack]?.[name] ?? `unresolved:${reference}`;
      },
      async stop() {
        await engine.stop();
        for (const recorder of recorders.values()) await recorder.close();
        rmSync(folder, { recursive: true, force: true, ...WRITTEN_TO });
      },
    };
  } catch (error) {
    await engine.stop();
    rmSync(folder, { recursive: true, force: true, ...WRITTEN_TO });
    throw error;
  }
}

/** Of the processes that call AWS through `endpoint`, which nobody else does. */
async function peakRssBytes(endpoint: string): Promise<number> {
  let most = 0;
  for (const id of readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${id}/environ`, 'utf8').split('\0').includes(`AWS_ENDPOINT_URL=${endpoint}`)) continue;
      const [, kilobytes = '0'] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${id}/status`, 'utf8')) ?? [];
      most = Math.max(most, Number(kilobytes) * 1024);
    } catch {
      // It has ended meanwhile, or is somebody else's.
    }
  }
  return most;
}

/** Of a stack, or of what begins with the name of one: the second region's end in 2. */
export const regionOf = (name: string): string => (/^[A-Za-z]+2(\/|$)/.test(name) ? SECOND_REGION : REGION);

const functionNames = (templates: ReadonlyMap<string, Template>): string[] =>
  [...templates].flatMap(([stack, { Resources }]) =>
    Object.values(Resources).flatMap(({ Type, Properties }) =>
      Type === 'AWS::Lambda::Function' && typeof Properties.FunctionName === 'string'
        ? [`${stack}/${Properties.FunctionName}`]
        : [],
    ),
  );

function readTemplates(assembly: string): Map<string, Template> {
  const manifest = JSON.parse(readFileSync(join(assembly, 'manifest.json'), 'utf8')) as {
    artifacts: Record<string, { type: string; properties?: { templateFile?: string } }>;
  };
  return new Map(
    Object.entries(manifest.artifacts)
      .filter(([, { type }]) => type === 'aws:cloudformation:stack')
      .map(([id, { properties }]) => [
        id,
        JSON.parse(readFileSync(join(assembly, properties!.templateFile!), 'utf8')) as Template,
      ]),
  );
}

/**
 * What the function before the API adds to a request (infra/constructs/edge-functions.ts). And an Accept: an API that does not stream
 * hands bytes on in base64 to whoever names none.
 */
const FORWARDED = {
  accept: '*/*',
  'x-forwarded-host': PUBLIC_HOST,
  'x-forwarded-proto': 'https',
};

const ask = (
  api: URL,
  path: string,
  { method = 'GET', headers = {}, body }: { method?: string; headers?: Record<string, string>; body?: Uint8Array } = {},
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'content-length': String(body.length) };
    const request = httpRequest(
      {
        agent: false,
        host: api.hostname,
        port: api.port,
        path: `${api.pathname}${path}`,
        method,
        headers: { ...FORWARDED, ...length, ...headers },
      },
      async (response) => {
        const chunks = await Array.fromAsync(response as AsyncIterable<Buffer>);
        resolve({
          status: response.statusCode!,
          headers: response.headers as Record<string, string>,
          body: Buffer.concat(chunks),
        });
      },
    );
    request.on('error', reject);
    request.end(body);
  });
