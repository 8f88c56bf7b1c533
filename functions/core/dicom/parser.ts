import { PacsError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import { swapped } from './byte-order.ts';
import { ChunkReader } from './chunk-reader.ts';
import { type Attribute, attributeOf, tagText } from './dictionary.ts';
import {
  type Header,
  ITEM,
  ITEM_DELIMITER,
  readHeader,
  SEQUENCE_DELIMITER,
  tagAt,
  UNDEFINED_LENGTH,
  unreadable,
} from './element-header.ts';
import { FragmentReader } from './fragment-reader.ts';
import type { FragmentCollector, NativePixels } from './frames.ts';
import { applyElement, detectEncoding, handUndecided, impliedVr, innerLevel, type Level, rootLevel } from './level.ts';
import type { Bulk, DataSet, Element } from './types.ts';
import { decodeValue } from './values.ts';
import { looksLikeVr, OB, OW, SQ, UN, type Vr } from './vr.ts';

const META_GROUP_LENGTH = 0x00020000;
const EXTENDED_OFFSET_TABLE = 0x7fe00001;
const FLOAT_PIXEL_DATA = 0x7fe00008;
const DOUBLE_FLOAT_PIXEL_DATA = 0x7fe00009;
const PIXEL_DATA = 0x7fe00010;

export interface ParserOptions {
  readonly limits: Limits;
  /** bytes from the start of the object to the first byte pushed */
  readonly offset: number;
  readonly implicit: boolean;
  readonly little: boolean;
  /** offsets count in the inflated data set */
  readonly inflated?: boolean;
  /** File Meta Information: `done` before the first element of another group */
  readonly meta?: boolean;
  readonly fragments?: FragmentCollector;
  /** for writing again: elements keep their `raw` value, and UN stays UN */
  readonly literal?: boolean;
  readonly warn: (code: string, tag?: number) => void;
}

/**
 * Reads a data set (PS3.5 §7) in one pass and without recursion. Long values and pixel data are passed over, never held.
 * @throws PacsError UNREADABLE_DATASET, TOO_LARGE
 */
export class DataSetParser extends ChunkReader {
  readonly dataSet: DataSet = {};
  nativePixels: NativePixels | undefined;
  extendedOffsetTable: Uint8Array | undefined;
  /** the data set's own pixel data has begun */
  pixelsSeen = false;

  readonly #options: ParserOptions;
  readonly #limits: Limits;
  readonly #warn: (code: string, tag?: number) => void;
  readonly #meta: boolean;
  readonly #header: Header = { tag: 0, length: 0, bytes: 0, vr: undefined, unknownVr: false };
  readonly #stack: Level[] = [];
  #level: Level;
  #depth = 0;
  #elements = 0;
  #heldBytes = 0;
  #fragments: FragmentReader | undefined;
  #trailing: 'none' | 'zeros' | 'ignored' = 'none';
  /** offset at which File Meta Information ends by its group length */
  #metaEnd: number | undefined;

  constructor(options: ParserOptions) {
    super(options.offset);
    this.#options = options;
    this.#limits = options.limits;
    this.#warn = options.warn;
    this.#meta = options.meta ?? false;
    this.#level = rootLevel(this.dataSet, options.implicit, options.little);
  }

  /** Greatest tag of the data set itself that was met so far. */
  get greatestTag(): number {
    return (this.#stack[0] ?? this.#level).greatest;
  }

  /** How the data set was found to be encoded. */
  get littleEndian(): boolean {
    return (this.#stack[0] ?? this.#level).little;
  }

  /** Nothing follows. @throws PacsError UNREADABLE_DATASET when something is missing */
  end(): void {
    if (this.#meta) unreadable('the object ends in its file meta information', this.offset);
    while (this.offset >= this.#level.end) this.#leave(false);
    if (this.skip > 0 || this.#fragments !== undefined || this.#stack.length > 0) {
      unreadable('the object is truncated', this.offset);
    }
    if (this.rest.length === 0) return;
    if (!this.pixelsSeen || this.#mayFollowPixels(this.rest)) unreadable('the object is truncated', this.offset);
    this.#warn('TRAILING_BYTES');
  }

  protected override readUnit(bytes: Buffer, at: number, end: number): number {
    if (this.#trailing !== 'none') return this.#readTrailing(bytes, at, end);
    if (this.#fragments !== undefined) return this.#readFragment(this.#fragments, bytes, at, end);
    while (this.offset >= this.#level.end) this.#leave(false);
    const level = this.#level;
    if (level.greatest < 0 && this.#stack.length === 0 && !this.#meta && end - at >= 8) {
      if (detectEncoding(bytes, at, level)) this.#warn('ENCODED_OTHERWISE_THAN_DECLARED');
    }
    const need = readHeader(bytes, at, end, level.implicit, level.little, this.#header);
    if (need > 0) return this.wait(need, at);
    return level.sequence === undefined ? this.#readElement(bytes, at, end) : this.#readItem(at, level.sequence);
  }

  #readElement(bytes: Buffer, at: number, end: number): number {
    const level = this.#level;
    const { tag, length, bytes: headerBytes, vr: explicit } = this.#header;
    if (tag >= ITEM && tag <= SEQUENCE_DELIMITER) return this.#readDelimiter(tag, at);
    if (this.#meta && this.#endsMeta(tag, explicit)) return at;
    const atRoot = this.#stack.length === 0;
    if (atRoot && this.pixelsSeen && !this.#isPlausible(bytes, at)) return this.#startTrailing('ignored', at);
    if (atRoot && explicit === undefined && tag === 0 && length === 0) return this.#startTrailing('zeros', at);
    if (this.#header.unknownVr) this.#warn('UNKNOWN_VR', tag);
    else if (explicit === undefined && !level.implicit) this.#warn('IMPLICIT_ELEMENT', tag);

    const attribute = attributeOf(tag);
    let vr = explicit ?? impliedVr(tag, attribute, level);
    let little = level.little;
    const valueOffset = this.offset + headerBytes;
    if (length === UNDEFINED_LENGTH) return this.#startUndefined(tag, attribute, vr, at);
    if (valueOffset + length > level.end) unreadable('an element is longer than what encloses it', this.offset, tag);

    let unknownSequence = false;
    if (explicit === UN && !this.#options.literal && length <= this.#limits.inlineValueBytes) {
      // Encoded as implicit little endian by whoever did not know the VR (PS3.5 6.2.2).
      const known = impliedVr(tag, attribute, level);
      if (known === SQ) unknownSequence = length > 0;
      else if (known !== UN && (known.kind !== 'numbers' || length % known.width === 0)) {
        vr = known;
        little = true;
      }
    }
    if (vr === SQ) {
      this.#count();
      const element: Element = { vr: 'SQ' };
      this.#add(tag, attribute, element);
      this.#enterSequence(element, valueOffset + length, false, explicit === undefined || level.implicit, little);
      return at + headerBytes;
    }
    const isPixels = atRoot && (tag === PIXEL_DATA || tag === FLOAT_PIXEL_DATA || tag === DOUBLE_FLOAT_PIXEL_DATA);
    if (isPixels) this.#startNativePixels(tag, vr, valueOffset, length);
    const isTable = atRoot && tag === EXTENDED_OFFSET_TABLE && length <= this.#limits.elements * 8;
    const isBinary = vr.kind === 'octets' && !unknownSequence;
    const inlineBytes = isBinary ? this.#limits.inlineBinaryBytes : this.#limits.inlineValueBytes;
    if (length > 0 && (isPixels || (length > inlineBytes && !isTable))) {
      this.#count();
      this.#add(tag, attribute, { vr: vr.name, bulk: this.#bulk(valueOffset, length) });
      this.skip = length;
      return at + headerBytes;
    }

    if (end - at < headerBytes + length) return this.wait(headerBytes + length, at);
    this.#count();
    this.#heldBytes += headerBytes + length;
    if (this.#heldBytes > this.#limits.headerBytes) this.#tooLarge('headerBytes');
    const valueAt = at + headerBytes;
    const valueEnd = valueAt + length;
    if (isTable) this.extendedOffsetTable = Uint8Array.prototype.slice.call(bytes, valueAt, valueEnd);
    let element: Element | undefined;
    if (unknownSequence) element = this.#itemsOf(bytes.subarray(valueAt, valueEnd), valueOffset);
    if (element === undefined) {
      if (length === 0) element = { vr: vr.name };
      else if (vr.kind === 'octets' && length > this.#limits.inlineBinaryBytes) {
        element = { vr: vr.name, bulk: this.#bulk(valueOffset, length) };
      } else element = this.#decode(bytes, valueAt, valueEnd, vr, little, tag);
    }
    this.#add(tag, attribute, element);
    applyElement(level, tag, attribute, element, explicit, this.#warn);
    if (tag === META_GROUP_LENGTH && this.#meta) this.#expectMetaEnd(element, valueOffset + length);
    return valueEnd;
  }

  #decode(bytes: Buffer, start: number, end: number, vr: Vr, little: boolean, tag: number): Element {
    const length = end - start;
    if ((length & 1) === 1) this.#warn('ODD_LENGTH', tag);
    if (vr.kind === 'numbers' && length % vr.width !== 0) this.#warn('LENGTH_NOT_MULTIPLE', tag);
    const element = decodeValue(bytes, start, end, vr, little, this.#level.decoder);
    if ((vr.kind === 'texts' || vr.kind === 'text' || vr.kind === 'names') && isUndecodable(element)) {
      this.#warn('UNDECODABLE_TEXT', tag);
    }
    if (this.#options.literal) {
      const raw = bytes.subarray(start, end);
      element.raw = little ? Uint8Array.prototype.slice.call(raw) : swapped(raw, vr.width);
    }
    return element;
  }

  /** The items in a value that an explicit header calls UN and the dictionary a sequence; undefined where they are none. */
  #itemsOf(value: Buffer, offset: number): Element | undefined {
    const limits = { ...this.#limits, sequenceDepth: this.#limits.sequenceDepth - this.#depth };
    const inner = new DataSetParser({ ...this.#options, limits, offset, implicit: true, little: true });
    inner.#elements = this.#elements;
    inner.#level.decoder = this.#level.decoder;
    inner.#level.signed = this.#level.signed;
    const element: Element = { vr: 'SQ' };
    inner.#enterSequence(element, offset + value.length, false, true, true);
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

  #startNativePixels(tag: number, vr: Vr, offset: number, length: number): void {
    this.pixelsSeen = true;
    if (length > 0 && this.nativePixels === undefined) {
      this.nativePixels = { tag: tagText(tag), vr: vr.name, offset, length };
    }
  }

  #startUndefined(tag: number, attribute: Attribute | undefined, vr: Vr, at: number): number {
    const level = this.#level;
    const headerBytes = this.#header.bytes;
    this.#count();
    const isPixelData = tag === PIXEL_DATA;
    if (isPixelData || vr === OB || vr === OW) {
      const bulk = this.#bulk(this.offset + headerBytes, 0);
      bulk.encapsulated = true;
      const collector = isPixelData && this.#stack.length === 0 ? this.#options.fragments : undefined;
      const tableBytes = this.#limits.elements * 4;
      this.#fragments = new FragmentReader(bulk, level.little, level.end, collector, tableBytes);
      this.#add(tag, attribute, { vr: isPixelData && level.implicit ? 'OB' : vr.name, bulk });
      if (collector !== undefined) this.pixelsSeen = true;
      return at + headerBytes;
    }
    if (vr !== SQ && vr !== UN) unreadable('an element that is no sequence has an undefined length', this.offset, tag);
    const element: Element = { vr: 'SQ' };
    this.#add(tag, attribute, element);
    // UN of undefined length holds implicit little endian, whatever surrounds it (PS3.5 6.2.2).
    this.#enterSequence(element, level.end, true, level.implicit || vr === UN, vr === UN ? true : level.little);
    return at + headerBytes;
  }

  #readFragment(fragments: FragmentReader, bytes: Buffer, at: number, end: number): number {
    const next = fragments.read(bytes, at, end, this.offset);
    if (next === at) return this.wait(fragments.need, at);
    this.#count();
    this.skip = fragments.skip;
    if (fragments.ended) this.#fragments = undefined;
    return next;
  }

  #readItem(at: number, sequence: Element): number {
    const level = this.#level;
    const { tag, length } = this.#header;
    if (tag === SEQUENCE_DELIMITER) {
      if (level.undefinedLength) this.#leave(true);
      else this.#warn('STRAY_DELIMITER', tag);
      return at + 8;
    }
    if (tag !== ITEM) unreadable('a sequence holds something else than items', this.offset, tag);
    this.#count();
    let itemEnd = length === UNDEFINED_LENGTH ? level.end : this.offset + 8 + length;
    if (itemEnd > level.end) {
      // The sequence's own length is believed: it was found right where the two contradict each other (DICOMDIR).
      this.#warn('ITEM_LONGER_THAN_SEQUENCE', tag);
      itemEnd = level.end;
    }
    const item: DataSet = {};
    if (sequence.Value === undefined) sequence.Value = [item];
    else sequence.Value.push(item);
    const isOpen = length === UNDEFINED_LENGTH;
    this.#enter(innerLevel(level, item, undefined, itemEnd, isOpen, level.implicit, level.little));
    return at + 8;
  }

  #readDelimiter(tag: number, at: number): number {
    if (tag === ITEM_DELIMITER && this.#stack.length > 0) {
      if (this.#level.undefinedLength) this.#leave(true);
      else this.#warn('STRAY_DELIMITER', tag);
      return at + 8;
    }
    if (this.#stack.length === 0 && this.pixelsSeen) return this.#startTrailing('ignored', at);
    return unreadable('an item or delimiter stands where an element should', this.offset, tag);
  }

  #enterSequence(element: Element, end: number, undefinedLength: boolean, implicit: boolean, little: boolean): void {
    this.#depth++;
    if (this.#depth > this.#limits.sequenceDepth) this.#tooLarge('sequenceDepth');
    const level = this.#level;
    this.#enter(innerLevel(level, level.dataSet, element, end, undefinedLength, implicit, little));
  }

  #enter(level: Level): void {
    this.#stack.push(this.#level);
    this.#level = level;
  }

  /** Leaves the innermost level: by its delimiter, or because a length has ended it. */
  #leave(delimited: boolean): void {
    const left = this.#level;
    if (!delimited && left.undefinedLength) this.#warn('MISSING_DELIMITER');
    this.#level = this.#stack.pop()!;
    if (left.sequence !== undefined) this.#depth--;
    handUndecided(left, this.#level);
  }

  #add(tag: number, attribute: Attribute | undefined, element: Element): void {
    const level = this.#level;
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

  #bulk(offset: number, length: number): Bulk {
    return this.#options.inflated ? { offset, length, inflated: true } : { offset, length };
  }

  #count(): void {
    if (++this.#elements > this.#limits.elements) this.#tooLarge('elements');
  }

  #tooLarge(limit: keyof Limits): never {
    throw new PacsError('TOO_LARGE', `the object exceeds the limit ${limit}`, {
      details: { limit, limitValue: this.#limits[limit], offset: this.offset },
    });
  }

  /** After the pixel data only greater tags may follow; anything else is what some programs leave behind an object. */
  #isPlausible(bytes: Buffer, at: number): boolean {
    const { tag } = this.#header;
    if (tag <= this.#level.greatest) return false;
    return this.#level.implicit ? isKnown(tag) : looksLikeVr(bytes[at + 4]!, bytes[at + 5]!);
  }

  /** Could these last bytes, too few for a header, be the beginning of one? */
  #mayFollowPixels(rest: Buffer): boolean {
    if (rest.every((byte) => byte === 0)) return false;
    const little = this.#level.little;
    if (rest.length >= 4) {
      const tag = tagAt(rest, 0, little);
      return tag > this.greatestTag && isKnown(tag);
    }
    return rest.length < 2 || (little ? rest.readUInt16LE(0) : rest.readUInt16BE(0)) > PIXEL_DATA >>> 16;
  }

  #startTrailing(kind: 'zeros' | 'ignored', at: number): number {
    this.#warn('TRAILING_BYTES');
    this.#trailing = kind;
    return at + 8;
  }

  #readTrailing(bytes: Buffer, at: number, end: number): number {
    if (this.#trailing === 'ignored') return end;
    for (let i = at; i < end; i++) if (bytes[i] !== 0) unreadable('the data set goes on after zeros', this.offset);
    return end;
  }

  #expectMetaEnd(groupLength: Element, offset: number): void {
    const length = groupLength.Value?.[0];
    if (typeof length === 'number') this.#metaEnd = offset + length;
  }

  /** Is this the first header after File Meta Information? Its group length is believed only where it is right. */
  #endsMeta(tag: number, explicit: Vr | undefined): boolean {
    if (tag >>> 16 === 2) {
      if (this.offset !== this.#metaEnd) return false;
      // Two bytes of a deflated data set may look like group 0002.
      if (explicit !== undefined) {
        this.#warn('META_GROUP_LENGTH_WRONG');
        return false;
      }
    } else if (this.#metaEnd !== undefined && this.offset !== this.#metaEnd) this.#warn('META_GROUP_LENGTH_WRONG');
    this.done = true;
    return true;
  }
}

const isKnown = (tag: number): boolean => attributeOf(tag) !== undefined || ((tag >>> 16) & 1) === 1;

/** Did decoding leave U+FFFD in a text or a name? */
function isUndecodable(element: Element): boolean {
  for (const value of element.Value ?? []) {
    if (value === null || typeof value === 'number') continue;
    if (typeof value === 'string') {
      if (value.includes('\ufffd')) return true;
    } else for (const group of Object.values(value)) if ((group as string).includes('\ufffd')) return true;
  }
  return false;
}
