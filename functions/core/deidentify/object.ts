import { swappedStream } from '../dicom/byte-order.ts';
import { firstString } from '../dicom/element-text.ts';
import { frameRange, stripItemHeaders } from '../dicom/frames.ts';
import { Part10Scanner } from '../dicom/scanner.ts';
import { EXPLICIT_VR_LITTLE_ENDIAN, transferSyntax } from '../dicom/transfer-syntaxes.ts';
import type { Bulk, DataSet, Element, PixelLayout } from '../dicom/types.ts';
import { vrNamed } from '../dicom/vr.ts';
import { type BulkContent, type Frames, writePart10 } from '../dicom/writer.ts';
import { PacsError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import { imageDescription } from '../pixels/attributes.ts';
import { PIXEL_SYNTAXES } from '../pixels/syntaxes.ts';
import type { BlobStore } from '../ports/blob-store.ts';
import type { DecodedFrame, EncodedFrame, PixelEngine } from '../ports/pixel-engine.ts';
import { inflatedStream } from '../retrieve/inflated.ts';
import { blackOutFrame, blackOutNative, frameBytes, maskStoredBits } from './blackout.ts';
import { deidentifyDataSet } from './data-set.ts';
import { watchedBytes, watching } from './guard.ts';
import { judge, type Refusal } from './judge.ts';
import type { Profile, Rectangle } from './profile.ts';
import type { Patient, Pseudonyms } from './pseudonyms.ts';

/** A Part 10 object that can be read, from any place and more than once. */
export interface SourceObject {
  readonly blobs: Pick<BlobStore, 'read' | 'readBytes'>;
  readonly blobKey: string;
}

export interface Engine {
  readonly limits: Limits;
  /** decodes and encodes frames that are to be blacked out */
  readonly pixels: Pick<PixelEngine, 'decode' | 'encode'>;
  readonly profile: Profile;
  readonly pseudonyms: Pseudonyms;
  readonly project: string;
}

export interface ObjectUids {
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
}

export type Outcome =
  | { readonly kind: 'refused'; readonly reasons: readonly Refusal[] }
  /** `bytes`: the copy, a Part 10 object; always the same for the same source, key and profile. It throws DATASET_MISMATCH with `details.refusal` */
  | {
      readonly kind: 'copy';
      readonly bytes: AsyncIterable<Uint8Array>;
      readonly from: ObjectUids;
      readonly to: ObjectUids;
      readonly patient: Patient;
    };

const PIXEL_DATA = '7FE00010';
const OFFSET_TABLES = ['7FE00001', '7FE00002'];

/**
 * De-identifies one object (PS3.15 Annex E). Memory holds the header and, of pixels that are blacked out in compressed frames, one frame; pixel data that is not
 * cleaned passes byte by byte, compressed as it was; native pixel data leaves as Explicit VR Little Endian.
 * @throws PacsError UNREADABLE_DATASET, TOO_LARGE of objects that cannot be read; what reading throws
 */
export async function deidentifyObject(source: SourceObject, engine: Engine): Promise<Outcome> {
  const { profile, pseudonyms, project, limits } = engine;
  const scanned = await scan(source, limits);
  const { dataSet, transferSyntaxUID } = scanned;
  const judgement = judge(dataSet, transferSyntaxUID, profile);
  if (judgement.kind === 'refused') return judgement;
  const cleans = judgement.blackout.length > 0 || judgement.maskBits;
  const patient = pseudonyms.patient(dataSet);
  const copy = deidentifyDataSet(dataSet, {
    profile,
    pseudonyms,
    patient,
    project,
    cleanedPixels: judgement.blackout.length > 0,
  });
  const written = cleans
    ? await cleanedPixels(source, scanned, copy, judgement.blackout, judgement.maskBits, engine)
    : asTheyAre(scanned, copy);
  const bytes = writePart10({}, written.dataSet, written.transferSyntaxUID, (_path, bulk, _uri, vr) =>
    bulk === undefined || bulk === written.pixels ? written.frames! : storedValue(source, scanned, bulk, vr, limits),
  );
  const found = (): Error =>
    new PacsError('DATASET_MISMATCH', 'a value of the source would have been written', {
      details: { refusal: 'IDENTIFIER_IN_BYTES' satisfies Refusal },
    });
  return {
    kind: 'copy',
    bytes: watching(bytes, watchedBytes(dataSet, profile), found),
    from: uidsOf(dataSet),
    to: uidsOf(copy),
    patient,
  };
}

const uidsOf = (dataSet: DataSet): ObjectUids => {
  const text = (tag: string): string => firstString(dataSet, tag) ?? '';
  return {
    StudyInstanceUID: text('0020000D'),
    SeriesInstanceUID: text('0020000E'),
    SOPInstanceUID: text('00080018'),
  };
};

interface Scanned {
  readonly dataSet: DataSet;
  readonly transferSyntaxUID: string;
  readonly dataSetOffset: number;
  readonly littleEndian: boolean;
  /** of encapsulated pixel data */
  readonly layout: PixelLayout | undefined;
}

/** Native objects are read up to their pixel data; what stands behind it (signatures, padding) is not copied. Where fragments end is known at the end alone. */
async function scan({ blobs, blobKey }: SourceObject, limits: Limits): Promise<Scanned> {
  const scanner = new Part10Scanner(limits);
  for await (const chunk of blobs.read(blobKey)) {
    scanner.push(chunk);
    const header = scanner.header();
    if (header === undefined || header.dataSet[PIXEL_DATA]?.bulk?.encapsulated === true) continue;
    if (transferSyntax(header.transferSyntaxUID).deflated) continue;
    return { ...header, dataSetOffset: 0, layout: undefined };
  }
  const { dataSet, transferSyntaxUID, dataSetOffset, pixels } = scanner.end();
  return { dataSet, transferSyntaxUID, dataSetOffset, littleEndian: scanner.littleEndian, layout: pixels };
}

/** A value as it lies in the object, little endian. */
function storedValue(
  source: SourceObject,
  scanned: Scanned,
  bulk: Bulk,
  vr: string,
  limits: Limits,
): AsyncIterable<Uint8Array> {
  const { offset, length } = bulk;
  const { dataSetOffset, littleEndian } = scanned;
  const { blobs, blobKey } = source;
  const bytes = bulk.inflated
    ? inflatedStream({ blobs, limits }, { blobKey, dataSetOffset }, offset, length)
    : blobs.read(blobKey, { offset, length });
  const width = vrNamed(vr)?.width ?? 1;
  return littleEndian || width === 1 || bulk.encapsulated ? bytes : swappedStream(bytes, width);
}

interface Written {
  readonly dataSet: DataSet;
  readonly transferSyntaxUID: string;
  /** the bulk that `frames` stand for */
  readonly pixels?: Bulk;
  readonly frames?: BulkContent;
}

function asTheyAre({ transferSyntaxUID }: Scanned, dataSet: DataSet): Written {
  const { encapsulated } = transferSyntax(transferSyntaxUID);
  return { dataSet, transferSyntaxUID: encapsulated ? transferSyntaxUID : EXPLICIT_VR_LITTLE_ENDIAN };
}

/**
 * Pixels with the rectangles blacked out: native ones on their way, compressed ones frame by frame, compressed again where that loses nothing, else native.
 * @throws PacsError UNREADABLE_DATASET, TOO_LARGE
 */
async function cleanedPixels(
  source: SourceObject,
  scanned: Scanned,
  dataSet: DataSet,
  rectangles: readonly Rectangle[],
  maskBits: boolean,
  engine: Engine,
): Promise<Written> {
  const image = imageDescription(scanned.dataSet);
  const element = dataSet[PIXEL_DATA]!;
  const pixels = element.bulk;
  if (pixels?.encapsulated !== true) {
    if (pixels === undefined) throw new PacsError('UNREADABLE_DATASET', 'the pixel data is too short for an image');
    const stored = storedValue(source, scanned, pixels, element.vr, engine.limits);
    const masked = maskBits ? maskStoredBits(stored, image) : stored;
    const frames: Frames = { frames: blackOutNative(masked, image, rectangles), lengths: [pixels.length] };
    return { dataSet, transferSyntaxUID: EXPLICIT_VR_LITTLE_ENDIAN, pixels, frames };
  }
  const { layout, transferSyntaxUID } = scanned;
  if (layout?.kind !== 'fragments' || layout.frames === 0)
    throw new PacsError('UNREADABLE_DATASET', 'the pixel data has no frames');
  const { lossless, encodes } = PIXEL_SYNTAXES[transferSyntaxUID]!;
  const target = lossless && encodes ? transferSyntaxUID : EXPLICIT_VR_LITTLE_ENDIAN;
  const cleaned = async (number: number): Promise<EncodedFrame> => {
    const range = frameRange(layout, number)!;
    const items = await source.blobs.readBytes(source.blobKey, { offset: range.offset, length: range.length });
    const decoded = await engine.pixels.decode({ codestream: stripItemHeaders(items), transferSyntaxUID, image });
    const frame: DecodedFrame = blackOutFrame(decoded, rectangles);
    return engine.pixels.encode({ frame, target: { transferSyntaxUID: target } });
  };
  const first = await cleaned(1);
  async function* all(): AsyncGenerator<Uint8Array, void, undefined> {
    yield first.codestream;
    for (let number = 2; number <= (layout as { frames: number }).frames; number++)
      yield (await cleaned(number)).codestream;
  }
  const native = target === EXPLICIT_VR_LITTLE_ENDIAN;
  const lengths = native ? { lengths: [frameBytes(first.image) * layout.frames] } : {};
  const bulk: Bulk = { offset: 0, length: 0 };
  const described: DataSet = { ...dataSet, ...describing(first, native, bulk) };
  for (const tag of OFFSET_TABLES) delete described[tag];
  return { dataSet: described, transferSyntaxUID: target, pixels: bulk, frames: { frames: all(), ...lengths } };
}

/** What the header says of pixels as `frame` has them. */
function describing({ image }: EncodedFrame, native: boolean, bulk: Bulk): Record<string, Element> {
  const us = (value: number): Element => ({ vr: 'US', Value: [value] });
  return {
    [PIXEL_DATA]: { vr: native && image.BitsAllocated > 8 ? 'OW' : 'OB', bulk },
    '00280004': { vr: 'CS', Value: [image.PhotometricInterpretation] },
    '00280100': us(image.BitsAllocated),
    '00280101': us(image.BitsStored),
    '00280102': us(image.HighBit),
    ...(image.SamplesPerPixel > 1 ? { '00280006': us(0) } : {}),
  };
}
