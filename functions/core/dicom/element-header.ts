import { PacsError } from '../errors.ts';
import { tagText } from './dictionary.ts';
import { looksLikeVr, UN, type Vr, vrNamed, vrOfBytes } from './vr.ts';

export const ITEM = 0xfffee000;
export const ITEM_DELIMITER = 0xfffee00d;
export const SEQUENCE_DELIMITER = 0xfffee0dd;
export const UNDEFINED_LENGTH = 0xffffffff;

/** The header of a data element or item (PS3.5 §7.1). One is reused for all elements: there are millions of them. */
export interface Header {
  tag: number;
  length: number;
  /** bytes of the header itself */
  bytes: number;
  /** undefined in implicit VR */
  vr: Vr | undefined;
  /** two letters that are no VR we know: read as UN */
  unknownVr: boolean;
}

/** Reads the header at `at`. Returns the bytes it needs where there are fewer, else 0. */
export function readHeader(
  b: Buffer,
  at: number,
  end: number,
  implicit: boolean,
  little: boolean,
  into: Header,
): number {
  if (end - at < 8) return 8;
  into.tag = tagAt(b, at, little);
  into.unknownVr = false;
  const vr = implicit ? undefined : vrOfBytes(b[at + 4]!, b[at + 5]!);
  into.vr = vr;
  into.bytes = 8;
  if (vr !== undefined && !vr.long) {
    into.length = little ? b[at + 6]! | (b[at + 7]! << 8) : (b[at + 6]! << 8) | b[at + 7]!;
    return 0;
  }
  if (vr === undefined && (implicit || !looksLikeVr(b[at + 4]!, b[at + 5]!))) {
    into.length = uint32At(b, at + 4, little);
    return 0;
  }
  if (end - at < 12) return 12;
  if (vr === undefined) {
    // A VR of a later edition: those have a 32-bit length after two reserved zeros (PS3.5 §7.1.2).
    into.vr = UN;
    into.unknownVr = true;
    if (b[at + 6] !== 0 || b[at + 7] !== 0) {
      into.length = little ? b.readUInt16LE(at + 6) : b.readUInt16BE(at + 6);
      return 0;
    }
  }
  into.bytes = 12;
  into.length = uint32At(b, at + 8, little);
  return 0;
}

/** The tag at `at` as an unsigned 32-bit number. */
export const tagAt = (b: Buffer, at: number, little: boolean): number =>
  little
    ? ((b[at + 1]! << 24) | (b[at]! << 16) | (b[at + 3]! << 8) | b[at + 2]!) >>> 0
    : ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;

export const uint32At = (b: Buffer, at: number, little: boolean): number =>
  little ? b.readUInt32LE(at) : b.readUInt32BE(at);

/** Throws the refusal of an object that cannot be read. Tags and offsets are named, values never. */
export function unreadable(message: string, offset: number, tag?: number): never {
  const details = tag === undefined ? { offset } : { offset, tag: tagText(tag) };
  throw new PacsError('UNREADABLE_DATASET', message, { details });
}

/** Bytes of the header that is written before a value of so many bytes (PS3.5 §7.1). @throws PacsError BAD_REQUEST */
export function headerBytes(name: string, length: number, implicit: boolean): 8 | 12 {
  const vr = vrNamed(name);
  if (vr === undefined) throw new PacsError('BAD_REQUEST', 'an element has a VR that is none');
  return implicit || (!vr.long && length <= 0xffff) ? 8 : 12;
}

/** A value too long for a 16-bit length is written as UN (PS3.5 §6.2.2). */
export const writtenAs = (vr: string, length: number): string =>
  headerBytes(vr, length, false) === 12 && !vrNamed(vr)!.long ? 'UN' : vr;
