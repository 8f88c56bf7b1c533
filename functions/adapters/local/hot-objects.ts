import { LENT_BYTES } from './read-memory.ts';

/** What has not been asked for in this time is let go of, and what is asked for again within it comes in (ms). */
export const HOT_MS = 60_000;
/** What is kept gives way to what comes so many times as often, taken for once in this time (ms) at most. */
const RARER = { times: 8, leastMs: 250 };
/** names that are known to have been asked for once */
const ASKED_NAMES = 4_096;

interface Kept {
  readonly key: string;
  readonly length: number;
  /** undefined while it is being read */
  bytes: Uint8Array | undefined;
  usedAt: number;
}

/** Room for bytes that somebody is reading. */
export interface HotPlace {
  /** They are there. From now on nobody may change them. */
  fill(bytes: Uint8Array): void;
  /** They could not be read. Nothing after `fill`. */
  leave(): void;
}

/**
 * Ranges of blobs that were asked for twice within a minute, and may be asked for again: kept in memory up to a limit, sent from there to any number of readers
 * at once. Never lent memory (read-memory.ts): who holds an array that has been let go of here goes on sending it, and it is collected after him.
 *
 * What is in use gives way to nothing that is asked for about as often: of a series twice as large as the limit, gone through again and again, one
 * half stays, where the oldest going first would let go of each image just before it is asked for.
 */
export class HotObjects {
  readonly #limitBytes: number;
  readonly #now: () => number;
  /** by name, in the order of last use */
  readonly #kept = new Map<string, Kept>();
  /** when names that are not kept were last asked for, in that order */
  readonly #asked = new Map<string, number>();
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param now ms, from any moment on */
  constructor(limitBytes: number, now: () => number = () => performance.now()) {
    this.#limitBytes = limitBytes;
    this.#now = now;
  }

  /** of all that is kept, and has a place */
  get bytes(): number {
    return this.#bytes;
  }

  /** @param name of a range of a blob, which holds the same for ever */
  get(name: string): Uint8Array | undefined {
    const kept = this.#kept.get(name);
    if (kept?.bytes === undefined) return undefined;
    kept.usedAt = this.#now();
    this.#kept.delete(name);
    this.#kept.set(name, kept);
    return kept.bytes;
  }

  /** Notes that somebody reads it, and gives it a place where it is worth one. Its name begins with its key. */
  ask(name: string, key: string, length: number): HotPlace | undefined {
    if (length < LENT_BYTES.from || length > Math.min(LENT_BYTES.to, this.#limitBytes) || this.#kept.has(name))
      return undefined;
    const now = this.#now();
    const before = this.#asked.get(name) ?? Number.NEGATIVE_INFINITY;
    this.#asked.delete(name);
    if (now - before > HOT_MS || !this.#makeRoom(length, now, now - before)) {
      this.#asked.set(name, now);
      if (this.#asked.size > ASKED_NAMES) this.#asked.delete(this.#asked.keys().next().value!);
      return undefined;
    }
    const kept: Kept = { key, length, bytes: undefined, usedAt: now };
    this.#kept.set(name, kept);
    this.#bytes += length;
    this.#timer ??= setInterval(() => this.#cool(), HOT_MS / 4).unref();
    return {
      // Where the blob was deleted while it was read, its place is gone.
      fill: (bytes) => {
        kept.bytes = bytes;
      },
      leave: () => {
        if (kept.bytes === undefined && this.#kept.get(name) === kept) this.#letGo(name, kept);
      },
    };
  }

  /** All of a blob, also what is just being read of it. */
  drop(key: string): void {
    for (const [name, kept] of this.#kept) if (kept.key === key) this.#letGo(name, kept);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#kept.clear();
    this.#asked.clear();
    this.#bytes = 0;
  }

  /** For what is asked for each `everyMs`. */
  #makeRoom(length: number, now: number, everyMs: number): boolean {
    const rareMs = RARER.times * Math.max(everyMs, RARER.leastMs);
    for (const [name, kept] of this.#kept) {
      if (this.#bytes + length <= this.#limitBytes) return true;
      if (now - kept.usedAt < rareMs) return false;
      this.#letGo(name, kept);
    }
    return true;
  }

  #cool(): void {
    const now = this.#now();
    for (const [name, kept] of this.#kept) {
      if (now - kept.usedAt < HOT_MS) return;
      this.#letGo(name, kept);
    }
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #letGo(name: string, { length }: Kept): void {
    this.#kept.delete(name);
    this.#bytes -= length;
  }
}
