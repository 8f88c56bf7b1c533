import { PAGE_BYTES } from '#core/page-aligned.ts';

/**
 * One object in a pack: an entry of a POSIX tar archive (pax interchange format, POSIX.1-2017 pax §"ustar Interchange Format") laid out so that
 * entry and object begin at a page:
 *
 *   page 0            "x" header (512) · records: path, and a comment that fills (3072) · file header (512)
 *   page 1 …          the object's bytes · zeros to a whole sector · "g" header with a comment that fills the last page
 *
 * tar and Python's tarfile read packs as they read any archive. A deleted entry keeps its place under a name of its own.
 */
export interface PackEntry {
  /** as in the archive: relative to the pack's folder; undefined when the object has been deleted */
  readonly name: string | undefined;
  /** of the object (bytes) */
  readonly size: number;
}

const SECTOR_BYTES = 512;
export const ENTRY_HEADER_BYTES = PAGE_BYTES;
const RECORDS_BYTES = PAGE_BYTES - 2 * SECTOR_BYTES;
const FILE_HEADER_AT = PAGE_BYTES - SECTOR_BYTES;
/** what the path of an entry may take of its page (bytes) */
const ENTRY_NAME_LIMIT_BYTES = 2048;
const DELETED = 'deleted';
const SIZE_LIMIT_BYTES = 8 ** 11;

const FIELD = { name: 0, mode: 100, uid: 108, gid: 116, size: 124, mtime: 136, checksum: 148, type: 156, magic: 257 };

/** All bytes that an object of `size` takes in a pack, its header page included. */
export const entryBytes = (size: number): number => ENTRY_HEADER_BYTES + Math.ceil(size / PAGE_BYTES) * PAGE_BYTES;

/** Writes the header page of an entry. @throws RangeError for a name or a size that has no room */
export function writeEntryHeader(into: Buffer, name: string, size: number, seconds: number): void {
  if (Buffer.byteLength(name) > ENTRY_NAME_LIMIT_BYTES || size >= SIZE_LIMIT_BYTES)
    throw new RangeError('no entry of a pack can be so large');
  into.fill(0, 0, ENTRY_HEADER_BYTES);
  writeTarHeader(into, 0, 'PaxHeaders/entry', RECORDS_BYTES, seconds, 'x');
  const at = SECTOR_BYTES + into.write(record('path', name), SECTOR_BYTES, 'utf8');
  into.write(comment(SECTOR_BYTES + RECORDS_BYTES - at), at, 'latin1');
  writeTarHeader(into, FILE_HEADER_AT, name.slice(-99), size, seconds, '0');
}

/** The header page under which the place of a deleted object stands. */
export function writeDeletedHeader(into: Buffer, size: number, seconds: number): void {
  writeEntryHeader(into, DELETED, size, seconds);
}

/** What a header page says; undefined when it is none. */
export function readEntryHeader(page: Buffer): PackEntry | undefined {
  if (page.length < ENTRY_HEADER_BYTES || page[FIELD.type] !== 0x78 || !isTarHeader(page, 0)) return undefined;
  if (!isTarHeader(page, FILE_HEADER_AT)) return undefined;
  const size = Number.parseInt(
    page.toString('latin1', FILE_HEADER_AT + FIELD.size, FILE_HEADER_AT + FIELD.size + 11),
    8,
  );
  const space = page.indexOf(0x20, SECTOR_BYTES);
  const length = Number(page.toString('latin1', SECTOR_BYTES, space));
  const path = page.toString('utf8', space + 1, SECTOR_BYTES + length - 1);
  if (!Number.isSafeInteger(size) || !Number.isSafeInteger(length) || !path.startsWith('path=')) return undefined;
  const name = path.slice('path='.length);
  return { name: name === DELETED ? undefined : name, size };
}

/** Fills what is left of the object's last page. @param at where in `page` the object ends, 0 < at < PAGE_BYTES */
export function fillLastPage(page: Buffer, at: number, seconds: number): void {
  const sector = Math.ceil(at / SECTOR_BYTES) * SECTOR_BYTES;
  page.fill(0, at, sector);
  if (sector === PAGE_BYTES) return;
  page.fill(0, sector, sector + SECTOR_BYTES);
  const rest = PAGE_BYTES - sector - SECTOR_BYTES;
  writeTarHeader(page, sector, 'PaxHeaders/filler', rest, seconds, 'g');
  if (rest > 0) page.write(comment(rest), sector + SECTOR_BYTES, 'latin1');
}

/** A pax record says its own length. */
function record(keyword: string, value: string): string {
  const rest = Buffer.byteLength(value) + keyword.length + 3;
  let length = rest + String(rest).length;
  if (length - rest < String(length).length) length++;
  return `${length} ${keyword}=${value}\n`;
}

/** A record of exactly so many bytes. */
const comments = new Map<number, string>();
function comment(length: number): string {
  let text = comments.get(length);
  if (text === undefined) {
    const start = `${length} comment=`;
    text = `${start}${' '.repeat(length - start.length - 1)}\n`;
    comments.set(length, text);
  }
  return text;
}

function writeTarHeader(
  into: Buffer,
  at: number,
  name: string,
  size: number,
  seconds: number,
  type: 'x' | 'g' | '0',
): void {
  into.write(name, at + FIELD.name, 'latin1');
  into.write('0000640\x000000000\x000000000\x00', at + FIELD.mode, 'latin1');
  into.write(octal(size), at + FIELD.size, 'latin1');
  into.write(octal(seconds), at + FIELD.mtime, 'latin1');
  into.write(type, at + FIELD.type, 'latin1');
  into.write('ustar\x0000', at + FIELD.magic, 'latin1');
  into.write(`${checksum(into, at).toString(8).padStart(6, '0')}\x00 `, at + FIELD.checksum, 'latin1');
}

const octal = (value: number): string => value.toString(8).padStart(11, '0');

/** The sum of the header's bytes, its own field taken for blanks. */
function checksum(page: Buffer, at: number): number {
  let sum = 8 * 0x20;
  for (let i = at; i < at + SECTOR_BYTES; i++) if (i < at + FIELD.checksum || i >= at + FIELD.type) sum += page[i]!;
  return sum;
}

const isTarHeader = (page: Buffer, at: number): boolean =>
  page.toString('latin1', at + FIELD.magic, at + FIELD.magic + 5) === 'ustar' &&
  Number.parseInt(page.toString('latin1', at + FIELD.checksum, at + FIELD.checksum + 6), 8) === checksum(page, at);
