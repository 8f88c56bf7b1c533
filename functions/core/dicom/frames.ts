import { PacsError } from '../errors.ts';
import type { CodecFamily, TransferSyntax } from './transfer-syntaxes.ts';
import type { DataSet, FrameTable, PixelLayout } from './types.ts';

/** Where native pixel data lies, as the parser met it. */
export interface NativePixels {
  readonly tag: string;
  readonly vr: string;
  readonly offset: number;
  readonly length: number;
}

const STARTS = 1;
const ENDS = 2;

/**
 * Collects the fragments of encapsulated pixel data while they pass, 9 bytes each, and then decides which of them make
 * which frame (PS3.5 A.4).
 */
export class FragmentCollector {
  #offsets = new Float64Array(0);
  #flags = new Uint8Array(0);
  #count = 0;
  #end = 0;
  readonly #codec: CodecFamily;
  /** the Basic Offset Table as it stood in the object */
  basicOffsetTable: Uint8Array = new Uint8Array(0);

  constructor(codec: CodecFamily) {
    this.#codec = codec;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * @param offset of the item header, bytes from the start of the object
   * @param length bytes of the fragment without its header
   * @param bytes, at: the first 16 bytes of the fragment (fewer where it is shorter)
   */
  add(offset: number, length: number, bytes: Uint8Array, at: number): void {
    if (this.#count === this.#offsets.length) this.#grow();
    this.#offsets[this.#count] = offset;
    this.#flags[this.#count] = startsStream(this.#codec, bytes, at, Math.min(length, 16)) ? STARTS : 0;
    this.#count++;
    this.#end = offset + 8 + length;
  }

  /** The last bytes (up to 4) of the fragment added last. */
  tail(bytes: Uint8Array, start: number, end: number): void {
    let last = end;
    // one byte of padding, or several by writers that align to four
    while (last > start && bytes[last - 1] === 0) last--;
    if (last - start >= 2 && bytes[last - 2] === 0xff && bytes[last - 1] === 0xd9)
      this.#flags[this.#count - 1]! |= ENDS;
  }

  /**
   * @param declared NumberOfFrames, at least 1
   * @param extended values of ExtendedOffsetTable (7FE0,0001), where there is one
   */
  layout(
    declared: number,
    video: boolean,
    extended: Uint8Array | undefined,
    warn: (code: string) => void,
  ): PixelLayout {
    if (this.#count === 0) {
      warn('NO_FRAGMENTS');
      return { kind: 'fragments', frames: 0, table: new Uint8Array(0) };
    }
    if (video) return this.#table([0]);
    if (extended !== undefined && extended.length > 0) {
      const firsts = this.#firstsOf(readOffsets(extended, 8), declared);
      if (firsts !== undefined) return this.#table(firsts);
      warn('EXTENDED_OFFSET_TABLE_WRONG');
    }
    if (this.basicOffsetTable.length > 0) {
      const firsts = this.#firstsOf(readOffsets(this.basicOffsetTable, 4), declared);
      if (firsts !== undefined) return this.#table(firsts);
      warn('BASIC_OFFSET_TABLE_WRONG');
    }
    return this.#table(this.#firstsWithoutTable(declared, warn));
  }

  /** The fragments that offsets point at; undefined unless there is one a frame and each is the header of an item. */
  #firstsOf(offsets: number[], declared: number): number[] | undefined {
    if (offsets.length !== declared || offsets[0] !== 0) return undefined;
    const base = this.#offsets[0]!;
    const firsts: number[] = [];
    let fragment = 0;
    for (const offset of offsets) {
      while (fragment < this.#count && this.#offsets[fragment]! - base < offset) fragment++;
      if (fragment === this.#count || this.#offsets[fragment]! - base !== offset) return undefined;
      if (firsts.length > 0 && firsts.at(-1) === fragment) return undefined;
      firsts.push(fragment);
    }
    return firsts;
  }

  #firstsWithoutTable(declared: number, warn: (code: string) => void): number[] {
    if (declared === 1) return [0];
    if (declared === this.#count) return sequence(this.#count, 1);
    const started: number[] = [];
    const startedAfterEnd: number[] = [];
    for (let i = 0; i < this.#count; i++) {
      if ((this.#flags[i]! & STARTS) === 0) continue;
      started.push(i);
      if (i === 0 || (this.#flags[i - 1]! & ENDS) !== 0) startedAfterEnd.push(i);
    }
    if (started.length === declared && started[0] === 0) return started;
    if (startedAfterEnd.length === declared && startedAfterEnd[0] === 0) return startedAfterEnd;
    warn('FRAMES_DIFFER_FROM_FRAGMENTS');
    if (startedAfterEnd.length > 1 && startedAfterEnd[0] === 0) return startedAfterEnd;
    if (started.length > 1 && started[0] === 0) return started;
    if (this.#count < declared) return sequence(this.#count, 1);
    return this.#count % declared === 0 ? sequence(declared, this.#count / declared) : [0];
  }

  #table(firsts: number[]): PixelLayout {
    const table = new Uint8Array(firsts.length * 16);
    const view = new DataView(table.buffer);
    for (let i = 0; i < firsts.length; i++) {
      const start = this.#offsets[firsts[i]!]!;
      const next = i + 1 < firsts.length ? this.#offsets[firsts[i + 1]!]! : this.#end;
      put64(view, i * 16, start);
      put64(view, i * 16 + 8, next - start);
    }
    return { kind: 'fragments', frames: firsts.length, table };
  }

  #grow(): void {
    const room = Math.max(16, this.#count * 2);
    const offsets = new Float64Array(room);
    offsets.set(this.#offsets);
    this.#offsets = offsets;
    const flags = new Uint8Array(room);
    flags.set(this.#flags);
    this.#flags = flags;
  }
}

const sequence = (count: number, step: number): number[] => Array.from({ length: count }, (_, i) => i * step);

function put64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 0x100000000, true);
  view.setUint32(at + 4, Math.floor(value / 0x100000000), true);
}

function readOffsets(bytes: Uint8Array, width: 4 | 8): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length - (bytes.length % width));
  const offsets: number[] = [];
  for (let at = 0; at < view.byteLength; at += width) {
    const low = view.getUint32(at, true);
    offsets.push(width === 4 ? low : low + view.getUint32(at + 4, true) * 0x100000000);
  }
  return offsets;
}

/** Does a compressed stream begin here? JPEG and JPEG-LS: SOI; JPEG 2000: SOC and SIZ, or a JP2 box; JPEG XL. */
function startsStream(codec: CodecFamily, b: Uint8Array, at: number, length: number): boolean {
  if (length < 4) return false;
  const first = (b[at]! << 8) | b[at + 1]!;
  const second = (b[at + 2]! << 8) | b[at + 3]!;
  if (first === 0xffd8) return second >>> 8 === 0xff;
  if (first === 0xff4f) return second === 0xff51;
  if (first === 0xff0a) return codec === 'jpegxl';
  if (first !== 0 || second !== 12 || length < 8) return false;
  const box = String.fromCharCode(b[at + 4]!, b[at + 5]!, b[at + 6]!, b[at + 7]!);
  return box === 'jP  ' || box === 'JXL ';
}

const numberOf = (dataSet: DataSet, tag: string): number => {
  const value = dataSet[tag]?.Value?.[0];
  return typeof value === 'number' && value > 0 ? Math.floor(value) : 0;
};

/** NumberOfFrames (0028,0008), at least 1. */
export const declaredFrames = (dataSet: DataSet): number => Math.max(1, numberOf(dataSet, '00280008'));

/** Bits of one native frame (PS3.5 8.1.1, PS3.3 C.7.6.3.1.2 for subsampled colour); 0 where the attributes are missing. */
function nativeFrameBits(dataSet: DataSet, tag: string): number {
  const pixels = numberOf(dataSet, '00280010') * numberOf(dataSet, '00280011');
  const allocated = tag === '7FE00008' ? 32 : tag === '7FE00009' ? 64 : numberOf(dataSet, '00280100');
  const photometric = dataSet['00280004']?.Value?.[0];
  let samples = numberOf(dataSet, '00280002') || 1;
  if (samples === 3 && (photometric === 'YBR_FULL_422' || photometric === 'YBR_PARTIAL_422')) samples = 2;
  if (samples === 3 && photometric === 'YBR_PARTIAL_420') samples = 1.5;
  return pixels * samples * allocated;
}

export function nativeLayout(
  dataSet: DataSet,
  pixels: NativePixels,
  syntax: TransferSyntax,
  inflated: boolean,
  warn: (code: string) => void,
): PixelLayout {
  const declared = declaredFrames(dataSet);
  const availableBits = pixels.length * 8;
  let frameLengthBits = nativeFrameBits(dataSet, pixels.tag);
  let frames = declared;
  if (syntax.encapsulated) {
    // Compressed by its transfer syntax, yet not in fragments: one opaque frame unless the length is that of native frames.
    warn('PIXEL_DATA_NOT_ENCAPSULATED');
    if (frameLengthBits * declared !== availableBits) frameLengthBits = 0;
  }
  if (frameLengthBits === 0) {
    warn('FRAME_SIZE_UNKNOWN');
    frames = 1;
    frameLengthBits = availableBits;
  } else if (frameLengthBits * frames > availableBits) {
    warn('PIXEL_DATA_TOO_SHORT');
    frames = Math.max(1, Math.min(frames, Math.ceil(availableBits / frameLengthBits)));
  }
  const { tag, vr, offset, length } = pixels;
  const layout = { kind: 'native', tag, vr, offset, length, frames, frameLengthBits } as const;
  return inflated ? { ...layout, inflated: true } : layout;
}

/** Where one frame lies. */
export interface FrameRange {
  /** bytes from the start of the object (of the inflated data set, where the layout says so) */
  readonly offset: number;
  /** bytes; for fragments with their item headers, see stripItemHeaders */
  readonly length: number;
  /** packed bits: where in the first byte the frame begins (counted from the least significant bit); see alignBits */
  readonly bitOffset: number;
  /** items have headers that are to be stripped */
  readonly fragments: boolean;
}

/** The range of frame n, from 1; undefined when there is none. Frames that reach past the pixel data are cut. */
export function frameRange(layout: PixelLayout, n: number): FrameRange | undefined {
  if (!Number.isInteger(n) || n < 1 || n > layout.frames) return undefined;
  if (layout.kind === 'fragments') return { ...tableEntry(layout.table, n), bitOffset: 0, fragments: true };
  const startBit = (n - 1) * layout.frameLengthBits;
  const first = Math.floor(startBit / 8);
  const end = Math.min(layout.length, Math.ceil((startBit + layout.frameLengthBits) / 8));
  return { offset: layout.offset + first, length: Math.max(0, end - first), bitOffset: startBit % 8, fragments: false };
}

/** Entry n, from 1, of a frame table or of a part of one that was read by itself. */
export function tableEntry(table: FrameTable, n: number): { offset: number; length: number } {
  const view = new DataView(table.buffer, table.byteOffset + (n - 1) * 16, 16);
  return {
    offset: view.getUint32(0, true) + view.getUint32(4, true) * 0x100000000,
    length: view.getUint32(8, true) + view.getUint32(12, true) * 0x100000000,
  };
}

/** A packed frame that began at `bitOffset` of its first byte, moved to begin at bit 0; the bits past its end are zero. */
export function alignBits(bytes: Uint8Array, bitOffset: number, bits: number): Uint8Array {
  const frame = new Uint8Array(Math.ceil(bits / 8));
  for (let i = 0; i < frame.length; i++) frame[i] = ((bytes[i]! | ((bytes[i + 1] ?? 0) << 8)) >>> bitOffset) & 0xff;
  if (bits % 8 !== 0) frame[frame.length - 1]! &= (1 << (bits % 8)) - 1;
  return frame;
}

const notAnItem = (at: number): PacsError =>
  new PacsError('UNREADABLE_DATASET', 'the frame table does not match the object', { details: { at } });

/**
 * The compressed stream of a frame: its items without their headers. A single item is returned without copying.
 * @throws PacsError UNREADABLE_DATASET when the run does not consist of items
 */
export function stripItemHeaders(run: Uint8Array): Uint8Array {
  const view = new DataView(run.buffer, run.byteOffset, run.length);
  const parts: Uint8Array[] = [];
  let at = 0;
  while (at < run.length) {
    if (at + 8 > run.length || view.getUint32(at, true) !== 0xe000fffe) throw notAnItem(at);
    const end = at + 8 + view.getUint32(at + 4, true);
    if (end > run.length) throw notAnItem(at);
    parts.push(run.subarray(at + 8, end));
    at = end;
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

/** stripItemHeaders for a frame that is read in chunks. @throws as it does, when it meets the fault */
export async function* stripItemHeadersStream(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const header = new Uint8Array(8);
  let held = 0;
  let left = 0;
  let passed = 0;
  for await (const chunk of chunks) {
    let at = 0;
    while (at < chunk.length) {
      if (left > 0) {
        const end = Math.min(chunk.length, at + left);
        yield chunk.subarray(at, end);
        left -= end - at;
        at = end;
        continue;
      }
      header[held++] = chunk[at++]!;
      if (held < 8) continue;
      held = 0;
      const view = new DataView(header.buffer);
      if (view.getUint32(0, true) !== 0xe000fffe) throw notAnItem(passed + at - 8);
      left = view.getUint32(4, true);
    }
    passed += chunk.length;
  }
  if (left > 0 || held > 0) throw notAnItem(passed);
}
