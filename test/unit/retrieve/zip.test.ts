import { Buffer } from 'node:buffer';
import { inflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { unzipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { openStream } from '#core/retrieve/stream.ts';
import { writeZip, type ZipEntry } from '#core/retrieve/zip.ts';

const AT = Date.UTC(2024, 0, 31, 12, 34, 56);

async function* entriesOf(entries: readonly ZipEntry[]): AsyncGenerator<ZipEntry> {
  yield* entries;
}

async function archive(entries: AsyncIterable<ZipEntry>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of writeZip(entries)) pieces.push(piece);
  return Buffer.concat(pieces);
}

const entry = (name: string, body: Uint8Array, sizeBytes: number | undefined = body.length): ZipEntry => ({
  name,
  body,
  sizeBytes,
  modifiedAt: AT,
});

describe('a ZIP archive', () => {
  test('holds any files, read back by another implementation', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }),
        fc.boolean(),
        async (files, known) => {
          const entries = files.map((body, i) => entry(`DICOM/${i}.dcm`, body, known ? body.length : undefined));
          const read = unzipSync(await archive(entriesOf(entries)));
          expect(Object.keys(read)).toEqual(files.map((_, i) => `DICOM/${i}.dcm`));
          files.forEach((body, i) => {
            expect(Buffer.from(read[`DICOM/${i}.dcm`]!).equals(body)).toBe(true);
          });
        },
      ),
      { numRuns: 60 },
    );
  });

  test('passes files over the 64 KiB of a stored block, in any chunks', async () => {
    const whole = Buffer.alloc(200_001, 'abc');
    const stream = await openStream(
      (async function* () {
        yield whole.subarray(0, 1);
        yield whole.subarray(1, 131_071);
        yield whole.subarray(131_071);
      })(),
    );
    const read = unzipSync(
      await archive(entriesOf([{ ...entry('a', whole), body: stream }, entry('b', Buffer.from('x'))])),
    );
    expect(Buffer.from(read.a!).equals(whole)).toBe(true);
    expect(Buffer.from(read.b!).toString()).toBe('x');
  });

  test('can be read while it arrives: every entry is a complete deflate stream behind its header', async () => {
    const bytes = await archive(entriesOf([entry('a', Buffer.from('hello'))]));
    expect(bytes.readUInt32LE(0)).toBe(0x04034b50);
    expect(bytes.readUInt16LE(8)).toBe(8);
    expect(inflateRawSync(bytes.subarray(31)).toString()).toBe('hello');
  });

  test('carries the date in UTC', async () => {
    const bytes = await archive(entriesOf([entry('a', Buffer.from('x'))]));
    const [time, date] = [bytes.readUInt16LE(10), bytes.readUInt16LE(12)];
    expect([1980 + (date >> 9), (date >> 5) & 15, date & 31]).toEqual([2024, 1, 31]);
    expect([time >> 11, (time >> 5) & 63, (time & 31) * 2]).toEqual([12, 34, 56]);
  });

  test('of more than 65,535 files has the ZIP64 end', async () => {
    const count = 65_600;
    const bytes = await archive(
      (async function* () {
        for (let i = 0; i < count; i++) yield entry(String(i), Buffer.of(i & 0xff));
      })(),
    );
    const read = unzipSync(bytes);
    expect(Object.keys(read)).toHaveLength(count);
    expect(read['65599']![0]).toBe(65_599 & 0xff);
  });

  test('of more than 4 GiB is ZIP64 throughout, and nothing of it is held', async () => {
    const chunk = Buffer.alloc(1024 * 1024, 7);
    const large = 4200 * chunk.length;
    const body = await openStream(
      (async function* () {
        for (let i = 0; i < 4200; i++) yield chunk;
      })(),
    );
    let size = 0;
    let tail = Buffer.alloc(0);
    let head: Uint8Array | undefined;
    const entries = entriesOf([
      { name: 'large', body, sizeBytes: large, modifiedAt: AT },
      entry('behind', Buffer.from('x')),
    ]);
    for await (const piece of writeZip(entries)) {
      head ??= piece;
      size += piece.length;
      tail = Buffer.concat([tail, piece]).subarray(-2_000);
    }
    expect(Buffer.from(head!).readUInt16LE(28)).toBe(20);
    const record = tail.indexOf(Buffer.from('504b0102', 'hex'));
    const extra = record + 46 + 'large'.length;
    expect(tail.readUInt32LE(record + 24)).toBe(0xffffffff);
    expect(Number(tail.readBigUInt64LE(extra + 4))).toBe(large);
    const second = extra + 4 + 16;
    expect(tail.readUInt32LE(second)).toBe(0x02014b50);
    expect(tail.readUInt32LE(second + 42)).toBe(0xffffffff);
    const offset = Number(tail.readBigUInt64LE(second + 46 + 'behind'.length + 4));
    expect(offset).toBeGreaterThan(large);
    const end64 = tail.indexOf(Buffer.from('504b0606', 'hex'));
    const directory = Number(tail.readBigUInt64LE(end64 + 48));
    expect(directory).toBe(size - tail.length + record);
    expect(tail.subarray(-22).readUInt32LE(0)).toBe(0x06054b50);
  });

  test('that nobody reads to its end releases what is open', async () => {
    let released = 0;
    const body = await openStream(
      (async function* () {
        try {
          for (;;) yield Buffer.alloc(100_000);
        } finally {
          released++;
        }
      })(),
    );
    for await (const _piece of writeZip(entriesOf([{ ...entry('a', Buffer.alloc(0)), body }]))) break;
    expect(released).toBe(1);
  });
});
