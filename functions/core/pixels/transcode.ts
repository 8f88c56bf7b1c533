import type { InstanceRecord } from '../archive/records.ts';
import { suppliedElements } from '../archive/supplied-uids.ts';
import { type Rewrite, rewritePart10 } from '../dicom/rewrite.ts';
import {
  EXPLICIT_VR_BIG_ENDIAN,
  EXPLICIT_VR_LITTLE_ENDIAN,
  HTJ2K,
  JPEG_2000,
  JPEG_BASELINE,
  JPEG_EXTENDED,
  JPEG_LS_NEAR_LOSSLESS,
  JPEG_XL,
  JPEG_XL_RECOMPRESSION,
} from '../dicom/transfer-syntaxes.ts';
import type { Bulk, DataSet, Element } from '../dicom/types.ts';
import type { Frames } from '../dicom/writer.ts';
import { PacsError } from '../errors.ts';
import type { EncodedFrame, ImageDescription } from '../ports/pixel-engine.ts';
import { frameCount } from '../retrieve/frames.ts';
import { inflatedStream } from '../retrieve/inflated.ts';
import { startAhead } from '../retrieve/stream.ts';
import type { Services } from '../services.ts';
import { numbersAt, textAt } from './attributes.ts';
import { dataSetOf, encodedFrame } from './image-source.ts';
import { joinBits } from './samples.ts';
import { PIXEL_SYNTAXES } from './syntaxes.ts';

type Uses = Pick<Services, 'blobs' | 'index' | 'limits' | 'pixels' | 'placement'>;

/** JPEG Baseline and its like are made once, at this quality; lossless syntaxes know none */
const QUALITY = 90;
/** objects whose samples are no more than this are compressed before they are sent, so that they get an offset table (bytes) */
const HELD_BYTES = 32 * 1024 * 1024;
/** frames that are worked on while one is being sent */
const AHEAD = 2;
const PIXEL_DATA = '7FE00010';

/**
 * One frame, from 1, in another transfer syntax: a codestream, or samples as Explicit VR Little Endian has them.
 * @throws PacsError NOT_FOUND; UNREADABLE_DATASET; UNSUPPORTED_TRANSFER_SYNTAX when the image does not fit the syntax
 */
export async function transcodeFrame(
  services: Uses,
  instance: InstanceRecord,
  frameNumber: number,
  targetSyntaxUID: string,
): Promise<Uint8Array> {
  const ready = await services.placement?.readFrame(instance, frameNumber, targetSyntaxUID);
  return ready ?? (await reencode(services, instance, frameNumber, targetSyntaxUID)).codestream;
}

/** The frame in the target syntax, native samples little endian (big endian is made where the object is written), with what its data set must then say of it. */
async function reencode(
  services: Uses,
  instance: InstanceRecord,
  frameNumber: number,
  target: string,
): Promise<EncodedFrame> {
  const source = await encodedFrame(services, instance, frameNumber);
  if (keepsSamples(instance, target) && instance.transferSyntaxUID !== EXPLICIT_VR_BIG_ENDIAN)
    return { ...source, transferSyntaxUID: target };
  const transferSyntaxUID = isNative(target) ? EXPLICIT_VR_LITTLE_ENDIAN : target;
  const frame = await services.pixels.transcode({ ...source, target: { transferSyntaxUID, quality: QUALITY } });
  return { ...frame, transferSyntaxUID: target };
}

const isNative = (uid: string): boolean => PIXEL_SYNTAXES[uid]?.coding === 'native';

/** Between native syntaxes samples stay as they lie, packed bits, planes and subsampled colour too: only words are swapped. */
const keepsSamples = ({ transferSyntaxUID }: InstanceRecord, target: string): boolean =>
  isNative(target) && isNative(transferSyntaxUID);

/**
 * The whole object (Part 10) in another transfer syntax, frame by frame: memory holds a few frames, whatever the object holds. The
 * header says what the pixels then are: PhotometricInterpretation, PlanarConfiguration, BitsAllocated, LossyImageCompression.
 * The offset table is filled where the object is small, and empty (PS3.5 A.4 allows it) where it is not.
 * @throws PacsError before the first chunk as transcodeFrame; and UNREADABLE_DATASET for later frames
 */
export async function* transcodeInstance(
  services: Uses,
  instance: InstanceRecord,
  targetSyntaxUID: string,
): AsyncGenerator<Uint8Array> {
  const { blobs, limits } = services;
  const frames = frameCount(instance);
  const rewrite: Rewrite = {
    object: blobs.read(instance.blobKey),
    limits,
    transferSyntaxUID: targetSyntaxUID,
    bulk: (bulk) => rangeOf(services, instance, bulk),
    changes: suppliedElements(instance, instance.suppliedUIDs ?? []),
  };
  if (frames === 0 || keepsSamples(instance, targetSyntaxUID)) {
    yield* rewritePart10(rewrite);
    return;
  }
  const header = await dataSetOf(services, instance);
  if (header[PIXEL_DATA] === undefined) throw unfit(targetSyntaxUID);
  const first = await reencode(services, instance, 1, targetSyntaxUID);
  const rest = laterFrames(services, instance, frames, targetSyntaxUID);
  const content = await pixelContent(first, rest, frames);
  const changes = { ...rewrite.changes, ...headerChanges(header, first, instance.transferSyntaxUID) };
  yield* rewritePart10({ ...rewrite, frames: content, changes });
}

/**
 * The pixels of all frames one behind the other, as native PixelData of Explicit VR Little Endian has them, without a padding byte; read
 * frame by frame. Whoever got it reads the bytes or releases them.
 * @throws PacsError as transcodeFrame, for the first frame; the bytes as transcodeFrame, for later ones
 */
export async function openPixelData(
  services: Uses,
  instance: InstanceRecord,
): Promise<{ readonly sizeBytes: number; readonly bytes: AsyncIterable<Uint8Array> }> {
  const frames = frameCount(instance);
  const first = await reencode(services, instance, 1, EXPLICIT_VR_LITTLE_ENDIAN);
  const { image, codestream } = first;
  const pixels = image.Rows * image.Columns;
  const isPacked = image.BitsAllocated === 1;
  async function* samples(): AsyncGenerator<Uint8Array, void, undefined> {
    yield codestream;
    for await (const frame of laterFrames(services, instance, frames, EXPLICIT_VR_LITTLE_ENDIAN)) {
      if (frame.codestream.length !== codestream.length) throw uneven();
      yield frame.codestream;
    }
  }
  return {
    sizeBytes: isPacked ? Math.ceil((pixels * frames) / 8) : codestream.length * frames,
    bytes: isPacked ? joinBits(samples(), pixels) : samples(),
  };
}

const uneven = (): PacsError => new PacsError('UNREADABLE_DATASET', 'the frames are of different sizes');

const laterFrames = (
  services: Uses,
  instance: InstanceRecord,
  frames: number,
  targetSyntaxUID: string,
): AsyncGenerator<EncodedFrame, void, undefined> =>
  startAhead(
    Array.from({ length: frames - 1 }, (_, i) => i + 2),
    (number) => reencode(services, instance, number, targetSyntaxUID),
    { ahead: AHEAD },
  );

const unfit = (transferSyntaxUID: string): PacsError =>
  new PacsError('UNSUPPORTED_TRANSFER_SYNTAX', 'these pixels cannot be compressed', { details: { transferSyntaxUID } });

async function pixelContent(first: EncodedFrame, rest: AsyncIterable<EncodedFrame>, frames: number): Promise<Frames> {
  async function* codestreams(): AsyncGenerator<Uint8Array, void, undefined> {
    yield first.codestream;
    for await (const { codestream } of rest) yield codestream;
  }
  const { image, transferSyntaxUID } = first;
  const pixels = image.Rows * image.Columns;
  if (isNative(transferSyntaxUID)) {
    if (image.BitsAllocated !== 1) return { frames: codestreams(), lengths: [first.codestream.length * frames] };
    return { frames: joinBits(codestreams(), pixels), lengths: [Math.ceil((pixels * frames) / 8)] };
  }
  if (uncompressedBytes(image) * frames > HELD_BYTES) return { frames: codestreams() };
  const held: Uint8Array[] = [];
  for await (const codestream of codestreams()) held.push(codestream);
  return { frames: held };
}

/** What the header says of pixels as `frame` has them. */
function headerChanges(
  header: DataSet,
  frame: EncodedFrame,
  sourceSyntaxUID: string,
): Record<string, Element | undefined> {
  const { image, codestream, transferSyntaxUID } = frame;
  const us = (value: number): Element => ({ vr: 'US', Value: [value] });
  const wide = isNative(transferSyntaxUID) && image.BitsAllocated > 8;
  const changes: Record<string, Element | undefined> = {
    [PIXEL_DATA]: { vr: wide ? 'OW' : 'OB', bulk: { offset: 0, length: 0 } },
    '00280004': { vr: 'CS', Value: [image.PhotometricInterpretation] },
    '00280100': us(image.BitsAllocated),
    '00280101': us(image.BitsStored),
    '00280102': us(image.HighBit),
    // tables of the frames as they were; the writer makes its own
    '7FE00001': undefined,
    '7FE00002': undefined,
  };
  if (image.SamplesPerPixel > 1) changes['00280006'] = us(0);
  const method = LOSSY_METHODS[transferSyntaxUID];
  if (method !== undefined) {
    const ratio = Number((uncompressedBytes(image) / Math.max(1, codestream.length)).toPrecision(4));
    changes['00282110'] = { vr: 'CS', Value: ['01'] };
    changes['00282112'] = { vr: 'DS', Value: [...numbersAt(header, '00282112'), ratio] };
    changes['00282114'] = { vr: 'CS', Value: [...(header['00282114']?.Value ?? []), method] };
  } else if (ALWAYS_LOSSY.has(sourceSyntaxUID) && textAt(header, '00282110') !== '01') {
    // PS3.3 C.7.6.1.1.5: once lossy, always lossy, also when it is decompressed
    changes['00282110'] = { vr: 'CS', Value: ['01'] };
  }
  return changes;
}

const uncompressedBytes = (image: ImageDescription): number =>
  (image.Rows * image.Columns * image.SamplesPerPixel * image.BitsAllocated) / 8;

/** LossyImageCompressionMethod (0028,2114) of what we write with loss */
const LOSSY_METHODS: Readonly<Record<string, string>> = {
  [JPEG_BASELINE]: 'ISO_10918_1',
  [JPEG_LS_NEAR_LOSSLESS]: 'ISO_14495_1',
  [JPEG_2000]: 'ISO_15444_1',
  [JPEG_XL]: 'ISO_18181_1',
  [HTJ2K]: 'ISO_15444_15',
};

/** syntaxes that hold no lossless image */
const ALWAYS_LOSSY: ReadonlySet<string> = new Set([JPEG_BASELINE, JPEG_EXTENDED, JPEG_XL_RECOMPRESSION]);

async function* rangeOf(
  services: Uses,
  instance: InstanceRecord,
  { offset, length, inflated }: Bulk,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (inflated === true) yield* inflatedStream(services, instance, offset, length);
  else yield* services.blobs.read(instance.blobKey, { offset, length });
}
