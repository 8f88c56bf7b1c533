/**
 * The little of a DICOM file that the uploader needs before it sends it: whether it is one, and which instance it holds.
 * Part 10 (PS3.10 §7.1): 128 bytes of preamble, `DICM`, then file meta information, always Explicit VR Little Endian.
 */
export interface FileMeta {
  readonly SOPClassUID: string;
  readonly SOPInstanceUID: string;
}

/** bytes of a file that are looked at; the file meta of the field fits many times over */
const HEAD_BYTES = 4_096;
const MEDIA_STORAGE_DIRECTORY = '1.2.840.10008.1.3.10';
const LONG_FORM = new Set(['OB', 'OD', 'OF', 'OL', 'OV', 'OW', 'SQ', 'SV', 'UC', 'UN', 'UR', 'UT', 'UV']);

export const isDirectory = (meta: FileMeta): boolean => meta.SOPClassUID === MEDIA_STORAGE_DIRECTORY;

/** undefined when the file does not carry the `DICM` mark; the UIDs are '' where they could not be found. */
export async function readFileMeta(file: Blob): Promise<FileMeta | undefined> {
  return parseFileMeta(new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer()));
}

export function parseFileMeta(bytes: Uint8Array): FileMeta | undefined {
  if (ascii(bytes, 128, 4) !== 'DICM') return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = { SOPClassUID: '', SOPInstanceUID: '' };
  let at = 132;
  while (at + 8 <= bytes.length && view.getUint16(at, true) === 2) {
    const element = view.getUint16(at + 2, true);
    const long = LONG_FORM.has(ascii(bytes, at + 4, 2));
    if (long && at + 12 > bytes.length) break;
    const start = at + (long ? 12 : 8);
    const length = long ? view.getUint32(at + 8, true) : view.getUint16(at + 6, true);
    if (element === 0x0002) found.SOPClassUID = uid(bytes, start, length);
    if (element === 0x0003) found.SOPInstanceUID = uid(bytes, start, length);
    at = start + length;
  }
  return found;
}

function ascii(bytes: Uint8Array, from: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(from, from + length));
}
const uid = (bytes: Uint8Array, from: number, length: number) =>
  // UIDs are padded with a NUL to an even length; some writers pad with a blank.
  ascii(bytes, from, Math.min(length, 64)).replace(/[\0 ]+$/, '');
