import type { InstanceRecord } from '../archive/records.ts';
import { parseBulkPath } from '../dicom/json.ts';
import { EXPLICIT_VR_BIG_ENDIAN } from '../dicom/transfer-syntaxes.ts';
import type { DataSet, Element } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import type { BlobStore } from '../ports/blob-store.ts';
import type { EncodedFrame, ImageDescription } from '../ports/pixel-engine.ts';
import { readFrame, readFrameOfWords } from '../retrieve/frames.ts';
import { inflatedRange } from '../retrieve/inflated.ts';
import { instanceMetadata } from '../retrieve/metadata.ts';
import type { Services } from '../services.ts';
import { imageDescription } from './attributes.ts';
import { swapBytes } from './samples.ts';

type Reads = Pick<Services, 'blobs' | 'index' | 'limits'>;

/** data sets of objects whose frames are being asked for one by one */
const CACHED_DATA_SETS = 8;
/** longer metadata is parsed each time rather than kept (characters) */
const CACHED_LENGTH = 4_000_000;

// Keyed by the store, so two archives in one process share nothing; blob keys hold a version, so an entry never grows stale.
const caches = new WeakMap<BlobStore, Map<string, DataSet>>();

/** The data set of a stored object without its long values; the same object to every caller: not to be changed. */
export async function dataSetOf(services: Reads, instance: InstanceRecord): Promise<DataSet> {
  const cache = caches.get(services.blobs) ?? new Map<string, DataSet>();
  caches.set(services.blobs, cache);
  const { blobKey } = instance;
  const held = cache.get(blobKey);
  if (held !== undefined) {
    cache.delete(blobKey);
    cache.set(blobKey, held);
    return held;
  }
  // the tenant stands first in every key
  const tenant = blobKey.slice(0, blobKey.indexOf('/'));
  const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = instance;
  const json = await instanceMetadata(services, tenant, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID);
  const dataSet = JSON.parse(json) as DataSet;
  if (json.length <= CACHED_LENGTH) {
    cache.set(blobKey, dataSet);
    if (cache.size > CACHED_DATA_SETS) cache.delete(cache.keys().next().value!);
  }
  return dataSet;
}

/** Reads values that stand in the object only: look-up tables, overlays, ICC profiles, documents. Little endian. */
export function bulkReader(services: Reads, instance: InstanceRecord): (element: Element) => Promise<Uint8Array> {
  return async (element) => {
    if (element.InlineBinary !== undefined) return Buffer.from(element.InlineBinary, 'base64');
    const segment = element.BulkDataURI?.slice(element.BulkDataURI.lastIndexOf('/') + 1);
    const bulk = segment === undefined ? undefined : parseBulkPath(segment)?.bulk;
    if (bulk === undefined) return new Uint8Array(0);
    if (bulk.length > services.limits.decodedFrameBytes)
      throw new PacsError('TOO_LARGE', 'the value is over the limit');
    const { offset, length } = bulk;
    const bytes =
      bulk.inflated === true
        ? await inflatedRange(services, instance, offset, length)
        : await services.blobs.readBytes(instance.blobKey, { offset, length });
    const words = instance.transferSyntaxUID === EXPLICIT_VR_BIG_ENDIAN && ['OW', 'US', 'SS'].includes(element.vr);
    return words ? swapBytes(bytes, 2) : bytes;
  };
}

/** A frame, from 1, as the engine takes it. @throws PacsError NOT_FOUND */
export async function encodedFrame(services: Reads, instance: InstanceRecord, number: number): Promise<EncodedFrame> {
  const image = imageDescription(await dataSetOf(services, instance));
  const read = isInWords(instance, image) ? readFrameOfWords : readFrame;
  return {
    codestream: await read(services, instance, number),
    transferSyntaxUID: instance.transferSyntaxUID,
    image,
  };
}

/** Pixels of 8 bits and less in big endian words (VR OW) lie swapped in pairs (PS3.5 §8.1.1). */
const isInWords = ({ pixels, transferSyntaxUID }: InstanceRecord, image: ImageDescription): boolean =>
  transferSyntaxUID === EXPLICIT_VR_BIG_ENDIAN &&
  image.BitsAllocated <= 8 &&
  pixels?.kind === 'native' &&
  pixels.vr === 'OW';
