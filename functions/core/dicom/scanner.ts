import { PacsError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import { tagText } from './dictionary.ts';
import { unreadable } from './element-header.ts';
import { firstString } from './element-text.ts';
import { declaredFrames, FragmentCollector, nativeLayout } from './frames.ts';
import { DeflatedDataSet } from './inflate.ts';
import { DataSetParser } from './parser.ts';
import {
  EXPLICIT_VR_BIG_ENDIAN,
  EXPLICIT_VR_LITTLE_ENDIAN,
  IMPLICIT_VR_LITTLE_ENDIAN,
  transferSyntax,
} from './transfer-syntaxes.ts';
import type { DataSet, PixelLayout, ScannedObject } from './types.ts';
import { looksLikeVr, vrOfBytes } from './vr.ts';

/** of the preamble and the mark behind it (PS3.10 §7.1) */
export const PREAMBLE_BYTES = 132;
const SERIES_INSTANCE_UID = 0x0020000e;
const TRANSFER_SYNTAX_UID = 0x00020010;
const WARNINGS = 100;

/** What names an object; a UID that the data set lacks is the empty string. */
export interface Identity {
  StudyInstanceUID: string;
  SeriesInstanceUID: string;
  SOPInstanceUID: string;
  SOPClassUID: string;
  transferSyntaxUID: string;
}

/**
 * Reads a Part 10 object (PS3.10 §7) in one pass from chunks with boundaries anywhere, in constant memory: neither pixel
 * data nor values over `limits.inlineValueBytes` are held. Objects without preamble, or without File Meta Information, are
 * read where their encoding is beyond doubt.
 * @throws PacsError UNREADABLE_DATASET (details: offset, tag), TOO_LARGE (details: limit), from `push` and `end`
 */
export class Part10Scanner {
  readonly #limits: Limits;
  readonly #warnings = new Set<string>();
  readonly #warn = (code: string, tag?: number): void => {
    if (this.#warnings.size < WARNINGS) this.#warnings.add(tag === undefined ? code : `${code} ${tagText(tag)}`);
  };
  #size = 0;
  /** what came before it was clear how the object begins */
  #start: Buffer = Buffer.alloc(0);
  #meta: DataSetParser | undefined;
  #parser: DataSetParser | undefined;
  #inflater: DeflatedDataSet | undefined;
  #fragments: FragmentCollector | undefined;
  #fileMeta: DataSet = {};
  #transferSyntaxUID = '';
  #dataSetOffset = 0;

  readonly #literal: boolean;

  /** @param options.literal keep the `raw` value of every element, for writing the object again */
  constructor(limits: Limits, options: { readonly literal?: boolean } = {}) {
    this.#limits = limits;
    this.#literal = options.literal ?? false;
  }

  push(chunk: Uint8Array): void {
    this.#size += chunk.length;
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    if (this.#parser !== undefined) this.#pushDataSet(bytes);
    else if (this.#meta !== undefined) this.#pushMeta(bytes);
    else {
      const start = this.#start.length === 0 ? bytes : Buffer.concat([this.#start, bytes]);
      if (start.length < PREAMBLE_BYTES) this.#start = this.#start.length === 0 ? Buffer.from(start) : start;
      else this.#begin(start);
    }
  }

  /** Available as soon as all four UIDs have passed; where one is missing or empty, when the pixel data has begun. */
  identity(): Identity | undefined {
    const parser = this.#parser;
    if (parser === undefined || (parser.greatestTag < SERIES_INSTANCE_UID && !parser.pixelsSeen)) return undefined;
    const identity = this.#identityOf(parser.dataSet);
    const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, SOPClassUID } = identity;
    // In an object whose elements are out of order a UID may yet come.
    if (StudyInstanceUID && SeriesInstanceUID && SOPInstanceUID && SOPClassUID) return identity;
    return parser.pixelsSeen ? identity : undefined;
  }

  #identityOf(dataSet: DataSet): Identity {
    const text = (tag: string): string => firstString(dataSet, tag) ?? '';
    return {
      StudyInstanceUID: text('0020000D'),
      SeriesInstanceUID: text('0020000E'),
      SOPInstanceUID: text('00080018'),
      SOPClassUID: text('00080016'),
      transferSyntaxUID: this.#transferSyntaxUID,
    };
  }

  /** Group 0002; complete as soon as the data set has begun. */
  get fileMeta(): DataSet {
    return this.#fileMeta;
  }

  /** Of the data set as it was found, which may differ from what its transfer syntax says. */
  get littleEndian(): boolean {
    return this.#parser?.littleEndian ?? true;
  }

  /** What stands before the pixel data, as soon as that has begun; so an object need not be read to its end for it. */
  header(): { fileMeta: DataSet; dataSet: DataSet; transferSyntaxUID: string; littleEndian: boolean } | undefined {
    const parser = this.#parser;
    if (parser === undefined || !parser.pixelsSeen) return undefined;
    const { dataSet } = parser;
    const transferSyntaxUID = this.#transferSyntaxUID;
    return { fileMeta: this.#fileMeta, dataSet, transferSyntaxUID, littleEndian: this.littleEndian };
  }

  /** All bytes have been pushed. */
  end(): ScannedObject {
    if (this.#parser === undefined && this.#meta === undefined) this.#begin(this.#start);
    // Throws: the object ended before its data set began.
    if (this.#parser === undefined) this.#meta!.end();
    const parser = this.#parser!;
    this.#inflater?.end();
    parser.end();
    const pixels = this.#pixels(parser);
    const scanned: ScannedObject = {
      fileMeta: this.#fileMeta,
      dataSet: parser.dataSet,
      transferSyntaxUID: this.#transferSyntaxUID,
      dataSetOffset: this.#dataSetOffset,
      size: this.#size,
      warnings: [...this.#warnings],
    };
    if (pixels !== undefined) scanned.pixels = pixels;
    return scanned;
  }

  #pixels(parser: DataSetParser): PixelLayout | undefined {
    const syntax = transferSyntax(this.#transferSyntaxUID);
    const { nativePixels, dataSet } = parser;
    const warn = (code: string): void => this.#warn(code);
    if (nativePixels !== undefined)
      return nativeLayout(dataSet, nativePixels, syntax, this.#inflater !== undefined, warn);
    if (dataSet['7FE00010']?.bulk?.encapsulated !== true) return undefined;
    return this.#fragments!.layout(declaredFrames(dataSet), syntax.video, parser.extendedOffsetTable, warn);
  }

  #begin(bytes: Buffer): void {
    if (hasPreamble(bytes)) {
      this.#beginMeta(bytes, PREAMBLE_BYTES);
      return;
    }
    if (beginsWithFileMeta(bytes)) {
      this.#warn('NO_PREAMBLE');
      this.#beginMeta(bytes, 0);
      return;
    }
    const syntax = guessTransferSyntax(bytes);
    if (syntax === undefined) {
      throw new PacsError('UNREADABLE_DATASET', 'not a DICOM object', { details: { offset: 0 } });
    }
    this.#warn('NO_FILE_META');
    this.#transferSyntaxUID = syntax;
    this.#beginDataSet(bytes, 0);
  }

  #beginMeta(bytes: Buffer, offset: number): void {
    const options = { limits: this.#limits, offset, implicit: false, little: true, meta: true, warn: this.#warn };
    this.#meta = new DataSetParser(options);
    this.#fileMeta = this.#meta.dataSet;
    this.#pushMeta(bytes.subarray(offset));
  }

  #pushMeta(bytes: Buffer): void {
    const meta = this.#meta!;
    const used = meta.push(bytes);
    if (!meta.done) return;
    const rest = meta.rest.length === 0 ? bytes.subarray(used) : Buffer.concat([meta.rest, bytes.subarray(used)]);
    const declared = this.#fileMeta['00020010']?.Value?.[0];
    if (typeof declared === 'string') {
      // It comes back in headers of answers and in presentation contexts: what is none must not get there.
      if (!/^[0-9.]{1,64}$/.test(declared))
        unreadable('the transfer syntax is no UID', meta.offset, TRANSFER_SYNTAX_UID);
      this.#transferSyntaxUID = declared;
    } else {
      this.#warn('NO_TRANSFER_SYNTAX');
      const explicit = vrOfBytes(rest[4]!, rest[5]!) !== undefined;
      this.#transferSyntaxUID = explicit ? EXPLICIT_VR_LITTLE_ENDIAN : IMPLICIT_VR_LITTLE_ENDIAN;
    }
    this.#beginDataSet(rest, meta.offset);
  }

  #beginDataSet(bytes: Buffer, offset: number): void {
    const syntax = transferSyntax(this.#transferSyntaxUID);
    if (syntax.name === 'unknown') this.#warn('UNKNOWN_TRANSFER_SYNTAX');
    this.#dataSetOffset = offset;
    this.#fragments = new FragmentCollector(syntax.codec);
    this.#parser = new DataSetParser({
      limits: this.#limits,
      offset: syntax.deflated ? 0 : offset,
      implicit: !syntax.explicitVR,
      little: syntax.littleEndian,
      inflated: syntax.deflated,
      fragments: this.#fragments,
      literal: this.#literal,
      warn: this.#warn,
    });
    if (syntax.deflated) this.#inflater = new DeflatedDataSet(this.#limits, this.#parser);
    this.#pushDataSet(bytes);
  }

  #pushDataSet(bytes: Buffer): void {
    if (this.#inflater !== undefined) this.#inflater.push(bytes);
    else this.#parser!.push(bytes);
  }
}

/** Whether what begins so (with its first PREAMBLE_BYTES, or all of it) can be an object at all: with a preamble, without one, or a data set alone. */
export const looksLikeDicom = (head: Buffer): boolean =>
  hasPreamble(head) || beginsWithFileMeta(head) || guessTransferSyntax(head) !== undefined;

const hasPreamble = (b: Buffer): boolean => b.length >= PREAMBLE_BYTES && b.toString('latin1', 128, 132) === 'DICM';
const beginsWithFileMeta = (b: Buffer): boolean => b.length >= 8 && b[0] === 2 && b[1] === 0 && b[3] === 0;

/** The native encoding that the first element header shows, where it is one of group 0008: nothing else is believed. */
function guessTransferSyntax(b: Buffer): string | undefined {
  if (b.length < 8) return undefined;
  const explicit = looksLikeVr(b[4]!, b[5]!) && vrOfBytes(b[4]!, b[5]!) !== undefined;
  if (b[0] === 8 && b[1] === 0 && b[3] === 0) {
    if (explicit) return EXPLICIT_VR_LITTLE_ENDIAN;
    return b[6] === 0 && b[7] === 0 ? IMPLICIT_VR_LITTLE_ENDIAN : undefined;
  }
  return b[0] === 0 && b[1] === 8 && b[2] === 0 && explicit ? EXPLICIT_VR_BIG_ENDIAN : undefined;
}

/** Scans an object that is held whole. @throws as Part10Scanner */
export function scanPart10(bytes: Uint8Array, limits: Limits): ScannedObject {
  const scanner = new Part10Scanner(limits);
  scanner.push(bytes);
  return scanner.end();
}
