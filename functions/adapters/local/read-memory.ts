import { Buffer } from 'node:buffer';
import { lend } from '#core/lent-bytes.ts';

/** What is smaller is new memory each time, which is cheap; what is larger comes seldom (bytes). */
export const LENT_BYTES = { from: 64 * 1024, to: 4 * 1024 * 1024 };
/** Memory is made in multiples of this, so that slices of about one size share it (bytes). */
const GRAIN_BYTES = 64 * 1024;
/** What a process keeps for the next reads (bytes): thirty slices of half a megabyte on their way at a time. */
const KEPT_BYTES = 16 * 1024 * 1024;
/** An array stands in memory that is at most so many times as large: a slow client holds all of it. */
const ROOM = 1.25;

/**
 * Memory that files are read into and that is used again when what was in it has been sent (#core/lent-bytes.ts). Only what is given
 * back is kept, and of that no more than a limit: what clients hold who never come to an end is theirs, one answer each, as without it.
 */
export class ReadMemory {
  readonly #keptLimitBytes: number;
  /** in the order of last use */
  readonly #kept: Buffer[] = [];
  #keptBytes = 0;

  constructor(keptLimitBytes = KEPT_BYTES) {
    this.#keptLimitBytes = keptLimitBytes;
  }

  get keptBytes(): number {
    return this.#keptBytes;
  }

  /** An array of this length, lent where that is worth it. What stands in it is anything. */
  lent(length: number): Uint8Array {
    if (length < LENT_BYTES.from || length > LENT_BYTES.to) return Buffer.allocUnsafeSlow(length);
    const memory = this.#take(length) ?? Buffer.allocUnsafeSlow(Math.ceil(length / GRAIN_BYTES) * GRAIN_BYTES);
    return lend(memory.subarray(0, length), () => this.#keep(memory));
  }

  /** What was used last is warm. */
  #take(length: number): Buffer | undefined {
    const kept = this.#kept;
    for (let at = kept.length - 1; at >= 0; at--) {
      const memory = kept[at]!;
      if (memory.length < length || memory.length > length * ROOM + GRAIN_BYTES) continue;
      kept.splice(at, 1);
      this.#keptBytes -= memory.length;
      return memory;
    }
    return undefined;
  }

  #keep(memory: Buffer): void {
    this.#kept.push(memory);
    this.#keptBytes += memory.length;
    // What has not been used for longest goes: its size is not asked for any more.
    while (this.#keptBytes > this.#keptLimitBytes) this.#keptBytes -= this.#kept.shift()!.length;
  }
}

/** The process's own: its stores share it. */
export const readMemory = new ReadMemory();
