import { uidsOf } from '#core/archive/instance.ts';
import { jsonToDataSet } from '#core/dicom/json.ts';
import { EXPLICIT_VR_LITTLE_ENDIAN, transferSyntax } from '#core/dicom/transfer-syntaxes.ts';
import type { DataSet, Element } from '#core/dicom/types.ts';
import { type BulkContent, writePart10 } from '#core/dicom/writer.ts';
import { xmlToDataSet } from '#core/dicom/xml.ts';
import { PacsError } from '#core/errors.ts';
import { newVersion } from '#core/ids.ts';
import { COMPRESSED_MEDIA_TYPES, OCTET_STREAM } from '#core/retrieve/media-types.ts';
import type { Services } from '#core/services.ts';
import { type MediaType, parseMediaType } from './media-type.ts';
import type { ReceivedPart } from './multipart.ts';
import type { IncomingObject } from './store.ts';

const PIXEL_DATA = '7FE00010';
/** The item length that announces a length which is not known; a fragment must be shorter. */
const FRAGMENT_LIMIT_BYTES = 0xffff_fffe;

/** A bulk part, set aside until the data set that refers to it is written. */
interface SpooledPart {
  readonly blobKey: string;
  readonly size: number;
  readonly media: MediaType;
}

/**
 * The Part 10 objects of a Store request with metadata and bulk data apart (PS3.18 §10.5.2, §8.6.1.2.1): one object a data set,
 * its BulkDataURIs taken from the parts whose Content-Location they name. Several parts with one location are the frames of
 * compressed pixel data, in order. Bulk parts wait in the blob store, so memory does not grow with them.
 * @throws PacsError BAD_REQUEST for metadata that cannot be read, a bulk part without location; TOO_LARGE
 */
export async function* objectsFromMetadata(
  services: Services,
  tenant: string,
  type: 'application/dicom+json' | 'application/dicom+xml',
  parts: AsyncIterable<ReceivedPart>,
): AsyncGenerator<IncomingObject> {
  const dataSets: DataSet[] = [];
  const bulk = new Map<string, SpooledPart[]>();
  const spool = `${tenant}/_incoming/${newVersion(services.clock)}`;
  let count = 0;
  try {
    for await (const { headers, body } of parts) {
      const media = parseMediaType(headers['content-type'] ?? type);
      if (media.type === type || media.type === type.replace('dicom+', '')) {
        const text = await readText(body, services.limits.storeMetadataBytes);
        dataSets.push(...(type === 'application/dicom+json' ? fromJson(text) : [xmlToDataSet(text)]));
        continue;
      }
      const location = headers['content-location'];
      if (location === undefined) throw new PacsError('BAD_REQUEST', 'a bulk data part has no Content-Location');
      const { key: blobKey, size } = await services.blobs.put(`${spool}.${count++}`, body);
      bulk.set(location, [...(bulk.get(location) ?? []), { blobKey, size, media }]);
    }
    for (const dataSet of dataSets) yield { uids: uidsOf(dataSet), body: writeObject(services, dataSet, bulk) };
  } finally {
    for (const { blobKey } of [...bulk.values()].flat()) await services.blobs.delete(blobKey);
  }
}

async function readText(body: AsyncIterable<Uint8Array>, limitBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > limitBytes) throw new PacsError('TOO_LARGE', 'the metadata is too large', { details: { limitBytes } });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function fromJson(text: string): DataSet[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new PacsError('BAD_REQUEST', 'the metadata is not JSON');
  }
  return (Array.isArray(value) ? value : [value]).map(jsonToDataSet);
}

async function* writeObject(
  services: Services,
  received: DataSet,
  bulk: ReadonlyMap<string, readonly SpooledPart[]>,
): AsyncGenerator<Uint8Array> {
  const dataSet: DataSet = {};
  for (const [tag, element] of Object.entries(received)) if (!tag.startsWith('0002')) dataSet[tag] = element;
  const partsOf = (uri: string): readonly SpooledPart[] => {
    const parts = bulk.get(uri) ?? [...bulk].find(([location]) => samePlace(location, uri))?.[1];
    if (!parts) throw new PacsError('BAD_REQUEST', 'a BulkDataURI names no part of the request');
    return parts;
  };
  const pixels = dataSet[PIXEL_DATA];
  const frames = pixels?.BulkDataURI === undefined ? undefined : partsOf(pixels.BulkDataURI);
  const syntax = syntaxOf(received, frames);
  if (pixels && frames && transferSyntax(syntax).encapsulated) dataSet[PIXEL_DATA] = encapsulated(pixels, frames);
  yield* writePart10({}, dataSet, syntax, (path, _, uri): BulkContent => {
    if (path === PIXEL_DATA && frames && uri === undefined) return fragments(services, frames);
    const parts = partsOf(uri ?? '');
    return { frames: readAll(services, parts), lengths: parts.map(({ size }) => size) };
  });
}

/** Absolute and relative forms of one reference: the path decides. */
function samePlace(location: string, uri: string): boolean {
  const pathOf = (text: string): string => text.replace(/^[a-z][a-z0-9+.-]*:(\/\/[^/]*)?/i, '').replace(/^\/+/, '');
  return pathOf(location) === pathOf(uri);
}

/** The transfer syntax of the object: that of its pixel data's part, by parameter or by media type (Table 8.7.3-5). */
function syntaxOf(received: DataSet, frames: readonly SpooledPart[] | undefined): string {
  const [first] = frames ?? [];
  if (!first || first.media.type === OCTET_STREAM || first.media.type === '') {
    return first?.media.parameters['transfer-syntax'] ?? EXPLICIT_VR_LITTLE_ENDIAN;
  }
  const declared = received['00083002']?.Value?.[0] ?? received['00020010']?.Value?.[0];
  const row = COMPRESSED_MEDIA_TYPES.find(
    ({ type, aliases }) => type === first.media.type || aliases.includes(first.media.type),
  );
  if (!row) throw new PacsError('UNSUPPORTED_MEDIA', 'the media type of the pixel data is not known');
  const named = first.media.parameters['transfer-syntax'] ?? declared;
  return typeof named === 'string' && row.transferSyntaxUIDs.includes(named) ? named : row.transferSyntaxUIDs[0]!;
}

const encapsulated = (pixels: Element, frames: readonly SpooledPart[]): Element => ({
  vr: pixels.vr,
  bulk: {
    offset: 0,
    length: frames.reduce((sum, { size }) => sum + 8 + size + (size & 1), 8),
    encapsulated: true,
  },
});

/** An empty offset table, then each frame as one fragment, streamed. */
async function* fragments(services: Services, frames: readonly SpooledPart[]): AsyncGenerator<Uint8Array> {
  yield itemHeader(0);
  for (const { blobKey, size } of frames) {
    if (size > FRAGMENT_LIMIT_BYTES - 1) throw new PacsError('TOO_LARGE', 'a frame is too large for one fragment');
    yield itemHeader(size + (size & 1));
    yield* services.blobs.read(blobKey);
    if (size & 1) yield new Uint8Array(1);
  }
}

function itemHeader(length: number): Uint8Array {
  const header = Buffer.from([0xfe, 0xff, 0x00, 0xe0, 0, 0, 0, 0]);
  header.writeUInt32LE(length, 4);
  return header;
}

async function* readAll(services: Services, parts: readonly SpooledPart[]): AsyncGenerator<Uint8Array> {
  for (const { blobKey } of parts) yield* services.blobs.read(blobKey);
}
