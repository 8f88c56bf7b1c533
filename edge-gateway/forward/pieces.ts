import { createHash } from 'node:crypto';
import { PacsError } from '#core/errors.ts';
import type { BlobStore } from '#core/ports/blob-store.ts';
import { passed } from '#dimse/passing-memory.ts';
import type { SentObject } from './records.ts';

/**
 * Bytes of one read. What has been sent is garbage that waits to be collected, and what is read in large pieces lives long enough, beside
 * others, to be taken for something that stays: with the store's own pieces of 1 MiB a gateway held some 100 MB of them.
 */
const PIECE_BYTES = 128 * 1024;

const GONE: ReadonlySet<string> = new Set(['NOT_FOUND', 'RANGE_NOT_SATISFIABLE']);

type Blobs = Pick<BlobStore, 'readBytes'>;

/** It is our own copy that cannot be sent, not the line that fails: nothing else is to wait for it. */
export class UnreadableHere extends PacsError {
  /** another attempt would find the same */
  readonly isLasting: boolean;

  constructor(message: string, isLasting: boolean, cause?: unknown) {
    super('INTERNAL', message, { cause });
    this.isLasting = isLasting;
  }
}

/**
 * A part of an object of the spool, read as it is taken.
 * @throws UnreadableHere; PacsError BUSY
 */
export async function* inPieces(
  blobs: Blobs,
  key: string,
  { offset, length }: { readonly offset: number; readonly length: number },
): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < length; at += PIECE_BYTES) {
    const range = { offset: offset + at, length: Math.min(PIECE_BYTES, length - at) };
    const piece = await blobs.readBytes(key, range).catch((error: unknown) => {
      if (error instanceof PacsError && error.code === 'BUSY') throw error;
      const isGone = error instanceof PacsError && GONE.has(error.code);
      throw new UnreadableHere('its bytes cannot be read here', isGone, error);
    });
    passed(piece.byteLength);
    yield piece;
  }
}

/**
 * All of an object. Its last piece is given only when all are the bytes that were received: an upstream that compares no digest would else keep what a
 * disk has spoiled here, and show it as evidence.
 * @throws UnreadableHere; PacsError BUSY
 */
export async function* wholeObject(
  blobs: Blobs,
  { blobKey, sizeBytes, sha256 }: Pick<SentObject, 'blobKey' | 'sizeBytes' | 'sha256'>,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  let left = sizeBytes;
  for await (const piece of inPieces(blobs, blobKey, { offset: 0, length: sizeBytes })) {
    hash.update(piece);
    left -= piece.byteLength;
    if (left === 0 && hash.digest('hex') !== sha256)
      throw new UnreadableHere('its bytes here are not those that were received', true);
    yield piece;
  }
}
