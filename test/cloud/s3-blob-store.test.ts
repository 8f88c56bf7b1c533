import { createHash, randomBytes } from 'node:crypto';
import {
  CreateBucketCommand,
  GetObjectLockConfigurationCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectLockConfigurationCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { s3Client } from '#adapters/aws/clients.ts';
import { S3BlobStore } from '#adapters/aws/s3-blob-store.ts';
import { S3DirectAccess } from '#adapters/aws/s3-direct-access.ts';
import { blobStoreContract } from '#test/contract/blob-store.ts';
import { ENGINE_IDENTITY, type Engine, startMiniStack } from './helpers/engines.ts';
import { systemClock } from './helpers/table.ts';

const MEBIBYTE = 1024 * 1024;
const BUCKET = 'archive';
let engine: Engine;
let client: S3Client;
const options = () => ({ client, bucket: BUCKET, clock: systemClock });
const sha256Of = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

beforeAll(async () => {
  engine = await startMiniStack();
  client = s3Client({ ...ENGINE_IDENTITY, endpoint: engine.endpoint, forcePathStyle: true });
  // As the archive's bucket is: versioned, objects locked for a while.
  await client.send(new CreateBucketCommand({ Bucket: BUCKET, ObjectLockEnabledForBucket: true }));
  await client.send(
    new PutObjectLockConfigurationCommand({
      Bucket: BUCKET,
      ObjectLockConfiguration: {
        ObjectLockEnabled: 'Enabled',
        Rule: { DefaultRetention: { Mode: 'GOVERNANCE', Days: 1 } },
      },
    }),
  );
});
afterAll(async () => {
  client.destroy();
  await engine.stop();
});

describe('S3BlobStore on MiniStack', () =>
  blobStoreContract(async () => ({ store: new S3BlobStore(options()), close: async () => {} })));

// Parts below 5 MiB are refused by S3 itself; MiniStack takes them, so that every stream of the contract is one of many parts.
describe('S3BlobStore on MiniStack, in small parts', () =>
  blobStoreContract(async () => ({
    store: new S3BlobStore({ ...options(), partBytes: 64 * 1024 }),
    close: async () => {},
  })));

test('of what lies under one name each version is read and deleted by itself', async () => {
  const [Bucket, Key] = ['landing', 'incoming/main/from a CD/IM 0001'];
  await client.send(new CreateBucketCommand({ Bucket }));
  await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }));
  const put = async (text: string) => (await client.send(new PutObjectCommand({ Bucket, Key, Body: text }))).VersionId!;
  const landing = new S3BlobStore({ ...options(), bucket: Bucket, foreignKeys: true });
  const [first, second] = [await put('first'), await put('second')];
  const textOf = async (version: string) => Buffer.concat(await Array.fromAsync(landing.ofVersion(version).read(Key)));
  expect(String(await textOf(first))).toBe('first');
  expect(String(await textOf(second))).toBe('second');
  await landing.ofVersion(second).delete(Key);
  expect(await landing.ofVersion(second).head(Key)).toBeUndefined();
  await expect(textOf(second)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(String(await landing.readBytes(Key))).toBe('first');
  await landing.ofVersion(first).delete(Key);
  expect(await landing.head(Key)).toBeUndefined();
});

test('a stream of many parts keeps every byte, within a few parts of memory', async () => {
  const store = new S3BlobStore({ ...options(), partBytes: 5 * MEBIBYTE });
  const block = randomBytes(MEBIBYTE);
  const hash = createHash('sha256');
  async function* source() {
    for (let i = 0; i < 64; i++) {
      block.writeUInt32LE(i);
      hash.update(block);
      yield block;
    }
  }
  const info = await store.put('t/large', source());
  expect(info).toStrictEqual({ key: 't/large', size: 64 * MEBIBYTE, sha256: hash.digest('hex') });
  const read = createHash('sha256');
  for await (const chunk of store.read('t/large')) read.update(chunk);
  expect(read.digest('hex')).toBe(info.sha256);
});

test('the SHA-256 of the whole stands in the metadata of what was put in one go', async () => {
  const store = new S3BlobStore(options());
  const { sha256 } = await store.put('t/meta', Buffer.from('bytes'));
  const head = await client.send(new HeadObjectCommand({ Bucket: BUCKET, Key: 't/meta' }));
  expect(head.Metadata?.sha256).toBe(sha256);
});

describe('tenants with a key of their own', () => {
  const KEY = 'arn:aws:kms:us-east-1:000000000000:key/0f0e0d0c-0000-4000-8000-000000000001';
  const store = () =>
    new S3BlobStore({
      ...options(),
      partBytes: 64 * 1024,
      encryptionKeyOf: (key) => (key.startsWith('own/') ? KEY : undefined),
    });

  test.each([
    ['put in one go', 10],
    ['uploaded in parts', 300_000],
  ])('have their objects encrypted with it: %s', async (_, sizeBytes) => {
    const bytes = randomBytes(sizeBytes);
    const encryptionOf = async (Key: string) => {
      await store().put(Key, sizeBytes > 1_000 ? ReadableStream.from([bytes]) : bytes);
      const head = await client.send(new HeadObjectCommand({ Bucket: BUCKET, Key }));
      return [head.ServerSideEncryption, head.SSEKMSKeyId];
    };
    expect(await encryptionOf(`own/${sizeBytes}`)).toStrictEqual(['aws:kms', KEY]);
    expect(await encryptionOf(`other/${sizeBytes}`)).not.toContain(KEY);
    expect(sha256Of(await store().readBytes(`own/${sizeBytes}`))).toBe(sha256Of(bytes));
  });
});

test('a deleted blob is gone for readers, and its bytes stay as a locked version', async () => {
  const store = new S3BlobStore(options());
  await client.send(new GetObjectLockConfigurationCommand({ Bucket: BUCKET }));
  await store.put('t/kept', Buffer.from('first'));
  await store.delete('t/kept');
  expect(await store.head('t/kept')).toBeUndefined();
  await store.put('t/kept', Buffer.from('second'));
  const { Versions } = await client.send(new ListObjectVersionsCommand({ Bucket: BUCKET, Prefix: 't/kept' }));
  expect(Versions).toHaveLength(2);
});

test('an upload whose source fails is ended: no parts are left to be paid for', async () => {
  const store = new S3BlobStore({ ...options(), partBytes: 64 * 1024 });
  async function* source() {
    for (let i = 0; i < 20; i++) yield randomBytes(32 * 1024);
    throw new Error('the modality hung up');
  }
  await expect(store.put('t/broken', source())).rejects.toThrow('the modality hung up');
  const { Uploads } = await client.send(new ListMultipartUploadsCommand({ Bucket: BUCKET, Prefix: 't/broken' }));
  expect(Uploads ?? []).toStrictEqual([]);
});

describe('signed URLs', () => {
  const direct = () => new S3DirectAccess(options());
  const bytes = randomBytes(100_000);

  test('let a client read the blob and ranges of it, under the type that was signed', async () => {
    await new S3BlobStore(options()).put('t/signed', bytes);
    const signed = await direct().signRead('t/signed', { expiresInMs: 60_000, contentType: 'application/dicom' });
    expect(signed.expiresAt).toBeGreaterThan(Date.now());
    const answer = await fetch(signed.url, { headers: { ...signed.headers, range: 'bytes=10-19' } });
    expect(answer.status).toBe(206);
    expect(Buffer.from(await answer.arrayBuffer())).toStrictEqual(bytes.subarray(10, 20));
    const whole = await fetch(signed.url);
    expect(whole.headers.get('content-type')).toBe('application/dicom');
    expect(sha256Of(Buffer.from(await whole.arrayBuffer()))).toBe(sha256Of(bytes));
  });

  test('let a client write these very bytes, once', async () => {
    const signed = await direct().signWrite('t/written', {
      expiresInMs: 60_000,
      sizeBytes: bytes.length,
      sha256: sha256Of(bytes),
    });
    const put = () => fetch(signed.url, { method: 'PUT', headers: signed.headers, body: bytes });
    expect((await put()).status).toBe(200);
    expect((await put()).status).toBe(412);
    expect(sha256Of(await new S3BlobStore(options()).readBytes('t/written'))).toBe(sha256Of(bytes));
    const query = new URL(signed.url).searchParams;
    expect(query.get('X-Amz-SignedHeaders')?.split(';')).toStrictEqual(
      expect.arrayContaining(['content-length', 'if-none-match', 'x-amz-checksum-sha256']),
    );
  });

  test('that were tampered with are refused', async () => {
    const { url } = await direct().signRead('t/signed', { expiresInMs: 60_000 });
    expect((await fetch(url.replace('t/signed', 't/written'))).status).toBe(403);
  });
});
