import { Buffer } from 'node:buffer';
import { METADATA_BASE, referencesIn } from '../archive/metadata-record.ts';

/** The DICOM JSON text of one instance as kept, UTF-8. */
export interface KeptText {
  readonly bytes: Buffer;
  /** where METADATA_BASE stands in it; undefined: where a search finds it */
  readonly references?: readonly number[] | undefined;
}

/** what is joined before it is sent (bytes): smaller pieces wake a reader on the same machine so often that the whole takes longer */
const PIECE_BYTES = 512 * 1024;

const COMMA = 0x2c;

/** What stands around the texts, and what is told of it. */
export interface Joining {
  readonly open: string;
  readonly close: string;
  /** the DICOMweb root that references are put on; undefined: they stay as they are kept */
  readonly root?: string | undefined;
  /** called with the whole document when its last piece was made; never, where nobody reads on until then */
  readonly onWhole?: ((whole: Buffer) => void) | undefined;
  readonly pieceBytes?: number | undefined;
}

/**
 * One document of many texts, with commas between. Its size is known at once. It is joined while it is read, so whoever sends it begins before
 * the last text is in its place; each text is copied once, into one buffer that is the whole document in the end. To be read once.
 */
export class JoinedTexts implements AsyncIterable<Uint8Array> {
  readonly sizeBytes: number;
  readonly #texts: readonly KeptText[];
  readonly #joining: Joining;
  readonly #root: Buffer;
  /** by text, where METADATA_BASE has to give way */
  readonly #places: readonly (readonly number[])[];

  constructor(texts: readonly KeptText[], joining: Joining) {
    const { open, close, root } = joining;
    this.#texts = texts;
    this.#joining = joining;
    this.#root = Buffer.from(root ?? '');
    this.#places = texts.map(({ bytes, references }) =>
      root === undefined ? [] : (references ?? referencesIn(bytes)),
    );
    let size = open.length + Math.max(0, texts.length - 1) + close.length;
    for (const [i, { bytes }] of texts.entries())
      size += bytes.length + this.#places[i]!.length * (this.#root.length - METADATA_BASE.length);
    this.sizeBytes = size;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    yield* this.#pieces();
  }

  /** All of it at once. */
  whole(): Buffer {
    const pieces = this.#pieces();
    for (;;) {
      const next = pieces.next();
      if (next.done === true) return next.value;
    }
  }

  *#pieces(): Generator<Uint8Array, Buffer, undefined> {
    const { open, close, onWhole, pieceBytes = PIECE_BYTES } = this.#joining;
    const joined = Buffer.allocUnsafeSlow(this.sizeBytes);
    let sent = 0;
    let to = joined.write(open, 'latin1');
    for (const [i, { bytes }] of this.#texts.entries()) {
      if (i > 0) joined[to++] = COMMA;
      let from = 0;
      for (const place of this.#places[i]!) {
        to += bytes.copy(joined, to, from, place);
        to += this.#root.copy(joined, to);
        from = place + METADATA_BASE.length;
      }
      to += bytes.copy(joined, to, from);
      if (to - sent < pieceBytes) continue;
      yield joined.subarray(sent, to);
      sent = to;
    }
    to += joined.write(close, to, 'latin1');
    if (to > sent) yield joined.subarray(sent, to);
    onWhole?.(joined);
    return joined;
  }
}
