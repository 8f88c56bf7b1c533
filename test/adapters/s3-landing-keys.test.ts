import { Readable } from 'node:stream';
import type { S3Client } from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import { S3BlobStore } from '#adapters/aws/s3-blob-store.ts';
import { TestClock } from '#test/fixtures/services.ts';

/** Answers every request, and notes which keys were asked for. */
function anyS3() {
  const asked: string[] = [];
  const send = async ({ input }: { input: { Key: string } }) => {
    asked.push(input.Key);
    return { ContentLength: 3, Body: Readable.from([Buffer.from('abc')]) };
  };
  return { asked, client: { send } as unknown as S3Client };
}

test('a landing bucket is read by the names that senders chose; what we write has none of these', async () => {
  const { asked, client } = anyS3();
  const landing = new S3BlobStore({ client, bucket: 'landing', clock: new TestClock(), foreignKeys: true });
  const key = 'incoming/main/from a CD/Müller é+1/IM 0001';
  expect((await landing.head(key))?.size).toBe(3);
  expect(Buffer.from(await landing.readBytes(key)).toString()).toBe('abc');
  await landing.delete(key);
  expect(new Set(asked)).toEqual(new Set([key]));
  await expect(landing.put(key, Buffer.from('abc'))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await expect(landing.head('x'.repeat(1025))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
});

test('the archive’s own bucket has no such names', async () => {
  const { asked, client } = anyS3();
  const archive = new S3BlobStore({ client, bucket: 'archive', clock: new TestClock() });
  await expect(archive.head('from a CD')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await expect(archive.readBytes('from a CD')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await expect(archive.delete('from a CD')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  expect(asked).toEqual([]);
});
