import { createHash, type Hash } from 'node:crypto';
import { PacsError } from '#core/errors.ts';

/** An object that has brought so much is large: it is worth passing on before it is stored (bytes). */
const LARGE_BYTES = 1024 * 1024;
/** What is kept for who may still come to take it; afterwards it is too late, and the object is read when it is stored (bytes). */
const HEAD_BYTES = 2 * 1024 * 1024;
/** What one who takes it may be behind what is being stored (bytes). */
const BEHIND_BYTES = 1024 * 1024;
/** File Meta Information is searched for no further (bytes). */
const META_BYTES = 64 * 1024;

/** What the File Meta Information of an object says. */
export interface ObjectMeta {
  readonly SOPClassUID: string;
  readonly SOPInstanceUID: string;
  readonly transferSyntaxUID: string;
}

/**
 * A large object on its way into the cache, whose bytes may be taken at the same time by one reader. Both go at the pace of the slower one.
 * When the source breaks off, and the object is fetched again, the reader goes on where it was, provided that the bytes up to there are the
 * same; it never gets others.
 */
export class Passing {
  readonly meta: ObjectMeta;
  /** where the data set begins */
  readonly #offset: number;
  #head: Uint8Array[] = [];
  #headBytes = 0;
  #tooLate = false;
  #taken = false;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  /** all that the reader has been given, or will be */
  #passed = 0;
  readonly #passedHash: Hash = createHash('sha256');
  #state: 'open' | 'ended' | 'failed' | 'left' = 'open';
  #wake = (): void => {};
  #drained = (): void => {};

  private constructor(meta: ObjectMeta, offset: number) {
    this.meta = meta;
    this.#offset = offset;
  }

  /** Somebody takes it, and has not got all of it yet. */
  get isTaken(): boolean {
    return this.#taken && this.#state === 'open';
  }

  /** The data set, for one reader, who begins soon; undefined: too late. */
  take(): AsyncIterable<Uint8Array> | undefined {
    if (this.#tooLate || this.#taken || this.#state !== 'open') return undefined;
    this.#taken = true;
    const head = this.#head;
    this.#head = [];
    for (const chunk of head) this.#give(chunk);
    return this.#read();
  }

  /** It will not come any more: the reader gets an error, if it has begun. */
  fail(): void {
    if (this.#state === 'open') this.#state = 'failed';
    this.#wake();
    this.#drained();
  }

  /**
   * The bytes of `source`, which are passed on as they are read. `known`: the object that was broken off before; `large` is told of one that
   * may be taken; `whole` of one that has come to its end. Its reader waits for `end()` still.
   */
  static async *through(
    source: AsyncIterable<Uint8Array>,
    known: (SOPInstanceUID: string) => Passing | undefined,
    large: (passing: Passing) => void,
    whole: (passing: Passing) => void,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const begun: Uint8Array[] = [];
    let begunBytes = 0;
    let passing: Passing | undefined;
    let again: Repeated | undefined;
    let isDecided = false;
    try {
      for await (const chunk of source) {
        if (!isDecided) {
          begun.push(chunk);
          begunBytes += chunk.byteLength;
          if (begunBytes >= LARGE_BYTES) {
            isDecided = true;
            const meta = metaOf(Buffer.concat(begun).subarray(0, META_BYTES));
            const before = meta && known(meta.SOPInstanceUID);
            if (before !== undefined) again = new Repeated(before);
            else if (meta !== undefined) passing = new Passing(meta, meta.end);
            for (const one of begun) {
              passing?.keep(one);
              await again?.push(one);
            }
            begun.length = 0;
            if (passing !== undefined) large(passing);
          }
        } else {
          await passing?.push(chunk);
          await again?.push(chunk);
        }
        yield chunk;
      }
      again?.checkWhole();
      const one = passing ?? again?.passing;
      if (one !== undefined) whole(one);
    } finally {
      passing?.close();
    }
  }

  /** No more comes of this attempt: whoever has not begun need not any more. */
  close(): void {
    if (this.#taken) return;
    this.#tooLate = true;
    this.#head = [];
  }

  keep(chunk: Uint8Array): void {
    this.#headBytes += chunk.byteLength;
    if (this.#headBytes > HEAD_BYTES) {
      this.#tooLate = true;
      this.#head = [];
    } else this.#head.push(chunk);
  }

  /** Resolves when there is room for more. */
  async push(chunk: Uint8Array): Promise<void> {
    if (this.#taken) {
      this.#give(chunk);
      while (this.#waitingBytes > BEHIND_BYTES && this.#state === 'open')
        await new Promise<void>((resolve) => {
          this.#drained = resolve;
        });
    } else if (!this.#tooLate) this.keep(chunk);
  }

  /** The reader has had all of it: called when the object has been stored, or cannot be, so that whoever it is sent to does not have it before. */
  end(): void {
    if (this.#state === 'open') this.#state = 'ended';
    this.#wake();
  }

  get passed(): number {
    return this.#passed;
  }

  passedDigest(): string {
    return this.#passedHash.copy().digest('hex');
  }

  #give(chunk: Uint8Array): void {
    if (this.#state !== 'open') return;
    this.#passed += chunk.byteLength;
    this.#passedHash.update(chunk);
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.byteLength;
    this.#wake();
  }

  async *#read(): AsyncGenerator<Uint8Array, void, undefined> {
    let skip = this.#offset;
    try {
      for (;;) {
        const chunk = this.#waiting.shift();
        if (chunk !== undefined) {
          this.#waitingBytes -= chunk.byteLength;
          this.#drained();
          const from = Math.min(skip, chunk.byteLength);
          skip -= from;
          if (from < chunk.byteLength) yield chunk.subarray(from);
        } else if (this.#state === 'ended') return;
        else if (this.#state === 'failed') throw new PacsError('BUSY', 'the object did not come to its end');
        else
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
      }
    } finally {
      // Whoever goes away holds nobody up.
      if (this.#state === 'open') this.#state = 'left';
      this.#waiting = [];
      this.#waitingBytes = 0;
      this.#drained();
    }
  }
}

/** An object that comes once more: up to where the reader was it is compared, from there on it is passed. */
class Repeated {
  readonly passing: Passing;
  readonly #hash: Hash = createHash('sha256');
  #left: number;

  constructor(passing: Passing) {
    this.passing = passing;
    this.#left = passing.passed;
  }

  async push(chunk: Uint8Array): Promise<void> {
    const compared = Math.min(this.#left, chunk.byteLength);
    if (compared > 0) {
      this.#hash.update(chunk.subarray(0, compared));
      this.#left -= compared;
      if (this.#left === 0 && this.#hash.digest('hex') !== this.passing.passedDigest()) this.passing.fail();
    }
    if (compared < chunk.byteLength) await this.passing.push(chunk.subarray(compared));
  }

  /** It has come to its end: one that is shorter than what has been passed is another. */
  checkWhole(): void {
    if (this.#left > 0) this.passing.fail();
  }
}

/** From a Part 10 file's File Meta Information (PS3.10 §7.1); undefined where it is not all there, or not in order. */
function metaOf(bytes: Buffer): (ObjectMeta & { readonly end: number }) | undefined {
  if (bytes.length < 144 || bytes.toString('latin1', 128, 132) !== 'DICM' || bytes.readUInt32LE(132) !== 2)
    return undefined;
  const end = 144 + bytes.readUInt32LE(140);
  if (end > bytes.length) return undefined;
  const values = new Map<number, string>();
  for (let at = 144; at + 8 <= end; ) {
    const element = bytes.readUInt16LE(at + 2);
    const isLong = /^(OB|OW|OF|OD|OL|OV|SQ|UC|UN|UR|UT)$/.test(bytes.toString('latin1', at + 4, at + 6));
    const start = at + (isLong ? 12 : 8);
    const length = isLong ? bytes.readUInt32LE(at + 8) : bytes.readUInt16LE(at + 6);
    values.set(element, bytes.toString('latin1', start, start + length).replace(/[\0 ]+$/, ''));
    at = start + length;
  }
  const [SOPClassUID, SOPInstanceUID, transferSyntaxUID] = [values.get(2), values.get(3), values.get(16)];
  if (SOPClassUID === undefined || SOPInstanceUID === undefined || transferSyntaxUID === undefined) return undefined;
  return { SOPClassUID, SOPInstanceUID, transferSyntaxUID, end };
}
