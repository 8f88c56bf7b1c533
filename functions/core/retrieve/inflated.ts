import { Readable } from 'node:stream';
import { constants, createInflateRaw } from 'node:zlib';
import type { InstanceRecord } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import type { Services } from '../services.ts';

type Reads = Pick<Services, 'blobs' | 'limits'>;
type Deflated = Pick<InstanceRecord, 'blobKey' | 'dataSetOffset'>;

/**
 * Bytes [offset, offset+length) of the inflated data set of a deflated object (PS3.5 A.5). Inflates from the start, on a thread of
 * the pool, and stops behind the range.
 * @throws PacsError TOO_LARGE over `limits.inflatedBytes`; RANGE_NOT_SATISFIABLE; UNREADABLE_DATASET
 */
export async function* inflatedStream(
  { blobs, limits }: { readonly blobs: Pick<Services['blobs'], 'read'>; readonly limits: Services['limits'] },
  instance: Deflated,
  offset: number,
  length: number,
): AsyncGenerator<Buffer, void, undefined> {
  const end = offset + length;
  if (end > limits.inflatedBytes)
    throw new PacsError('TOO_LARGE', 'the deflated object exceeds the limit inflatedBytes');
  let at = 0;
  if (length === 0) return;
  for await (const chunk of inflate(blobs.read(instance.blobKey, { offset: instance.dataSetOffset }))) {
    const from = Math.max(0, offset - at);
    if (from < chunk.length) yield chunk.subarray(from, Math.min(chunk.length, end - at));
    at += chunk.length;
    if (at >= end) return;
  }
  throw new PacsError('RANGE_NOT_SATISFIABLE', 'the range reaches outside the inflated data set');
}

/** The same range in one array; for frames. @throws as inflatedStream; TOO_LARGE over `limits.decodedFrameBytes` */
export async function inflatedRange(
  services: Reads,
  instance: Deflated,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  if (length > services.limits.decodedFrameBytes) {
    throw new PacsError('TOO_LARGE', 'the frame exceeds the limit decodedFrameBytes');
  }
  const range = Buffer.allocUnsafe(length);
  let at = 0;
  for await (const chunk of inflatedStream(services, instance, offset, length)) at += chunk.copy(range, at);
  return range;
}

async function* inflate(deflated: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, void, undefined> {
  const source = Readable.from(deflated, { objectMode: false });
  // A data set that is cut short, or padded behind its end, still yields what it holds.
  const inflater = createInflateRaw({ finishFlush: constants.Z_SYNC_FLUSH, chunkSize: 256 * 1024 });
  source.on('error', (error) => inflater.destroy(error));
  source.pipe(inflater);
  try {
    yield* inflater as AsyncIterable<Buffer>;
  } catch (error) {
    if (error instanceof PacsError) throw error;
    throw new PacsError('UNREADABLE_DATASET', 'the deflated data set cannot be inflated', { cause: error });
  } finally {
    source.destroy();
    inflater.destroy();
  }
}
