import { IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME } from '#core/dicom/writer.ts';
import { PacsError } from '#core/errors.ts';

const PREAMBLE_BYTES = 132;
/** preamble, 'DICM' and the element of the group length */
const GROUP_LENGTH_END = PREAMBLE_BYTES + 12;

const element = (tag: number, vr: string, value: string | Uint8Array): Buffer => {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'latin1') : value;
  const long = vr === 'OB';
  const header = Buffer.alloc(long ? 12 : 8);
  header.writeUInt16LE(0x0002, 0);
  header.writeUInt16LE(tag, 2);
  header.write(vr, 4, 'latin1');
  const padded = bytes.length + (bytes.length & 1);
  if (long) header.writeUInt32LE(padded, 8);
  else header.writeUInt16LE(padded, 6);
  return Buffer.concat([header, bytes, PADDING[bytes.length & 1 ? (vr === 'UI' ? 1 : 2) : 0]!]);
};
const PADDING = [Buffer.alloc(0), Buffer.of(0), Buffer.of(0x20)] as const;

/** Preamble and File Meta Information (PS3.10 §7.1), to stand before the data set as it comes. */
export function part10Header(SOPClassUID: string, SOPInstanceUID: string, transferSyntaxUID: string): Buffer {
  const meta = Buffer.concat([
    element(0x0001, 'OB', Uint8Array.of(0, 1)),
    element(0x0002, 'UI', SOPClassUID),
    element(0x0003, 'UI', SOPInstanceUID),
    element(0x0010, 'UI', transferSyntaxUID),
    element(0x0012, 'UI', IMPLEMENTATION_CLASS_UID),
    element(0x0013, 'SH', IMPLEMENTATION_VERSION_NAME),
  ]);
  const start = Buffer.alloc(GROUP_LENGTH_END);
  start.write('DICM', 128, 'latin1');
  start.write('UL', PREAMBLE_BYTES + 4, 'latin1');
  start.writeUInt16LE(2, PREAMBLE_BYTES);
  start.writeUInt16LE(4, PREAMBLE_BYTES + 6);
  start.writeUInt32LE(meta.length, PREAMBLE_BYTES + 8);
  return Buffer.concat([start, meta]);
}

/**
 * The data set of a Part 10 object that our writer makes: what stands behind its File Meta Information.
 * @throws PacsError INTERNAL where the group length is not where the writer puts it
 */
export async function* dataSetOf(object: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  let start: Buffer | undefined = Buffer.alloc(0);
  let end = GROUP_LENGTH_END;
  for await (const chunk of object) {
    if (start === undefined) {
      yield chunk;
      continue;
    }
    start =
      start.length === 0 ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length) : Buffer.concat([start, chunk]);
    if (start.length >= GROUP_LENGTH_END && end === GROUP_LENGTH_END) {
      if (start.readUInt32LE(PREAMBLE_BYTES) !== 2) throw new PacsError('INTERNAL', 'an object without group length');
      end += start.readUInt32LE(PREAMBLE_BYTES + 8);
    }
    if (end === GROUP_LENGTH_END || start.length < end) continue;
    if (start.length > end) yield start.subarray(end);
    start = undefined;
  }
}
