import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { CreateBucketCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { CreateQueueCommand } from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { dynamoClient, s3Client, sqsClient } from '#adapters/aws/clients.ts';
import { QUEUES } from '#adapters/aws/schema.ts';
import { REQUEST_BYTES } from '#lambda/config.ts';
import { ENVIRONMENT, queueVariable } from '#lambda/environment.ts';
import { FUNCTIONS, type FunctionName } from '#lambda/functions.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { proxyEvent } from '#test/fixtures/lambda-runtime.ts';
import { multipart } from '#test/hosts/client.ts';
import { ENGINE_IDENTITY, type Engine, startDynamoDb, startMiniStack } from './helpers/engines.ts';
import { bundle, inlineFunction, type RunningFunction, startFunction } from './helpers/lambda-runtime.ts';
import { createTable } from './helpers/table.ts';

/**
 * The bundles as the deployment makes them, in the runtime that AWS runs them in, on engines that stand in for DynamoDB, S3 and SQS.
 */
const MEBIBYTE = 1024 * 1024;
const STUDY = `/dicomweb/studies/${uid(1)}`;
const INSTANCE = `${STUDY}/series/${uid(2)}/instances/${uid(101)}`;
const ADMIN = { tenant: 'main', subject: 'test', roles: 'admin' };
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

let engines: Engine[];
let s3: S3Client;
let env: Record<string, string>;
const running: { stop(): Promise<void>; remove(): Promise<void> }[] = [];

beforeAll(async () => {
  const [database, stack] = await Promise.all([startDynamoDb(), startMiniStack()]);
  engines = [database, stack];
  const table = dynamoClient({ ...ENGINE_IDENTITY, endpoint: database.endpoint });
  await createTable(table, 'index');
  table.destroy();
  s3 = s3Client({ ...ENGINE_IDENTITY, endpoint: stack.endpoint, forcePathStyle: true });
  for (const Bucket of ['archive', 'landing']) await s3.send(new CreateBucketCommand({ Bucket }));
  const sqs = sqsClient({ ...ENGINE_IDENTITY, endpoint: stack.endpoint });
  const queues: Record<string, string> = {};
  for (const kind of Object.keys(QUEUES)) {
    queues[queueVariable(kind)] = (await sqs.send(new CreateQueueCommand({ QueueName: `test-${kind}` }))).QueueUrl!;
  }
  sqs.destroy();
  env = {
    AWS_ENDPOINT_URL: stack.endpoint,
    AWS_ENDPOINT_URL_DYNAMODB: database.endpoint,
    AWS_ACCESS_KEY_ID: ENGINE_IDENTITY.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: ENGINE_IDENTITY.credentials.secretAccessKey,
    [ENVIRONMENT.table]: 'index',
    [ENVIRONMENT.archiveBucket]: 'archive',
    [ENVIRONMENT.landingBucket]: 'landing',
    ...queues,
  };
});
afterAll(async () => {
  for (const one of running) {
    await one.stop();
    await one.remove();
  }
  s3?.destroy();
  await Promise.all((engines ?? []).map((engine) => engine.stop()));
});

async function start(name: FunctionName, more: Record<string, string> = {}): Promise<RunningFunction> {
  const { folder, remove } = await bundle(name);
  const started = await startFunction(name, folder, { ...env, ...more });
  running.push({ stop: started.stop, remove });
  console.log(`${name}: cold start ${Math.round(started.coldStartMs)} ms`);
  return started;
}

type Ask = { method?: string; headers?: Record<string, string>; body?: Uint8Array };
const event = (path: string, { method = 'GET', headers = {}, body }: Ask = {}) =>
  proxyEvent({ method, url: new URL(path, 'https://pacs.test'), headers, body, authorizer: ADMIN });
const job = (name: string, body: object) => ({
  Records: [
    {
      messageId: 'one',
      body: JSON.stringify(body),
      attributes: { ApproximateReceiveCount: '1' },
      eventSourceARN: `arn:aws:sqs:us-east-1:000000000000:test-${name}`,
    },
  ],
});
async function expectMemory(name: FunctionName, started: RunningFunction): Promise<void> {
  const peak = await started.peakMemoryBytes();
  console.log(`${name}: at most ${Math.round(peak / MEBIBYTE)} of ${FUNCTIONS[name].memoryMiB} MiB`);
  expect(peak).toBeLessThan(FUNCTIONS[name].memoryMiB * MEBIBYTE);
}

test('the largest request that Lambda lets through is stored within the memory of the function', async () => {
  const store = await start('store');
  const pixels = randomBytes(REQUEST_BYTES - 8_192);
  const request = multipart([buildDicom({ SOPInstanceUID: uid(101), PixelData: pixels })]);
  expect(request.body.length).toBeLessThanOrEqual(REQUEST_BYTES);
  for (let i = 0; i < 3; i++) {
    const answer = await store.invoke(event('/dicomweb/studies', request));
    const { statusCode, headers, body } = JSON.parse(answer.body.toString());
    expect({ statusCode, body }).toMatchObject({ statusCode: 200 });
    expect(headers['content-type']).toBe('application/dicom+json');
    expect(JSON.parse(body)['00081190'].Value).toEqual([`https://pacs.test${STUDY}`]);
  }
  await expectMemory('store', store);
  expect(store.log()).toContain('"invocation"');
  expect(store.log()).toContain('00000000-0000-4000-8000-000000000003');
  expect(store.log()).not.toContain('DOE');
});

test('what was stored is found and retrieved, byte for byte, by streams', async () => {
  const search = await start('search');
  const found = await search.invoke(event('/dicomweb/studies'));
  expect(found.headers['lambda-runtime-function-response-mode']).toBe('streaming');
  expect(found.metadata).toMatchObject({ statusCode: 200, headers: { 'content-type': 'application/dicom+json' } });
  expect(JSON.parse(found.body.toString())).toHaveLength(1);

  const retrieve = await start('retrieve');
  const single = { headers: { accept: 'application/dicom; transfer-syntax=*' } };
  const object = await retrieve.invoke(event(INSTANCE, single));
  expect(object.metadata?.statusCode).toBe(200);
  expect(object.metadata?.headers['repr-digest']).toBe(
    `sha-256=:${createHash('sha256').update(object.body).digest('base64')}:`,
  );
  const head = await retrieve.invoke(event(INSTANCE, { ...single, method: 'HEAD' }));
  expect(head.body.length).toBe(0);
  expect(head.metadata?.headers['content-length']).toBe(String(object.body.length));
  expect((await retrieve.invoke(event(`${STUDY}/series/1.2.3/metadata`))).metadata?.statusCode).toBe(404);
  await expectMemory('search', search);
});

describe('a store transaction through signed URLs', () => {
  const large = buildDicom({
    StudyInstanceUID: uid(5),
    SeriesInstanceUID: uid(6),
    SOPInstanceUID: uid(301),
    PixelData: randomBytes(150 * MEBIBYTE),
  });
  const PATH = '/api/transactions/7f6c0a4e-0000-4000-8000-000000000001';

  test('parts go to the bucket, the queue’s job stores them in constant memory, the commit answers as STOW-RS does', async () => {
    const transactions = await start('transactions', { NEPHOS_LIMIT_TRANSACTION_WAIT_MS: '1' });
    const ask = async (method: string, path: string, body?: object) => {
      const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
      const answer = await transactions.invoke(event(path, { method, ...(bytes && { body: bytes }) }));
      const result = JSON.parse(answer.body.toString());
      return { status: result.statusCode as number, headers: result.headers, body: JSON.parse(result.body || 'null') };
    };
    const announced = { objects: [{ sizeBytes: large.length, sha256: sha256(large), SOPInstanceUID: uid(301) }] };
    const created = await ask('PUT', PATH, announced);
    expect(created.status).toBe(201);
    const { partBytes, parts } = created.body.objects[0];
    for (let part = 1; part <= parts; part++) {
      const bytes = large.subarray((part - 1) * partBytes, part * partBytes);
      const granted = await ask('POST', `${PATH}/parts`, { object: 1, parts: [{ part, sha256: sha256(bytes) }] });
      const [{ url, headers, method, authenticate }] = granted.body.uploads;
      expect(authenticate).toBe(false);
      const uploaded = await fetch(url, { method, headers, body: Buffer.from(bytes) });
      expect(uploaded.status).toBe(200);
    }
    expect((await ask('GET', PATH)).body.objects[0].arrived).toEqual([[1, parts]]);
    const later = await ask('POST', `${PATH}/commit`);
    expect([later.status, later.headers['content-type']]).toEqual([202, 'application/json']);

    const ingest = await start('ingest');
    const payload = { tenant: 'main', id: PATH.split('/').at(-1), from: 0, count: 1 };
    const worked = await ingest.invoke(job('store-uploaded', { payload }));
    expect(JSON.parse(worked.body.toString())).toEqual({ batchItemFailures: [] });
    await expectMemory('ingest', ingest);

    const done = await ask('POST', `${PATH}/commit`);
    expect([done.status, done.headers['content-type']]).toEqual([200, 'application/dicom+json']);
    expect(done.body['00081199'].Value[0]['00081155'].Value).toEqual([uid(301)]);
    await expectMemory('transactions', transactions);
  });

  test('what is large is had from the bucket, or streamed to who cannot follow: the first byte long before the last, as fast as it is taken', async () => {
    const retrieve = await start('retrieve');
    const path = `/dicomweb/studies/${uid(5)}/series/${uid(6)}/instances/${uid(301)}`;
    const accept = 'application/dicom; transfer-syntax=*';
    const elsewhere = await retrieve.invoke(event(path, { headers: { accept } }));
    expect(elsewhere.metadata?.statusCode).toBe(307);
    const fetched = await fetch(elsewhere.metadata!.headers.location!);
    expect(fetched.headers.get('content-type')).toContain('application/dicom');
    expect(sha256(new Uint8Array(await fetched.arrayBuffer()))).toBe(sha256(large));

    let whileNobodyReads = 0;
    const streamed = await retrieve.invoke(event(path, { headers: { accept, prefer: 'no-redirect' } }), {
      async beforeReading({ socket }) {
        // What buffers on the way take, and then no more.
        for (let before = -1; socket.bytesRead !== before; await sleep(300)) before = socket.bytesRead;
        whileNobodyReads = socket.bytesRead;
      },
    });
    expect(whileNobodyReads).toBeGreaterThan(0);
    expect(whileNobodyReads).toBeLessThan(large.length / 2);
    expect(sha256(streamed.body)).toBe(sha256(large));
    await expectMemory('retrieve', retrieve);
  });
});

test('an object that somebody put into the landing bucket is stored when S3 says so, once, however often it says it', async () => {
  const object = buildDicom({ StudyInstanceUID: uid(8), SeriesInstanceUID: uid(9), SOPInstanceUID: uid(401) });
  const Key = 'incoming/main/some-modality/IM_0001.dcm';
  await s3.send(new PutObjectCommand({ Bucket: 'landing', Key, Body: object }));
  const ingest = await start('ingest');
  const notification = {
    Records: [{ eventName: 'ObjectCreated:Put', s3: { bucket: { name: 'landing' }, object: { key: Key } } }],
  };
  for (let i = 0; i < 2; i++) {
    const worked = await ingest.invoke(job('ingest', notification));
    expect(JSON.parse(worked.body.toString())).toEqual({ batchItemFailures: [] });
  }
  const broken = await ingest.invoke(job('ingest', { what: 'is this' }));
  expect(JSON.parse(broken.body.toString())).toEqual({ batchItemFailures: [{ itemIdentifier: 'one' }] });
  const search = await start('search');
  const found = await search.invoke(event(`/dicomweb/studies?StudyInstanceUID=${uid(8)}&includefield=00201208`));
  expect(JSON.parse(found.body.toString())[0]['00201208'].Value).toEqual([1]);
});

test('the codecs beside the bundle draw an image', async () => {
  const render = await start('render');
  const image = await render.invoke(event(`${INSTANCE}/rendered`, { headers: { accept: 'image/jpeg' } }));
  expect(image.metadata).toMatchObject({ statusCode: 200, headers: { 'content-type': 'image/jpeg' } });
  expect(image.body.subarray(0, 2).toString('hex')).toBe('ffd8');
  await expectMemory('render', render);
});

test('who is not let in is told by an error that API Gateway makes a 401 of', async () => {
  const authorizer = await start('authorizer');
  const ask = {
    ...event('/dicomweb/studies'),
    type: 'REQUEST',
    methodArn: 'arn:aws:execute-api:us-east-1:0:a/live/GET/x',
  };
  const refused = await authorizer.invoke(ask);
  expect(refused.isError).toBe(true);
  expect(JSON.parse(refused.body.toString())).toMatchObject({ errorMessage: 'Unauthorized' });
  await expectMemory('authorizer', authorizer);
});

test('a body that fails on its way ends with the runtime’s error, not as if it were whole', async () => {
  const { folder, remove } = await bundle('retrieve');
  const retrieve = await startFunction('retrieve', folder, { ...env, NEPHOS_LIMIT_RESPONSE_BYTES: '100' });
  running.push({ stop: retrieve.stop, remove });
  const torn = await retrieve.invoke(
    event(`${INSTANCE}/metadata`, { headers: { accept: 'multipart/related; type="application/dicom+xml"' } }),
  );
  expect(torn.trailers['lambda-runtime-function-error-type']).toBe('PacsError');
  const body = JSON.parse(Buffer.from(torn.trailers['lambda-runtime-function-error-body']!, 'base64').toString());
  expect(body).toMatchObject({ errorMessage: expect.stringMatching(/more than one response may hold/) });
  expect((await retrieve.invoke(event('/dicomweb/studies/1.2.3'))).metadata?.statusCode).toBe(404);
});

test('every function there is comes up in the runtime: its bundle is whole', async () => {
  const started = new Set<FunctionName>([
    'store',
    'search',
    'retrieve',
    'render',
    'transactions',
    'ingest',
    'authorizer',
  ]);
  const others = (Object.keys(FUNCTIONS) as FunctionName[]).filter((name) => !started.has(name));
  expect(others.length).toBeGreaterThan(5);
  for (const name of others) {
    const up = await start(name);
    await expectMemory(name, up);
    await up.stop();
  }
});

test('a function without its configuration does not start, and says what is missing', async () => {
  const { folder, remove } = await bundle('store');
  const wrong = { ...env, [ENVIRONMENT.tenants]: 'No Such Name' };
  await expect(startFunction('store', folder, wrong)).rejects.toThrow(ENVIRONMENT.tenants);
  await remove();
});

test('the runtime itself is the real one: it gives the context and takes a thrown error', async () => {
  const { folder, remove } = await inlineFunction(
    'export const handler = async (event, context) => { if (event.fail) throw new TypeError("no"); return { name: context.functionName, left: context.getRemainingTimeInMillis() > 0 }; };',
  );
  const plain = await startFunction('store', folder, {});
  running.push({ stop: plain.stop, remove });
  expect(JSON.parse((await plain.invoke({})).body.toString())).toEqual({ name: 'nephos-store', left: true });
  const failed = await plain.invoke({ fail: true });
  expect(JSON.parse(failed.body.toString())).toMatchObject({ errorType: 'TypeError', errorMessage: 'no' });
});
