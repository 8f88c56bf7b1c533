import type { BlobStore } from '#core/ports/blob-store.ts';
import { passed } from '#dimse/passing-memory.ts';

/**
 * Bytes of one read. What has been sent is garbage that waits to be collected, and what is read in large pieces lives long enough, beside
 * others, to be taken for something that stays: with the store's own pieces of 1 MiB a gateway held some 100 MB of them.
 */
const PIECE_BYTES = 128 * 1024;

/**
 * A part of an object of the spool, read as it is taken.
 * @throws PacsError NOT_FOUND; RANGE_NOT_SATISFIABLE where the object is shorter than that
 */
export async function* inPieces(
  blobs: Pick<BlobStore, 'readBytes'>,
  key: string,
  { offset, length }: { readonly offset: number; readonly length: number },
): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < length; at += PIECE_BYTES) {
    const piece = await blobs.readBytes(key, { offset: offset + at, length: Math.min(PIECE_BYTES, length - at) });
    passed(piece.byteLength);
    yield piece;
  }
}
