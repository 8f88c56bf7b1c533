import { type Database, open, type RootDatabaseOptionsWithPath } from 'lmdb';
import type { Item } from '#core/ports/index-table.ts';
import { textAlone } from '../index-rules.ts';
import { type CopyBytes, decodeItem, decodeText } from '../item-codec.ts';

/** A key as LMDB has it: the bytes of `partition U+0000 sort`; strings are written as UTF-8, arrays as they are. */
export type RawKey = string | Uint8Array;

/** Address space, not disk: the file grows with its content. */
const MAP_BYTES = 2 ** 40;
/** Processes (and their snapshots) that may read at once. */
const MAX_READERS = 512;
/**
 * Each transaction starts on the free list as it stands in the file. The list that lmdb-js otherwise keeps in memory from one
 * transaction to the next is written back only in part, and comes to name a page twice or aborts the process (decision 0211).
 */
export const FREE_SPACE = { maxFreeSpaceToRetain: 0 } as const;

/** What the bytes of a value become. */
export class Values {
  /** set while a query reads this text alone of each item */
  only: string | undefined;
  /** set while a query reads many: what copies their bytes */
  copy: CopyBytes | undefined;

  readonly encode = (bytes: Buffer): Buffer => bytes;

  readonly decode = (value: Uint8Array): Item => {
    const bytes = asBuffer(value);
    if (this.only === undefined) return decodeItem(bytes, value.length, this.copy);
    return textAlone(this.only, decodeText(bytes, value.length, this.only));
  };
}

export const openFile = (path: string, values: Values): Database<Item | Buffer, RawKey> =>
  open<Item | Buffer, RawKey>({
    path,
    noSubdir: true,
    overlappingSync: false,
    // lmdb-js' own batching leaves a promise that nobody can reach, and that ends the process when a commit fails
    eventTurnBatching: false,
    mapSize: MAP_BYTES,
    maxReaders: MAX_READERS,
    ...FREE_SPACE,
    keyEncoder: { writeKey, readKey },
    encoder: values,
  } as RootDatabaseOptionsWithPath);

function writeKey(key: RawKey, target: Buffer, start: number): number {
  if (typeof key === 'string') return start + target.write(key, start, 'utf8');
  target.set(key, start);
  return start + key.length;
}

const readKey = (source: Buffer, start: number, end: number): string => source.toString('utf8', start, end);

/** lmdb-js hands over a buffer that it will use again (whose `length`, but not `byteLength`, is the value's) or mapped memory. */
export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
