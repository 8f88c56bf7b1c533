import { createHash } from 'node:crypto';
import { PacsError } from '#core/errors.ts';
import type { ByteRange } from '#core/ports/blob-store.ts';

/** What every BlobStore refuses, so that all refuse the same. */

/** No chunk handed to a reader is longer (bytes). */
export const CHUNK_LIMIT_BYTES = 1024 * 1024;

const KEY_LIMIT_BYTES = 1024;
const SEGMENT_LIMIT_BYTES = 255;
const KEY = /^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/;

/** @throws PacsError BAD_REQUEST unless the key is segments of [A-Za-z0-9._-] joined by '/', none of them '.' or '..'. */
export function checkBlobKey(key: string): void {
  if (
    key.length > KEY_LIMIT_BYTES ||
    !KEY.test(key) ||
    key.split('/').some((segment) => segment === '.' || segment === '..' || segment.length > SEGMENT_LIMIT_BYTES)
  )
    throw new PacsError('BAD_REQUEST', 'not a blob key');
}

/** @throws PacsError RANGE_NOT_SATISFIABLE when the range reaches outside of the blob. */
export function resolveRange(
  range: ByteRange | undefined,
  size: number,
): { readonly start: number; readonly end: number } {
  const start = range?.offset ?? 0;
  const end = range?.length === undefined ? size : start + range.length;
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end < start || end > size)
    throw new PacsError('RANGE_NOT_SATISFIABLE', 'the range reaches outside of the blob', { details: { size } });
  return { start, end };
}

export function checkSha256(expected: string | undefined, actual: string): void {
  if (expected !== undefined && expected.toLowerCase() !== actual)
    throw new PacsError('DATASET_MISMATCH', 'the SHA-256 of the bytes differs from the one announced');
}

export const blobNotFound = (key: string, cause?: unknown): PacsError =>
  new PacsError('NOT_FOUND', 'no such blob', { cause, details: { key } });

export const blobExists = (key: string, cause?: unknown): PacsError =>
  new PacsError('CONFLICT', 'the blob exists already', { cause, details: { key } });

export const blobArchived = (key: string, cause?: unknown): PacsError =>
  new PacsError('ARCHIVED', 'the blob lies on slow media', { cause, details: { key } });

export const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
