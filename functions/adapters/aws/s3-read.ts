import type { Readable } from 'node:stream';
import { GetObjectCommand, type GetObjectCommandOutput } from '@aws-sdk/client-s3';
import { PacsError } from '#core/errors.ts';
import type { ByteRange } from '#core/ports/blob-store.ts';
import { blobArchived, blobNotFound, CHUNK_LIMIT_BYTES, checkBlobKey, resolveRange } from '../blob-rules.ts';
import { failureOf, retrying } from './retry.ts';
import type { S3Settings } from './s3-blob-store.ts';

/** Ranged reads of S3 objects. A body that breaks off is asked for again from where it ended. */

interface Opened {
  readonly body: Readable;
  /** bytes of the range, as S3 says */
  readonly length: number;
}

export async function readWhole(
  settings: S3Settings,
  key: string,
  range: ByteRange | undefined,
  size: () => Promise<number>,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of streamRange(settings, key, range, size)) chunks.push(chunk);
  // The body's chunks are ours alone: one of them needs no copy.
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

/** S3 takes up to 1,024 bytes of UTF-8. */
const S3_KEY_BYTES = 1024;

/** @throws PacsError BAD_REQUEST for what cannot be a key here */
export function checkKey({ foreignKeys }: Pick<S3Settings, 'foreignKeys'>, key: string): void {
  if (!foreignKeys) checkBlobKey(key);
  else if (key === '' || Buffer.byteLength(key) > S3_KEY_BYTES) throw new PacsError('BAD_REQUEST', 'no key of S3');
}

export async function* streamRange(
  settings: S3Settings,
  key: string,
  range: ByteRange | undefined,
  size: () => Promise<number>,
): AsyncGenerator<Uint8Array, void, undefined> {
  checkKey(settings, key);
  const offset = range?.offset ?? 0;
  // S3 knows no empty ranges, and cuts those that are too long without a word.
  const plain = Number.isSafeInteger(offset) && offset >= 0 && (range?.length === undefined || range.length > 0);
  if (!plain || (range?.length !== undefined && !Number.isSafeInteger(offset + range.length))) {
    const { start, end } = resolveRange(range, await size());
    if (start < end) throw new Error('a range that is no plain one holds bytes');
    return;
  }
  let at = offset;
  let end = range?.length === undefined ? undefined : offset + range.length;
  for (let broken = 0; ; ) {
    let opened: Opened | undefined;
    try {
      opened = await open(settings, key, at, end, size);
    } catch (error) {
      if (!(error instanceof EmptyEnd)) throw error;
      return;
    }
    end ??= at + opened.length;
    try {
      for await (const bytes of opened.body as AsyncIterable<Buffer>) {
        for (let from = 0; from < bytes.length; from += CHUNK_LIMIT_BYTES) {
          const chunk = bytes.subarray(from, from + CHUNK_LIMIT_BYTES);
          at += chunk.length;
          broken = 0;
          yield chunk;
        }
      }
      if (at >= end) return;
      throw Object.assign(new Error('the body ended early'), { code: 'ECONNRESET' });
    } catch (error) {
      if (failureOf(error) === 'refused') throw error;
      if (++broken >= settings.retry.attempts)
        throw new PacsError('BUSY', 'a blob cannot be read to its end', { cause: error, details: { key } });
      await settings.clock.sleep(settings.retry.firstMs);
    } finally {
      opened.body.destroy();
    }
  }
}

/** Names of the errors by which S3 says that there is no such object, or no such version of it. */
export const NOTHING_THERE: ReadonlySet<string> = new Set(['NoSuchKey', 'NotFound', 'NoSuchVersion']);

/** A read that starts where the blob ends. */
class EmptyEnd extends Error {}

async function open(
  settings: S3Settings,
  key: string,
  start: number,
  end: number | undefined,
  size: () => Promise<number>,
): Promise<Opened> {
  const { client, bucket, clock, retry, version } = settings;
  const Range = start === 0 && end === undefined ? undefined : `bytes=${start}-${end === undefined ? '' : end - 1}`;
  const answer = await retrying({ clock, policy: retry, changes: false }, async () => {
    try {
      return await client.send(new GetObjectCommand({ Bucket: bucket, Key: key, Range, VersionId: version }));
    } catch (error) {
      const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } };
      if (NOTHING_THERE.has(name ?? '')) throw blobNotFound(key, error);
      if (name === 'InvalidObjectState') throw blobArchived(key, error);
      if (name !== 'InvalidRange' && $metadata?.httpStatusCode !== 416) throw error;
      resolveRange({ offset: start, ...(end !== undefined && { length: end - start }) }, await size());
      throw new EmptyEnd();
    }
  });
  const body = answer.Body as Readable;
  const length = answer.ContentLength ?? 0;
  if (end !== undefined && length < end - start) {
    body.destroy();
    throw outside(answer);
  }
  return { body, length };
}

function outside({ ContentRange }: GetObjectCommandOutput): PacsError {
  const size = Number(ContentRange?.slice(ContentRange.lastIndexOf('/') + 1));
  return new PacsError('RANGE_NOT_SATISFIABLE', 'the range reaches outside of the blob', {
    details: Number.isSafeInteger(size) ? { size } : {},
  });
}
