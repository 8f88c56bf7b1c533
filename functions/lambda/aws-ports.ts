import { dynamoClient, medicalImagingClient, s3Client, sqsClient } from '#adapters/aws/clients.ts';
import { DynamoIndexTable } from '#adapters/aws/dynamo-index-table.ts';
import { DynamoRateLedger } from '#adapters/aws/dynamo-rate-ledger.ts';
import { HealthImagingPlacement } from '#adapters/aws/health-imaging/health-imaging-placement.ts';
import { S3BlobStore } from '#adapters/aws/s3-blob-store.ts';
import { S3DirectAccess } from '#adapters/aws/s3-direct-access.ts';
import { SqsJobQueue } from '#adapters/aws/sqs-job-queue.ts';
import { systemClock } from '#adapters/system-clock.ts';
import { ConfigError } from '#core/configuration.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import type { BlobStore } from '#core/ports/blob-store.ts';
import type { IndexTable } from '#core/ports/index-table.ts';
import type { CloudPorts } from './cloud-throttle.ts';
import type { CloudConfig } from './config.ts';

/** S3, DynamoDB and SQS by the names that this program was given: the functions', and the service's (functions/fargate). */
export function awsPorts(config: CloudConfig): Omit<CloudPorts, 'pixels'> {
  const clock = systemClock;
  const s3 = s3Client(process.env.AWS_ENDPOINT_URL === undefined ? {} : { forcePathStyle: true });
  const bucket = (name: string | undefined) => (name === undefined ? undefined : { client: s3, bucket: name, clock });
  const archive = bucket(config.archiveBucket);
  // Every blob of a tenant's begins with its name.
  const encryptionKeyOf = (key: string) => config.tenantKeys.get(key.slice(0, key.indexOf('/')));
  const landing = bucket(config.landingBucket);
  const { table, imaging } = config;
  const inTable = table === undefined ? undefined : { client: dynamoClient(), tableName: table, clock };
  const index = inTable ? new DynamoIndexTable(inTable) : without<IndexTable>('the table');
  const blobs = archive ? new S3BlobStore({ ...archive, encryptionKeyOf }) : without<BlobStore>('the archive bucket');
  // Whoever puts objects there names them as he likes.
  const landed = landing
    ? new S3BlobStore({ ...landing, foreignKeys: true })
    : without<BlobStore>('the landing bucket');
  return {
    clock,
    index,
    ...(inTable && { ledger: new DynamoRateLedger({ ...inTable, region: process.env.AWS_REGION ?? '' }) }),
    blobs,
    landing: landed,
    direct: {
      ...(archive && { archive: new S3DirectAccess(archive) }),
      ...(landing && { landing: new S3DirectAccess(landing) }),
    },
    jobs: new SqsJobQueue({
      client: sqsClient(),
      clock,
      queueUrl: config.queueUrl,
      // Dead letters are SQS's own here, by redrive policy: no function looks at them.
      deadLetterUrl: (kind) => {
        throw new ConfigError(`this function was not given the dead letters of ${kind}`);
      },
    }),
    ...(imaging && {
      placement: new HealthImagingPlacement({
        ...imaging,
        client: medicalImagingClient(),
        s3,
        archiveBucket: config.archiveBucket ?? '',
        landingBucket: config.landingBucket ?? '',
        landing: landed,
        archive: blobs,
        index,
        clock,
        archiveLimits: { ...DEFAULT_LIMITS, ...config.limits },
      }),
    }),
  };
}

/** A port that this program was not given: using it is a defect, and says so. */
const without = <Port extends object>(what: string): Port =>
  new Proxy({} as Port, {
    get() {
      throw new ConfigError(`this function was not given ${what}`);
    },
  });
