import { dynamoClient, s3Client, sqsClient } from '#adapters/aws/clients.ts';
import { DynamoIndexTable } from '#adapters/aws/dynamo-index-table.ts';
import { S3BlobStore } from '#adapters/aws/s3-blob-store.ts';
import { S3DirectAccess } from '#adapters/aws/s3-direct-access.ts';
import { SqsJobQueue } from '#adapters/aws/sqs-job-queue.ts';
import { OidcTokenVerifier } from '#adapters/oidc/oidc-token-verifier.ts';
import { systemClock } from '#adapters/system-clock.ts';
import { type ArchiveApp, createArchiveApp } from '#api/app.ts';
import { assemble } from '#core/assemble.ts';
import { ConfigError } from '#core/configuration.ts';
import { describeError } from '#core/errors.ts';
import type { BlobStore } from '#core/ports/blob-store.ts';
import type { IndexTable } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import { TokenStore } from '#core/tokens.ts';
import { canStream, type LambdaConfig, readLambdaConfig } from './config.ts';
import { lambdaPixelEngine } from './lambda-pixel-engine.ts';
import { logger } from './observe.ts';

/** What the functions work on; one a sandbox, kept between invocations. */
export interface CloudArchive {
  readonly services: Services;
  readonly app: ArchiveApp;
  readonly config: LambdaConfig;
  /** whether the answers of functions that may stream are streamed */
  readonly streaming: boolean;
}

export type OpenArchive = () => CloudArchive;

/** The archive on the ports of a host, as the functions want it: AWS, or memory in tests. */
export function cloudArchive(
  config: LambdaConfig,
  ports: Parameters<typeof assemble>[0],
  streaming: boolean,
): CloudArchive {
  const services = assemble(ports, config);
  const app = createArchiveApp({
    services,
    tokens: new TokenStore(services),
    issuer: config.oidc && new OidcTokenVerifier(config.oidc, services.clock),
    corsOrigins: config.corsOrigins,
    tenant: config.tenants[0],
    onFailure: (error, transaction) => logger.error('request-failed', { transaction, ...describeError(error) }),
  });
  return { services, app, config, streaming };
}

let opened: CloudArchive | undefined;

/** S3, DynamoDB and SQS, by the names in the environment; a function gets only what its row in functions.ts names. */
export const awsArchive: OpenArchive = () => {
  opened ??= open();
  return opened;
};

function open(): CloudArchive {
  const clock = systemClock;
  const streaming = canStream(process.env);
  const config = readLambdaConfig(process.env, streaming);
  const s3 = s3Client(process.env.AWS_ENDPOINT_URL === undefined ? {} : { forcePathStyle: true });
  const bucket = (name: string | undefined) => (name === undefined ? undefined : { client: s3, bucket: name, clock });
  const archive = bucket(config.archiveBucket);
  const landing = bucket(config.landingBucket);
  const { table } = config;
  const ports = {
    clock,
    index:
      table === undefined
        ? without<IndexTable>('the table')
        : new DynamoIndexTable({ client: dynamoClient(), tableName: table, clock }),
    blobs: archive ? new S3BlobStore(archive) : without<BlobStore>('the archive bucket'),
    landing: landing ? new S3BlobStore(landing) : without<BlobStore>('the landing bucket'),
    direct: {
      ...(archive && { archive: new S3DirectAccess(archive) }),
      ...(landing && { landing: new S3DirectAccess(landing) }),
    },
    jobs: new SqsJobQueue({
      client: sqsClient(),
      clock,
      queueUrl: config.queueUrl,
      deadLetterUrl: config.queueUrl,
    }),
    pixels: lambdaPixelEngine(config.limits),
  };
  return cloudArchive(config, ports, streaming);
}

/** A port that this function was not given: using it is a defect, and says so. */
const without = <Port extends object>(what: string): Port =>
  new Proxy({} as Port, {
    get() {
      throw new ConfigError(`this function was not given ${what}`);
    },
  });
