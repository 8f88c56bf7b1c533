import { giveBack } from '../lent-bytes.ts';
import { pageAligned } from '../page-aligned.ts';

/**
 * Buffers that objects are gathered in, used again: half a megabyte of garbage for every slice costs more than copying it. They begin
 * at a page, so that a file system can take the object from here as it is.
 */
const POOLED_BUFFERS = 24;
const pool: Buffer[] = [];
let made = 0;

/** An object's bytes as they arrive, with what has been read of them so far. */
export class ObjectSource {
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #limitBytes: number;
  readonly #chunks: Uint8Array[] = [];
  #buffer: Buffer | undefined;
  /** what the body threw */
  error: unknown;

  /** @param limitBytes objects up to this size are gathered whole */
  constructor(body: AsyncIterable<Uint8Array>, limitBytes: number) {
    this.#iterator = body[Symbol.asyncIterator]();
    this.#limitBytes = limitBytes;
  }

  /** The whole object when it ends within the limit, valid until `release`; else undefined: then go on with `next`. */
  async gather(): Promise<Uint8Array | undefined> {
    const first = await this.#pull();
    if (first === undefined) return new Uint8Array(0);
    let chunk = await this.#pull();
    if (chunk === undefined) return first;
    const buffer = this.#lease();
    let size = 0;
    for (const head of [first, chunk]) {
      if (size + head.byteLength > buffer.length) return this.#giveUp(size, size === 0 ? [first, chunk] : [chunk]);
      size += copied(head, buffer, size);
    }
    for (;;) {
      chunk = await this.#pull();
      if (chunk === undefined) return buffer.subarray(0, size);
      if (size + chunk.byteLength > buffer.length) return this.#giveUp(size, [chunk]);
      size += copied(chunk, buffer, size);
    }
  }

  async next(): Promise<Uint8Array | undefined> {
    return this.#chunks.shift() ?? this.#pull();
  }

  /** Nothing that `gather` or `next` gave may be used any more. */
  release(): void {
    if (this.#buffer && this.#buffer.length === this.#limitBytes && pool.length < POOLED_BUFFERS)
      pool.push(this.#buffer);
    this.#buffer = undefined;
  }

  /** Too large to be gathered: what has been read goes first when it is streamed. */
  #giveUp(size: number, rest: readonly Uint8Array[]): undefined {
    if (this.#buffer && size > 0) this.#chunks.push(this.#buffer.subarray(0, size));
    this.#chunks.push(...rest);
    return undefined;
  }

  #lease(): Buffer {
    const pooled = pool.pop();
    if (pooled?.length === this.#limitBytes) this.#buffer = pooled;
    else if (made < POOLED_BUFFERS) {
      made++;
      this.#buffer = pageAligned(this.#limitBytes);
    } else this.#buffer = Buffer.allocUnsafeSlow(this.#limitBytes);
    return this.#buffer;
  }

  async #pull(): Promise<Uint8Array | undefined> {
    try {
      const { done, value } = await this.#iterator.next();
      return done ? undefined : value;
    } catch (error) {
      this.error = error ?? new Error('the source of the object failed');
      throw error;
    }
  }
}

/** Copies a chunk, of which nothing is needed afterwards. Returns its length. */
function copied(chunk: Uint8Array, to: Uint8Array, at: number): number {
  const { byteLength } = chunk;
  to.set(chunk, at);
  giveBack(chunk);
  return byteLength;
}
