import { ITEM, SEQUENCE_DELIMITER, tagAt, UNDEFINED_LENGTH, uint32At, unreadable } from './element-header.ts';
import type { FragmentCollector } from './frames.ts';
import type { Bulk } from './types.ts';

/** Bytes of a fragment that are looked at: the marker at its start, the marker at its end. */
const HEAD = 16;
const TAIL = 4;

/**
 * Passes over the fragments of one encapsulated value (PS3.5 A.4). Those of the pixel data are told to a collector with
 * their first and last bytes; the others only counted.
 */
export class FragmentReader {
  /** bytes a unit needs, after `read` has returned `at` unchanged */
  need = 0;
  /** bytes to pass over before the next unit */
  skip = 0;
  ended = false;
  readonly #bulk: Bulk;
  readonly #little: boolean;
  readonly #limit: number;
  readonly #collector: FragmentCollector | undefined;
  readonly #tableBytes: number;
  #isFirst = true;
  #tailFollows = false;

  /**
   * @param bulk gets its length when the delimiter has been read
   * @param limit offset that no fragment may reach beyond
   * @param tableBytes longest Basic Offset Table that is held
   */
  constructor(
    bulk: Bulk,
    little: boolean,
    limit: number,
    collector: FragmentCollector | undefined,
    tableBytes: number,
  ) {
    this.#bulk = bulk;
    this.#little = little;
    this.#limit = limit;
    this.#collector = collector;
    this.#tableBytes = tableBytes;
  }

  /** Reads one unit at `at`, which is `offset` bytes from the start of the object. */
  read(b: Buffer, at: number, end: number, offset: number): number {
    this.skip = 0;
    if (this.#tailFollows) {
      if (end - at < TAIL) return this.#wait(TAIL, at);
      this.#collector?.tail(b, at, at + TAIL);
      this.#tailFollows = false;
      return at + TAIL;
    }
    if (end - at < 8) return this.#wait(8, at);
    const tag = tagAt(b, at, this.#little);
    const length = uint32At(b, at + 4, this.#little);
    if (tag === SEQUENCE_DELIMITER) {
      this.#bulk.length = offset - this.#bulk.offset;
      this.ended = true;
      return at + 8;
    }
    if (tag !== ITEM || length === UNDEFINED_LENGTH) {
      unreadable('pixel data holds something else than fragments', offset, tag);
    }
    if (offset + 8 + length > this.#limit) unreadable('a fragment is longer than what encloses it', offset, tag);
    return this.#isFirst ? this.#readTable(b, at, end, length) : this.#readFragment(b, at, end, length, offset);
  }

  #readTable(b: Buffer, at: number, end: number, length: number): number {
    const holds = this.#collector !== undefined && length <= this.#tableBytes;
    if (holds && end - at < 8 + length) return this.#wait(8 + length, at);
    this.#isFirst = false;
    if (!holds) {
      this.skip = length;
      return at + 8;
    }
    this.#collector!.basicOffsetTable = Uint8Array.prototype.slice.call(b, at + 8, at + 8 + length);
    return at + 8 + length;
  }

  #readFragment(b: Buffer, at: number, end: number, length: number, offset: number): number {
    if (this.#collector === undefined) {
      this.skip = length;
      return at + 8;
    }
    const peek = length <= HEAD + TAIL ? length : HEAD;
    if (end - at < 8 + peek) return this.#wait(8 + peek, at);
    this.#collector.add(offset, length, b, at + 8);
    if (peek === length) this.#collector.tail(b, at + 8 + Math.max(0, length - TAIL), at + 8 + length);
    else {
      this.skip = length - HEAD - TAIL;
      this.#tailFollows = true;
    }
    return at + 8 + peek;
  }

  #wait(need: number, at: number): number {
    this.need = need;
    return at;
  }
}
