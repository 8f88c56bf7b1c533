import { randomUUID } from 'node:crypto';
import {
  DeleteObjectCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListObjectsV2Command,
  PutObjectCommand,
  PutObjectTaggingCommand,
  RestoreObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import type { Availability, BlobInfo, BlobStore, ByteRange, PutOptions } from '#core/ports/blob-store.ts';
import type { Clock } from '#core/ports/clock.ts';
import { blobExists, blobNotFound, checkBlobKey, checkSha256, sha256Of } from '../blob-rules.ts';
import { type Attempts, DEFAULT_RETRY, type RetryPolicy, retrying } from './retry.ts';
import { checkKey, NOTHING_THERE, readWhole, streamRange } from './s3-read.ts';
import { PartSource, uploadParts } from './s3-upload.ts';
import { LIFECYCLE_TAG, SHA256_METADATA } from './schema.ts';

export interface S3Options {
  readonly client: S3Client;
  readonly bucket: string;
  readonly clock: Clock;
  readonly retry?: RetryPolicy;
  /** bytes of the first parts of a large upload; at least 5 MiB, as S3 demands (8 MiB) */
  readonly partBytes?: number;
  /** parts of one upload that are on their way while the next is gathered (2) */
  readonly partsInFlight?: number;
  /** days for which a blob restored from slow media stays readable (7) */
  readonly restoreDays?: number;
  /** what a restore may cost: Standard within 12 hours, Bulk within 48 (Standard) */
  readonly restoreTier?: 'Standard' | 'Bulk';
  /** KMS key (ARN) that objects under this key are encrypted with; undefined: the bucket's own (always) */
  readonly encryptionKeyOf?: (key: string) => string | undefined;
  /** others put objects here under names of their own choice (a landing bucket): they are read and deleted by any key S3 takes (false) */
  readonly foreignKeys?: boolean;
}

export interface S3Settings extends Required<S3Options> {
  /** VersionId of what is read and deleted; undefined: the current version is read, and hidden by a delete marker */
  readonly version?: string | undefined;
}

/** Names the put that made an object, so that one whose answer was lost recognises its own. */
export const WRITER_METADATA = 'writer';

/**
 * BlobStore on one S3 bucket: one object a blob, under the blob's key.
 *
 * - A put is create-only by `If-None-Match: *`. What fits one part is one request, which S3 checks against its SHA-256; more is a
 *   multipart upload with a SHA-256 of each part, completed only when the source has ended and its hash is known to be right.
 * - In a versioned bucket `delete` leaves a delete marker: the blob is gone for readers and its key is free. The bytes stay as a noncurrent
 *   version until Object Lock lets the bucket's lifecycle remove them. Of one version (`ofVersion`) nothing is left, and others are not touched.
 * - Blobs in Glacier classes throw ARCHIVED until restored; so do those that Intelligent-Tiering has archived.
 */
export class S3BlobStore implements BlobStore {
  readonly #settings: S3Settings;

  constructor(options: S3Options & Pick<S3Settings, 'version'>) {
    this.#settings = {
      retry: DEFAULT_RETRY,
      partBytes: 8 * 1024 * 1024,
      partsInFlight: 2,
      restoreDays: 7,
      restoreTier: 'Standard',
      foreignKeys: false,
      encryptionKeyOf: () => undefined,
      ...options,
    };
  }

  async put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<BlobInfo> {
    checkBlobKey(key);
    options.visibleAfter?.catch(() => {}); // awaited below; until then its failure is nobody's
    if (body instanceof Uint8Array) {
      const sha256 = sha256Of(body);
      checkSha256(options.sha256, sha256);
      return this.#putWhole(key, body, sha256, options);
    }
    const source = new PartSource(body);
    try {
      const first = await source.next(this.#settings.partBytes);
      if (!source.ended) return await this.#putParts(key, first, source, options);
      const sha256 = source.sha256();
      checkSha256(options.sha256, sha256);
      return await this.#putWhole(key, first, sha256, options);
    } finally {
      await source.close();
    }
  }

  async #putWhole(key: string, bytes: Uint8Array, sha256: string, { visibleAfter }: PutOptions): Promise<BlobInfo> {
    await visibleAfter;
    const writer = randomUUID();
    const command = new PutObjectCommand({
      Bucket: this.#settings.bucket,
      Key: key,
      Body: bytes,
      ContentLength: bytes.length,
      ChecksumSHA256: Buffer.from(sha256, 'hex').toString('base64'),
      IfNoneMatch: '*',
      Metadata: { [SHA256_METADATA]: sha256, [WRITER_METADATA]: writer },
      ...encryptionOf(this.#settings, key),
    });
    await this.#call(true, async (attempts) => {
      try {
        await this.#settings.client.send(command);
      } catch (error) {
        if (nameOf(error) !== 'PreconditionFailed') throw error;
        await this.#expectOwn(key, writer, attempts, error);
      }
    });
    return { key, size: bytes.length, sha256 };
  }

  /** Refused because the key exists: ours, when an earlier answer was lost and the object bears our mark. @throws PacsError CONFLICT */
  async #expectOwn(key: string, writer: string, { maybeDone }: Attempts, cause: unknown): Promise<void> {
    const repeated = maybeDone || ((cause as { $metadata?: { attempts?: number } }).$metadata?.attempts ?? 1) > 1;
    if (repeated && (await this.#head(key))?.Metadata?.[WRITER_METADATA] === writer) return;
    throw blobExists(key, cause);
  }

  async #putParts(key: string, first: Uint8Array, source: PartSource, options: PutOptions): Promise<BlobInfo> {
    const writer = randomUUID();
    let sha256 = '';
    await uploadParts(this.#settings, key, writer, first, source, {
      beforeComplete: async () => {
        sha256 = source.sha256();
        checkSha256(options.sha256, sha256);
        await options.visibleAfter;
      },
      onRefused: (attempts, error) => this.#expectOwn(key, writer, attempts, error),
    });
    return { key, size: source.size, sha256 };
  }

  read(key: string, range?: ByteRange): AsyncIterable<Uint8Array> {
    return streamRange(this.#settings, key, range, () => this.#size(key));
  }

  readBytes(key: string, range?: ByteRange): Promise<Uint8Array> {
    return readWhole(this.#settings, key, range, () => this.#size(key));
  }

  async head(key: string): Promise<{ readonly key: string; readonly size: number } | undefined> {
    checkKey(this.#settings, key);
    const found = await this.#head(key);
    return found && { key, size: found.ContentLength ?? 0 };
  }

  async *list(prefix: string, after?: string): AsyncIterable<{ readonly key: string; readonly size: number }> {
    const { client, bucket } = this.#settings;
    let ContinuationToken: string | undefined;
    do {
      const command = new ListObjectsV2Command({
        Bucket: bucket,
        Prefix: prefix,
        StartAfter: after,
        ContinuationToken,
      });
      const page = await this.#call(false, () => client.send(command));
      for (const { Key, Size } of page.Contents ?? []) if (Key !== undefined) yield { key: Key, size: Size ?? 0 };
      ContinuationToken = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (ContinuationToken !== undefined);
  }

  ofVersion(version: string): S3BlobStore {
    return new S3BlobStore({ ...this.#settings, version });
  }

  async delete(key: string): Promise<void> {
    checkKey(this.#settings, key);
    const { client, bucket, version } = this.#settings;
    const command = new DeleteObjectCommand({ Bucket: bucket, Key: key, VersionId: version });
    await this.#call(true, () => client.send(command));
  }

  async availability(key: string): Promise<Availability | undefined> {
    checkKey(this.#settings, key);
    const found = await this.#head(key);
    return found && availabilityOf(found);
  }

  async restore(key: string): Promise<Availability> {
    checkKey(this.#settings, key);
    const found = await this.#head(key);
    if (found === undefined) throw blobNotFound(key);
    const now = availabilityOf(found);
    if (now !== 'OFFLINE') return now;
    const { client, bucket, restoreDays, restoreTier } = this.#settings;
    // Intelligent-Tiering brings an object back for good: there are no days to be named.
    const lasting = found.ArchiveStatus !== undefined;
    const command = new RestoreObjectCommand({
      Bucket: bucket,
      Key: key,
      RestoreRequest: { ...(!lasting && { Days: restoreDays }), GlacierJobParameters: { Tier: restoreTier } },
    });
    await this.#call(false, async () => {
      try {
        await client.send(command);
      } catch (error) {
        // Somebody asked a moment ago.
        if (nameOf(error) !== 'RestoreAlreadyInProgress') throw error;
      }
    });
    return 'NEARLINE';
  }

  /** By the tag that the lifecycle rules of the bucket look at; an object has no other. */
  async setTier(key: string, tier: string): Promise<void> {
    checkKey(this.#settings, key);
    const { client, bucket } = this.#settings;
    const Tagging = { TagSet: [{ Key: LIFECYCLE_TAG.key, Value: tier }] };
    const command = new PutObjectTaggingCommand({ Bucket: bucket, Key: key, Tagging });
    await this.#call(false, async () => {
      try {
        await client.send(command);
      } catch (error) {
        if (['NoSuchKey', 'MethodNotAllowed'].includes(nameOf(error))) throw blobNotFound(key, error);
        throw error;
      }
    });
  }

  async #size(key: string): Promise<number> {
    const found = await this.head(key);
    if (found === undefined) throw blobNotFound(key);
    return found.size;
  }

  async #head(key: string): Promise<HeadObjectCommandOutput | undefined> {
    const { client, bucket, version } = this.#settings;
    const command = new HeadObjectCommand({ Bucket: bucket, Key: key, VersionId: version });
    return this.#call(false, async () => {
      try {
        return await client.send(command);
      } catch (error) {
        if (NOTHING_THERE.has(nameOf(error))) return undefined;
        throw error;
      }
    });
  }

  #call<T>(changes: boolean, call: (attempts: Attempts) => Promise<T>): Promise<T> {
    const { clock, retry } = this.#settings;
    return retrying({ clock, policy: retry, changes }, call);
  }
}

/** What a put says of its encryption; nothing where the bucket's own is meant. With bucket keys, so that KMS is not asked for each object. */
export function encryptionOf({ encryptionKeyOf }: Pick<S3Settings, 'encryptionKeyOf'>, key: string) {
  const SSEKMSKeyId = encryptionKeyOf(key);
  return SSEKMSKeyId === undefined
    ? {}
    : { ServerSideEncryption: 'aws:kms' as const, SSEKMSKeyId, BucketKeyEnabled: true };
}

const nameOf = (error: unknown): string => (error as { name?: string }).name ?? '';

const SLOW_CLASSES = new Set<string | undefined>(['GLACIER', 'DEEP_ARCHIVE']);

function availabilityOf({ StorageClass, ArchiveStatus, Restore }: HeadObjectCommandOutput): Availability {
  if (!SLOW_CLASSES.has(StorageClass) && ArchiveStatus === undefined) return 'ONLINE';
  if (Restore === undefined) return 'OFFLINE';
  return Restore.includes('ongoing-request="true"') ? 'NEARLINE' : 'ONLINE';
}
