import type { RangeQuery } from '#core/ports/index-table.ts';

/** A stretch of LMDB keys in the direction in which it is read. */
export interface KeyRange {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
  readonly reverse?: boolean;
  readonly exclusiveStart?: boolean;
  readonly inclusiveEnd?: boolean;
}

/** Above every byte of UTF-8, so `prefix 0xFF` stands behind all keys that begin with the prefix. */
const ABOVE = Buffer.from([0xff]);
/** The least byte that may follow: `key 0x00` stands directly behind `key`. */
const BEHIND = Buffer.from([0]);

/** The stretch that a query means: the intersection of its prefix, from, to and after; undefined when it is empty. */
export function keyRange(query: RangeQuery): KeyRange | undefined {
  const { partition, prefix = '', from, to, after, descending = false } = query;
  const base = `${partition}\0`;
  // low is inclusive, high exclusive
  let low = Buffer.from(base + prefix);
  let high = Buffer.concat([low, ABOVE]);
  if (from !== undefined) low = later(low, Buffer.from(base + from));
  if (to !== undefined) high = earlier(high, Buffer.from(base + to));
  if (after !== undefined) {
    const last = Buffer.from(base + after);
    if (descending) high = earlier(high, last);
    else low = later(low, Buffer.concat([last, BEHIND]));
  }
  if (Buffer.compare(low, high) >= 0) return undefined;
  return descending
    ? { start: high, end: low, reverse: true, exclusiveStart: true, inclusiveEnd: true }
    : { start: low, end: high };
}

const later = (a: Buffer<ArrayBuffer>, b: Buffer<ArrayBuffer>): Buffer<ArrayBuffer> =>
  Buffer.compare(a, b) >= 0 ? a : b;
const earlier = (a: Buffer<ArrayBuffer>, b: Buffer<ArrayBuffer>): Buffer<ArrayBuffer> =>
  Buffer.compare(a, b) <= 0 ? a : b;
