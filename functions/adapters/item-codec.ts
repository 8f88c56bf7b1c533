import { PacsError } from '#core/errors.ts';
import type { Item, ItemValue } from '#core/ports/index-table.ts';
import { checkItemBytes } from './index-rules.ts';

/**
 * Items as bytes: JSON text, which V8 writes and reads faster than any codec in JavaScript. An item that holds binary
 * values is written as one byte 0x01, the length of a JSON text (32 bits, little endian), that text and the binary values
 * behind one another; the text is [item with null for each of them, their paths, their lengths].
 */
const WITH_BINARY = 1;
const HEADER_BYTES = 5;

/** What JSON.stringify makes of a Uint8Array: with bytes, without, and as a Buffer. */
const BINARY_IN_TEXT = ['{"0":', '{}', '"type":"Buffer"'];

type Path = (string | number)[];

/** @throws PacsError TOO_LARGE over ITEM_LIMIT_BYTES. */
export function encodeItem(item: Item): Buffer {
  const bytes = encode(item);
  checkItemBytes(bytes.length);
  return bytes;
}

function encode(item: Item): Buffer {
  for (const name in item) if (item[name] instanceof Uint8Array) return encodeWithBinary(item);
  const text = JSON.stringify(item);
  // Looking at the text is ten times cheaper than walking every item for the few that hold binary values further down.
  const suspect = BINARY_IN_TEXT.some((trace) => text.includes(trace));
  return suspect && holdsBinary(item) ? encodeWithBinary(item) : Buffer.from(text);
}

/** Bytes [start, end) of a buffer that will be used again, as an array of their own. */
export type CopyBytes = (from: Buffer, start: number, end: number) => Uint8Array;

const copyAlone: CopyBytes = (from, start, end) => new Uint8Array(from.subarray(start, end));

/** allocations that values of one page share; who keeps one of them keeps so much (bytes) */
const SHARED_BYTES = 64 * 1024;

/**
 * Copies for the values of a page, which come and go together: a few allocations in place of hundreds, each of which costs as much as the copying
 * and is one thing more for the garbage collector. A value alone, or a large one, has its own.
 */
export function copyTogether(): CopyBytes {
  let shared: Buffer<ArrayBuffer> | undefined;
  let used = 0;
  let isFirst = true;
  return (from, start, end) => {
    const size = end - start;
    if (isFirst || size > SHARED_BYTES / 4) {
      isFirst = false;
      return copyAlone(from, start, end);
    }
    if (shared === undefined || used + size > SHARED_BYTES) {
      shared = Buffer.allocUnsafeSlow(SHARED_BYTES);
      used = 0;
    }
    from.copy(shared, used, start, end);
    const copy = new Uint8Array(shared.buffer, used, size);
    used += size;
    return copy;
  };
}

/** The item in bytes[0, length); `bytes` may be reused afterwards. */
export function decodeItem(bytes: Buffer, length: number, copy: CopyBytes = copyAlone): Item {
  if (bytes[0] !== WITH_BINARY) return JSON.parse(bytes.toString('utf8', 0, length));
  const start = HEADER_BYTES + bytes.readUInt32LE(1);
  const [item, paths, lengths]: [Item, Path[], number[]] = JSON.parse(bytes.toString('utf8', HEADER_BYTES, start));
  let at = start;
  for (const [i, path] of paths.entries()) {
    const end = at + (lengths[i] ?? 0);
    const last = path.pop() as string;
    let holder = item as Record<string, unknown>;
    for (const step of path) holder = holder[step] as Record<string, unknown>;
    holder[last] = copy(bytes, at, end);
    at = end;
  }
  return item;
}

const VERSION_FIRST = '{"version":';
const VERSION_DIGITS = 20;

/**
 * `version` of the item in bytes[0, length). Records that are written under a lock begin with it: nothing else of them, which may be
 * kilobytes, has to be parsed to see whether they are as they were.
 */
export function decodeVersion(bytes: Buffer, length: number): ItemValue | undefined {
  const start = bytes.toString('latin1', 0, Math.min(length, VERSION_FIRST.length + VERSION_DIGITS));
  if (start.startsWith(VERSION_FIRST)) {
    const number = /^[0-9]+(?=[,}])/.exec(start.slice(VERSION_FIRST.length));
    if (number !== null) return Number(number[0]);
  }
  return decodeItem(bytes, length).version;
}

/** what is looked at of an item for its first text (bytes) */
const TEXT_FIRST = 160;

/** The top-level text `name` of the item in bytes[0, length). Where it stands first, and is short and plain, nothing else is parsed. */
export function decodeText(bytes: Buffer, length: number, name: string): string | undefined {
  const opening = `{"${name}":"`;
  const start = bytes.toString('utf8', 0, Math.min(length, TEXT_FIRST));
  if (start.startsWith(opening)) {
    const end = start.indexOf('"', opening.length);
    const text = start.slice(opening.length, end);
    if (end >= 0 && !text.includes('\\')) return text;
  }
  const value = decodeItem(bytes, length)[name];
  return typeof value === 'string' ? value : undefined;
}

function holdsBinary(value: object): boolean {
  if (value instanceof Uint8Array) return true;
  for (const name in value) {
    const inner: unknown = (value as Record<string, unknown>)[name];
    if (typeof inner === 'object' && inner !== null && holdsBinary(inner)) return true;
  }
  return false;
}

function encodeWithBinary(item: Item): Buffer {
  const paths: Path[] = [];
  const parts: Uint8Array[] = [];
  const withoutBinary = (value: ItemValue | undefined, path: Path): unknown => {
    if (typeof value !== 'object' || value === null) return value;
    if (value instanceof Uint8Array) {
      paths.push(path);
      parts.push(value);
      return null;
    }
    if (Array.isArray(value)) return value.map((inner: ItemValue, i) => withoutBinary(inner, [...path, i]));
    const copy: Record<string, unknown> = {};
    for (const [name, inner] of Object.entries(value)) {
      if (name === '__proto__') throw new PacsError('BAD_REQUEST', 'an item may not name __proto__');
      copy[name] = withoutBinary(inner, [...path, name]);
    }
    return copy;
  };
  const bare = withoutBinary(item, []);
  const text = Buffer.from(JSON.stringify([bare, paths, parts.map((part) => part.length)]));
  const header = Buffer.alloc(HEADER_BYTES);
  header[0] = WITH_BINARY;
  header.writeUInt32LE(text.length, 1);
  return Buffer.concat([header, text, ...parts]);
}
