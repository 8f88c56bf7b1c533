import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { PacsError } from '#core/errors.ts';
import { type Attempts, retrying } from './retry.ts';
import { encryptionOf, type S3Settings, WRITER_METADATA } from './s3-blob-store.ts';

const MAX_PARTS = 10_000;
/** parts double in size each thousand, up to this many bytes: an object of unknown size may be of hundreds of gigabytes */
const LARGEST_PART_BYTES = 64 * 1024 * 1024;

/** A source cut into parts, hashed as a whole on its way. What it yields is copied at once: it may use its memory again. */
export class PartSource {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #hash = createHash('sha256');
  #carry: Uint8Array = new Uint8Array();
  #ended = false;
  size = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The next `partBytes` bytes; fewer, or none, at the end. */
  async next(partBytes: number): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [this.#carry];
    let size = this.#carry.length;
    while (size < partBytes && !this.#ended) {
      const next = await this.#source.next();
      if (next.done === true) this.#ended = true;
      else {
        this.#hash.update(next.value);
        this.size += next.value.length;
        chunks.push(Uint8Array.from(next.value));
        size += next.value.length;
      }
    }
    const bytes = chunks.length === 1 ? this.#carry : Buffer.concat(chunks, size);
    this.#carry = bytes.subarray(partBytes);
    return bytes.subarray(0, partBytes);
  }

  /** True when all that the source had has been handed out. */
  get ended(): boolean {
    return this.#ended && this.#carry.length === 0;
  }

  /** Lower-case hex over everything; only once, at the end. */
  sha256(): string {
    return this.#hash.digest('hex');
  }

  /** Tells the source that nobody reads on. */
  async close(): Promise<void> {
    if (!this.#ended) await this.#source.return?.();
  }
}

/**
 * Uploads in parts and in constant memory: one part is gathered while `partsInFlight` are on their way. Not the SDK's lib-storage: it
 * offers no moment between the last part and the completion, at which hash and note must have been checked. What fails leaves nothing,
 * and what of that could not be removed the bucket's lifecycle does.
 * @param first the first part, of a source that goes on
 */
export async function uploadParts(
  settings: S3Settings,
  key: string,
  writer: string,
  first: Uint8Array,
  source: PartSource,
  hooks: {
    /** the last moment at which the upload can be given up, by throwing */
    readonly beforeComplete: () => Promise<void>;
    /** the key exists, or the upload is gone: resolves when it is our own */
    readonly onRefused: (attempts: Attempts, error: unknown) => Promise<void>;
  },
): Promise<void> {
  const { client, bucket, partBytes, partsInFlight } = settings;
  const at = { Bucket: bucket, Key: key };
  // Asked twice after a lost answer, S3 begins two uploads; the first stays empty and the lifecycle ends it.
  const { UploadId } = await repeated(settings, false, () =>
    client.send(
      new CreateMultipartUploadCommand({
        ...at,
        ChecksumAlgorithm: 'SHA256',
        Metadata: { [WRITER_METADATA]: writer },
        ...encryptionOf(settings, key),
      }),
    ),
  );
  const parts: CompletedPart[] = [];
  const inFlight = new Set<Promise<void>>();
  const upload = async (number: number, bytes: Uint8Array): Promise<void> => {
    const ChecksumSHA256 = createHash('sha256').update(bytes).digest('base64');
    const { ETag } = await repeated(settings, false, () =>
      client.send(
        new UploadPartCommand({
          ...at,
          UploadId,
          PartNumber: number,
          Body: bytes,
          ContentLength: bytes.length,
          ChecksumSHA256,
        }),
      ),
    );
    parts[number - 1] = { PartNumber: number, ETag, ChecksumSHA256 };
  };
  try {
    for (let number = 1, bytes = first; ; number++) {
      if (number > MAX_PARTS) throw new PacsError('TOO_LARGE', 'the object has more parts than S3 takes');
      while (inFlight.size >= partsInFlight) await Promise.race(inFlight);
      const part = upload(number, bytes);
      const tracked = part.finally(() => inFlight.delete(tracked));
      inFlight.add(tracked);
      tracked.catch(() => {}); // thrown where it is awaited
      if (source.ended) break;
      bytes = await source.next(Math.min(LARGEST_PART_BYTES, partBytes * 2 ** Math.floor(number / 1_000)));
      if (bytes.length === 0) break;
    }
    await Promise.all(inFlight);
    await hooks.beforeComplete();
    const command = new CompleteMultipartUploadCommand({
      ...at,
      UploadId,
      MultipartUpload: { Parts: parts },
      IfNoneMatch: '*',
    });
    await repeated(settings, true, async (attempts) => {
      try {
        await client.send(command);
      } catch (error) {
        const { name } = error as { name?: string };
        if (name === 'NoSuchUpload' && !attempts.maybeDone)
          throw new PacsError('BUSY', 'the upload was ended by somebody else', { cause: error });
        if (name !== 'PreconditionFailed' && name !== 'NoSuchUpload') throw error;
        await hooks.onRefused(attempts, error);
      }
    });
  } catch (error) {
    await Promise.allSettled(inFlight);
    // An upload that may have been completed after all is left alone: ending it would fail, or tear what is there.
    if (!(error instanceof PacsError && error.code === 'OUTCOME_UNKNOWN')) {
      const abort = new AbortMultipartUploadCommand({ ...at, UploadId });
      await repeated(settings, false, () => client.send(abort)).catch(() => undefined);
    }
    throw error;
  }
}

const repeated = <T>(
  { clock, retry }: S3Settings,
  changes: boolean,
  call: (attempts: Attempts) => Promise<T>,
): Promise<T> => retrying({ clock, policy: retry, changes }, call);
