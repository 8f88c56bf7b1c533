import { PacsError } from '../errors.ts';

/**
 * What a codestream says of itself. Read before a codec sees it: the codecs believe the size they are told, so an image whose
 * codestream disagrees with its data set must never reach them.
 */
export interface CodestreamHeader {
  readonly columns: number;
  readonly rows: number;
  readonly components: number;
  /** bits of a sample; 0 when the header does not tell simply (some JPEG XL) */
  readonly bits: number;
  readonly signed: boolean;
  /** JPEG 2000: COD says that a multiple component transform was applied */
  readonly componentTransform: boolean;
  /** JPEG 2000: High Throughput block coder */
  readonly highThroughput: boolean;
  /** JPEG: what the markers say of the colours; undefined when they are silent */
  readonly colour: 'RGB' | 'YBR' | undefined;
  /** JPEG-LS: components lie one after the other (interleave mode none) */
  readonly planar: boolean;
}

const malformed = (what: string): PacsError => new PacsError('UNREADABLE_DATASET', `malformed codestream: ${what}`);

const plain = {
  signed: false,
  componentTransform: false,
  highThroughput: false,
  colour: undefined,
  planar: false,
} as const;

/** JPEG (ISO 10918-1) and JPEG-LS (ISO 14495-1): markers up to the first scan. @throws PacsError UNREADABLE_DATASET */
export function readJpegHeader(bytes: Uint8Array): CodestreamHeader {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) throw malformed('no SOI marker');
  let colour: 'RGB' | 'YBR' | undefined;
  let frame:
    | { columns: number; rows: number; components: number; bits: number; rgbIds: boolean; jpegLs: boolean }
    | undefined;
  let position = 2;
  while (position + 4 <= bytes.length) {
    if (bytes[position] !== 0xff) throw malformed('marker expected');
    const marker = bytes[position + 1]!;
    if (marker === 0xff) {
      position++;
      continue;
    }
    // markers without a segment do not occur before a scan; decoders have been seen to loop on TEM (FF01)
    if (marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd9)) throw malformed('unexpected marker');
    const length = (bytes[position + 2]! << 8) | bytes[position + 3]!;
    const body = position + 4;
    const end = position + 2 + length;
    if (length < 2 || end > bytes.length) throw malformed('segment outside the codestream');
    const isFrame =
      (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) || marker === 0xf7;
    if (isFrame) {
      if (frame !== undefined || length < 8) throw malformed('frame header');
      const components = bytes[body + 5]!;
      if (length < 8 + 3 * components) throw malformed('frame header');
      frame = {
        bits: bytes[body]!,
        rows: (bytes[body + 1]! << 8) | bytes[body + 2]!,
        columns: (bytes[body + 3]! << 8) | bytes[body + 4]!,
        components,
        rgbIds: components === 3 && bytes[body + 6] === 0x52 && bytes[body + 9] === 0x47 && bytes[body + 12] === 0x42,
        jpegLs: marker === 0xf7,
      };
    } else if (marker === 0xe0 && length >= 7 && text(bytes, body, 4) === 'JFIF') {
      colour ??= 'YBR';
    } else if (marker === 0xee && length >= 14 && text(bytes, body, 5) === 'Adobe') {
      colour = bytes[body + 11] === 0 ? 'RGB' : 'YBR';
    } else if (marker === 0xda) {
      if (frame === undefined) throw malformed('scan without a frame header');
      const scanned = bytes[body]!;
      const interleave = bytes[body + 1 + 2 * scanned + 1];
      return {
        ...plain,
        columns: frame.columns,
        rows: frame.rows,
        components: frame.components,
        bits: frame.bits,
        colour: frame.rgbIds ? 'RGB' : colour,
        planar: frame.jpegLs && frame.components > 1 && interleave === 0,
      };
    }
    position = end;
  }
  throw malformed('no scan');
}

/** JPEG 2000 parts 1, 2 and 15 (SIZ, COD, CAP of the main header), bare or in a JP2 box. @throws PacsError UNREADABLE_DATASET */
export function readJpeg2000Header(bytes: Uint8Array): CodestreamHeader {
  const start = findCodestream(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let position = start + 2;
  let size: Omit<CodestreamHeader, 'componentTransform' | 'highThroughput'> | undefined;
  let componentTransform = false;
  let highThroughput = false;
  while (position + 4 <= bytes.length) {
    const marker = view.getUint16(position);
    // SOT: the main header is over
    if (marker === 0xff90) break;
    if (marker < 0xff00) throw malformed('marker expected');
    const length = view.getUint16(position + 2);
    const end = position + 2 + length;
    if (length < 2 || end > bytes.length) throw malformed('segment outside the codestream');
    if (marker === 0xff51) {
      if (length < 41) throw malformed('SIZ');
      const components = view.getUint16(position + 38);
      if (components === 0 || length < 38 + 3 * components) throw malformed('SIZ');
      const first = bytes[position + 40]!;
      for (let c = 0; c < components; c++) {
        const at = position + 40 + 3 * c;
        if (bytes[at] !== first) throw unsupported('components of different depth');
        if (bytes[at + 1] !== 1 || bytes[at + 2] !== 1) throw unsupported('subsampled components');
      }
      size = {
        columns: view.getUint32(position + 6) - view.getUint32(position + 14),
        rows: view.getUint32(position + 10) - view.getUint32(position + 18),
        components,
        bits: (first & 0x7f) + 1,
        signed: (first & 0x80) !== 0,
        colour: undefined,
        planar: false,
      };
    } else if (marker === 0xff52) {
      if (length < 12) throw malformed('COD');
      componentTransform = bytes[position + 8] === 1;
    } else if (marker === 0xff50) {
      highThroughput = true;
    }
    position = end;
  }
  if (size === undefined) throw malformed('no SIZ marker');
  return { ...size, componentTransform, highThroughput };
}

const unsupported = (what: string): PacsError =>
  new PacsError('UNSUPPORTED_TRANSFER_SYNTAX', `JPEG 2000 with ${what} is not supported`);

function findCodestream(bytes: Uint8Array): number {
  const limit = Math.min(bytes.length - 4, 64 * 1024);
  for (let i = 0; i <= limit; i++) {
    if (bytes[i] === 0xff && bytes[i + 1] === 0x4f && bytes[i + 2] === 0xff && bytes[i + 3] === 0x51) return i;
    if (i === 0 && bytes[4] !== 0x6a) break;
  }
  throw malformed('no SOC marker');
}

/** JPEG XL (ISO 18181-1), bare or boxed: size and depth alone. @throws PacsError UNREADABLE_DATASET */
export function readJpegXlHeader(bytes: Uint8Array): CodestreamHeader {
  let start = -1;
  for (let i = 0; i + 2 < Math.min(bytes.length, 4096); i++) {
    if (bytes[i] !== 0xff || bytes[i + 1] !== 0x0a) continue;
    if (i === 0 || text(bytes, i - 4, 4) === 'jxlc' || text(bytes, i - 8, 4) === 'jxlp') {
      start = i + 2;
      break;
    }
  }
  if (start < 0) throw malformed('no JPEG XL signature');
  let bit = start * 8;
  const read = (count: number): number => {
    let value = 0;
    for (let i = 0; i < count; i++, bit++) {
      const byte = bytes[bit >> 3];
      if (byte === undefined) throw malformed('JPEG XL header cut short');
      value += ((byte >> (bit & 7)) & 1) * 2 ** i;
    }
    return value;
  };
  const side = (): number => 1 + read([9, 13, 18, 30][read(2)]!);
  const small = read(1) === 1;
  const rows = small ? (read(5) + 1) * 8 : side();
  const ratio = read(3);
  const RATIOS = [1, 1, 1.2, 4 / 3, 1.5, 16 / 9, 1.25, 2];
  const columns = ratio === 0 ? (small ? (read(5) + 1) * 8 : side()) : Math.floor(rows * RATIOS[ratio]!);
  let bits = 8;
  if (read(1) === 0) {
    // extra fields: orientation, intrinsic size, preview, animation
    const extra = read(1) === 1 ? read(6) : 0;
    if (extra >> 3 !== 0) bits = 0;
    else if (read(1) === 1) bits = 0;
    else bits = [8, 10, 12][read(2)] ?? 1 + read(6);
  }
  return { ...plain, columns, rows, components: 0, bits };
}

function text(bytes: Uint8Array, offset: number, length: number): string {
  let result = '';
  for (let i = Math.max(0, offset); i < offset + length && i < bytes.length; i++)
    result += String.fromCharCode(bytes[i]!);
  return result;
}
