import { PacsError } from '#core/errors.ts';
import {
  type Condition,
  ITEM_LIMIT_BYTES,
  type Item,
  type ItemValue,
  type Key,
  type RangeQuery,
  WRITE_LIMIT_BYTES,
  WRITE_LIMIT_OPERATIONS,
  type WriteOperation,
} from '#core/ports/index-table.ts';

/** What every IndexTable refuses before it touches its engine, so that all engines refuse the same. */

const PARTITION_LIMIT_BYTES = 1024;
export const SORT_LIMIT_BYTES = 900;
const KEYS_LIMIT = 100;
const PAGE_LIMIT = 10_000;

const refuse = (message: string): never => {
  throw new PacsError('BAD_REQUEST', message);
};

function checkText(text: string, what: string, limitBytes: number): void {
  if (text.length === 0 || text.includes('\0')) refuse(`${what} key is empty or holds U+0000`);
  // three bytes are the most that one UTF-16 unit becomes; only then is counting needed
  if (text.length * 3 > limitBytes && Buffer.byteLength(text) > limitBytes)
    refuse(`${what} key is over ${limitBytes} bytes`);
  if (!text.isWellFormed()) refuse(`${what} key is not well-formed UTF-16`);
}

const checkPartition = (partition: string): void => checkText(partition, 'partition', PARTITION_LIMIT_BYTES);

export function checkKey(key: Key): void {
  checkPartition(key.partition);
  checkText(key.sort, 'sort', SORT_LIMIT_BYTES);
}

export function checkKeys(keys: readonly Key[]): void {
  if (keys.length > KEYS_LIMIT) refuse(`more than ${KEYS_LIMIT} keys`);
  for (const key of keys) checkKey(key);
}

export function checkQuery(query: RangeQuery): void {
  checkPartition(query.partition);
  if (!Number.isInteger(query.limit) || query.limit < 1 || query.limit > PAGE_LIMIT)
    refuse('limit is not within 1 to 10,000');
  if (query.log && (query.prefix ?? query.from ?? query.to) !== undefined) refuse('a log has no ranges but `after`');
  if (query.only !== undefined && (query.log || query.keysOnly)) refuse('`only` is neither of a log nor of keys alone');
  for (const bound of [query.prefix, query.from, query.to, query.after]) {
    if (bound !== undefined && (bound.length > SORT_LIMIT_BYTES || bound.includes('\0') || !bound.isWellFormed()))
      refuse('a bound of the range is not a possible key');
  }
}

export function checkOperations(operations: readonly WriteOperation[]): void {
  if (operations.length === 0 || operations.length > WRITE_LIMIT_OPERATIONS)
    refuse(`a write holds 1 to ${WRITE_LIMIT_OPERATIONS} operations`);
  const seen = operations.length > 1 ? new Set<string>() : undefined;
  for (const operation of operations) {
    if (operation.kind === 'append') {
      checkPartition(operation.partition);
      continue;
    }
    checkKey(operation.key);
    if (seen !== undefined) {
      const size = seen.size;
      seen.add(`${operation.key.partition}\0${operation.key.sort}`);
      if (seen.size === size) refuse('two operations of one write are on the same key');
    }
    if (operation.kind === 'add')
      for (const name in operation.increments)
        if (!Number.isFinite(operation.increments[name])) refuse('an increment is not a finite number');
  }
}

/** @param encoded the items of one write @throws PacsError TOO_LARGE over WRITE_LIMIT_BYTES */
export function checkWriteBytes(encoded: readonly (Uint8Array | undefined)[]): void {
  let bytes = 0;
  for (const item of encoded) bytes += item?.length ?? 0;
  if (bytes > WRITE_LIMIT_BYTES)
    throw new PacsError('TOO_LARGE', `the items of a write are over ${WRITE_LIMIT_BYTES} bytes`);
}

export function checkItemBytes(length: number): void {
  if (length > ITEM_LIMIT_BYTES) throw new PacsError('TOO_LARGE', `an item is over ${ITEM_LIMIT_BYTES} bytes`);
}

/** @param item what stands under the key, undefined for nothing */
export function holds(condition: Condition, item: Item | undefined): boolean {
  if (condition === 'absent') return item === undefined;
  if (condition === 'present') return item !== undefined;
  return item !== undefined && item.version === condition.version;
}

/** The record after an `add`; what is not a number counts as 0. */
export function increased(item: Item | undefined, increments: Readonly<Record<string, number>>): Item {
  const sum: Record<string, Item[string]> = { ...item };
  for (const name in increments) {
    const before = sum[name];
    sum[name] = (typeof before === 'number' ? before : 0) + (increments[name] ?? 0);
  }
  return sum;
}

/** The sort key of the nth record appended to a partition: sixteen digits, so that byte order is the order of appending. */
export const appendedSort = (count: number): string => String(count).padStart(16, '0');

/** Order of the UTF-8 bytes. UTF-16 units order alike, but for surrogates, which stand below U+E000 and belong above U+FFFF. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return surrogatesLast(x) - surrogatesLast(y);
  }
  return a.length - b.length;
}

const surrogatesLast = (unit: number): number => (unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800);

/** What a query for one text alone gives of an item. */
export const textAlone = (name: string, value: ItemValue | undefined): Item =>
  typeof value === 'string' ? { [name]: value } : {};
