import { PacsError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import { type Decoder, decoderFor, isUnknownCharacterSet } from './character-sets.ts';
import { type Attribute, attributeOf, privateVrOf, tagText } from './dictionary.ts';
import type { FragmentCollector, NativePixels } from './frames.ts';
import type { Bulk, DataSet, Element } from './types.ts';
import { decodeValue, swapped } from './values.ts';
import { LO, looksLikeVr, OB, OW, SQ, UL, UN, US, type Vr, vrNamed, vrOfBytes } from './vr.ts';

const ITEM = 0xfffee000;
const ITEM_DELIMITER = 0xfffee00d;
const SEQUENCE_DELIMITER = 0xfffee0dd;
const UNDEFINED_LENGTH = 0xffffffff;
const SPECIFIC_CHARACTER_SET = 0x00080005;
const PIXEL_REPRESENTATION = 0x00280103;
const EXTENDED_OFFSET_TABLE = 0x7fe00001;
const PIXEL_DATA = 0x7fe00010;

/** Bytes of a fragment that are looked at: the marker at its start, the marker at its end. */
const HEAD = 16;
const TAIL = 4;

/** A data set being read (`items` undefined) or a sequence whose items are being read. */
interface Level {
  dataSet: DataSet;
  /** of a sequence: its element, whose Value fills with the items */
  sequence: Element | undefined;
  /** where it ends at the latest, bytes from the start of the object */
  end: number;
  undefinedLength: boolean;
  implicit: boolean;
  little: boolean;
  decoder: Decoder;
  /** PixelRepresentation in force: of this data set or of one around it */
  signed: boolean | undefined;
  /** elements US or SS, read before PixelRepresentation was known */
  undecided: Element[] | undefined;
  /** greatest tag so far, so that repeats and disorder are noticed at no cost */
  greatest: number;
}

export interface ParserOptions {
  readonly limits: Limits;
  /** bytes from the start of the object to the first byte pushed */
  readonly offset: number;
  readonly implicit: boolean;
  readonly little: boolean;
  /** offsets count in the inflated data set */
  readonly inflated?: boolean;
  /** File Meta Information: stop before the first element of another group */
  readonly meta?: boolean;
  readonly fragments?: FragmentCollector;
  /** for writing again: elements keep their `raw` value, and UN stays UN */
  readonly literal?: boolean;
  readonly warn: (code: string, tag?: number) => void;
}

/**
 * Reads a data set (PS3.5 §7) from chunks with boundaries anywhere, in one pass and without recursion. What is not yet
 * complete when a chunk ends, at most one element, is carried over; long values and pixel data are skipped, never held.
 * @throws PacsError UNREADABLE_DATASET, TOO_LARGE
 */
export class DataSetParser {
  readonly dataSet: DataSet = {};
  /** offset of the first byte not yet read */
  offset: number;
  /** of File Meta Information: the next element belongs to the data set */
  done = false;
  nativePixels: NativePixels | undefined;
  extendedOffsetTable: Uint8Array | undefined;

  readonly #limits: Limits;
  readonly #warn: (code: string, tag?: number) => void;
  readonly #meta: boolean;
  readonly #inflated: boolean;
  readonly #literal: boolean;
  readonly #fragments: FragmentCollector | undefined;
  readonly #stack: Level[] = [];
  #level: Level;
  #depth = 0;
  #elements = 0;
  #heldBytes = 0;
  /** bytes to pass over before anything is read again */
  #skip = 0;
  /** bytes of the carried unit that must be there before reading goes on */
  #need = 8;
  #carry: Buffer = Buffer.alloc(0);
  #carried = 0;
  /** fragments are being read into this */
  #encapsulated: Bulk | undefined;
  #collect = false;
  #fragmentTail = false;
  #items = 0;
  #pixelsSeen = false;
  #trailing: 'none' | 'zeros' | 'ignored' = 'none';
  /** offset at which File Meta Information ends by its group length */
  #metaEnd: number | undefined;

  constructor(options: ParserOptions) {
    this.offset = options.offset;
    this.#limits = options.limits;
    this.#warn = options.warn;
    this.#meta = options.meta ?? false;
    this.#inflated = options.inflated ?? false;
    this.#literal = options.literal ?? false;
    this.#fragments = options.fragments;
    this.#level = {
      dataSet: this.dataSet,
      sequence: undefined,
      end: Number.POSITIVE_INFINITY,
      undefinedLength: true,
      implicit: options.implicit,
      little: options.little,
      decoder: decoderFor([]),
      signed: undefined,
      undecided: undefined,
      greatest: -1,
    };
  }

  /** Greatest tag of the data set itself that was met so far. */
  get greatestTag(): number {
    return (this.#stack[0] ?? this.#level).greatest;
  }

  /** The data set's own pixel data has begun. */
  get pixelsSeen(): boolean {
    return this.#pixelsSeen;
  }

  /** Reads what it can. Returns the number of bytes of `chunk` used: fewer than all only when `done`. */
  push(chunk: Buffer): number {
    let at = 0;
    while (at < chunk.length && !this.done) {
      if (this.#carried === 0) {
        at = this.#read(chunk, at, chunk.length);
        if (this.done || at === chunk.length) return at;
        this.#carryOver(chunk, at, chunk.length);
        return chunk.length;
      }
      const take = Math.min(this.#need - this.#carried, chunk.length - at);
      this.#carryOver(chunk, at, at + take);
      at += take;
      if (this.#carried < this.#need) return at;
      const used = this.#read(this.#carry, 0, this.#carried);
      if (used > 0) this.#carried = 0;
      // The header that ended File Meta Information was looked at, not used.
      else if (this.done) return at;
    }
    return at;
  }

  /** Bytes that were carried over and not used when reading was `done`. */
  get rest(): Buffer {
    return this.#carry.subarray(0, this.#carried);
  }

  /** Nothing follows. @throws PacsError UNREADABLE_DATASET when something is missing */
  end(): void {
    if (this.#meta) {
      this.#fail('the object ends in its file meta information');
    }
    while (this.offset >= this.#level.end) this.#close(0);
    if (this.#skip > 0 || this.#encapsulated !== undefined || this.#stack.length > 0) {
      this.#fail('the object is truncated');
    }
    if (this.#carried > 0) {
      if (!this.#pixelsSeen || this.#mayFollowPixels()) this.#fail('the object is truncated');
      this.#warn('TRAILING_BYTES');
    }
  }

  #fail(message: string, tag?: number): never {
    const details = tag === undefined ? { offset: this.offset } : { offset: this.offset, tag: tagText(tag) };
    throw new PacsError('UNREADABLE_DATASET', message, { details });
  }

  #tooLarge(limit: keyof Limits): never {
    throw new PacsError('TOO_LARGE', `the object exceeds the limit ${limit}`, {
      details: { limit, limitValue: this.#limits[limit], offset: this.offset },
    });
  }

  #carryOver(chunk: Buffer, start: number, end: number): void {
    const total = this.#carried + end - start;
    if (total > this.#carry.length) {
      const grown = Buffer.allocUnsafe(Math.max(256, total, Math.min(this.#need, this.#carry.length * 2)));
      this.#carry.copy(grown, 0, 0, this.#carried);
      this.#carry = grown;
    }
    chunk.copy(this.#carry, this.#carried, start, end);
    this.#carried = total;
  }

  /** Reads units from [at, end) and returns where it stopped: at the end, or before a unit that lacks bytes (`#need`). */
  #read(bytes: Buffer, start: number, end: number): number {
    let at = start;
    while (true) {
      if (this.#skip > 0) {
        const step = Math.min(this.#skip, end - at);
        this.#skip -= step;
        this.offset += step;
        at += step;
        if (this.#skip > 0) return at;
      }
      const before = at;
      if (this.#trailing !== 'none') at = this.#readTrailing(bytes, at, end);
      else if (this.#encapsulated !== undefined) at = this.#readFragment(bytes, at, end);
      else {
        while (this.offset >= this.#level.end) this.#close(0);
        at = this.#level.sequence === undefined ? this.#readElement(bytes, at, end) : this.#readItem(bytes, at, end);
      }
      if (at === before && this.#skip === 0) return at;
      this.offset += at - before;
    }
  }

  #readElement(b: Buffer, at: number, end: number): number {
    if (end - at < 8) return this.#wait(8, at);
    const level = this.#level;
    if (level.greatest < 0 && this.#stack.length === 0 && !this.#meta) this.#detectEncoding(b, at);
    const tag = level.little
      ? ((b[at + 1]! << 24) | (b[at]! << 16) | (b[at + 3]! << 8) | b[at + 2]!) >>> 0
      : ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;
    if (tag >= ITEM && tag <= SEQUENCE_DELIMITER) return this.#readDelimiter(tag, at);
    if (this.#meta && this.#endsMeta(tag, b, at)) return at;

    let vr: Vr;
    let unknownSequence = false;
    let length: number;
    let headerBytes = 8;
    let little = level.little;
    let attribute: Attribute | undefined;
    const explicit = level.implicit ? undefined : vrOfBytes(b[at + 4]!, b[at + 5]!);
    if (explicit !== undefined) {
      vr = explicit;
      if (vr.long) {
        if (end - at < 12) return this.#wait(12, at);
        headerBytes = 12;
        length = little ? b.readUInt32LE(at + 8) : b.readUInt32BE(at + 8);
      } else length = little ? b[at + 6]! | (b[at + 7]! << 8) : b.readUInt16BE(at + 6);
      attribute = attributeOf(tag);
    } else {
      const atRoot = this.#stack.length === 0;
      if (atRoot && this.#pixelsSeen && !this.#isPlausible(tag, b, at, level))
        return this.#startTrailing('ignored', at);
      if (atRoot && tag === 0 && isZero(b, at, at + 8)) return this.#startTrailing('zeros', at);
      attribute = attributeOf(tag);
      if (!level.implicit && looksLikeVr(b[at + 4]!, b[at + 5]!)) {
        // A VR of a later edition: those have a 32-bit length after two reserved zeros (PS3.5 §7.1.2, 6.2.2).
        this.#warn('UNKNOWN_VR', tag);
        vr = UN;
        if (end - at < 12) return this.#wait(12, at);
        const isLong = b[at + 6] === 0 && b[at + 7] === 0;
        headerBytes = isLong ? 12 : 8;
        length = isLong
          ? little
            ? b.readUInt32LE(at + 8)
            : b.readUInt32BE(at + 8)
          : little
            ? b.readUInt16LE(at + 6)
            : b.readUInt16BE(at + 6);
      } else {
        if (!level.implicit) this.#warn('IMPLICIT_ELEMENT', tag);
        length = little ? b.readUInt32LE(at + 4) : b.readUInt32BE(at + 4);
        vr = this.#impliedVr(tag, attribute, level);
      }
    }
    if (this.#pixelsSeen && this.#stack.length === 0 && tag <= level.greatest && !this.#meta) {
      return this.#startTrailing('ignored', at);
    }

    const valueOffset = this.offset + headerBytes;
    if (length === UNDEFINED_LENGTH) return this.#startUndefined(tag, attribute, vr, at, headerBytes);
    if (valueOffset + length > level.end) this.#fail('an element is longer than what encloses it', tag);

    if (vr === UN && explicit !== undefined && !this.#literal && length <= this.#limits.inlineValueBytes) {
      // Encoded as implicit little endian by whoever did not know the VR (PS3.5 6.2.2).
      const known = this.#impliedVr(tag, attribute, level);
      if (known === SQ) unknownSequence = length > 0;
      else if (known !== UN && (known.kind !== 'numbers' || length % known.width === 0)) {
        vr = known;
        little = true;
      }
    }
    if (vr === SQ) {
      this.#count();
      const element: Element = { vr: 'SQ' };
      this.#add(level, tag, attribute, element);
      this.#open(element, valueOffset + length, false, level.implicit || explicit === undefined, little);
      return at + headerBytes;
    }

    const atRoot = this.#stack.length === 0;
    if (
      atRoot &&
      (tag & ~0x1f) >>> 0 === 0x7fe00000 &&
      (tag === PIXEL_DATA || tag === 0x7fe00008 || tag === 0x7fe00009)
    ) {
      this.#pixelsSeen = true;
      this.#count();
      const name = tagText(tag);
      if (length > 0 && this.nativePixels === undefined) {
        this.nativePixels = { tag: name, vr: vr.name, offset: valueOffset, length };
      }
      this.#add(
        level,
        tag,
        attribute,
        length === 0 ? { vr: vr.name } : { vr: vr.name, bulk: this.#bulk(valueOffset, length) },
      );
      this.#skip = length;
      return at + headerBytes;
    }
    const isTable = atRoot && tag === EXTENDED_OFFSET_TABLE && length <= this.#limits.elements * 8;
    const isBinary = vr.kind === 'octets' && !unknownSequence;
    const inlineBytes = isBinary ? this.#limits.inlineBinaryBytes : this.#limits.inlineValueBytes;
    if (length > inlineBytes && !isTable) {
      this.#count();
      this.#add(level, tag, attribute, { vr: vr.name, bulk: this.#bulk(valueOffset, length) });
      this.#skip = length;
      return at + headerBytes;
    }

    if (end - at < headerBytes + length) return this.#wait(headerBytes + length, at);
    this.#count();
    this.#heldBytes += headerBytes + length;
    if (this.#heldBytes > this.#limits.headerBytes) this.#tooLarge('headerBytes');
    const valueAt = at + headerBytes;
    const valueEnd = valueAt + length;
    if (isTable) this.extendedOffsetTable = Uint8Array.prototype.slice.call(b, valueAt, valueEnd);
    if (length > inlineBytes) {
      this.#add(level, tag, attribute, { vr: vr.name, bulk: this.#bulk(valueOffset, length) });
      return valueEnd;
    }
    if (unknownSequence) {
      const items = this.#itemsOf(b.subarray(valueAt, valueEnd), valueOffset, level);
      const opaque: Element =
        length > this.#limits.inlineBinaryBytes
          ? { vr: 'UN', bulk: this.#bulk(valueOffset, length) }
          : decodeValue(b, valueAt, valueEnd, UN, true, level.decoder);
      this.#add(level, tag, attribute, items ?? opaque);
      return valueEnd;
    }
    if ((length & 1) === 1) this.#warn('ODD_LENGTH', tag);
    const element: Element =
      length === 0 ? { vr: vr.name } : decodeValue(b, valueAt, valueEnd, vr, little, level.decoder);
    if (length > 0 && vr.kind === 'numbers' && length % vr.width !== 0) this.#warn('LENGTH_NOT_MULTIPLE', tag);
    if (this.#literal && length > 0) {
      const raw = b.subarray(valueAt, valueEnd);
      element.raw = little ? Uint8Array.prototype.slice.call(raw) : swapped(raw, vr.width);
    }
    this.#add(level, tag, attribute, element);
    this.#after(level, tag, attribute, element, explicit);
    return valueEnd;
  }

  /** The items in a value that an explicit header calls UN and the dictionary a sequence; undefined where they are none. */
  #itemsOf(value: Buffer, offset: number, level: Level): Element | undefined {
    const inner = new DataSetParser({
      limits: { ...this.#limits, sequenceDepth: this.#limits.sequenceDepth - this.#depth },
      offset,
      implicit: true,
      little: true,
      inflated: this.#inflated,
      warn: this.#warn,
    });
    inner.#elements = this.#elements;
    inner.#level.decoder = level.decoder;
    inner.#level.signed = level.signed;
    const element: Element = { vr: 'SQ' };
    inner.#open(element, offset + value.length, false, true, true);
    try {
      inner.push(value);
      inner.end();
    } catch (error) {
      if (error instanceof PacsError && error.code === 'UNREADABLE_DATASET') return undefined;
      throw error;
    }
    this.#elements = inner.#elements;
    return element;
  }

  /** The first element shows how the data set is in fact encoded; some writers declare otherwise. */
  #detectEncoding(b: Buffer, at: number): void {
    const level = this.#level;
    const little = b[at] === 0 && b[at + 1] !== 0 ? false : b[at] !== 0 && b[at + 1] === 0 ? true : level.little;
    const implicit = vrOfBytes(b[at + 4]!, b[at + 5]!) === undefined && !looksLikeVr(b[at + 4]!, b[at + 5]!);
    if (little === level.little && implicit === level.implicit) return;
    this.#warn('ENCODED_OTHERWISE_THAN_DECLARED');
    level.little = little;
    level.implicit = implicit;
  }

  /** How the data set is encoded, known after its first element. */
  get encoding(): { implicit: boolean; little: boolean } {
    const root = this.#stack[0] ?? this.#level;
    return { implicit: root.implicit, little: root.little };
  }

  /** What some elements mean for those that follow. */
  #after(
    level: Level,
    tag: number,
    attribute: Attribute | undefined,
    element: Element,
    explicit: Vr | undefined,
  ): void {
    if (tag === SPECIFIC_CHARACTER_SET) {
      const terms = (element.Value ?? []).map((term) => (typeof term === 'string' ? term : ''));
      if (isUnknownCharacterSet(terms)) this.#warn('UNKNOWN_CHARACTER_SET', tag);
      level.decoder = decoderFor(terms);
    } else if (tag === PIXEL_REPRESENTATION) {
      level.signed = element.Value?.[0] === 1;
      if (level.signed) for (const undecided of level.undecided ?? []) makeSigned(undecided);
      level.undecided = undefined;
    } else if (attribute?.choice === 'xs' && explicit !== US && explicit?.name !== 'SS' && element.vr === 'US') {
      if (level.signed === true) makeSigned(element);
      else if (level.signed === undefined) level.undecided = [...(level.undecided ?? []), element];
    } else if (tag === 0x00020000 && this.#meta) {
      const length = element.Value?.[0];
      if (typeof length === 'number') this.#metaEnd = this.offset + 12 + length;
    }
  }

  /** The VR of an element that does not tell it, or says UN. */
  #impliedVr(tag: number, attribute: Attribute | undefined, level: Level): Vr {
    if ((tag & 0xffff) === 0) return UL;
    if (((tag >>> 16) & 1) === 1) {
      const element = tag & 0xffff;
      if (element >= 0x10 && element <= 0xff) return LO;
      const block = `${tagText(tag).slice(0, 4)}00${tagText(tag).slice(4, 6)}`;
      const creator = level.dataSet[block]?.Value?.[0];
      const name = typeof creator === 'string' ? privateVrOf(tagText(tag), creator) : undefined;
      return (name === undefined ? undefined : vrNamed(name)) ?? UN;
    }
    if (attribute === undefined) return UN;
    if (attribute.choice === 'lt') {
      // (0028,3006): one entry makes it a number (PS3.3 C.11.1.1.1)
      return level.dataSet['00283002']?.Value?.[0] === 1 ? US : OW;
    }
    return vrNamed(attribute.vr) ?? UN;
  }

  #startUndefined(tag: number, attribute: Attribute | undefined, vr: Vr, at: number, headerBytes: number): number {
    const level = this.#level;
    this.#count();
    const isPixelData = tag === PIXEL_DATA;
    const valueOffset = this.offset + headerBytes;
    if (isPixelData || vr === OB || vr === OW) {
      const bulk = this.#bulk(valueOffset, 0);
      bulk.encapsulated = true;
      this.#encapsulated = bulk;
      this.#items = 0;
      this.#collect = isPixelData && this.#stack.length === 0;
      this.#add(level, tag, attribute, { vr: isPixelData && level.implicit ? 'OB' : vr.name, bulk });
      if (this.#collect) this.#pixelsSeen = true;
      return at + headerBytes;
    }
    if (vr !== SQ && vr !== UN) this.#fail('an element that is no sequence has an undefined length', tag);
    const element: Element = { vr: 'SQ' };
    this.#add(level, tag, attribute, element);
    // UN of undefined length holds implicit little endian, whatever surrounds it (PS3.5 6.2.2).
    const implicit = level.implicit || vr === UN;
    this.#open(element, level.end, true, implicit, vr === UN ? true : level.little);
    return at + headerBytes;
  }

  #readItem(b: Buffer, at: number, end: number): number {
    if (end - at < 8) return this.#wait(8, at);
    const level = this.#level;
    const tag = level.little
      ? ((b[at + 1]! << 24) | (b[at]! << 16) | (b[at + 3]! << 8) | b[at + 2]!) >>> 0
      : ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;
    const length = level.little ? b.readUInt32LE(at + 4) : b.readUInt32BE(at + 4);
    if (tag === SEQUENCE_DELIMITER) {
      if (level.undefinedLength) this.#close(8);
      else this.#warn('STRAY_DELIMITER', tag);
      return at + 8;
    }
    if (tag !== ITEM) this.#fail('a sequence holds something else than items', tag);
    this.#count();
    let itemEnd = length === UNDEFINED_LENGTH ? level.end : this.offset + 8 + length;
    if (itemEnd > level.end) {
      // The sequence's own length is believed: it was found right where the two contradict each other (DICOMDIR).
      this.#warn('ITEM_LONGER_THAN_SEQUENCE', tag);
      itemEnd = level.end;
    }
    const dataSet: DataSet = {};
    const sequence = level.sequence!;
    if (sequence.Value === undefined) sequence.Value = [dataSet];
    else sequence.Value.push(dataSet);
    this.#stack.push(level);
    this.#level = {
      dataSet,
      sequence: undefined,
      end: itemEnd,
      undefinedLength: length === UNDEFINED_LENGTH,
      implicit: level.implicit,
      little: level.little,
      decoder: level.decoder,
      signed: level.signed,
      undecided: undefined,
      greatest: -1,
    };
    return at + 8;
  }

  #readDelimiter(tag: number, at: number): number {
    const level = this.#level;
    if (tag === ITEM_DELIMITER && this.#stack.length > 0) {
      if (level.undefinedLength) this.#close(8);
      else this.#warn('STRAY_DELIMITER', tag);
      return at + 8;
    }
    if (this.#stack.length === 0 && this.#pixelsSeen) return this.#startTrailing('ignored', at);
    return this.#fail('an item or delimiter stands where an element should', tag);
  }

  #open(element: Element, end: number, undefinedLength: boolean, implicit: boolean, little: boolean): void {
    const level = this.#level;
    this.#depth++;
    if (this.#depth > this.#limits.sequenceDepth) this.#tooLarge('sequenceDepth');
    this.#stack.push(level);
    this.#level = {
      dataSet: level.dataSet,
      sequence: element,
      end,
      undefinedLength,
      implicit,
      little,
      decoder: level.decoder,
      signed: level.signed,
      undecided: undefined,
      greatest: -1,
    };
  }

  /** Leaves the innermost level. `delimiterBytes` are those of the delimiter just read: 0 where a length ended it. */
  #close(delimiterBytes: number): void {
    const closed = this.#level;
    if (delimiterBytes === 0 && closed.undefinedLength) this.#warn('MISSING_DELIMITER');
    this.#level = this.#stack.pop()!;
    if (closed.sequence !== undefined) this.#depth--;
    if (closed.undecided !== undefined) this.#level.undecided = (this.#level.undecided ?? []).concat(closed.undecided);
  }

  #readFragment(b: Buffer, at: number, end: number): number {
    const bulk = this.#encapsulated!;
    if (this.#fragmentTail) {
      if (end - at < TAIL) return this.#wait(TAIL, at);
      this.#fragments?.tail(b, at, at + TAIL);
      this.#fragmentTail = false;
      return at + TAIL;
    }
    if (end - at < 8) return this.#wait(8, at);
    const little = this.#level.little;
    const tag = little ? ((b.readUInt16LE(at) << 16) | b.readUInt16LE(at + 2)) >>> 0 : b.readUInt32BE(at);
    const length = little ? b.readUInt32LE(at + 4) : b.readUInt32BE(at + 4);
    if (tag === SEQUENCE_DELIMITER) {
      bulk.length = this.offset - bulk.offset;
      this.#encapsulated = undefined;
      return at + 8;
    }
    if (tag !== ITEM || length === UNDEFINED_LENGTH) this.#fail('pixel data holds something else than fragments', tag);
    if (this.offset + 8 + length > this.#level.end) this.#fail('a fragment is longer than what encloses it', tag);
    const collector = this.#collect ? this.#fragments : undefined;
    if (this.#items === 0 && collector !== undefined && length <= this.#limits.elements * 4) {
      if (end - at < 8 + length) return this.#wait(8 + length, at);
      this.#count();
      this.#items++;
      collector.basicOffsetTable = Uint8Array.prototype.slice.call(b, at + 8, at + 8 + length);
      return at + 8 + length;
    }
    const isFragment = this.#items > 0 && collector !== undefined;
    const peek = !isFragment ? 0 : length <= HEAD + TAIL ? length : HEAD;
    if (end - at < 8 + peek) return this.#wait(8 + peek, at);
    this.#count();
    this.#items++;
    if (!isFragment) this.#skip = length;
    else {
      collector.add(this.offset, length, b, at + 8);
      if (peek === length) collector.tail(b, at + 8 + Math.max(0, length - TAIL), at + 8 + length);
      else {
        this.#skip = length - HEAD - TAIL;
        this.#fragmentTail = true;
      }
    }
    return at + 8 + peek;
  }

  #wait(need: number, at: number): number {
    this.#need = need;
    return at;
  }

  #count(): void {
    if (++this.#elements > this.#limits.elements) this.#tooLarge('elements');
  }

  #bulk(offset: number, length: number): Bulk {
    return this.#inflated ? { offset, length, inflated: true } : { offset, length };
  }

  #add(level: Level, tag: number, attribute: Attribute | undefined, element: Element): void {
    const name = attribute === undefined ? tagText(tag) : attribute.tag;
    if (tag > level.greatest) level.greatest = tag;
    else {
      // The first of several is the one kept, as DCMTK does.
      if (name in level.dataSet) {
        this.#warn('DUPLICATE_TAG', tag);
        return;
      }
      this.#warn('TAGS_OUT_OF_ORDER', tag);
    }
    level.dataSet[name] = element;
  }

  /** After the pixel data only greater tags may follow; anything else is what some programs leave behind an object. */
  #isPlausible(tag: number, b: Buffer, at: number, level: Level): boolean {
    if (tag <= level.greatest) return false;
    return level.implicit
      ? attributeOf(tag) !== undefined || ((tag >>> 16) & 1) === 1
      : looksLikeVr(b[at + 4]!, b[at + 5]!);
  }

  #mayFollowPixels(): boolean {
    if (this.#carried < 4) return true;
    const b = this.#carry;
    const little = this.#level.little;
    const tag = little ? ((b.readUInt16LE(0) << 16) | b.readUInt16LE(2)) >>> 0 : b.readUInt32BE(0);
    return tag > this.greatestTag && (attributeOf(tag) !== undefined || ((tag >>> 16) & 1) === 1);
  }

  #startTrailing(kind: 'zeros' | 'ignored', at: number): number {
    this.#warn('TRAILING_BYTES');
    this.#trailing = kind;
    this.#skip = 0;
    return at + 8;
  }

  #readTrailing(b: Buffer, at: number, end: number): number {
    if (this.#trailing === 'zeros' && !isZero(b, at, end)) this.#fail('the data set goes on after zeros');
    return end;
  }

  /** Is this the first header after File Meta Information? Its group length is believed only where it is right. */
  #endsMeta(tag: number, b: Buffer, at: number): boolean {
    if (tag >>> 16 === 2) {
      if (this.offset !== this.#metaEnd) return false;
      // Two bytes of a deflated data set may look like group 0002.
      if (vrOfBytes(b[at + 4]!, b[at + 5]!) !== undefined) {
        this.#warn('META_GROUP_LENGTH_WRONG');
        return false;
      }
    } else if (this.#metaEnd !== undefined && this.offset !== this.#metaEnd) this.#warn('META_GROUP_LENGTH_WRONG');
    this.done = true;
    return true;
  }
}

function isZero(b: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (b[i] !== 0) return false;
  return true;
}

function makeSigned(element: Element): void {
  element.vr = 'SS';
  if (element.Value !== undefined) {
    element.Value = element.Value.map((value) => (typeof value === 'number' ? (value << 16) >> 16 : value));
  }
}
