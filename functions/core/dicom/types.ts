/**
 * A data set in memory is the DICOM JSON Model itself (PS3.18 Annex F): keyed by tag as eight upper-case hex digits
 * ('00100010'), strings already decoded to Unicode. What was too large to hold is `Bulk`: where it lies in the object.
 */
export type DataSet = { [tag: string]: Element };

export interface Element {
  vr: string;
  /** absent when the value has length 0, or is binary */
  Value?: ElementValue[];
  /** base64, for short binary values */
  InlineBinary?: string;
  /** set only when written out, from `Bulk` */
  BulkDataURI?: string;
  /** never written out: where the value lies */
  bulk?: Bulk;
  /** never written out: the value as it stood in the object, little endian; only where an object is read to be written again */
  raw?: Uint8Array;
}

export type ElementValue = string | number | null | PersonName | DataSet;

export interface PersonName {
  Alphabetic?: string;
  Ideographic?: string;
  Phonetic?: string;
}

/**
 * Where a bulk value lies: bytes [offset, offset+length) of the Part 10 object as received (of the inflated data set for
 * Deflated Explicit VR Little Endian, then `inflated` is true).
 */
export interface Bulk {
  offset: number;
  /** bytes; for encapsulated pixel data everything from the first item (the offset table) to the sequence delimiter, exclusive */
  length: number;
  /** encapsulated pixel data: a sequence of fragments, not a plain value */
  encapsulated?: boolean;
  inflated?: boolean;
}

/** What one pass over a Part 10 object yields. */
export interface ScannedObject {
  fileMeta: DataSet;
  dataSet: DataSet;
  transferSyntaxUID: string;
  /** where the data set starts, bytes from the start of the object */
  dataSetOffset: number;
  /** bytes of the whole object */
  size: number;
  /** present when there is PixelData, FloatPixelData or DoubleFloatPixelData */
  pixels?: PixelLayout;
  /** findings that do not hinder storing: codes and tags, never values */
  warnings: string[];
}

/**
 * How frames lie in the object (PS3.5 A.4). Offsets are from the start of the Part 10 object.
 * native: frame n (1-based) is [offset + (n-1)*frameLengthBytes, +frameLengthBytes), unless bits are packed (BitsAllocated 1),
 * where frames may start inside a byte: then frameLengthBits is no multiple of 8.
 * fragments: frame n is frames[n-1]: a run of items, each with its 8-byte item header, which the reader strips.
 */
export type PixelLayout =
  | {
      kind: 'native';
      tag: string;
      vr: string;
      offset: number;
      length: number;
      frames: number;
      frameLengthBits: number;
      inflated?: boolean;
    }
  | { kind: 'fragments'; frames: number; table: FrameTable };

/**
 * 16 bytes a frame: offset then length of the run of items (headers included), each an unsigned 64-bit little-endian integer.
 * Fixed width, so that frame n of 200,000 is one ranged read of the table and one of the object.
 */
export type FrameTable = Uint8Array;
