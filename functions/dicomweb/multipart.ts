import { Buffer } from 'node:buffer';
import { PacsError } from '#core/errors.ts';
import { ByteSearch } from './byte-search.ts';

/** One part of a multipart/related body as it arrives. */
export interface ReceivedPart {
  /** lower-case names */
  readonly headers: Readonly<Record<string, string>>;
  /** may be iterated once, before the next part is asked for; what is left of it then is skipped */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface MultipartLimits {
  /** bytes of one part's header block; 16 KiB unless told */
  readonly headerBytes?: number;
}

/**
 * The parts of a multipart body (RFC 2046 §5.1, PS3.18 §8.6.1.2), in order, as they arrive, in constant memory: the payload
 * is handed on as subarrays of the chunks that came and, but for rare chunk edges, never copied. Tolerates LF for CRLF, a
 * preamble, an epilogue, parts without headers, blanks behind the boundary.
 * @throws PacsError BAD_REQUEST for an empty boundary, no delimiter, malformed headers or a missing final delimiter (thrown
 * by the body that it cuts, so that a torn part never passes for a whole one, and again when the next part is asked for);
 * TOO_LARGE for a header block over the limit. Whatever `body` throws passes through.
 */
export async function* readMultipart(
  body: AsyncIterable<Uint8Array>,
  boundary: string,
  limits: MultipartLimits = {},
): AsyncGenerator<ReceivedPart, void, undefined> {
  if (boundary === '') throw new PacsError('BAD_REQUEST', 'the multipart body names no boundary');
  const scanner = new DelimiterScanner(body, boundary);
  try {
    await scanner.skipToDelimiter();
    while (!scanner.closed) {
      const headers = await scanner.readHeaders(limits.headerBytes ?? 16 * 1024);
      const part = new PartBody(scanner);
      yield { headers, body: part };
      part.closed = true;
      await scanner.skipToDelimiter();
    }
    await scanner.skipEpilogue();
  } finally {
    await scanner.release();
  }
}

/** Iterated by hand and not by a generator: leaving the loop early must not end the multipart body. */
class PartBody implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array> {
  readonly #scanner: DelimiterScanner;
  closed = false;

  constructor(scanner: DelimiterScanner) {
    this.#scanner = scanner;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    if (!this.closed) return this.#scanner.nextPiece();
    // Silence here would let a late reader take nothing for an empty object.
    return Promise.reject(new Error('a part of a multipart body was read after the next part had been asked for'));
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    return { done: true, value: undefined };
  }
}

const LF = 0x0a;
const CR = 0x0d;
const DASH = 0x2d;
const SPACE = 0x20;
const TAB = 0x09;
const EMPTY = Buffer.alloc(0);
/** blanks that a transport may add behind the boundary (RFC 2046 §5.1.1); a line with more is payload */
const PADDING_LIMIT_BYTES = 128;

type Delimiter = { readonly kind: 'open' | 'close'; readonly end: number } | 'needMore' | 'payload';

/** Walks the chunks from delimiter to delimiter. Bytes before `#at` are done with; `#chunk` grows only at chunk edges. */
class DelimiterScanner {
  readonly #source: AsyncIterator<Uint8Array>;
  /** `LF--boundary`; the CR before it is looked at afterwards */
  readonly #needle: Buffer;
  readonly #search: ByteSearch;
  #chunk: Buffer = EMPTY;
  #at = 0;
  #ended = false;
  /** what the body threw: said again to whoever reads on, who would otherwise take it for the body's end */
  #failure: { readonly error: unknown } | undefined;
  /** `#at` stands behind a line end that is consumed already: a delimiter may begin here without one */
  #atLineStart = true;
  /** `#at` stands behind a delimiter: there is no more payload until `readHeaders` */
  #atDelimiter = false;
  /** the final delimiter was seen */
  closed = false;

  constructor(body: AsyncIterable<Uint8Array>, boundary: string) {
    this.#source = body[Symbol.asyncIterator]();
    this.#needle = Buffer.from(`\n--${boundary}`, 'latin1');
    this.#search = new ByteSearch(this.#needle);
  }

  async skipToDelimiter(): Promise<void> {
    while (!(await this.nextPiece()).done);
  }

  /** The next payload bytes up to the coming delimiter; done when that is reached. */
  async nextPiece(): Promise<IteratorResult<Uint8Array>> {
    while (!this.#atDelimiter) {
      const piece = this.#takePiece();
      if (piece.length > 0) return { done: false, value: piece };
      if (!this.#atDelimiter && !(await this.#fill())) {
        throw new PacsError('BAD_REQUEST', 'the multipart body ends without its final boundary');
      }
    }
    return { done: true, value: undefined };
  }

  /** Takes what is payload for certain; empty when more bytes are needed or a delimiter was passed. */
  #takePiece(): Buffer {
    const chunk = this.#chunk;
    const start = this.#at;
    if (this.#atLineStart) {
      const dashBoundary = this.#needle.subarray(1);
      const have = chunk.subarray(start, start + dashBoundary.length);
      if (have.length < dashBoundary.length && dashBoundary.subarray(0, have.length).equals(have)) return EMPTY;
      if (have.equals(dashBoundary)) {
        const delimiter = this.#delimiterEnd(start + dashBoundary.length);
        if (delimiter === 'needMore') return EMPTY;
        if (delimiter !== 'payload') return this.#pass(delimiter);
      }
      this.#atLineStart = false;
    }
    for (let from = start; ; ) {
      const found = this.#search.indexIn(chunk, from);
      if (found < 0) return this.#take(this.#heldFrom(start));
      const delimiter = this.#delimiterEnd(found + this.#needle.length);
      if (delimiter === 'payload') {
        from = found + 1;
        continue;
      }
      const end = found > start && chunk[found - 1] === CR ? found - 1 : found;
      if (end > start || delimiter === 'needMore') return this.#take(end);
      return this.#pass(delimiter);
    }
  }

  #take(end: number): Buffer {
    const chunk = this.#chunk;
    if (this.#at === 0 && end === chunk.length) {
      // Handed on as it came: it may be lent (#core/lent-bytes.ts), and whoever gets it gives it back.
      this.#chunk = EMPTY;
      return chunk;
    }
    const piece = chunk.subarray(this.#at, end);
    this.#at = end;
    return piece;
  }

  #pass(delimiter: { readonly kind: 'open' | 'close'; readonly end: number }): Buffer {
    this.#at = delimiter.end;
    this.#atDelimiter = true;
    this.closed = delimiter.kind === 'close';
    return EMPTY;
  }

  /** What stands behind `--boundary`: `--`, or blanks and a line end; anything else makes it payload. */
  #delimiterEnd(behind: number): Delimiter {
    const chunk = this.#chunk;
    if (chunk[behind] === DASH) {
      if (behind + 1 >= chunk.length) return 'needMore';
      return chunk[behind + 1] === DASH ? { kind: 'close', end: behind + 2 } : 'payload';
    }
    let at = behind;
    while (chunk[at] === SPACE || chunk[at] === TAB) if (++at - behind > PADDING_LIMIT_BYTES) return 'payload';
    if (chunk[at] === CR) at++;
    if (at >= chunk.length) return 'needMore';
    return chunk[at] === LF ? { kind: 'open', end: at + 1 } : 'payload';
  }

  /** Where the tail starts that may be the beginning of a delimiter; the chunk's end when none. */
  #heldFrom(start: number): number {
    const chunk = this.#chunk;
    const length = chunk.length;
    const lineEnd = chunk.subarray(Math.max(start, length - this.#needle.length + 1)).lastIndexOf(LF);
    if (lineEnd >= 0) {
      const from = Math.max(start, length - this.#needle.length + 1) + lineEnd;
      // The needle holds one LF, its first byte: only the last LF of the tail can begin one.
      if (this.#needle.subarray(0, length - from).equals(chunk.subarray(from))) {
        return from > start && chunk[from - 1] === CR ? from - 1 : from;
      }
    }
    return length > start && chunk[length - 1] === CR ? length - 1 : length;
  }

  /** The header block behind a delimiter, lower-case names, folded lines unfolded, a repeated header joined by `, `. */
  async readHeaders(limitBytes: number): Promise<Record<string, string>> {
    this.#atDelimiter = false;
    const lines: string[] = [];
    let consumed = 0;
    for (;;) {
      const end = this.#chunk.indexOf(LF, this.#at);
      consumed = (end < 0 ? this.#chunk.length : end + 1) - this.#at;
      limitBytes -= end < 0 ? 0 : consumed;
      if (limitBytes < 0 || (end < 0 && consumed > limitBytes)) {
        throw new PacsError('TOO_LARGE', "a part's headers are over the limit");
      }
      if (end < 0) {
        if (await this.#fill()) continue;
        throw new PacsError('BAD_REQUEST', "the multipart body ends within a part's headers");
      }
      const line = this.#chunk.toString(
        'latin1',
        this.#at,
        end > this.#at && this.#chunk[end - 1] === CR ? end - 1 : end,
      );
      this.#at = end + 1;
      if (line === '') break;
      if ((line[0] === ' ' || line[0] === '\t') && lines.length > 0) lines.push(`${lines.pop()} ${line.trim()}`);
      else lines.push(line);
    }
    this.#atLineStart = true;
    return parseHeaders(lines);
  }

  /** Reads what stands behind the final delimiter, so that the host may use the connection again. */
  async skipEpilogue(): Promise<void> {
    while (!this.#ended) this.#ended = (await this.#source.next()).done === true;
  }

  async release(): Promise<void> {
    this.#chunk = EMPTY;
    if (!this.#ended) await this.#source.return?.();
  }

  async #fill(): Promise<boolean> {
    if (this.#failure) throw this.#failure.error;
    if (this.#ended) return false;
    let result: IteratorResult<Uint8Array>;
    try {
      result = await this.#source.next();
    } catch (error) {
      this.#ended = true;
      this.#failure = { error };
      throw error;
    }
    if (result.done === true) {
      this.#ended = true;
      return false;
    }
    const { value } = result;
    const next = Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    this.#chunk = this.#at < this.#chunk.length ? Buffer.concat([this.#chunk.subarray(this.#at), next]) : next;
    this.#at = 0;
    return true;
  }
}

function parseHeaders(lines: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon)).trim().toLowerCase();
    if (name === '') throw new PacsError('BAD_REQUEST', "a part's header is malformed");
    const value = line.slice(colon + 1).trim();
    const before = headers[name];
    headers[name] = before && value ? `${before}, ${value}` : before || value;
  }
  return headers;
}
