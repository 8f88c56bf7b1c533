import { inflateRawSync } from 'node:zlib';
import { EXPLICIT_VR_BIG_ENDIAN, JPEG_XL_RECOMPRESSION } from '../dicom/transfer-syntaxes.ts';
import { PacsError } from '../errors.ts';
import type { DecodedFrame, EncodedFrame, ImageDescription } from '../ports/pixel-engine.ts';
import { type CodecName, type Codecs, MONOCHROME2, RGB, YBR_FULL } from './codecs.ts';
import { type CodestreamHeader, readJpeg2000Header, readJpegHeader, readJpegXlHeader } from './codestream.ts';
import { expand422, ybrFullToRgb } from './colour.ts';
import { decodeRle } from './rle.ts';
import {
  checkImage,
  decodedBytes,
  extend,
  interleave,
  plain,
  sampleBytes,
  swapBytes,
  unpackBits,
  wordBytes,
} from './samples.ts';
import { PIXEL_SYNTAXES } from './syntaxes.ts';
import { decodeWideColour } from './wide-colour.ts';

/** One frame to native samples. @throws PacsError UNREADABLE_DATASET; UNSUPPORTED_TRANSFER_SYNTAX; TOO_LARGE */
export async function decodeFrame(codecs: Codecs, frame: EncodedFrame, limitBytes: number): Promise<DecodedFrame> {
  const { image, transferSyntaxUID } = frame;
  const codestream = plain(frame.codestream);
  const syntax = PIXEL_SYNTAXES[transferSyntaxUID];
  if (syntax === undefined) {
    throw new PacsError('UNSUPPORTED_TRANSFER_SYNTAX', 'there is no decoder for this transfer syntax', {
      details: { transferSyntaxUID },
    });
  }
  checkImage(image, limitBytes);
  switch (syntax.coding) {
    case 'native':
      return fromNative(codestream, image, transferSyntaxUID === EXPLICIT_VR_BIG_ENDIAN);
    case 'uncompressedFrame':
      return fromNative(codestream, image, false);
    case 'deflatedFrame':
      return fromNative(inflate(codestream, image), image, false);
    case 'rle': {
      // eight pixels a byte, as in native form
      if (image.BitsAllocated === 1)
        return fromNative(decodeRle(codestream, (image.Rows * image.Columns + 7) >> 3, 1, 1), image, false);
      const bytes = sampleBytes(image);
      const samples = decodeRle(codestream, image.Rows * image.Columns, image.SamplesPerPixel, bytes);
      return { samples, image: { ...image, PlanarConfiguration: 0 } };
    }
    case 'jpeg':
      return fromJpeg(codecs, codestream, image);
    case 'jpegLs':
      return fromJpegLs(codecs, codestream, image);
    case 'jpeg2000':
      return fromJpeg2000(codecs, codestream, image);
    case 'jpegXl':
      return fromJpegXl(codecs, codestream, image, limitBytes, transferSyntaxUID === JPEG_XL_RECOMPRESSION);
  }
}

const unreadable = (what: string): PacsError => new PacsError('UNREADABLE_DATASET', what);

function inflate(codestream: Uint8Array, image: ImageDescription): Uint8Array {
  try {
    return inflateRawSync(codestream, { maxOutputLength: decodedBytes(image) + 16 });
  } catch (cause) {
    throw new PacsError('UNREADABLE_DATASET', 'the deflated frame cannot be inflated', { cause });
  }
}

/** Native pixels: one layout out of many (big endian, by plane, 4:2:2, packed bits). */
function fromNative(bytes: Uint8Array, image: ImageDescription, bigEndian: boolean): DecodedFrame {
  const pixels = image.Rows * image.Columns;
  if (image.BitsAllocated === 1) {
    if (image.SamplesPerPixel !== 1 || bytes.length * 8 < pixels)
      throw unreadable('pixel data are shorter than the image');
    return { samples: unpackBits(bytes, pixels), image: { ...image, BitsAllocated: 8, BitsStored: 1, HighBit: 0 } };
  }
  const subsampled =
    image.PhotometricInterpretation.endsWith('_422') && image.BitsAllocated === 8 && image.SamplesPerPixel === 3;
  if (subsampled && image.Columns % 2 === 0 && bytes.length >= 2 * pixels && bytes.length < 3 * pixels) {
    const PhotometricInterpretation =
      image.PhotometricInterpretation === 'YBR_FULL_422' ? 'YBR_FULL' : image.PhotometricInterpretation;
    return {
      samples: expand422(bytes, pixels),
      image: { ...image, PhotometricInterpretation, PlanarConfiguration: 0 },
    };
  }
  const length = decodedBytes(image);
  if (bytes.length < length) throw unreadable('pixel data are shorter than the image');
  const size = sampleBytes(image);
  let samples = bytes.subarray(0, length);
  if (bigEndian && size > 1) samples = swapBytes(samples, wordBytes(image));
  if (image.PlanarConfiguration === 1 && image.SamplesPerPixel > 1)
    samples = interleave(samples, pixels, image.SamplesPerPixel, size);
  // what is returned belongs to the caller, never to whom lent the input
  if (samples.buffer === bytes.buffer) samples = samples.slice();
  const PhotometricInterpretation = subsampled ? 'YBR_FULL' : image.PhotometricInterpretation;
  return { samples, image: { ...image, PhotometricInterpretation, PlanarConfiguration: 0 } };
}

function fits(header: CodestreamHeader, image: ImageDescription): void {
  if (header.columns !== image.Columns || header.rows !== image.Rows)
    throw unreadable('the codestream has another size than the data set says');
  if (header.components !== image.SamplesPerPixel)
    throw unreadable('the codestream has another number of components than the data set says');
  if (header.components !== 1 && header.components !== 3) {
    throw new PacsError('UNSUPPORTED_TRANSFER_SYNTAX', 'codestreams of 1 and 3 components are supported');
  }
  if (header.bits < 1 || header.bits > 16) {
    throw new PacsError('UNSUPPORTED_TRANSFER_SYNTAX', 'codestreams of 1 to 16 bits are supported');
  }
  if (header.bits > 8 && image.BitsAllocated === 8)
    throw unreadable('the codestream has more bits than the data set allocates');
}

function run(
  codecs: Codecs,
  codec: CodecName,
  codestream: Uint8Array,
  header: CodestreamHeader,
  options: { wide?: boolean; toRgb?: boolean } = {},
): Uint8Array {
  const bitsAllocated = header.bits > 8 || options.wide === true ? 16 : 8;
  const decoded = codecs.decode(
    codec,
    codestream,
    {
      columns: header.columns,
      rows: header.rows,
      bitsAllocated,
      bitsStored: header.bits,
      samplesPerPixel: header.components,
      signed: header.signed,
      photometric: header.components === 1 ? MONOCHROME2 : options.toRgb === true ? YBR_FULL : RGB,
    },
    options.toRgb,
  );
  if (decoded.length !== header.columns * header.rows * header.components * (bitsAllocated >> 3)) {
    throw unreadable('the codec returned another amount of samples than the codestream announced');
  }
  return decoded;
}

/** Samples of `bits` as the codec gives them, to the cells that the data set allocates, sign extended where it is signed. */
function toCells(decoded: Uint8Array, bits: number, wide: boolean, image: ImageDescription): Uint8Array {
  const signed = image.PixelRepresentation === 1;
  const narrow = image.BitsAllocated <= 8;
  let values = wide ? new Uint16Array(decoded.buffer, decoded.byteOffset, decoded.length >> 1) : decoded;
  if (narrow && wide) values = Uint8Array.from(values);
  else if (!narrow && !wide) values = Uint16Array.from(values);
  // JPEG and unsigned JPEG 2000 carry signed values as plain bits; the sign is where BitsStored says, unless foreign bits travel too
  extend(values, bits, signed);
  if (image.BitsAllocated === 32) {
    const cells = signed
      ? Int32Array.from(values as Uint16Array, (v) => (v << 16) >> 16)
      : Uint32Array.from(values as Uint16Array);
    return new Uint8Array(cells.buffer);
  }
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

const cellImage = (
  image: ImageDescription,
  PhotometricInterpretation = image.PhotometricInterpretation,
): ImageDescription => ({
  ...image,
  BitsAllocated: image.BitsAllocated === 1 ? 8 : image.BitsAllocated,
  PlanarConfiguration: 0,
  PhotometricInterpretation,
});

/**
 * JPEG. Which colours the samples are: Adobe and JFIF markers and component names bind, as files that say RGB and hold YCbCr are
 * common; else the data set. Lossy YCbCr comes back as RGB; lossless samples stay what they are.
 */
function fromJpeg(codecs: Codecs, codestream: Uint8Array, image: ImageDescription): DecodedFrame {
  const header = readJpegHeader(codestream);
  fits(header, image);
  const colour = image.SamplesPerPixel === 3;
  const stated = image.PhotometricInterpretation;
  const ybr = colour && (header.colour === undefined ? stated.startsWith('YBR') : header.colour === 'YBR');
  const lossy = !isLosslessJpeg(codestream);
  const toRgb = ybr && lossy && header.bits === 8;
  const decoded = run(codecs, 'Jpeg', codestream, header, { toRgb });
  const samples = toCells(decoded, header.bits, header.bits > 8, image);
  let photometric = stated;
  if (toRgb || (colour && lossy && !ybr)) photometric = 'RGB';
  else if (colour && !lossy && stated.startsWith('YBR')) photometric = 'YBR_FULL';
  return { samples, image: cellImage(image, photometric) };
}

/** SOF3: process 14 */
function isLosslessJpeg(codestream: Uint8Array): boolean {
  for (let i = 2; i + 4 <= codestream.length; ) {
    if (codestream[i] !== 0xff) return false;
    const marker = codestream[i + 1]!;
    if (marker === 0xff) {
      i++;
      continue;
    }
    if (marker === 0xc3) return true;
    if (marker === 0xda) return false;
    i += 2 + ((codestream[i + 2]! << 8) | codestream[i + 3]!);
  }
  return false;
}

function fromJpegLs(codecs: Codecs, codestream: Uint8Array, image: ImageDescription): DecodedFrame {
  const header = readJpegHeader(codestream);
  fits(header, image);
  // behind the end of its data CharLS has been seen to count for seconds before it gives up
  if (!endsWithMarker(codestream)) throw unreadable('the codestream ends early');
  const wide = header.bits > 8;
  let decoded = run(codecs, 'JpegLs', codestream, header);
  if (header.planar) decoded = interleave(decoded, header.columns * header.rows, header.components, wide ? 2 : 1);
  return { samples: toCells(decoded, header.bits, wide, image), image: cellImage(image, afterTransform(image, false)) };
}

/** What the samples are once a component transform has been undone. */
function afterTransform(image: ImageDescription, transformed: boolean): string {
  const stated = image.PhotometricInterpretation;
  if (image.SamplesPerPixel !== 3) return stated;
  if (stated === 'YBR_RCT' || stated === 'YBR_ICT') return 'RGB';
  if (transformed && stated.startsWith('YBR') && stated !== 'YBR_FULL') return 'RGB';
  return stated === 'YBR_FULL_422' ? 'YBR_FULL' : stated;
}

async function fromJpeg2000(codecs: Codecs, codestream: Uint8Array, image: ImageDescription): Promise<DecodedFrame> {
  const header = readJpeg2000Header(codestream);
  fits(header, image);
  const photometric = afterTransform(image, header.componentTransform);
  if (header.highThroughput) {
    // OpenJPH makes up what is missing of a codestream cut short
    if (!endsWithMarker(codestream)) throw unreadable('the codestream ends early');
    // 8-bit output is clamped as unsigned by the module: signed bytes come through 16 bits
    const wide = header.bits > 8 || header.signed;
    let decoded = run(codecs, 'HtJpeg2000', codestream, header, { wide });
    if (header.components > 1 && !header.componentTransform) decoded = fromLines(decoded, header, wide ? 2 : 1);
    return { samples: toCells(decoded, header.bits, wide, image), image: cellImage(image, photometric) };
  }
  const decoded =
    header.components === 3 && header.bits > 8
      ? await decodeWideColour(codestream, header)
      : run(codecs, 'Jpeg2000', codestream, header);
  return { samples: toCells(decoded, header.bits, header.bits > 8, image), image: cellImage(image, photometric) };
}

/** EOC or EOI (FFD9), behind which there may be padding */
function endsWithMarker(codestream: Uint8Array): boolean {
  let end = codestream.length;
  while (end > 2 && codestream[end - 1] === 0) end--;
  return codestream[end - 2] === 0xff && codestream[end - 1] === 0xd9;
}

/**
 * Without a component transform OpenJPH yields all lines of one component, then those of the next, and the module writes line k
 * to row k/3, component k%3. This puts them where they belong.
 */
function fromLines(decoded: Uint8Array, header: CodestreamHeader, bytes: number): Uint8Array {
  const { columns, rows, components } = header;
  const result = new Uint8Array(decoded.length);
  const pixel = components * bytes;
  for (let component = 0; component < components; component++) {
    for (let row = 0; row < rows; row++) {
      const line = component * rows + row;
      let from = Math.floor(line / components) * columns * pixel + (line % components) * bytes;
      let to = row * columns * pixel + component * bytes;
      for (let x = 0; x < columns; x++, from += pixel, to += pixel)
        for (let b = 0; b < bytes; b++) result[to + b] = decoded[from + b]!;
    }
  }
  return result;
}

function fromJpegXl(
  codecs: Codecs,
  codestream: Uint8Array,
  image: ImageDescription,
  limitBytes: number,
  recompressed: boolean,
): DecodedFrame {
  const stated = image.PhotometricInterpretation;
  const header = { ...readJpegXlHeader(codestream), components: image.SamplesPerPixel };
  const bits = header.bits || image.BitsStored;
  fits({ ...header, bits }, image);
  const wide = bits > 8;
  if (header.columns * header.rows * header.components * 2 > limitBytes)
    throw new PacsError('TOO_LARGE', 'the decoded frame is over the limit');
  const decoded = run(codecs, 'JpegXl', codestream, { ...header, bits });
  // libjxl stretches to the whole range of 8 or 16 bits
  const full = wide ? 65535 : 255;
  const top = 2 ** bits - 1;
  if (top !== full) {
    const values = wide ? new Uint16Array(decoded.buffer, decoded.byteOffset, decoded.length >> 1) : decoded;
    for (let i = 0; i < values.length; i++) values[i] = Math.round((values[i]! * top) / full);
  }
  // libjxl converts XYB and the YCbCr of a recompressed JPEG; samples that were put in as YBR_FULL come out as such
  const stays = image.SamplesPerPixel !== 3 || (stated === 'YBR_FULL' && !recompressed);
  const photometric = stays ? stated : 'RGB';
  return { samples: toCells(decoded, bits, wide, image), image: cellImage(image, photometric) };
}

/** The same frame in RGB, where it is colour; 8 bits a sample. */
export function toRgb(frame: DecodedFrame): DecodedFrame {
  const { image } = frame;
  if (image.SamplesPerPixel !== 3 || image.BitsAllocated !== 8) return frame;
  if (image.PhotometricInterpretation === 'YBR_FULL' || image.PhotometricInterpretation === 'YBR_FULL_422') {
    return { samples: ybrFullToRgb(frame.samples), image: { ...image, PhotometricInterpretation: 'RGB' } };
  }
  return frame;
}
