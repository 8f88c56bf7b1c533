import { deflateRawSync } from 'node:zlib';
import { EXPLICIT_VR_BIG_ENDIAN } from '../dicom/transfer-syntaxes.ts';
import { PacsError } from '../errors.ts';
import type { DecodedFrame, EncodedFrame, EncodeTarget, ImageDescription } from '../ports/pixel-engine.ts';
import {
  type CodecContext,
  type CodecName,
  type Codecs,
  type EncodeParameters,
  MONOCHROME2,
  RGB,
  YBR_FULL,
} from './codecs.ts';
import { toRgb } from './decode.ts';
import { CPRL, joinComponents, LRCP, RPCL } from './joined-components.ts';
import { encodeRle } from './rle.ts';
import { hasForeignBits, packBits, plain, sampleBytes, swapBytes, wordBytes } from './samples.ts';
import { isHighThroughput, isRpcl, PIXEL_SYNTAXES } from './syntaxes.ts';

/** Native samples to one codestream. @throws PacsError UNSUPPORTED_TRANSFER_SYNTAX when the syntax cannot hold the image */
export function encodeFrame(codecs: Codecs, source: DecodedFrame, target: EncodeTarget): EncodedFrame {
  const frame = { samples: plain(source.samples), image: source.image };
  const { transferSyntaxUID } = target;
  const syntax = PIXEL_SYNTAXES[transferSyntaxUID];
  if (syntax === undefined || !syntax.encodes) {
    throw cannot('there is no encoder for this transfer syntax', transferSyntaxUID);
  }
  const quality = Math.min(100, Math.max(1, Math.round(target.quality ?? 90)));
  const done = (codestream: Uint8Array, image: ImageDescription): EncodedFrame => ({
    codestream,
    transferSyntaxUID,
    image,
  });
  const { image } = frame;
  switch (syntax.coding) {
    case 'native':
      return done(inByteOrder(frame.samples, image, transferSyntaxUID), image);
    case 'uncompressedFrame':
      return done(even(frame.samples), image);
    case 'deflatedFrame':
      return done(even(deflateRawSync(frame.samples)), image);
    case 'rle': {
      const codestream = encodeRle(frame.samples, image.Columns, image.Rows, image.SamplesPerPixel, sampleBytes(image));
      return done(codestream, image);
    }
    case 'jpeg':
      if (syntax.lossless)
        return losslessly(codecs, 'Jpeg', frame, transferSyntaxUID, { lossy: false, sampleFactor: 2 });
      return baseline(codecs, frame, transferSyntaxUID, quality);
    case 'jpegLs':
      // PS3.5 leaves the error open; a thousandth of the range at quality 90, none at 100
      return losslessly(codecs, 'JpegLs', frame, transferSyntaxUID, {
        lossy: !syntax.lossless,
        allowedError: syntax.lossless ? 0 : nearError(image, quality),
      });
    case 'jpegXl':
      return losslessly(codecs, 'JpegXl', frame, transferSyntaxUID, { lossy: !syntax.lossless, quality });
    case 'jpeg2000':
      return jpeg2000(codecs, frame, transferSyntaxUID, syntax.lossless, quality);
  }
}

const inByteOrder = (samples: Uint8Array, image: ImageDescription, transferSyntaxUID: string): Uint8Array =>
  transferSyntaxUID === EXPLICIT_VR_BIG_ENDIAN && sampleBytes(image) > 1
    ? swapBytes(samples, wordBytes(image))
    : samples;

/**
 * A frame of one bit a pixel, packed again: its data set says BitsAllocated 1 and goes on saying so. Native, RLE (eight pixels
 * a byte) and deflated frames hold such pixels. @throws PacsError UNSUPPORTED_TRANSFER_SYNTAX for the others
 */
export function encodeBits(frame: DecodedFrame, transferSyntaxUID: string): EncodedFrame {
  const coding = PIXEL_SYNTAXES[transferSyntaxUID]?.coding;
  const packed = packBits(frame.samples);
  const image: ImageDescription = { ...frame.image, BitsAllocated: 1, BitsStored: 1, HighBit: 0 };
  if (coding === 'native') return { codestream: packed, transferSyntaxUID, image };
  if (coding === 'uncompressedFrame') return { codestream: even(packed), transferSyntaxUID, image };
  if (coding === 'rle') return { codestream: encodeRle(packed, packed.length, 1, 1, 1), transferSyntaxUID, image };
  if (coding === 'deflatedFrame') return { codestream: even(deflateRawSync(packed)), transferSyntaxUID, image };
  throw cannot('pixels of one bit cannot be compressed in this syntax', transferSyntaxUID);
}

const cannot = (what: string, transferSyntaxUID: string): PacsError =>
  new PacsError('UNSUPPORTED_TRANSFER_SYNTAX', what, { details: { transferSyntaxUID } });

const nearError = (image: ImageDescription, quality: number): number =>
  quality === 100
    ? 0
    : Math.max(1, Math.min(255, Math.round(((2 ** image.BitsStored - 1) * (100 - quality)) / 10_000)));

/** Fragments have even length (PS3.5 A.4); a deflate stream ends by itself. */
function even(bytes: Uint8Array): Uint8Array {
  if (bytes.length % 2 === 0) return bytes;
  const padded = new Uint8Array(bytes.length + 1);
  padded.set(bytes);
  return padded;
}

function integral(frame: DecodedFrame, transferSyntaxUID: string): void {
  const { image } = frame;
  if (image.float === true || image.BitsAllocated > 16)
    throw cannot('samples of more than 16 bits cannot be compressed in this syntax', transferSyntaxUID);
  if (image.SamplesPerPixel !== 1 && image.SamplesPerPixel !== 3)
    throw cannot('images of 1 and 3 samples a pixel can be encoded', transferSyntaxUID);
}

function context(image: ImageDescription, bits: number, signed: boolean, bitsAllocated: number): CodecContext {
  const photometric =
    image.SamplesPerPixel === 1 ? MONOCHROME2 : image.PhotometricInterpretation === 'RGB' ? RGB : YBR_FULL;
  return {
    columns: image.Columns,
    rows: image.Rows,
    bitsAllocated,
    bitsStored: bits,
    samplesPerPixel: image.SamplesPerPixel,
    signed,
    photometric,
  };
}

/** The bits that must survive: BitsStored, or all of them when something stands above (an overlay in the pixel data). */
function significantBits(frame: DecodedFrame): number {
  const { samples, image } = frame;
  const values =
    image.BitsAllocated === 16
      ? new Uint16Array(aligned(samples).buffer, aligned(samples).byteOffset, samples.length >> 1)
      : samples;
  return hasForeignBits(values, image) ? image.BitsAllocated : image.BitsStored;
}

const aligned = (bytes: Uint8Array): Uint8Array => (bytes.byteOffset % 2 === 0 ? bytes : bytes.slice());

/** The samples with only `bits` bits: signed values as plain unsigned patterns, for codecs that know no sign. */
function unsignedPattern(frame: DecodedFrame, bits: number): Uint8Array {
  const { samples, image } = frame;
  if (image.PixelRepresentation === 0 || bits === image.BitsAllocated) return samples;
  const copy = samples.slice();
  const values = image.BitsAllocated === 16 ? new Uint16Array(copy.buffer) : copy;
  const mask = 2 ** bits - 1;
  for (let i = 0; i < values.length; i++) values[i]! &= mask;
  return copy;
}

/** libijg is built three times, for 8, 12 and 16 bits; JPEG-LS starts at 2 bits; libjxl stretches what is not 8 or 16. */
function precision(codec: CodecName, stored: number, allocated: number): number {
  if (codec === 'Jpeg') return stored <= 8 ? 8 : stored <= 12 ? 12 : 16;
  return codec === 'JpegXl' ? allocated : Math.max(2, stored);
}

/** JPEG process 14, JPEG-LS, JPEG XL: samples as unsigned patterns of `bits`, colours as they are. */
function losslessly(
  codecs: Codecs,
  codec: CodecName,
  frame: DecodedFrame,
  transferSyntaxUID: string,
  parameters: EncodeParameters,
): EncodedFrame {
  integral(frame, transferSyntaxUID);
  const { image } = frame;
  if (parameters.lossy && image.PhotometricInterpretation === 'PALETTE COLOR')
    throw cannot('palette indices cannot be compressed with loss', transferSyntaxUID);
  if (parameters.lossy && image.PixelRepresentation === 1) {
    // the wrap between the largest positive and the smallest negative pattern would turn a small error into the largest
    throw cannot('signed images cannot be compressed with loss in this syntax', transferSyntaxUID);
  }
  const stored = significantBits(frame);
  const bits = precision(codec, stored, image.BitsAllocated);
  const samples = unsignedPattern(frame, bits);
  const narrowed =
    image.BitsAllocated === 16 && bits <= 8
      ? Uint8Array.from(new Uint16Array(aligned(samples).buffer, aligned(samples).byteOffset, samples.length >> 1))
      : samples;
  const described = context(image, bits, false, codec === 'JpegLs' || codec === 'JpegXl' ? bits : bits > 8 ? 16 : 8);
  const codestream = codecs.encode(codec, narrowed, described, parameters);
  return { codestream: even(codestream), transferSyntaxUID, image };
}

/** JPEG Baseline: 8 bits unsigned; colour as YBR_FULL_422 (PS3.5 §8.2.1). */
function baseline(codecs: Codecs, frame: DecodedFrame, transferSyntaxUID: string, quality: number): EncodedFrame {
  integral(frame, transferSyntaxUID);
  const { image } = frame;
  if (image.BitsStored > 8 || image.PixelRepresentation === 1)
    throw cannot('JPEG Baseline holds unsigned samples of 8 bits', transferSyntaxUID);
  if (image.PhotometricInterpretation === 'PALETTE COLOR')
    throw cannot('palette indices cannot be compressed with loss', transferSyntaxUID);
  const eight = image.BitsAllocated === 16 ? narrow(frame) : frame;
  const source = toRgb(eight);
  const codestream = codecs.encode('Jpeg', source.samples, context(source.image, 8, false, 8), {
    lossy: true,
    quality,
    sampleFactor: 1,
  });
  const PhotometricInterpretation = image.SamplesPerPixel === 3 ? 'YBR_FULL_422' : image.PhotometricInterpretation;
  return {
    codestream: even(codestream),
    transferSyntaxUID,
    image: { ...image, BitsAllocated: 8, PlanarConfiguration: 0, PhotometricInterpretation },
  };
}

function narrow(frame: DecodedFrame): DecodedFrame {
  const bytes = aligned(frame.samples);
  const samples = Uint8Array.from(new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length >> 1));
  return { samples, image: { ...frame.image, BitsAllocated: 8, HighBit: 7 } };
}

function jpeg2000(
  codecs: Codecs,
  frame: DecodedFrame,
  transferSyntaxUID: string,
  lossless: boolean,
  quality: number,
  { bits = significantBits(frame), progression = isRpcl(transferSyntaxUID) ? RPCL : LRCP } = {},
): EncodedFrame {
  integral(frame, transferSyntaxUID);
  const { image } = frame;
  if (image.SamplesPerPixel === 3 && image.BitsAllocated > 8)
    return wideColour(codecs, frame, transferSyntaxUID, lossless);
  const signed = image.PixelRepresentation === 1;
  if (!lossless && image.PhotometricInterpretation === 'PALETTE COLOR')
    throw cannot('palette indices cannot be compressed with loss', transferSyntaxUID);
  const transformed = image.PhotometricInterpretation === 'RGB';
  // both transforms are undone by every decoder, so what was YBR_FULL comes back as YBR_FULL
  const PhotometricInterpretation = transformed ? (lossless ? 'YBR_RCT' : 'YBR_ICT') : image.PhotometricInterpretation;
  // the module reads 8-bit samples as unsigned, also signed ones: they travel as patterns and get their sign back when decoded
  const asPattern = signed && image.BitsAllocated === 8;
  if (asPattern && !lossless) throw cannot('signed images of 8 bits cannot be compressed with loss', transferSyntaxUID);
  if (isHighThroughput(transferSyntaxUID)) {
    // OpenJPH is given the allocated bits: sign extension and foreign bits travel as they are
    const described = context(image, image.BitsAllocated, signed && !asPattern, image.BitsAllocated);
    const codestream = codecs.encode('HtJpeg2000', frame.samples, described, {
      lossy: !lossless,
      progression,
    });
    return { codestream: even(codestream), transferSyntaxUID, image: { ...image, PhotometricInterpretation } };
  }
  if (Math.min(image.Rows, image.Columns) < 2)
    throw cannot('JPEG 2000 needs two rows and two columns', transferSyntaxUID);
  const narrowed = image.BitsAllocated === 16 && bits <= 8;
  let samples = asPattern || narrowed ? unsignedPattern(frame, bits) : frame.samples;
  if (narrowed)
    samples = Uint8Array.from(
      new Uint16Array(aligned(samples).buffer, aligned(samples).byteOffset, samples.length >> 1),
    );
  const described = context(
    image,
    bits,
    signed && !asPattern && !narrowed,
    image.BitsAllocated === 16 && !narrowed ? 16 : 8,
  );
  const codestream = codecs.encode('Jpeg2000', samples, described, {
    lossy: !lossless,
    rate: lossless ? 20 : compressionRatio(quality),
    progression,
    componentTransform: transformed,
  });
  return { codestream: even(codestream), transferSyntaxUID, image: { ...image, PhotometricInterpretation } };
}

/**
 * Colour of more than 8 bits, of which the modules write something else than they are given: each component as a gray image, and the three joined.
 * So there is no component transform, and the colours are what they were.
 */
function wideColour(codecs: Codecs, frame: DecodedFrame, transferSyntaxUID: string, lossless: boolean): EncodedFrame {
  if (!lossless) throw cannot('JPEG 2000 colour of more than 8 bits cannot be compressed with loss', transferSyntaxUID);
  if (isRpcl(transferSyntaxUID))
    throw cannot('JPEG 2000 colour of more than 8 bits cannot be written resolution by resolution', transferSyntaxUID);
  const { image } = frame;
  const how = { bits: significantBits(frame), progression: CPRL };
  const gray: ImageDescription = { ...image, SamplesPerPixel: 1, PhotometricInterpretation: 'MONOCHROME2' };
  const codestreams = planesOf(frame).map(
    (samples) => jpeg2000(codecs, { samples, image: gray }, transferSyntaxUID, true, 100, how).codestream,
  );
  return { codestream: even(joinComponents(codestreams)), transferSyntaxUID, image };
}

/** The samples of each component by itself: little endian words, as they lie. */
function planesOf({ samples, image: { SamplesPerPixel } }: DecodedFrame): Uint8Array[] {
  const bytes = aligned(samples);
  const words = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length >> 1);
  return Array.from({ length: SamplesPerPixel }, (_, component) => {
    const plane = new Uint16Array(words.length / SamplesPerPixel);
    for (let i = 0; i < plane.length; i++) plane[i] = words[i * SamplesPerPixel + component]!;
    return new Uint8Array(plane.buffer);
  });
}

/** Quality 100: 2:1, 90: 10:1, 50: 50:1. */
const compressionRatio = (quality: number): number => Math.max(2, 100 - quality);
