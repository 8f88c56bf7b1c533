/** The most recently used byte arrays under immutable names, bounded by their sum. What is not there is made again. */
export class ByteCache {
  readonly #limitBytes: number;
  readonly #entries = new Map<string, Uint8Array>();
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(name: string): Uint8Array | undefined {
    const found = this.#entries.get(name);
    if (found) {
      // A Map keeps the order of insertion: last used last.
      this.#entries.delete(name);
      this.#entries.set(name, found);
    }
    return found;
  }

  /** An array of more than a quarter of the whole is not kept: it would drive out everything else. */
  set(name: string, bytes: Uint8Array): void {
    if (bytes.length > this.#limitBytes / 4) return;
    this.#bytes += bytes.length - (this.#entries.get(name)?.length ?? 0);
    this.#entries.delete(name);
    this.#entries.set(name, bytes);
    for (const [oldest, { length }] of this.#entries) {
      if (this.#bytes <= this.#limitBytes) break;
      this.#entries.delete(oldest);
      this.#bytes -= length;
    }
  }
}
