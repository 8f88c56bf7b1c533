import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CreateKeyCommand } from '@aws-sdk/client-kms';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { CreateSecretCommand } from '@aws-sdk/client-secrets-manager';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kmsClient, s3Client, secretsClient } from '#adapters/aws/clients.ts';
import { DynamoRateLedger } from '#adapters/aws/dynamo-rate-ledger.ts';
import { KmsAuditSigner } from '#adapters/aws/kms-audit-signer.ts';
import { readSecret } from '#adapters/aws/secret.ts';
import { principalAccount } from '#core/rate-accounts.ts';
import type { Services } from '#core/services.ts';
import { type Cloud, startCloud, TABLE_NAME } from './helpers/archive.ts';
import { ENGINE_IDENTITY } from './helpers/engines.ts';
import { FAULTS, failFirst } from './helpers/faults.ts';
import { systemClock } from './helpers/table.ts';

/**
 * Each call that the adapters know of, failing once in each way a call can fail: what was asked for comes about all the same, once.
 * The list is that of the sources: a call that nobody has thought of fails the last test.
 */
const RETRY = { attempts: 4, firstMs: 1, mostMs: 5 };
/** over this, the store uploads in parts */
const PART_BYTES = 64 * 1024;
let cloud: Cloud;
let calm: Services;
beforeAll(async () => {
  cloud = await startCloud();
  calm = cloud.open().services;
});
afterAll(() => cloud.stop());

const bytes = Buffer.from('as it was');
const large = Buffer.alloc(3 * PART_BYTES + 1_000, 7);
const LARGE_RECORD = { kind: 'put', item: { n: 1 } } as const;

/** Asks `failing` for what makes the call, and `calm` for what came of it. `name` has not been used before. */
type Ask = (failing: Services, name: string) => Promise<void>;

const index: Record<string, Ask> = {
  async GetItemCommand({ index }, name) {
    const key = { partition: name, sort: 'a' };
    await calm.index.write([{ ...LARGE_RECORD, key }]);
    expect(await index.get(key)).toEqual({ n: 1 });
  },
  async BatchGetItemCommand({ index }, name) {
    const both = ['a', 'b'].map((sort) => ({ partition: name, sort }));
    await calm.index.write(both.map((key) => ({ ...LARGE_RECORD, key })));
    expect(await index.getMany(both)).toEqual([{ n: 1 }, { n: 1 }]);
  },
  async QueryCommand({ index }, name) {
    await calm.index.write([{ ...LARGE_RECORD, key: { partition: name, sort: 'a' } }]);
    expect((await index.query({ partition: name, limit: 10 })).records).toEqual([{ sort: 'a', item: { n: 1 } }]);
  },
  async PutItemCommand({ index }, name) {
    const key = { partition: name, sort: 'a' };
    await index.write([{ ...LARGE_RECORD, key, if: 'absent' }]);
    expect(await calm.index.get(key)).toEqual({ n: 1 });
  },
  async DeleteItemCommand({ index }, name) {
    const key = { partition: name, sort: 'a' };
    await calm.index.write([{ ...LARGE_RECORD, key }]);
    await index.write([{ kind: 'delete', key }]);
    expect(await calm.index.get(key)).toBeUndefined();
  },
  async TransactWriteItemsCommand({ index }, name) {
    const keyOf = (sort: string) => ({ partition: name, sort });
    await index.write([
      { ...LARGE_RECORD, key: keyOf('a'), if: 'absent' },
      { kind: 'add', key: keyOf('sum'), increments: { n: 5 } },
    ]);
    expect(await calm.index.getMany([keyOf('a'), keyOf('sum')])).toEqual([{ n: 1 }, { n: 5 }]);
  },
  async BatchWriteItemCommand({ index }, name) {
    const partition = `${name}|feed`;
    for (let n = 0; n < 12; n++) await calm.index.write([{ kind: 'append', partition, item: { n } }]);
    const { records } = await index.query({ partition, log: true, limit: 100 });
    expect(records.map(({ item }) => item.n).toSorted((a, b) => Number(a) - Number(b))).toEqual(
      Array.from({ length: 12 }, (_, n) => n),
    );
    expect((await calm.index.query({ partition, log: true, limit: 100 })).records).toHaveLength(12);
  },
};

async function* inPieces(): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < large.length; at += 10_000) yield large.subarray(at, at + 10_000);
}
const putLarge: Ask = async ({ blobs }, name) => {
  await blobs.put(name, inPieces());
  expect(Buffer.compare(await calm.blobs.readBytes(name), large)).toBe(0);
};

const blobs: Record<string, Ask> = {
  async PutObjectCommand({ blobs }, name) {
    await blobs.put(name, bytes);
    expect(Buffer.from(await calm.blobs.readBytes(name))).toEqual(bytes);
  },
  async GetObjectCommand({ blobs }, name) {
    await calm.blobs.put(name, bytes);
    expect(Buffer.from(await blobs.readBytes(name))).toEqual(bytes);
  },
  async HeadObjectCommand({ blobs }, name) {
    await calm.blobs.put(name, bytes);
    expect(await blobs.head(name)).toEqual({ key: name, size: bytes.length });
  },
  async ListObjectsV2Command({ blobs }, name) {
    await calm.blobs.put(`${name}/a`, bytes);
    expect(await Array.fromAsync(blobs.list(`${name}/`))).toEqual([{ key: `${name}/a`, size: bytes.length }]);
  },
  async DeleteObjectCommand({ blobs }, name) {
    await calm.blobs.put(name, bytes);
    await blobs.delete(name);
    expect(await calm.blobs.head(name)).toBeUndefined();
  },
  async PutObjectTaggingCommand({ blobs }, name) {
    await calm.blobs.put(name, bytes);
    await blobs.setTier!(name, 'deep');
  },
  async RestoreObjectCommand({ blobs }, name) {
    const s3 = s3Client({ ...ENGINE_IDENTITY, endpoint: cloud.endpoint, forcePathStyle: true });
    await s3.send(new PutObjectCommand({ Bucket: 'archive', Key: name, Body: bytes, StorageClass: 'DEEP_ARCHIVE' }));
    s3.destroy();
    expect(await blobs.restore(name)).toBe('NEARLINE');
  },
  CreateMultipartUploadCommand: putLarge,
  UploadPartCommand: putLarge,
  CompleteMultipartUploadCommand: putLarge,
  async AbortMultipartUploadCommand({ blobs }, name) {
    const broken = async function* () {
      yield* inPieces();
      throw new Error('the sender is gone');
    };
    await expect(blobs.put(name, broken())).rejects.toThrow('the sender is gone');
    expect(await calm.blobs.head(name)).toBeUndefined();
  },
};

const QUEUE = 'finish-removal';
const receive = ({ jobs }: Services) => jobs.receive(QUEUE, { max: 10, visibilityMs: 60_000 });
const queues: Record<string, Ask> = {
  async SendMessageCommand({ jobs }, name) {
    await jobs.enqueue(QUEUE, { name });
    // At least once: an answer that is lost sends it twice.
    const received = await receive(calm);
    expect(received.length).toBeGreaterThan(0);
    for (const job of received) {
      expect(job.payload).toEqual({ name });
      await calm.jobs.complete(QUEUE, job);
    }
  },
  async ReceiveMessageCommand({ jobs }, name) {
    const there = async () => (({ waiting, inFlight }) => waiting + inFlight)(await calm.jobs.depth('study-quiet'));
    const before = await there();
    await calm.jobs.enqueue('study-quiet', { name });
    const [job] = await jobs.receive('study-quiet', { max: 1, visibilityMs: 60_000 });
    if (job !== undefined) await jobs.complete('study-quiet', job);
    // What was received by the call whose answer was lost is hidden, and comes again in its time.
    expect(await there()).toBe(job === undefined ? before + 1 : before);
  },
  async DeleteMessageCommand(failing, name) {
    const queue = 'storage-commitment';
    await calm.jobs.enqueue(queue, { name });
    const [job] = await failing.jobs.receive(queue, { max: 1, visibilityMs: 60_000 });
    await failing.jobs.complete(queue, job!);
    expect(await calm.jobs.depth(queue)).toEqual({ waiting: 0, inFlight: 0, dead: 0 });
  },
  async ChangeMessageVisibilityCommand(failing, name) {
    const queue = 'storage-commitment';
    await calm.jobs.enqueue(queue, { name });
    const [job] = await failing.jobs.receive(queue, { max: 1, visibilityMs: 60_000 });
    await failing.jobs.release(queue, job!, 0);
    const [again] = await calm.jobs.receive(queue, { max: 1, visibilityMs: 60_000 });
    expect(again).toMatchObject({ payload: { name }, attempt: 2 });
    await calm.jobs.complete(queue, again!);
  },
  async GetQueueAttributesCommand({ jobs }) {
    expect(await jobs.depth('storage-commitment')).toEqual({ waiting: 0, inFlight: 0, dead: 0 });
  },
};

const calls = Object.entries({ ...index, ...blobs, ...queues });
describe.each(calls)('%s', (command, ask) => {
  test.each(FAULTS)('%s, once', async (fault) => {
    const { services, clients } = cloud.open({ retry: RETRY, partBytes: PART_BYTES });
    const hasFailed = failFirst(clients, command, fault);
    await ask(services, `${command}-${fault}`);
    expect(hasFailed()).toBe(true);
  });
});

describe.each(['GetPublicKeyCommand', 'SignCommand', 'GetSecretValueCommand'])('%s', (command) => {
  test.each(FAULTS)('%s, once', async (fault) => {
    const config = { ...ENGINE_IDENTITY, endpoint: cloud.endpoint };
    const kms = kmsClient(config);
    const secrets = secretsClient(config);
    const made = await kms.send(new CreateKeyCommand({ KeySpec: 'ECC_NIST_P256', KeyUsage: 'SIGN_VERIFY' }));
    const Name = `${command}-${fault}`;
    await secrets.send(new CreateSecretCommand({ Name, SecretString: '{"ca":"x"}' }));
    const hasFailed = failFirst([kms, secrets], command, fault);
    const signer = await KmsAuditSigner.open(kms, made.KeyMetadata!.Arn!);
    expect((await signer.sign(bytes)).length).toBeGreaterThan(60);
    expect(await readSecret(secrets, Name)).toBe('{"ca":"x"}');
    expect(hasFailed()).toBe(true);
    for (const client of [kms, secrets]) client.destroy();
  });
});

describe('UpdateItemCommand', () => {
  test.each(FAULTS)('%s, once', async (fault) => {
    const { dynamo } = cloud.open();
    const hasFailed = failFirst([dynamo], 'UpdateItemCommand', fault);
    const ledger = new DynamoRateLedger({
      client: dynamo,
      tableName: TABLE_NAME,
      clock: systemClock,
      region: 'eu-west-1',
      timeoutMs: 60_000,
    });
    const account = principalAccount({ tenant: 'clinic', subject: fault });
    const now = Date.UTC(2026, 0, 1);
    expect((await ledger.advance(account, 'requests', { now, by: 1_000 })).advanced).toBe(true);
    expect(hasFailed()).toBe(true);
    // An answer that is lost may have the same counted twice: never not at all.
    const isDone = fault === 'failedAfter' || fault === 'answerLost';
    expect(await ledger.read(account)).toEqual({ requests: now + (isDone ? 2_000 : 1_000) });
  });
});

test('no call of the adapters is left out, but those of HealthImaging, which its own suite puts through storms', () => {
  const folder = join(import.meta.dirname, '../../functions/adapters/aws');
  const commands = readdirSync(folder)
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => [...readFileSync(join(folder, file), 'utf8').matchAll(/new (\w+Command)\(/g)])
    .map(([, name = '']) => name);
  const tried = [
    ...calls.map(([name]) => name),
    'GetPublicKeyCommand',
    'SignCommand',
    'GetSecretValueCommand',
    'UpdateItemCommand',
  ];
  expect([...new Set(commands)].toSorted()).toEqual(tried.toSorted());
});
