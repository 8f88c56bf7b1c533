import { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';
import { coalesce, type Payload, releasePayload } from './stream.ts';

/** One file of an archive. */
export interface ZipEntry {
  /** relative path, `/` between segments */
  readonly name: string;
  /** ms since 1970; shown in UTC with a grain of two seconds */
  readonly modifiedAt: number;
  /** when known: an entry of 4 GiB and more needs other fields, as does one that might become so large */
  readonly sizeBytes: number | undefined;
  readonly body: Payload;
}

/**
 * A ZIP archive (APPNOTE 6.3.10) written as it is read, in constant memory but for about 150 bytes an entry, ZIP64 where sizes,
 * offsets or counts need it. Objects are not compressed again, but framed as DEFLATE stored blocks: method "stored" with sizes
 * behind the data, all that streaming allows, is refused by readers that stream themselves (Java's ZipInputStream).
 */
export const writeZip = (entries: AsyncIterable<ZipEntry>): AsyncIterable<Uint8Array> => coalesce(pieces(entries));

const DEFLATE = 8;
const VERSION_DEFLATE = 20;
const VERSION_ZIP64 = 45;
/** sizes follow the data; names are UTF-8 */
const FLAGS = 0x0808;
const MAX_32 = 0xffff_ffff;
const MAX_16 = 0xffff;
/** LEN of a stored block (RFC 1951 §3.2.4) */
const BLOCK_BYTES = 0xffff;
const LAST_BLOCK = Buffer.from([1, 0, 0, 0xff, 0xff]);
/** entries over this might pass 4 GiB with their framing */
const LARGE_BYTES = 0xfff0_0000;

interface Written {
  readonly name: Buffer;
  readonly time: number;
  readonly date: number;
  readonly offset: number;
  readonly crc: number;
  readonly compressed: number;
  readonly size: number;
  readonly zip64: boolean;
}

async function* pieces(entries: AsyncIterable<ZipEntry>): AsyncGenerator<Uint8Array, void, undefined> {
  const written: Written[] = [];
  let at = 0;
  for await (const entry of entries) {
    let finished = false;
    try {
      const name = Buffer.from(entry.name);
      const zip64 = entry.sizeBytes === undefined || entry.sizeBytes > LARGE_BYTES;
      const [date, time] = dosDateTime(entry.modifiedAt);
      const offset = at;
      const head = localHeader(name, date, time, zip64);
      yield head;
      at += head.length;
      let crc = 0;
      let size = 0;
      let compressed = 0;
      for await (const chunk of entry.body instanceof Uint8Array ? [entry.body] : entry.body) {
        crc = crc32(chunk, crc);
        size += chunk.length;
        for (let from = 0; from < chunk.length; from += BLOCK_BYTES) {
          const block = chunk.subarray(from, from + BLOCK_BYTES);
          const header = Buffer.allocUnsafe(5);
          header[0] = 0;
          header.writeUInt16LE(block.length, 1);
          header.writeUInt16LE(block.length ^ 0xffff, 3);
          yield header;
          yield block;
          compressed += 5 + block.length;
        }
      }
      finished = true;
      compressed += LAST_BLOCK.length;
      const descriptor = dataDescriptor(crc, compressed, size, zip64);
      yield LAST_BLOCK;
      yield descriptor;
      at += compressed + descriptor.length;
      written.push({ name, time, date, offset, crc, compressed, size, zip64 });
    } finally {
      if (!finished) await releasePayload(entry.body);
    }
  }
  let directoryBytes = 0;
  for (const entry of written) {
    const record = directoryRecord(entry);
    directoryBytes += record.length;
    yield record;
  }
  yield endOfDirectory(written.length, at, directoryBytes);
}

/** §4.3.7; with a ZIP64 extra field the descriptor's sizes are 8 bytes */
function localHeader(name: Buffer, date: number, time: number, zip64: boolean): Buffer {
  const header = Buffer.alloc(30 + name.length + (zip64 ? 20 : 0));
  header.writeUInt32LE(0x04034b50, 0);
  header.writeUInt16LE(zip64 ? VERSION_ZIP64 : VERSION_DEFLATE, 4);
  header.writeUInt16LE(FLAGS, 6);
  header.writeUInt16LE(DEFLATE, 8);
  header.writeUInt16LE(time, 10);
  header.writeUInt16LE(date, 12);
  if (zip64) header.fill(0xff, 18, 26);
  header.writeUInt16LE(name.length, 26);
  header.writeUInt16LE(zip64 ? 20 : 0, 28);
  name.copy(header, 30);
  if (zip64) {
    header.writeUInt16LE(0x0001, 30 + name.length);
    header.writeUInt16LE(16, 32 + name.length);
  }
  return header;
}

/** §4.3.9 */
function dataDescriptor(crc: number, compressed: number, size: number, zip64: boolean): Buffer {
  const descriptor = Buffer.alloc(zip64 ? 24 : 16);
  descriptor.writeUInt32LE(0x08074b50, 0);
  descriptor.writeUInt32LE(crc, 4);
  if (zip64) {
    descriptor.writeBigUInt64LE(BigInt(compressed), 8);
    descriptor.writeBigUInt64LE(BigInt(size), 16);
  } else {
    descriptor.writeUInt32LE(compressed, 8);
    descriptor.writeUInt32LE(size, 12);
  }
  return descriptor;
}

/** §4.3.12; fields that do not fit stand in the ZIP64 extra field (§4.5.3), in this order */
function directoryRecord({ name, time, date, offset, crc, compressed, size, zip64 }: Written): Buffer {
  const wide: number[] = zip64 ? [size, compressed] : [];
  if (offset >= MAX_32) wide.push(offset);
  const extra = wide.length > 0 ? 4 + 8 * wide.length : 0;
  const record = Buffer.alloc(46 + name.length + extra);
  record.writeUInt32LE(0x02014b50, 0);
  record.writeUInt16LE(wide.length > 0 ? VERSION_ZIP64 : VERSION_DEFLATE, 4);
  record.writeUInt16LE(wide.length > 0 ? VERSION_ZIP64 : VERSION_DEFLATE, 6);
  record.writeUInt16LE(FLAGS, 8);
  record.writeUInt16LE(DEFLATE, 10);
  record.writeUInt16LE(time, 12);
  record.writeUInt16LE(date, 14);
  record.writeUInt32LE(crc, 16);
  record.writeUInt32LE(zip64 ? MAX_32 : compressed, 20);
  record.writeUInt32LE(zip64 ? MAX_32 : size, 24);
  record.writeUInt16LE(name.length, 28);
  record.writeUInt16LE(extra, 30);
  record.writeUInt32LE(Math.min(offset, MAX_32), 42);
  name.copy(record, 46);
  if (extra > 0) {
    const at = 46 + name.length;
    record.writeUInt16LE(0x0001, at);
    record.writeUInt16LE(extra - 4, at + 2);
    wide.forEach((value, i) => {
      record.writeBigUInt64LE(BigInt(value), at + 4 + 8 * i);
    });
  }
  return record;
}

/** §4.3.14 to §4.3.16 */
function endOfDirectory(count: number, offset: number, bytes: number): Buffer {
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Math.min(count, MAX_16), 8);
  end.writeUInt16LE(Math.min(count, MAX_16), 10);
  end.writeUInt32LE(Math.min(bytes, MAX_32), 12);
  end.writeUInt32LE(Math.min(offset, MAX_32), 16);
  if (count < MAX_16 && bytes < MAX_32 && offset < MAX_32) return end;
  const end64 = Buffer.alloc(56 + 20);
  end64.writeUInt32LE(0x06064b50, 0);
  end64.writeBigUInt64LE(44n, 4);
  end64.writeUInt16LE(VERSION_ZIP64, 12);
  end64.writeUInt16LE(VERSION_ZIP64, 14);
  end64.writeBigUInt64LE(BigInt(count), 24);
  end64.writeBigUInt64LE(BigInt(count), 32);
  end64.writeBigUInt64LE(BigInt(bytes), 40);
  end64.writeBigUInt64LE(BigInt(offset), 48);
  end64.writeUInt32LE(0x07064b50, 56);
  end64.writeBigUInt64LE(BigInt(offset + bytes), 64);
  end64.writeUInt32LE(1, 72);
  return Buffer.concat([end64, end]);
}

/** §4.4.6: from 1980, in steps of two seconds */
function dosDateTime(ms: number): [date: number, time: number] {
  const at = new Date(Math.max(ms, Date.UTC(1980, 0, 1)));
  return [
    ((at.getUTCFullYear() - 1980) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate(),
    (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1),
  ];
}
