import type { DataSet, PersonName } from '../dicom/types.ts';
import { codeOf, PROFILE_ROWS } from './actions.ts';
import { EVERY_METHOD, type Profile } from './profile.ts';
import { DEIDENTIFICATION_METHOD, PROFILE_EDITION } from './profile-table.ts';

/** shortest text that is looked for (bytes), and how many of them at most */
const SHORTEST = 6;
const MOST = 32;
/** what we write ourselves may be somebody's name, in tests at least */
const OWN = [
  'Removed Anonymous Comment',
  PROFILE_EDITION,
  DEIDENTIFICATION_METHOD,
  ...EVERY_METHOD.map(([, meaning]) => meaning),
]
  .join(' ')
  .toLowerCase();

/** Names, numbers and UIDs of the source whose bytes must not be in a copy. */
export function watchedBytes(source: DataSet, profile: Profile): Buffer[] {
  const found = new Set<string>();
  const add = (tag: string, text: string): void => {
    const row = PROFILE_ROWS.get(tag);
    if (row !== undefined && codeOf(row, profile) === 'K') return;
    const value = text.trim();
    if (Buffer.byteLength(value) < SHORTEST || value.startsWith('1.2.840.10008.')) return;
    if (!OWN.includes(value.toLowerCase())) found.add(value);
  };
  for (const tag of [
    '00100020',
    '00080050',
    '00100030',
    '00200010',
    '00380010',
    '00402016',
    '00402017',
    '0020000D',
    '00080018',
    '0020000E',
  ])
    for (const value of source[tag]?.Value ?? []) if (typeof value === 'string') add(tag, value);
  for (const tag of ['00100010', '00101001', '00101005', '00101060', '00080090', '00081050', '00081060', '00081070'])
    for (const name of (source[tag]?.Value ?? []) as (PersonName | null)[])
      for (const group of Object.values(name ?? {}) as string[]) {
        add(tag, group);
        for (const part of group.split('^')) add(tag, part);
      }
  for (const item of (source['00101002']?.Value ?? []) as DataSet[])
    for (const value of item['00100020']?.Value ?? []) if (typeof value === 'string') add('00100020', value);
  return [...found].slice(0, MOST).map((text) => Buffer.from(text));
}

const isNumberByte = (byte: number | undefined): boolean =>
  byte !== undefined && ((byte >= 0x30 && byte <= 0x39) || byte === 0x2e);

/** @param openStart, openEnd: the bytes go on before and behind, and another look decides about a number that reaches there */
function occurs(bytes: Buffer, text: Buffer, openStart: boolean, openEnd: boolean): boolean {
  const isNumber = text.every(isNumberByte);
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) {
    if (!isNumber) return true;
    const end = at + text.length;
    if ((openStart && at === 0) || (openEnd && end === bytes.length)) continue;
    // A number is found in the digits of longer ones.
    if (!isNumberByte(bytes[at - 1]) && !isNumberByte(bytes[end])) return true;
  }
  return false;
}

/**
 * Passes bytes on, and throws `found()` where one of the texts is among them, also across chunks: the last thing that stands between a comment of an
 * encoder, or whatever else nobody thought of, and the copy.
 */
export async function* watching(
  bytes: AsyncIterable<Uint8Array>,
  texts: readonly Buffer[],
  found: () => Error,
): AsyncGenerator<Uint8Array, void, undefined> {
  // a text, and a byte on either side of it
  const overlap = Math.max(0, ...texts.map((text) => text.length)) + 1;
  let tail: Buffer = Buffer.alloc(0);
  let begun = false;
  for await (const chunk of bytes) {
    const whole = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const seam = Buffer.concat([tail, whole.subarray(0, overlap)]);
    for (const text of texts) if (occurs(seam, text, begun, true) || occurs(whole, text, begun, true)) throw found();
    begun ||= whole.length > 0;
    tail = Buffer.from(Buffer.concat([tail, whole.subarray(-overlap)]).subarray(-overlap));
    yield chunk;
  }
  for (const text of texts) if (occurs(tail, text, true, false)) throw found();
}
