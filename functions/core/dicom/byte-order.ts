/** The bytes with each word of `width` bytes (1, 2, 4, 8) reversed; a rest shorter than a word stays as it is. */
export function swapped(bytes: Uint8Array, width: number): Buffer {
  const copy = Buffer.from(bytes);
  const words = copy.subarray(0, copy.length - (copy.length % width));
  if (width === 2) words.swap16();
  else if (width === 4) words.swap32();
  else if (width === 8) words.swap64();
  return copy;
}

/** Values that come in pieces, in the other byte order: words may lie across pieces. */
export class WordSwapper {
  readonly #width: number;
  #held: Uint8Array = new Uint8Array(0);

  /** @param width of a word (bytes) */
  constructor(width: number) {
    this.#width = width;
  }

  /** The whole words there are; none may be there yet. */
  push(chunk: Uint8Array): Uint8Array {
    const all = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const whole = all.length - (all.length % this.#width);
    this.#held = all.slice(whole);
    return swapped(all.subarray(0, whole), this.#width);
  }

  /** What was too short for a word, as it stood. */
  end(): Uint8Array {
    return this.#held;
  }
}

/** A value in the other byte order, chunk by chunk. */
export async function* swappedStream(
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  width: number,
): AsyncGenerator<Uint8Array> {
  const swapper = new WordSwapper(width);
  for await (const chunk of bytes) {
    const words = swapper.push(chunk);
    if (words.length > 0) yield words;
  }
  const rest = swapper.end();
  if (rest.length > 0) yield rest;
}
