import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Duration, Size } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import {
  type BundlingOptions,
  LogLevel,
  NodejsFunction,
  OutputFormat,
  SourceMapMode,
} from 'aws-cdk-lib/aws-lambda-nodejs';
import * as logs from 'aws-cdk-lib/aws-logs';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import { BUNDLE_FILE, BUNDLING } from '#lambda/bundling.ts';
import { CODEC_FILE, FUNCTIONS, type FunctionName, type FunctionSpec, isInLoop } from '#lambda/functions.ts';
import { type Resources, statementsFor } from '../grants.ts';
import type { NephosStack } from '../nephos-stack.ts';

const ROOT = join(import.meta.dirname, '../..');

export interface ArchiveFunctionProps {
  readonly name: FunctionName;
  readonly environment: Readonly<Record<string, string>>;
  readonly resources: Resources;
  /** takes the events of schedules that the function failed at for good */
  readonly missed?: IQueue | undefined;
}

/** One function of the table functions/lambda/functions.ts: a role of its own with the grants of its row, and a log group of its own (stacks/logs.ts). */
export class ArchiveFunction extends NodejsFunction {
  readonly spec: FunctionSpec;

  constructor(stack: NephosStack, { name, environment, resources, missed }: ArchiveFunctionProps) {
    const spec: FunctionSpec = FUNCTIONS[name];
    const logGroup = logs.LogGroup.fromLogGroupName(stack, `${name}-log`, stack.names.logGroup(name));
    const role = new iam.Role(stack, `${name}-role`, {
      assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com'),
      description: `Nephos: ${spec.purpose}`.slice(0, 1_000).replaceAll(/[^\w\s+=,.@()-]/g, ' '),
    });
    for (const statement of statementsFor(spec.grants, resources)) role.addToPolicy(statement);
    super(stack, name, {
      functionName: `${stack.names.prefix}-${name}`,
      description: spec.purpose,
      entry: join(ROOT, spec.entry),
      handler: 'handler',
      projectRoot: ROOT,
      depsLockFilePath: join(ROOT, 'package-lock.json'),
      runtime: lambda.Runtime.NODEJS_24_X,
      architecture: lambda.Architecture.ARM_64,
      memorySize: spec.memoryMiB,
      timeout: Duration.seconds(spec.timeoutSeconds),
      ephemeralStorageSize: Size.mebibytes(512),
      role,
      logGroup,
      loggingFormat: lambda.LoggingFormat.JSON,
      tracing: lambda.Tracing.ACTIVE,
      ...(isInLoop(name) && { recursiveLoop: lambda.RecursiveLoop.ALLOW }),
      // A schedule's event is taken before it is worked at: it is Lambda that tries three times, and that tells when all have failed.
      ...(missed && { deadLetterQueue: missed }),
      environment: { ...environment },
      awsSdkConnectionReuse: false,
      bundling: bundlingOf(spec),
    });
    logGroup.grantWrite(role);
    this.spec = spec;
  }
}

function bundlingOf({ codecs }: FunctionSpec): BundlingOptions {
  return {
    format: OutputFormat.ESM,
    target: BUNDLING.target,
    minify: BUNDLING.minify,
    keepNames: BUNDLING.keepNames,
    mainFields: [...BUNDLING.mainFields],
    externalModules: BUNDLING.external,
    banner: BUNDLING.banner,
    sourceMap: true,
    sourceMapMode: SourceMapMode.DEFAULT,
    sourcesContent: false,
    logLevel: LogLevel.ERROR,
    commandHooks: {
      beforeBundling: () => [],
      beforeInstall: () => [],
      afterBundling: (inputDir, outputDir) => [
        `"${process.execPath}" "${join(ROOT, 'scripts/own-source-map.ts')}" "${join(outputDir, BUNDLE_FILE)}.map"`,
        ...(codecs ? copyCodecs(inputDir, outputDir) : []),
      ],
    },
  };
}

const CODECS = join(ROOT, 'node_modules/dcmjs-codecs');

function copyCodecs(_inputDir: string, outputDir: string): string[] {
  const found = ['dist', 'build', '.']
    .map((folder) => join(CODECS, folder, CODEC_FILE))
    .find((path) => existsSync(path));
  if (found === undefined) throw new Error(`${CODEC_FILE} is not in ${CODECS}`);
  return [`cp "${found}" "${outputDir}/"`];
}
