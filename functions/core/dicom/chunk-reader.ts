/**
 * Reads units from chunks with boundaries anywhere: each byte is looked at where it came, and only a unit that a boundary
 * cuts is copied together. A unit that lacks bytes says how many it needs; passing over bytes costs nothing.
 */
export abstract class ChunkReader {
  /** offset of the first byte not yet read */
  offset: number;
  /** nothing more is to be read */
  done = false;
  /** bytes to pass over before the next unit */
  protected skip = 0;
  #need = 0;
  #carry: Buffer = Buffer.alloc(0);
  #carried = 0;

  constructor(offset: number) {
    this.offset = offset;
  }

  /** Reads one unit of bytes [at, end) and returns where it ended, or `wait(n, at)` while it has fewer than n bytes. */
  protected abstract readUnit(bytes: Buffer, at: number, end: number): number;

  protected wait(need: number, at: number): number {
    this.#need = need;
    return at;
  }

  /** Reads what it can. Returns the number of bytes of `chunk` used: fewer than all only when `done`. */
  push(chunk: Buffer): number {
    let at = 0;
    while (at < chunk.length && !this.done) {
      if (this.#carried === 0) {
        at = this.#readUnits(chunk, at, chunk.length);
        if (this.done || at === chunk.length) return at;
        this.#carryOver(chunk, at, chunk.length);
        return chunk.length;
      }
      const take = Math.min(this.#need - this.#carried, chunk.length - at);
      this.#carryOver(chunk, at, at + take);
      at += take;
      if (this.#carried < this.#need) return at;
      const used = this.#readUnits(this.#carry, 0, this.#carried);
      // A unit may turn out shorter than what was needed to know its length.
      this.#carry.copyWithin(0, used, this.#carried);
      this.#carried -= used;
    }
    return at;
  }

  /** Bytes of a unit that is not complete, or was looked at and not read when `done`. */
  get rest(): Buffer {
    return this.#carry.subarray(0, this.#carried);
  }

  #readUnits(bytes: Buffer, start: number, end: number): number {
    let at = start;
    while (true) {
      if (this.skip > 0) {
        const step = Math.min(this.skip, end - at);
        this.skip -= step;
        this.offset += step;
        at += step;
        if (this.skip > 0) return at;
      }
      const next = this.readUnit(bytes, at, end);
      if (next === at && this.skip === 0) return at;
      this.offset += next - at;
      at = next;
    }
  }

  #carryOver(chunk: Buffer, start: number, end: number): void {
    const total = this.#carried + end - start;
    if (total > this.#carry.length) {
      // Grows with what has come, not with what a length claims will come.
      const grown = Buffer.allocUnsafe(Math.max(256, total, Math.min(this.#need, this.#carry.length * 2)));
      this.#carry.copy(grown, 0, 0, this.#carried);
      this.#carry = grown;
    }
    chunk.copy(this.#carry, this.#carried, start, end);
    this.#carried = total;
  }
}
