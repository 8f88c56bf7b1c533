import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import type { DirectAccess, SignedUrl, SignReadOptions, SignWriteOptions } from '#core/ports/direct-access.ts';
import { checkBlobKey } from '../blob-rules.ts';
import type { S3Options } from './s3-blob-store.ts';

/** S3 takes no longer ones (AWS Signature Version 4). */
const LONGEST_MS = 7 * 24 * 60 * 60 * 1000;

/**
 * DirectAccess by URLs signed with the host's own credentials; a URL ends with them, if they end before it. A write is signed together with
 * its length and SHA-256, which S3 checks, and creates only.
 */
export class S3DirectAccess implements DirectAccess {
  readonly #options: Pick<S3Options, 'client' | 'bucket' | 'clock'>;

  constructor(options: Pick<S3Options, 'client' | 'bucket' | 'clock'>) {
    this.#options = options;
  }

  async signRead(key: string, { expiresInMs, contentType, contentDisposition }: SignReadOptions): Promise<SignedUrl> {
    checkBlobKey(key);
    const { client, bucket } = this.#options;
    const command = new GetObjectCommand({
      Bucket: bucket,
      Key: key,
      ResponseContentType: contentType,
      ResponseContentDisposition: contentDisposition,
    });
    const { expiresIn, expiresAt } = this.#expiry(expiresInMs);
    return { url: await getSignedUrl(client, command, { expiresIn }), headers: {}, expiresAt };
  }

  async signWrite(key: string, { expiresInMs, sizeBytes, sha256 }: SignWriteOptions): Promise<SignedUrl> {
    checkBlobKey(key);
    const { client, bucket } = this.#options;
    const headers = {
      'x-amz-checksum-sha256': Buffer.from(sha256, 'hex').toString('base64'),
      'if-none-match': '*',
    };
    const command = new PutObjectCommand({
      Bucket: bucket,
      Key: key,
      ContentLength: sizeBytes,
      ChecksumSHA256: headers['x-amz-checksum-sha256'],
      IfNoneMatch: '*',
    });
    const { expiresIn, expiresAt } = this.#expiry(expiresInMs);
    const url = await getSignedUrl(client, command, {
      expiresIn,
      // Headers, not parameters: so the client sends them, and S3 looks at them as at any other upload.
      unhoistableHeaders: new Set(Object.keys(headers)),
      signableHeaders: new Set(['content-length', 'host', ...Object.keys(headers)]),
    });
    return { url, headers, expiresAt };
  }

  /** Whole seconds, rounded down: a URL never outlives what was asked for. */
  #expiry(expiresInMs: number): { expiresIn: number; expiresAt: number } {
    const expiresIn = Math.max(1, Math.floor(Math.min(expiresInMs, LONGEST_MS) / 1000));
    return { expiresIn, expiresAt: this.#options.clock.now() + expiresIn * 1000 };
  }
}
