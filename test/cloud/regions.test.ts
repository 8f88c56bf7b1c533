import { createHash } from 'node:crypto';
import { UpdateTableCommand } from '@aws-sdk/client-dynamodb';
import {
  CreateBucketCommand,
  ListObjectVersionsCommand,
  PutBucketReplicationCommand,
  PutBucketVersioningCommand,
} from '@aws-sdk/client-s3';
import { CreateQueueCommand } from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dynamoClient, s3Client, sqsClient } from '#adapters/aws/clients.ts';
import { DynamoIndexTable } from '#adapters/aws/dynamo-index-table.ts';
import { S3BlobStore } from '#adapters/aws/s3-blob-store.ts';
import { QUEUES } from '#adapters/aws/schema.ts';
import { SqsJobQueue } from '#adapters/aws/sqs-job-queue.ts';
import { readFeed } from '#core/archive/feed.ts';
import { reconcile } from '#core/archive/reconcile.ts';
import { type InstanceRecord, keys, type StudyRecord } from '#core/archive/records.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { assemble } from '#core/assemble.ts';
import { asRecord } from '#core/ports/index-table.ts';
import { instancesOfStudy } from '#core/retrieve/find.ts';
import { parseQuery } from '#core/search/query.ts';
import { searchStudyRecords } from '#core/search/studies.ts';
import type { Services } from '#core/services.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { noPixels, store, TENANT } from '#test/fixtures/services.ts';
import { ENGINE_IDENTITY, type Engine, startMiniStack } from './helpers/engines.ts';
import { createTable, systemClock } from './helpers/table.ts';

/**
 * The drill of docs/regions.md on an engine that replicates a table and buckets between two regions: the archive of each region has a
 * replica of the table, a bucket that is replicated to (and, when it takes changes, from), and queues of its own.
 */
const [FIRST, SECOND] = ['us-east-1', 'us-west-2'] as const;
const TABLE_NAME = 'index';
let engine: Engine;
const clients: { destroy(): void }[] = [];

const clientsOf = (region: string) => {
  const config = { ...ENGINE_IDENTITY, region, endpoint: engine.endpoint };
  const made = {
    dynamo: dynamoClient(config),
    s3: s3Client({ ...config, forcePathStyle: true }),
    sqs: sqsClient(config),
  };
  clients.push(...Object.values(made));
  return made;
};

/** The archive of a region, as its functions see it: nothing of the other region is reached. */
function archiveOf(region: string): Services {
  const { dynamo, s3, sqs } = clientsOf(region);
  const queueUrl = (kind: string): string => `${engine.endpoint}/000000000000/${kind}`;
  return assemble(
    {
      clock: systemClock,
      index: new DynamoIndexTable({ client: dynamo, tableName: TABLE_NAME, clock: systemClock }),
      blobs: new S3BlobStore({ client: s3, bucket: `archive-${region}`, clock: systemClock }),
      jobs: new SqsJobQueue({ client: sqs, clock: systemClock, queueUrl, deadLetterUrl: queueUrl }),
      pixels: noPixels,
    },
    { limits: { pendingMs: 0 } },
  );
}

async function replicate(from: string, to: string): Promise<void> {
  const { s3 } = clientsOf(from);
  await s3.send(
    new PutBucketReplicationCommand({
      Bucket: `archive-${from}`,
      ReplicationConfiguration: {
        Role: 'arn:aws:iam::000000000000:role/replication',
        Rules: [
          {
            ID: 'all',
            Status: 'Enabled',
            Priority: 1,
            Filter: { Prefix: '' },
            DeleteMarkerReplication: { Status: 'Disabled' },
            Destination: { Bucket: `arn:aws:s3:::archive-${to}` },
          },
        ],
      },
    }),
  );
}

beforeAll(async () => {
  engine = await startMiniStack();
  for (const region of [FIRST, SECOND] as readonly string[]) {
    const { s3, sqs } = clientsOf(region);
    const Bucket = `archive-${region}`;
    await s3.send(
      new CreateBucketCommand({
        Bucket,
        ...(region !== FIRST && { CreateBucketConfiguration: { LocationConstraint: SECOND } }),
      }),
    );
    await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }));
    for (const QueueName of Object.keys(QUEUES)) await sqs.send(new CreateQueueCommand({ QueueName }));
  }
  const { dynamo } = clientsOf(FIRST);
  await createTable(dynamo, TABLE_NAME);
  await dynamo.send(
    new UpdateTableCommand({
      TableName: TABLE_NAME,
      StreamSpecification: { StreamEnabled: true, StreamViewType: 'NEW_AND_OLD_IMAGES' },
    }),
  );
  const ReplicaUpdates = [{ Create: { RegionName: SECOND } }];
  await dynamo.send(new UpdateTableCommand({ TableName: TABLE_NAME, ReplicaUpdates }));
  await replicate(FIRST, SECOND);
});
afterAll(async () => {
  for (const client of clients) client.destroy();
  await engine.stop();
});

const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const objectOf = (study: number, n: number): Uint8Array =>
  buildDicom({
    StudyInstanceUID: uid(study),
    SeriesInstanceUID: uid(study + 1),
    SOPInstanceUID: uid(study * 100 + n),
    PatientName: `Drill^${study}`,
    InstanceNumber: n,
  });

async function send(services: Services, study: number, count: number, from = 0): Promise<void> {
  for (let n = from; n < from + count; n++) expect((await store(services, objectOf(study, n))).kind).toBe('stored');
}

/** How much of a study a region can show, whole: what it lists, and the bytes of each instance. */
async function wholeIn(services: Services, study: number): Promise<number> {
  const query = parseQuery(new URLSearchParams({ PatientName: `Drill^${study}` }), { level: 'study' }, services.limits);
  const { rows } = await searchStudyRecords(services, TENANT, query);
  if (rows.length !== 1) return 0;
  const item = await services.index.get(keys.study(TENANT, uid(study)));
  const found = (await Array.fromAsync(instancesOfStudy(services, TENANT, uid(study)))) as InstanceRecord[];
  if (asRecord<StudyRecord>(item!).instanceCount !== found.length) return 0;
  let whole = 0;
  for (const { blobKey, sha256 } of found) {
    if ((await services.blobs.head(blobKey)) === undefined) continue;
    if (sha256Of(await services.blobs.readBytes(blobKey)) === sha256) whole++;
  }
  return whole;
}

async function eventuallyWhole(services: Services, study: number, count: number): Promise<void> {
  await expect.poll(() => wholeIn(services, study), { interval: 200 }).toBe(count);
}

const stored = async ({ index }: Services): Promise<string[]> => {
  const sops: string[] = [];
  for (let cursor = '', more = true; more; ) {
    const page = await readFeed(index, TENANT, cursor, 100);
    for (const event of page.events) if (event.type === 'InstanceStored') sops.push(event.SOPInstanceUID!);
    more = page.events.length > 0;
    cursor = page.next;
  }
  return sops;
};

test('the first region is lost and comes back: nothing acknowledged is missing in either, and both agree', async () => {
  const first = archiveOf(FIRST);
  await send(first, 10, 5);

  // Reading goes on in the second region, by itself.
  const second = archiveOf(SECOND);
  await eventuallyWhole(second, 10, 5);

  // A person has changes go to the second region: its bucket replicates back, its functions store, new processes that remember nothing.
  await replicate(SECOND, FIRST);
  await send(second, 20, 4);
  await send(second, 10, 3, 5);
  // A gateway that had no answer sends again what the first region had taken: nothing is counted twice.
  expect((await store(second, objectOf(10, 0))).kind).toBe('duplicate');
  expect(await wholeIn(second, 10)).toBe(8);

  // The first region is back, and has what came meanwhile; changes go there again.
  const back = archiveOf(FIRST);
  await eventuallyWhole(back, 20, 4);
  await eventuallyWhole(back, 10, 8);
  await send(back, 20, 2, 4);
  await eventuallyWhole(second, 20, 6);
  for (const services of [back, second]) {
    const report = await reconcile(services, TENANT, () => false);
    expect(report).toMatchObject({ studies: 2, objects: 14, missing: 0, unknown: 0, finished: true });
  }
  await expect.poll(() => stored(back), { interval: 200 }).toHaveLength(14);
  expect(new Set(await stored(back)).size).toBe(14);
});

test('what is removed in one region stays in the bucket of the other as bytes that no record leads to for a reader', async () => {
  const [first, second] = [archiveOf(FIRST), archiveOf(SECOND)];
  await send(first, 30, 2);
  await eventuallyWhole(second, 30, 2);
  await moveToTrash(first, TENANT, [{ StudyInstanceUID: uid(30) }], { kind: 'deleted', reason: 'drill', by: 'drill' });
  await expect.poll(() => second.index.get(keys.study(TENANT, uid(30))), { interval: 100 }).toBeUndefined();
  expect(await wholeIn(second, 30)).toBe(0);
  const { s3 } = clientsOf(SECOND);
  const listed = await s3.send(
    new ListObjectVersionsCommand({ Bucket: `archive-${SECOND}`, Prefix: `${TENANT}/${uid(30)}/` }),
  );
  expect(listed.Versions?.filter(({ Key }) => Key?.endsWith('.dcm'))).toHaveLength(2);
});
