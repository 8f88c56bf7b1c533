import '#test/fixtures/quiet-powertools.ts';
import { MedicalImagingClient } from '@aws-sdk/client-medical-imaging';
import type { APIGatewayProxyResult, SQSBatchResponse } from 'aws-lambda';
import { afterEach, expect, test } from 'vitest';
import { s3Client } from '#adapters/aws/clients.ts';
import { HealthImagingPlacement } from '#adapters/aws/health-imaging/health-imaging-placement.ts';
import type { ImagingLimits } from '#adapters/aws/health-imaging/options.ts';
import { encodeMessage } from '#adapters/aws/sqs-message.ts';
import { TokenBucket } from '#adapters/aws/token-bucket.ts';
import { MemoryBlobStore } from '#adapters/memory/memory-blob-store.ts';
import { STUDY_QUIET } from '#core/archive/fold.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { PLACEMENT } from '#core/ports/frame-placement.ts';
import type { EncodedFrame, PixelEngine } from '#core/ports/pixel-engine.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { httpFunction } from '#lambda/http-function.ts';
import { workJob } from '#lambda/jobs.ts';
import { queueFunction } from '#lambda/queue-function.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { lambdaContext, proxyEvent } from '#test/fixtures/lambda-runtime.ts';
import { memoryServices, store, TENANT, TestClock } from '#test/fixtures/services.ts';
import { FakeHealthImaging } from './fake-server.ts';

const HTJ2K = '1.2.840.10008.1.2.4.201';
const identity = { region: 'us-east-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' } };
const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

/** The functions of a deployment with HealthImaging: what the worker is sent, it works off; readers ask `retrieve`. */
async function deployment(env: Record<string, string> = {}, limits: Partial<ImagingLimits> = {}) {
  const landing = new MemoryBlobStore();
  const fake = new FakeHealthImaging(landing);
  const endpoint = await fake.listen();
  const client = new MedicalImagingClient({ ...identity, endpoint, maxAttempts: 1, disableHostPrefix: true });
  open.push(async () => {
    client.destroy();
    await fake.close();
    expect(fake.violations).toStrictEqual([]);
  });
  const pixels = {
    transcode: async (_: EncodedFrame) => ({ codestream: Buffer.from('made here'), transferSyntaxUID: HTJ2K }),
  } as unknown as PixelEngine;
  const memory = memoryServices({ pixels });
  const s3 = s3Client(identity);
  s3.middlewareStack.add(
    () =>
      async ({ input }) => {
        const { CopySource, Key } = input as { CopySource: string; Key: string };
        const bytes = await memory.blobs.readBytes(CopySource.slice(CopySource.indexOf('/') + 1));
        if ((await landing.head(Key)) === undefined) await landing.put(Key, bytes);
        return { output: {}, response: undefined } as never;
      },
    { step: 'initialize', priority: 'high', name: 'copies' },
  );
  const { index, clock } = memory;
  const placement = new HealthImagingPlacement({
    client,
    s3,
    datastoreId: fake.datastoreId,
    dataAccessRoleArn: 'arn:aws:iam::000000000000:role/import',
    archiveBucket: 'archive',
    landingBucket: 'landing',
    landing,
    archive: memory.blobs,
    index,
    clock,
    retry: { attempts: 3, firstMs: 1, mostMs: 2 },
    limits,
    archiveLimits: DEFAULT_LIMITS,
  });
  const config = readLambdaConfig({ NEPHOS_TENANTS: TENANT, NEPHOS_LIMIT_PLACEMENT_LEAST_BYTES: '1', ...env }, false);
  const archive = cloudArchive(config, { ...memory, placement, landing }, false);
  const worker = queueFunction('worker', () => archive, workJob) as unknown as (
    event: object,
    context: object,
  ) => Promise<SQSBatchResponse>;
  const retrieve = httpFunction('retrieve', () => archive) as unknown as (
    event: object,
    context: object,
  ) => Promise<APIGatewayProxyResult>;

  /** A quarter of an hour: what lies in the queues comes to the worker, time and again. */
  const workOff = async (): Promise<void> => {
    for (let round = 0; round < 15; round++) {
      clock.advance(60_000);
      for (const queue of [STUDY_QUIET, PLACEMENT]) {
        for (const job of await memory.jobs.receive(queue, { max: 10, visibilityMs: 60_000 })) {
          const record = {
            messageId: job.id,
            body: encodeMessage({ payload: job.payload }),
            attributes: { ApproximateReceiveCount: '1' },
            eventSourceARN: `arn:aws:sqs:us-east-1:000000000000:nephos-prod-${queue}`,
          };
          expect(await worker({ Records: [record] }, lambdaContext())).toEqual({ batchItemFailures: [] });
          await memory.jobs.complete(queue, job);
        }
      }
    }
  };
  const frame = async (number: number): Promise<string> => {
    const path = `/dicomweb/studies/${uid(1)}/series/${uid(2)}/instances/${uid(3)}/frames/${number}`;
    const accept = `multipart/related; type="image/jphc"; transfer-syntax=${HTJ2K}`;
    const event = proxyEvent({
      method: 'GET',
      url: new URL(path, 'https://pacs.test'),
      headers: { accept },
      authorizer: { tenant: TENANT, subject: 'test', roles: 'retriever' },
    } as never);
    const { statusCode, body, isBase64Encoded } = await retrieve(event, lambdaContext());
    expect(statusCode, body).toBe(200);
    return Buffer.from(body, isBase64Encoded ? 'base64' : 'utf8').toString();
  };
  const send = async (Modality: string): Promise<void> => {
    const bytes = buildDicom({ Modality, NumberOfFrames: 2 }, { frames: [Buffer.alloc(32, 1), Buffer.alloc(32, 2)] });
    expect((await store(archive.services, bytes)).kind).toBe('stored');
  };
  return { fake, archive, memory, workOff, frame, send };
}

test('a CT study that has become quiet is placed by the worker, and its frames come from HealthImaging', async () => {
  const { fake, workOff, frame, send } = await deployment();
  await send('CT');
  expect(await frame(1)).toContain('made here');
  await workOff();
  expect(fake.calls.get('StartDICOMImportJob')).toBe(1);
  expect(await frame(2)).toContain(`HTJ2K of ${uid(3)} frame 2`);
  fake.imageSets.clear();
  expect(await frame(2)).toContain('made here');
});

test.each([
  ['of a modality that the policy does not name', {}, 'US'],
  ['smaller than what HealthImaging bills', { NEPHOS_LIMIT_PLACEMENT_LEAST_BYTES: '5242880' }, 'CT'],
  ['where the group has named no modality', { NEPHOS_PLACEMENT_MODALITIES: '' }, 'CT'],
] as const)('a study %s stays with S3', async (_, env, modality) => {
  const { fake, workOff, frame, send } = await deployment(env);
  await send(modality);
  await workOff();
  expect(fake.calls.get('StartDICOMImportJob')).toBeUndefined();
  expect(await frame(1)).toContain('made here');
});

test('more frames a second than the service allows are made from the objects', async () => {
  const { memory, workOff, frame, send } = await deployment({}, { framesPerSecond: 2 });
  await send('CT');
  await workOff();
  const from = async () => ((await frame(1)).includes('HTJ2K of') ? 'HealthImaging' : 'S3');
  expect([await from(), await from(), await from()]).toStrictEqual(['HealthImaging', 'HealthImaging', 'S3']);
  memory.clock.advance(500);
  expect([await from(), await from()]).toStrictEqual(['HealthImaging', 'S3']);
});

test('a bucket of tokens lets through its rate, and bursts of one second', () => {
  const clock = new TestClock();
  const bucket = new TokenBucket(10, clock);
  const takeAll = (): number => {
    let taken = 0;
    while (bucket.take()) taken++;
    return taken;
  };
  expect(takeAll()).toBe(10);
  clock.advance(250);
  expect(takeAll()).toBe(2);
  clock.advance(60_000);
  expect(takeAll()).toBe(10);
});
