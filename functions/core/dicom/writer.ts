import { PacsError } from '../errors.ts';
import { swappedStream, WordSwapper } from './byte-order.ts';
import { UTF8_TERM } from './character-sets.ts';
import { deflated, deflatedBytes } from './deflate.ts';
import { ElementBuffer } from './element-buffer.ts';
import { headerBytes, ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER, UNDEFINED_LENGTH } from './element-header.ts';
import { encodeValue, hasUnicode } from './encode.ts';
import { sortedTags } from './json.ts';
import { Progress } from './progress.ts';
import { transferSyntax } from './transfer-syntaxes.ts';
import type { Bulk, DataSet, Element } from './types.ts';

/** Who wrote an object (PS3.7 D.3.3.2): ours for every Part 10 file we write. */
export const IMPLEMENTATION_CLASS_UID = '2.25.314926225844295305025194824841920678977';
export const IMPLEMENTATION_VERSION_NAME = 'NEPHOS';

/** The frames of pixel data, in order: one fragment each where the transfer syntax encapsulates, else one after the other. */
export interface Frames {
  readonly frames: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
  /** bytes of each; needed for native pixel data, and for an offset table, unless `frames` is an array */
  readonly lengths?: readonly number[];
}

export type BulkContent = Uint8Array | AsyncIterable<Uint8Array> | Frames;

/**
 * Gives the bytes of a value that the data set does not hold: of `bulk` (for encapsulated pixel data: its items, to be
 * copied as they are) or of `uri` (a BulkDataURI). Little endian, whatever is written. `path` is as in BulkUri.
 */
export type BulkSource = (path: string, bulk: Bulk | undefined, uri: string | undefined, vr: string) => BulkContent;

export interface WriteOptions {
  /** frames are located by ExtendedOffsetTable; it is used anyway where a Basic Offset Table cannot reach (4 GiB) */
  readonly extendedOffsetTable?: boolean;
}

const PIXEL_DATA = '7FE00010';
const OFFSET_TABLES = new Set(['7FE00001', '7FE00002']);
const FLUSH_BYTES = 64 * 1024;

/**
 * Writes a Part 10 object (PS3.10 §7): preamble, File Meta Information, data set in UTF-8, sequences of undefined length.
 * @param fileMeta may hold more than the archive sets by itself (source AE titles, private information)
 * @param transferSyntaxUID any but those whose pixel data is somewhere else (JPIP)
 * @throws PacsError UNSUPPORTED_TRANSFER_SYNTAX, BAD_REQUEST; DATASET_MISMATCH when bulk content has another length than
 *   `bulk` or `lengths` say
 */
export async function* writePart10(
  fileMeta: DataSet,
  dataSet: DataSet,
  transferSyntaxUID: string,
  bulk: BulkSource,
  options: WriteOptions = {},
): AsyncGenerator<Uint8Array> {
  const writer = new Writer(transferSyntaxUID, bulk, options);
  writer.head(fileMeta, dataSet);
  if (transferSyntax(transferSyntaxUID).deflated) {
    yield writer.taken();
    yield* deflated(written(writer, dataSet));
  } else yield* written(writer, dataSet);
}

async function* written(writer: Writer, dataSet: DataSet): AsyncGenerator<Uint8Array> {
  for (const piece of writer.body(dataSet)) {
    if (piece instanceof Uint8Array) yield piece;
    else yield* writer.stream(piece);
  }
  yield writer.taken();
}

/** writePart10 for small objects whose bulk values are held. @throws as writePart10; INTERNAL where one is a stream */
export function writePart10Bytes(
  fileMeta: DataSet,
  dataSet: DataSet,
  transferSyntaxUID: string,
  bulk: BulkSource = () => new Uint8Array(0),
  options: WriteOptions = {},
): Uint8Array {
  const writer = new Writer(transferSyntaxUID, bulk, options);
  writer.head(fileMeta, dataSet);
  const head = writer.taken();
  const parts: Uint8Array[] = [];
  for (const piece of writer.body(dataSet)) {
    if (!(piece instanceof Uint8Array)) throw new PacsError('INTERNAL', 'a bulk value is not held');
    parts.push(piece);
  }
  parts.push(writer.taken());
  const body = transferSyntax(transferSyntaxUID).deflated ? [deflatedBytes(Buffer.concat(parts))] : parts;
  return Buffer.concat([head, ...body]);
}

/** A value that is streamed at this place of the object. */
interface Pending {
  readonly element: { tag: string; vr: string };
  readonly source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  readonly kind: 'value' | 'items' | 'frames';
  readonly length: number | undefined;
}

class Writer {
  readonly #implicit: boolean;
  readonly #encapsulated: boolean;
  readonly #syntaxUID: string;
  readonly #bulk: BulkSource;
  readonly #options: WriteOptions;
  /** little endian for File Meta Information, then as the transfer syntax has it */
  readonly #out = new ElementBuffer();

  constructor(transferSyntaxUID: string, bulk: BulkSource, options: WriteOptions) {
    const syntax = transferSyntax(transferSyntaxUID);
    if (syntax.codec === 'jpip') {
      throw new PacsError('UNSUPPORTED_TRANSFER_SYNTAX', 'objects are not written in this transfer syntax', {
        details: { transferSyntaxUID },
      });
    }
    this.#syntaxUID = transferSyntaxUID;
    this.#implicit = !syntax.explicitVR;
    this.#encapsulated = syntax.encapsulated;
    this.#bulk = bulk;
    this.#options = options;
  }

  /** What has been written and is still held. */
  taken(): Uint8Array {
    return this.#out.take();
  }

  head(fileMeta: DataSet, dataSet: DataSet): void {
    this.#out.bytes(Buffer.concat([Buffer.alloc(128), Buffer.from('DICM', 'latin1')]));
    this.#fileMeta(fileMeta, dataSet);
  }

  *body(dataSet: DataSet): Generator<Uint8Array | Pending> {
    this.#out.little = transferSyntax(this.#syntaxUID).littleEndian;
    yield* this.#dataSet(this.#labelled(dataSet), '', this.#implicit);
  }

  #fileMeta(given: DataSet, dataSet: DataSet): void {
    const ui = (value: unknown): Element => (typeof value === 'string' ? { vr: 'UI', Value: [value] } : { vr: 'UI' });
    const meta: DataSet = {
      '00020002': ui(dataSet['00080016']?.Value?.[0]),
      '00020003': ui(dataSet['00080018']?.Value?.[0]),
      ...given,
      '00020001': { vr: 'OB', InlineBinary: 'AAE=' },
      '00020010': ui(this.#syntaxUID),
      '00020012': ui(IMPLEMENTATION_CLASS_UID),
      '00020013': { vr: 'SH', Value: [IMPLEMENTATION_VERSION_NAME] },
    };
    delete meta['00020000'];
    const values = sortedTags(meta)
      .filter((tag) => tag.startsWith('0002') && meta[tag]!.bulk === undefined)
      .map((tag) => ({ tag, vr: meta[tag]!.vr, value: meta[tag]!.raw ?? encodeValue(meta[tag]!, tag) }));
    let length = 0;
    for (const { vr, value } of values) length += headerBytes(vr, value.length, false) + value.length;
    this.#out.header('00020000', 'UL', 4, false);
    this.#out.uint32(length);
    for (const { tag, vr, value } of values) {
      this.#out.header(tag, vr, value.length, false);
      this.#out.bytes(value);
    }
  }

  /** The data set with the Specific Character Set that its text will have. */
  #labelled(dataSet: DataSet): DataSet {
    const declared = dataSet['00080005'];
    if (declared?.Value !== undefined || declared?.raw !== undefined || !hasUnicode(dataSet)) return dataSet;
    return { ...dataSet, '00080005': { vr: 'CS', Value: [UTF8_TERM] } };
  }

  *#dataSet(dataSet: DataSet, prefix: string, implicit: boolean): Generator<Uint8Array | Pending> {
    for (const tag of sortedTags(dataSet)) {
      if (tag.endsWith('0000') || tag.startsWith('0002')) continue;
      const element = dataSet[tag]!;
      if (this.#out.heldBytes >= FLUSH_BYTES / 2) yield this.#out.take();
      if (prefix === '' && OFFSET_TABLES.has(tag) && !this.#copiesItems(dataSet)) continue;
      if (element.vr === 'SQ') yield* this.#sequence(tag, element, prefix, implicit);
      else if (element.raw !== undefined) this.#out.value(tag, element.vr, element.raw, implicit);
      else if (element.bulk !== undefined || element.BulkDataURI !== undefined) {
        yield* this.#bulkValue(tag, element, prefix + tag, implicit);
      } else if (tag === PIXEL_DATA && prefix === '' && this.#encapsulated && element.InlineBinary !== undefined) {
        yield* this.#frames({ frames: [Buffer.from(element.InlineBinary, 'base64')] }, implicit);
      } else if (tag === '00080005' && element.Value !== undefined) {
        this.#out.value(tag, 'CS', encodeValue({ vr: 'CS', Value: [UTF8_TERM] }, tag), implicit);
      } else this.#out.value(tag, element.vr, encodeValue(element, tag), implicit);
    }
  }

  /** Offset tables belong to the items as they were: they are kept with them, and written anew with new frames. */
  #copiesItems(dataSet: DataSet): boolean {
    return this.#encapsulated && dataSet[PIXEL_DATA]?.bulk?.encapsulated === true;
  }

  *#sequence(tag: string, element: Element, prefix: string, implicit: boolean): Generator<Uint8Array | Pending> {
    const items = (element.Value ?? []) as (DataSet | null)[];
    if (items.length === 0) {
      this.#out.header(tag, 'SQ', 0, implicit);
      return;
    }
    this.#out.header(tag, 'SQ', UNDEFINED_LENGTH, implicit);
    for (let i = 0; i < items.length; i++) {
      this.#out.item(ITEM, UNDEFINED_LENGTH);
      yield* this.#dataSet(items[i] ?? {}, `${prefix}${tag}-${i + 1}-`, implicit);
      this.#out.item(ITEM_DELIMITER, 0);
    }
    this.#out.item(SEQUENCE_DELIMITER, 0);
  }

  *#bulkValue(tag: string, element: Element, path: string, implicit: boolean): Generator<Uint8Array | Pending> {
    const content = this.#bulk(path, element.bulk, element.BulkDataURI, element.vr);
    const isPixelData = tag === PIXEL_DATA && path === tag;
    if (element.bulk?.encapsulated && !isFrames(content)) {
      this.#out.header(tag, 'OB', UNDEFINED_LENGTH, implicit);
      yield* this.#pending(tag, 'OB', iterableOf(content), 'items', element.bulk.length);
      this.#out.item(SEQUENCE_DELIMITER, 0);
    } else if (isPixelData && this.#encapsulated) {
      yield* this.#frames(isFrames(content) ? content : { frames: iterableOf(content) }, implicit);
    } else if (isFrames(content)) {
      const length = lengthsOf(content)?.reduce((sum, one) => sum + one, 0);
      yield* this.#long(tag, element.vr, content.frames, length, implicit);
    } else if (content instanceof Uint8Array) {
      yield* this.#long(tag, element.vr, [content], content.length, implicit);
    } else yield* this.#long(tag, element.vr, content, element.bulk?.length, implicit);
  }

  /** A value of known length is streamed behind its header; else the reader of `Pending` collects it first. */
  *#long(
    tag: string,
    vr: string,
    source: Pending['source'],
    length: number | undefined,
    implicit: boolean,
  ): Generator<Uint8Array | Pending> {
    if (length !== undefined) this.#out.header(tag, vr, length + (length & 1), implicit);
    yield* this.#pending(tag, vr, source, 'value', length);
  }

  *#frames(content: Frames, implicit: boolean): Generator<Uint8Array | Pending> {
    const lengths = lengthsOf(content);
    const offsets: number[] = [];
    let total = 0;
    for (const length of lengths ?? []) {
      offsets.push(total);
      total += 8 + length + (length & 1);
    }
    const extended = lengths !== undefined && (this.#options.extendedOffsetTable === true || total > 0xffffffff);
    if (extended) {
      this.#out.value('7FE00001', 'OV', words64(offsets), implicit);
      this.#out.value('7FE00002', 'OV', words64(lengths), implicit);
    }
    this.#out.header(PIXEL_DATA, 'OB', UNDEFINED_LENGTH, implicit);
    const basic = extended ? [] : offsets;
    this.#out.item(ITEM, basic.length * 4);
    for (const offset of basic) this.#out.uint32(offset);
    yield* this.#pending(PIXEL_DATA, 'OB', content.frames, 'frames', lengths?.length);
    this.#out.item(SEQUENCE_DELIMITER, 0);
  }

  /** Sources that are held are written at once, others handed to whoever can wait for them. */
  *#pending(
    tag: string,
    vr: string,
    source: Pending['source'],
    kind: Pending['kind'],
    length: number | undefined,
  ): Generator<Uint8Array | Pending> {
    if (Symbol.asyncIterator in source || (kind === 'value' && length === undefined)) {
      yield { element: { tag, vr }, source, kind, length };
      return;
    }
    const progress = new Progress(tag, kind === 'frames', length);
    const word = kind === 'value' ? this.#out.wordBytes(vr, length!) : 1;
    const swapper = word === 1 ? undefined : new WordSwapper(word);
    for (const chunk of source) yield* this.#chunk(swapper?.push(chunk) ?? chunk, kind, progress);
    if (swapper) yield* this.#chunk(swapper.end(), kind, progress);
    this.#finish(kind, vr, progress);
  }

  async *stream({ element, source, kind, length }: Pending): AsyncGenerator<Uint8Array> {
    if (kind === 'value' && length === undefined) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of source) chunks.push(chunk);
      this.#out.value(element.tag, element.vr, Buffer.concat(chunks), this.#implicit);
      return;
    }
    const progress = new Progress(element.tag, kind === 'frames', length);
    const word = kind === 'value' ? this.#out.wordBytes(element.vr, length!) : 1;
    for await (const chunk of word === 1 ? source : swappedStream(source, word))
      yield* this.#chunk(chunk, kind, progress);
    this.#finish(kind, element.vr, progress);
  }

  *#chunk(chunk: Uint8Array, kind: Pending['kind'], progress: Progress): Generator<Uint8Array> {
    progress.add(chunk.length);
    if (kind === 'frames') this.#out.item(ITEM, chunk.length + (chunk.length & 1));
    if (chunk.length > FLUSH_BYTES / 4) {
      yield this.#out.take();
      yield chunk;
    } else {
      this.#out.bytes(chunk);
      if (this.#out.heldBytes >= FLUSH_BYTES / 2) yield this.#out.take();
    }
    if (kind === 'frames' && chunk.length % 2 === 1) this.#out.pad('OB');
  }

  #finish(kind: Pending['kind'], vr: string, progress: Progress): void {
    progress.check();
    if (kind === 'value' && progress.bytes % 2 === 1) this.#out.pad(vr);
  }
}

const isFrames = (content: BulkContent): content is Frames => 'frames' in content;

/** bytes of each frame, where they are known before it is read */
const lengthsOf = ({ frames, lengths }: Frames): readonly number[] | undefined =>
  lengths ?? (Array.isArray(frames) ? frames.map((frame: Uint8Array) => frame.length) : undefined);

const iterableOf = (content: Uint8Array | AsyncIterable<Uint8Array>): Pending['source'] =>
  content instanceof Uint8Array ? [content] : content;

function words64(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 8);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    view.setBigUint64(i * 8, BigInt(value), true);
  });
  return bytes;
}
