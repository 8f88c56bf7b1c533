import '#test/fixtures/quiet-powertools.ts';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { SQSBatchResponse } from 'aws-lambda';
import { describe, expect, test, vi } from 'vitest';
import { encodeMessage } from '#adapters/aws/sqs-message.ts';
import { STUDY_QUIET } from '#core/archive/fold.ts';
import { sweep } from '#core/archive/sweep.ts';
import { partKeys } from '#core/archive/transaction-parts.ts';
import { endTransaction } from '#core/archive/transaction-records.ts';
import { createTransaction } from '#core/archive/transactions.ts';
import { STORE_UPLOADED } from '#core/archive/uploaded.ts';
import { PacsError } from '#core/errors.ts';
import type { Item } from '#core/ports/index-table.ts';
import { deliveriesOf, sendStudy } from '#core/routing/deliveries.ts';
import { putDestination, readDestination } from '#core/routing/settings.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { workJob } from '#lambda/jobs.ts';
import { storeLanded } from '#lambda/landed.ts';
import { recordMoved } from '#lambda/moved.ts';
import { queueFunction } from '#lambda/queue-function.ts';
import { routeWork } from '#lambda/route-work.ts';
import { scheduledFunction } from '#lambda/scheduled-function.ts';
import { auditEvents } from '#test/fixtures/audit-events.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { dyingServices } from '#test/fixtures/dying-services.ts';
import { archiveOf } from '#test/fixtures/granted-index.ts';
import { invocable, lambdaContext } from '#test/fixtures/lambda-runtime.ts';
import { memoryServices, store, studyRecord, TENANT } from '#test/fixtures/services.ts';

type Memory = ReturnType<typeof memoryServices>;
const archiveOn = (memory: Memory) => cloudArchive(readLambdaConfig({ NEPHOS_TENANTS: TENANT }, false), memory, false);

function functionsOn(memory: Memory) {
  const whole = archiveOn(memory);
  const archive = archiveOf('ingest', whole);
  const ingest = invocable<SQSBatchResponse>(
    queueFunction(
      'ingest',
      () => archive,
      (one, queue, record) => (queue === 'ingest' ? storeLanded(one, record) : workJob(one, queue, record)),
    ),
  );
  const worker = invocable<SQSBatchResponse>(queueFunction('worker', () => archiveOf('worker', whole), workJob));
  return { archive, ingest, worker };
}

const batch = (queue: string, bodies: readonly string[]) => ({
  Records: bodies.map((body, i) => ({
    messageId: `m${i}`,
    body,
    attributes: { ApproximateReceiveCount: '2' },
    eventSourceARN: `arn:aws:sqs:eu-west-1:000000000000:nephos-prod-${queue}`,
  })),
});
const message = (payload: Item, notBefore?: number) => encodeMessage({ payload, notBefore });
const notification = (...keys: string[]) =>
  JSON.stringify({
    Records: keys.map((key) => ({ s3: { object: { key: encodeURIComponent(key).replaceAll('%20', '+') } } })),
  });

const slice = (n: number): Uint8Array =>
  buildDicom({ SOPInstanceUID: uid(100 + n), InstanceNumber: n, PixelData: new Uint8Array(3_000).fill(n) });
const INCOMING = `incoming/${TENANT}`;

test('what S3 tells of its moves comes into the records of the series, and what is no such event fails', async () => {
  const memory = memoryServices();
  await store(memory, slice(1));
  const archive = archiveOn(memory);
  const worker = invocable<SQSBatchResponse>(
    queueFunction(
      'worker',
      () => archiveOf('worker', archive),
      (one, _, record) => recordMoved(one, record),
    ),
  );
  const [{ key } = { key: '' }] = await Array.fromAsync(memory.blobs.list(`${TENANT}/`));
  const tell = async (type: string, detail: object) => {
    const body = JSON.stringify({ 'detail-type': type, detail: { bucket: { name: 'archive' }, ...detail } });
    const { batchItemFailures } = await worker(batch('moved', [body]), lambdaContext());
    return { failed: batchItemFailures.length, is: (await studyRecord(memory, uid(1)))?.availability };
  };
  const object = { key };
  memory.blobs.archive(key);
  const away = { object, 'destination-storage-class': 'DEEP_ARCHIVE' };
  expect(await tell('Object Storage Class Changed', away)).toEqual({ failed: 0, is: 'OFFLINE' });
  await memory.blobs.restore(key);
  memory.blobs.finishRestores();
  expect(await tell('Object Storage Class Changed', { object, 'destination-storage-class': 'STANDARD_IA' })).toEqual({
    failed: 0,
    is: 'ONLINE',
  });
  memory.blobs.archive(key);
  expect(await tell('Object Restore Expired', { object })).toEqual({ failed: 0, is: 'OFFLINE' });
  expect(await tell('Object Restore Completed', { object })).toEqual({ failed: 0, is: 'OFFLINE' }); // it is not true
  await memory.blobs.restore(key);
  memory.blobs.finishRestores();
  expect(await tell('Object Restore Completed', { object })).toEqual({ failed: 0, is: 'ONLINE' });
  expect(await tell('Object Created', {})).toMatchObject({ failed: 1 });
});

describe('objects that land in the bucket', () => {
  test('are stored and removed; told again, or told late, nothing happens', async () => {
    const memory = memoryServices();
    const { ingest } = functionsOn(memory);
    await memory.landing.put(`${INCOMING}/a/1.dcm`, slice(1));
    await memory.landing.put(`${INCOMING}/a/2.dcm`, slice(2));
    const event = batch('ingest', [
      notification(`${INCOMING}/a/1.dcm`, `${INCOMING}/a/2.dcm`),
      notification(`${INCOMING}/a/1.dcm`),
    ]);
    for (let i = 0; i < 2; i++) expect(await ingest(event, lambdaContext())).toEqual({ batchItemFailures: [] });
    expect((await studyRecord(memory, uid(1)))?.instanceCount).toBe(2);
    expect(await Array.fromAsync(memory.landing.list('incoming/'))).toEqual([]);
  });

  test('are in the audit trail: an entry for each study and a count, and what was refused; while it cannot be written, they wait', async () => {
    const memory = memoryServices();
    const { archive, ingest } = functionsOn(memory);
    for (const n of [1, 2, 3]) await memory.landing.put(`${INCOMING}/${n}.dcm`, slice(n));
    await memory.landing.put(`${INCOMING}/broken.dcm`, new TextEncoder().encode('not DICOM'));
    const keys = ['1.dcm', '2.dcm', '3.dcm', 'broken.dcm'].map((name) => `${INCOMING}/${name}`);
    await ingest(batch('ingest', [notification(...keys)]), lambdaContext());
    await archive.services.audit.flush(true);
    const entries = await auditEvents(memory, TENANT);
    const act = { event: 'DataImport', action: 'C', subject: 'ingest', door: 'system', transaction: 'IngestObject' };
    expect(entries).toMatchObject([
      { ...act, outcome: 0, studies: [uid(1)] },
      { ...act, outcome: 4, error: expect.any(String) },
      { ...act, outcome: 0, studies: [uid(1)], repeated: 2, instances: 2 },
    ]);
    expect(JSON.stringify(entries)).not.toContain('broken');
    await memory.landing.put(`${INCOMING}/4.dcm`, slice(4));
    vi.spyOn(archive.services.audit, 'admit').mockImplementation(() => {
      throw new PacsError('BUSY', 'the audit trail cannot be written');
    });
    expect(await ingest(batch('ingest', [notification(`${INCOMING}/4.dcm`)]), lambdaContext())).toEqual({
      batchItemFailures: [{ itemIdentifier: 'm0' }],
    });
    expect((await studyRecord(memory, uid(1)))?.instanceCount).toBe(3);
  });

  test('by EventBridge as by S3 itself; the test event at the beginning is nothing', async () => {
    const memory = memoryServices();
    const { ingest } = functionsOn(memory);
    await memory.landing.put(`${INCOMING}/1.dcm`, slice(1));
    const bodies = [
      JSON.stringify({ detail: { object: { key: `${INCOMING}/1.dcm` } } }),
      JSON.stringify({ Event: 's3:TestEvent' }),
    ];
    expect(await ingest(batch('ingest', bodies), lambdaContext())).toEqual({ batchItemFailures: [] });
    expect((await studyRecord(memory, uid(1)))?.instanceCount).toBe(1);
  });

  test('what can never be stored stays, and is not tried for ever; nor is the folder of nobody', async () => {
    const memory = memoryServices();
    const { ingest } = functionsOn(memory);
    await memory.landing.put(`${INCOMING}/broken.dcm`, new TextEncoder().encode('not DICOM'));
    await memory.landing.put('incoming/nobody/1.dcm', slice(1));
    const event = batch('ingest', [notification(`${INCOMING}/broken.dcm`), notification('incoming/nobody/1.dcm')]);
    expect(await ingest(event, lambdaContext())).toEqual({ batchItemFailures: [] });
    expect(await Array.fromAsync(memory.landing.list('incoming/'))).toHaveLength(2);
  });

  test('one message that fails does not hold up the others of its batch', async () => {
    const memory = memoryServices();
    const { ingest } = functionsOn(memory);
    for (const n of [1, 2, 3]) await memory.landing.put(`${INCOMING}/${n}.dcm`, slice(n));
    const head = memory.landing.head.bind(memory.landing);
    vi.spyOn(memory.landing, 'head').mockImplementation(async (key) => {
      if (key.endsWith('/2.dcm')) throw new PacsError('BUSY', 'throttled');
      return head(key);
    });
    const event = batch(
      'ingest',
      [1, 2, 3].map((n) => notification(`${INCOMING}/${n}.dcm`)),
    );
    expect(await ingest(event, lambdaContext())).toEqual({ batchItemFailures: [{ itemIdentifier: 'm1' }] });
    vi.restoreAllMocks();
    expect(await ingest(event, lambdaContext())).toEqual({ batchItemFailures: [] });
    expect((await studyRecord(memory, uid(1)))?.instanceCount).toBe(3);
  });
});

describe('jobs', () => {
  test('a study gets quiet', async () => {
    const memory = memoryServices();
    const { worker } = functionsOn(memory);
    await store(memory, slice(1));
    memory.clock.advance(memory.limits.studyQuietMs + 1);
    await worker(batch(STUDY_QUIET, [message({ tenant: TENANT, study: uid(1) })]), lambdaContext());
    expect((await studyRecord(memory, uid(1)))?.quietJobAt).toBeUndefined();
  });

  test('what came too early is sent again with what is left of its time', async () => {
    const memory = memoryServices();
    const { worker } = functionsOn(memory);
    const enqueue = vi.spyOn(memory.jobs, 'enqueue');
    const payload = { tenant: TENANT, study: uid(1) };
    await worker(batch(STUDY_QUIET, [message(payload, memory.clock.now() + 7_000)]), lambdaContext());
    expect(enqueue).toHaveBeenCalledWith(STUDY_QUIET, payload, { delayMs: 7_000 });
  });

  test('no job of ours, or of a queue that nobody knows: comes again, and at last to the dead letters', async () => {
    const { worker } = functionsOn(memoryServices());
    expect((await worker(batch(STUDY_QUIET, ['{}', 'no JSON']), lambdaContext())).batchItemFailures).toHaveLength(2);
    await expect(worker(batch('somebody-elses', [message({})]), lambdaContext())).rejects.toThrow('somebody-elses');
  });
});

test('the clock’s functions work for each tenant', async () => {
  const memory = memoryServices();
  const config = readLambdaConfig({ NEPHOS_TENANTS: 'north,south', NEPHOS_OIDC_TENANT_CLAIM: 'x' }, false);
  const archive = cloudArchive(config, memory, false);
  const handler = scheduledFunction(
    'sweep',
    () => archiveOf('sweep', archive),
    ({ services }, tenant) => sweep(services, tenant),
  );
  expect(await invocable<object>(handler)({}, lambdaContext())).toMatchObject({
    north: { abandoned: 0 },
    south: { abandoned: 0 },
  });
});

/** SQS brings a message again until it is done: so does this, with a function that dies at every call in turn. */
describe('killed at any moment', () => {
  const ID = 'b3c1f0de-0000-4000-8000-000000000002';
  const limits = { transactionPartBytes: 1_000, pendingMs: 1 };
  const objects = [slice(1), slice(2)];
  const setUp = {
    async landed(memory: Memory) {
      for (const [i, bytes] of objects.entries()) await memory.landing.put(`${INCOMING}/${i}.dcm`, bytes);
      return batch('ingest', [notification(`${INCOMING}/0.dcm`, `${INCOMING}/1.dcm`)]);
    },
    async uploaded(memory: Memory) {
      const { record } = await createTransaction(memory, TENANT, {
        id: ID,
        by: 'gateway',
        objects: objects.map((bytes) => ({
          sizeBytes: bytes.length,
          sha256: createHash('sha256').update(bytes).digest('hex'),
        })),
      });
      for (const [i, bytes] of objects.entries()) {
        for (const [p, key] of partKeys(TENANT, record, i).entries()) {
          await memory.landing.put(key, bytes.subarray(p * 1_000, (p + 1) * 1_000));
        }
      }
      await endTransaction(memory, TENANT, ID, 'committed');
      return batch(STORE_UPLOADED, [message({ tenant: TENANT, id: ID, from: 0, count: 2 })]);
    },
  };

  test.each([
    ['landed', 'before'],
    ['landed', 'after'],
    ['uploaded', 'before'],
    ['uploaded', 'after'],
  ] as const)(
    'with objects %s, %s a call took effect: each object is there once, nothing is left',
    async (kind, when) => {
      for (let calls = 1; ; calls++) {
        const memory = memoryServices({ limits });
        const event = await setUp[kind](memory);
        const dead = dyingServices(memory, { calls, when }, { limits });
        const first = await functionsOn(dead.services)
          .ingest(event, lambdaContext())
          .catch(() => undefined);
        const survived = dead.survived();
        if (!survived) expect(first?.batchItemFailures ?? [{}], `killed at call ${calls}`).toHaveLength(1);

        memory.clock.advance(1_000);
        expect(await functionsOn(memory).ingest(event, lambdaContext())).toEqual({ batchItemFailures: [] });
        await sweep(memory, TENANT);
        const label = { calls, when };
        expect({ ...label, count: (await studyRecord(memory, uid(1)))?.instanceCount }).toEqual({ ...label, count: 2 });
        // Parts of an object whose outcome stands go with their transaction at the latest.
        memory.clock.advance(memory.limits.transactionMs);
        await sweep(memory, TENANT);
        const left = (await Array.fromAsync(memory.blobs.list(''))).map(({ key }) => key);
        expect(left.filter((key) => key.endsWith('.dcm'))).toHaveLength(2);
        expect(left.filter((key) => key.startsWith('incoming/') || key.startsWith('_uploads/'))).toEqual([]);
        if (survived) {
          expect(calls).toBeGreaterThan(15);
          return;
        }
      }
    },
  );
});

test('a study is sent on by the function for that, by what its queue says; too early, it is sent again', async () => {
  const arrived: { url: string | undefined; bytes: number }[] = [];
  const elsewhere = createServer(async (request, response) => {
    let bytes = 0;
    for await (const chunk of request) bytes += (chunk as Buffer).byteLength;
    arrived.push({ url: request.url, bytes });
    const sop = uid(101);
    response.end(JSON.stringify({ '00081199': { vr: 'SQ', Value: [{ '00081155': { vr: 'UI', Value: [sop] } }] } }));
  });
  await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}`;
  const environment = {
    NEPHOS_TENANTS: TENANT,
    NEPHOS_ROUTING_HOSTS: origin,
    NEPHOS_ROUTING_NETWORKS: '127.0.0.1',
  };
  try {
    const memory = memoryServices();
    const archive = cloudArchive(readLambdaConfig(environment, false), memory, false);
    const { services } = archive;
    const destination = readDestination(services, { url: `${origin}/dicomweb` });
    await putDestination(services, TENANT, 'elsewhere', destination, 'ana');
    await store(services, slice(1));
    expect(await sendStudy(services, TENANT, uid(1), 'elsewhere')).toBe(1);
    const route = invocable<SQSBatchResponse>(queueFunction('route', () => archiveOf('route', archive), routeWork));
    const job = { tenant: TENANT, study: uid(1), destination: 'elsewhere' };
    const early = batch('route', [message(job, memory.clock.now() + 60_000)]);
    expect(await route(early, lambdaContext())).toEqual({ batchItemFailures: [] });
    expect(arrived).toEqual([]);
    expect(await route(batch('route', [message(job)]), lambdaContext())).toEqual({ batchItemFailures: [] });
    expect(arrived).toEqual([{ url: '/dicomweb/studies', bytes: expect.any(Number) }]);
    expect(await deliveriesOf(services, TENANT, uid(1))).toMatchObject([{ state: 'done', sent: 1 }]);
  } finally {
    elsewhere.close().closeAllConnections();
  }
});
