import type { Random } from './random.ts';

/** What the general mutations know of a format. */
export interface Grammar {
  /** words of the format: put in and laid over whole */
  readonly words: readonly Uint8Array[];
  /** the mutations that know the format's structure; each returns a new input */
  readonly structural?: readonly ((input: Uint8Array, random: Random) => Uint8Array)[];
  /** the format is text: bytes are changed to bytes that text has */
  readonly text?: boolean;
}

const INTERESTING = [0, 1, 2, 3, 4, 7, 8, 0x0a, 0x0d, 0x10, 0x20, 0x40, 0x7f, 0x80, 0xfe, 0xff];
const INTERESTING_16 = [0, 1, 2, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xfffe, 0xffff];
const INTERESTING_32 = [0, 1, 2, 6, 7, 8, 255, 256, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];

export const concat = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

/** One to eight changes, one upon another; `other` is a second input to take pieces of. */
export function mutate(
  input: Uint8Array,
  other: Uint8Array,
  { words, structural = [], text = false }: Grammar,
  random: Random,
  limitBytes: number,
): Uint8Array {
  let bytes = Uint8Array.from(input);
  for (let changes = 1 + random.below(random.once(4) ? 8 : 3); changes > 0; changes--) {
    if (structural.length > 0 && random.once(3)) bytes = Uint8Array.from(random.pick(structural)(bytes, random));
    else bytes = Uint8Array.from(changed(bytes, other, words, text, random));
    if (bytes.length > limitBytes) bytes = bytes.slice(0, limitBytes);
  }
  return bytes;
}

function changed(
  bytes: Uint8Array,
  other: Uint8Array,
  words: readonly Uint8Array[],
  text: boolean,
  random: Random,
): Uint8Array {
  const at = random.below(bytes.length + 1);
  const length = 1 + random.below(random.once(3) ? 256 : 16);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  switch (random.below(12)) {
    case 0:
      if (at < bytes.length) bytes[at]! ^= 1 << random.below(8);
      return bytes;
    case 1:
      if (at < bytes.length) bytes[at] = text ? 32 + random.below(95) : random.pick(INTERESTING);
      return bytes;
    case 2:
      if (!text && at + 2 <= bytes.length) view.setUint16(at, random.pick(INTERESTING_16), random.once(2));
      return bytes;
    case 3:
      if (!text && at + 4 <= bytes.length) view.setUint32(at, random.pick(INTERESTING_32), random.once(2));
      return bytes;
    case 4:
      return concat(bytes.subarray(0, at), bytes.subarray(at + length));
    case 5:
      return concat(bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at));
    case 6: {
      const from = random.below(bytes.length + 1);
      return concat(bytes.subarray(0, at), bytes.subarray(from, from + length), bytes.subarray(at));
    }
    case 7:
    case 8: {
      if (words.length === 0) return bytes;
      const word = random.pick(words);
      return concat(bytes.subarray(0, at), word, bytes.subarray(random.once(2) ? at : at + word.length));
    }
    case 9: {
      const from = random.below(other.length + 1);
      const piece = other.subarray(from, from + length * (random.once(4) ? 16 : 1));
      return concat(bytes.subarray(0, at), piece, bytes.subarray(random.once(2) ? at : at + piece.length));
    }
    case 10:
      return random.once(4) ? bytes.subarray(0, at) : bytes;
    default:
      if (at < bytes.length) bytes[at] = (bytes[at]! + random.pick([1, 255, 2, 254])) & 0xff;
      return bytes;
  }
}
