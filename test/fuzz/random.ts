/** xorshift128, seeded: what a run did can be done again. */
export class Random {
  #a: number;
  #b = 0x9e3779b9;
  #c = 0x243f6a88;
  #d = 0xb7e15162;

  constructor(seed: number) {
    this.#a = seed >>> 0 || 1;
    for (let i = 0; i < 16; i++) this.next();
  }

  /** 32 bits */
  next(): number {
    let t = this.#d;
    t ^= t << 11;
    t ^= t >>> 8;
    this.#d = this.#c;
    this.#c = this.#b;
    this.#b = this.#a;
    this.#a = (t ^ this.#a ^ (this.#a >>> 19)) >>> 0;
    return this.#a;
  }

  /** 0 … below - 1; 0 where `below` is less than 2 */
  below(below: number): number {
    return below < 2 ? 0 : this.next() % below;
  }

  /** true once in `times` */
  once(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** FNV-1a, so that what a target does with an input depends on nothing but the input. */
export function digestOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** Chunks of 1 to `most` bytes, few of them long, as `random` has it. */
export function* chunksOf(bytes: Uint8Array, random: Random, most = 64): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; ) {
    const length = random.once(8) ? 1 + random.below(most * 50) : 1 + random.below(most);
    yield bytes.subarray(at, at + length);
    at += length;
  }
}
