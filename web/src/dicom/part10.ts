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

/**
 * undefined when the file is none: it carries the `DICM` mark, or begins, as many of older discs do, right with file meta information or with
 * the data set. The UIDs are '' where they could not be found.
 */
export async function readFileMeta(file: Blob): Promise<FileMeta | undefined> {
  return parseFileMeta(new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer()));
}

export function parseFileMeta(bytes: Uint8Array): FileMeta | undefined {
  const start = ascii(bytes, 128, 4) === 'DICM' ? 132 : 0;
  if (start === 0 && !beginsWithElement(bytes)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = bytes[start] !== 0;
  const group = start + 2 <= bytes.length ? view.getUint16(start, little) : 0;
  const [classElement, instanceElement] = group === 8 ? [0x0016, 0x0018] : [0x0002, 0x0003];
  const found = { SOPClassUID: '', SOPInstanceUID: '' };
  let at = start;
  while (at + 8 <= bytes.length && view.getUint16(at, little) === group) {
    const element = view.getUint16(at + 2, little);
    const isExplicit = hasVr(bytes, at);
    const long = isExplicit && LONG_FORM.has(ascii(bytes, at + 4, 2));
    if (long && at + 12 > bytes.length) break;
    const value = at + (long ? 12 : 8);
    const length = long
      ? view.getUint32(at + 8, little)
      : isExplicit
        ? view.getUint16(at + 6, little)
        : view.getUint32(at + 4, little);
    if (element === classElement) found.SOPClassUID = uid(bytes, value, length);
    if (element === instanceElement) found.SOPInstanceUID = uid(bytes, value, length);
    at = value + length;
  }
  return found;
}

const hasVr = (bytes: Uint8Array, at: number): boolean => /^[A-Z]{2}$/.test(ascii(bytes, at + 4, 2));

/** The archive believes the same beginnings (functions/core/dicom/scanner.ts). */
function beginsWithElement(bytes: Uint8Array): boolean {
  const [a, b, c, d, , , e, f] = bytes;
  if (bytes.length < 8) return false;
  if (b === 0 && d === 0 && a === 2) return true;
  if (b === 0 && d === 0 && a === 8) return hasVr(bytes, 0) || (e === 0 && f === 0);
  return a === 0 && b === 8 && c === 0 && hasVr(bytes, 0);
}

function ascii(bytes: Uint8Array, from: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(from, from + length));
}
const uid = (bytes: Uint8Array, from: number, length: number) =>
  // UIDs are padded with a NUL to an even length; some writers pad with a blank.
  ascii(bytes, from, Math.min(length, 64)).replace(/[\0 ]+$/, '');
