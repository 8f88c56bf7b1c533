import { uidsOf } from '#core/archive/instance.ts';
import { decoderFor } from '#core/dicom/character-sets.ts';
import { jsonToDataSet } from '#core/dicom/json.ts';
import {
  EXPLICIT_VR_LITTLE_ENDIAN,
  JPEG_BASELINE,
  JPEG_EXTENDED,
  JPEG_LOSSLESS_SV1,
  transferSyntax,
} from '#core/dicom/transfer-syntaxes.ts';
import type { DataSet, Element } from '#core/dicom/types.ts';
import { decodeValue } from '#core/dicom/values.ts';
import { type VrKind, vrNamed } from '#core/dicom/vr.ts';
import { type BulkContent, writePart10 } from '#core/dicom/writer.ts';
import { xmlToDataSet } from '#core/dicom/xml.ts';
import { PacsError } from '#core/errors.ts';
import { newVersion } from '#core/ids.ts';
import { COMPRESSED_MEDIA_TYPES, OCTET_STREAM } from '#core/retrieve/media-types.ts';
import type { Services } from '#core/services.ts';
import { type MediaType, parseMediaType } from './media-type.ts';
import type { ReceivedPart } from './multipart.ts';
import { readText } from './read-text.ts';
import type { IncomingObject } from './store.ts';

const PIXEL_DATA = '7FE00010';
/** The item length that announces a length which is not known; a fragment must be shorter. */
const FRAGMENT_LIMIT_BYTES = 0xffff_fffe;

/** what of a JPEG is looked at for its frame header; application segments (a profile) stand before it */
const JPEG_HEAD_BYTES = 256 * 1024;

/** A bulk part, set aside until the data set that refers to it is written. */
interface SpooledPart {
  readonly blobKey: string;
  readonly size: number;
  readonly media: MediaType;
}

/** The bulk parts of a request by the Content-Location that they name; several of one location in the order they came. */
class BulkParts {
  readonly all: SpooledPart[] = [];
  readonly #byLocation = new Map<string, SpooledPart[]>();
  /** the first location of each path: a reference is absolute or relative, and the path decides */
  readonly #byPath = new Map<string, SpooledPart[]>();

  add(location: string, part: SpooledPart): void {
    this.all.push(part);
    const sameLocation = this.#byLocation.get(location);
    if (sameLocation !== undefined) {
      sameLocation.push(part);
      return;
    }
    const parts = [part];
    this.#byLocation.set(location, parts);
    const path = pathOf(location);
    if (!this.#byPath.has(path)) this.#byPath.set(path, parts);
  }

  /** @throws PacsError BAD_REQUEST where there is none */
  of(uri: string): readonly SpooledPart[] {
    const parts = this.#byLocation.get(uri) ?? this.#byPath.get(pathOf(uri));
    if (parts === undefined) throw new PacsError('BAD_REQUEST', 'a BulkDataURI names no part of the request');
    return parts;
  }
}

const pathOf = (uri: string): string => uri.replace(/^[a-z][a-z0-9+.-]*:(\/\/[^/]*)?/i, '').replace(/^\/+/, '');

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
  const bulk = new BulkParts();
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
      bulk.add(location, { blobKey, size, media });
    }
    for (const dataSet of dataSets) yield { uids: uidsOf(dataSet), body: writeObject(services, dataSet, bulk) };
  } finally {
    for (const { blobKey } of bulk.all) await services.blobs.delete(blobKey);
  }
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

async function* writeObject(services: Services, received: DataSet, bulk: BulkParts): AsyncGenerator<Uint8Array> {
  const partsOf = (uri: string): readonly SpooledPart[] => bulk.of(uri);
  const dataSet = await withTexts(services, received, partsOf, undefined);
  const pixels = dataSet[PIXEL_DATA];
  const frames = pixels?.BulkDataURI === undefined ? undefined : partsOf(pixels.BulkDataURI);
  const syntax = await syntaxOf(services, received, frames);
  if (pixels && frames && transferSyntax(syntax).encapsulated) dataSet[PIXEL_DATA] = encapsulated(pixels, frames);
  yield* writePart10({}, dataSet, syntax, (path, _bulk, uri): BulkContent => {
    if (path === PIXEL_DATA && frames && uri === undefined) return fragments(services, frames);
    const parts = partsOf(uri ?? '');
    return { frames: readAll(services, parts), lengths: parts.map(({ size }) => size) };
  });
}

/**
 * The data set with its long texts, which come as bulk data in the character set that it names (PS3.18 F.2.2), in place: all of it is written in UTF-8.
 * @throws PacsError BAD_REQUEST, TOO_LARGE
 */
async function withTexts(
  services: Services,
  dataSet: DataSet,
  partsOf: (uri: string) => readonly SpooledPart[],
  outer: Element | undefined,
): Promise<DataSet> {
  const characterSet = dataSet['00080005'] ?? outer;
  const whole: DataSet = {};
  for (const [tag, element] of Object.entries(dataSet)) {
    if (tag.startsWith('0002')) continue;
    const vr = vrNamed(element.vr);
    if (element.vr === 'SQ' && element.Value !== undefined) {
      const items: DataSet[] = [];
      for (const item of element.Value) items.push(await withTexts(services, item as DataSet, partsOf, characterSet));
      whole[tag] = { vr: 'SQ', Value: items };
    } else if (vr !== undefined && TEXTS.has(vr.kind) && element.BulkDataURI !== undefined) {
      const limitBytes = services.limits.storeMetadataBytes;
      const parts = partsOf(element.BulkDataURI);
      if (parts.reduce((sum, { size }) => sum + size, 0) > limitBytes)
        throw new PacsError('TOO_LARGE', 'a text is too large', { details: { limitBytes, tag } });
      const bytes = Buffer.concat(await Array.fromAsync(readAll(services, parts)));
      const terms = (characterSet?.Value ?? []).map((term) => (typeof term === 'string' ? term : ''));
      whole[tag] = decodeValue(bytes, 0, bytes.length, vr, true, decoderFor(terms));
    } else whole[tag] = element;
  }
  return whole;
}

const TEXTS: ReadonlySet<VrKind> = new Set(['texts', 'text', 'names']);

/**
 * The transfer syntax of the object: what its pixel data's part names, else what its media type can mean (Table 8.7.3-5). For JPEG
 * the codestream itself is asked: image/jpeg stands for lossless by default, and most of those who send it mean baseline.
 */
async function syntaxOf(
  services: Services,
  received: DataSet,
  frames: readonly SpooledPart[] | undefined,
): Promise<string> {
  const [first] = frames ?? [];
  const named = first?.media.parameters['transfer-syntax'];
  if (!first || first.media.type === OCTET_STREAM || first.media.type === '') return named ?? EXPLICIT_VR_LITTLE_ENDIAN;
  const row = COMPRESSED_MEDIA_TYPES.find(
    ({ type, aliases }) => type === first.media.type || aliases.includes(first.media.type),
  );
  if (!row) throw new PacsError('UNSUPPORTED_MEDIA', 'the media type of the pixel data is not known');
  const declared = named ?? received['00083002']?.Value?.[0] ?? received['00020010']?.Value?.[0];
  if (typeof declared === 'string' && row.transferSyntaxUIDs.includes(declared)) return declared;
  if (row.type === 'image/jpeg') {
    const length = Math.min(first.size, JPEG_HEAD_BYTES);
    return jpegSyntax(await services.blobs.readBytes(first.blobKey, { offset: 0, length }));
  }
  return row.transferSyntaxUIDs[0]!;
}

/** Start Of Frame markers by JPEG process (ISO 10918-1 Table B.1). */
const JPEG_PROCESSES = new Map([
  [0xc0, JPEG_BASELINE],
  [0xc1, JPEG_EXTENDED],
  [0xc3, JPEG_LOSSLESS_SV1],
]);

/** @throws PacsError BAD_REQUEST when no frame header of a known process stands in `head` */
export function jpegSyntax(head: Uint8Array): string {
  for (let at = 2; at + 4 <= head.length && head[at] === 0xff; ) {
    const marker = head[at + 1]!;
    const syntax = JPEG_PROCESSES.get(marker);
    if (syntax !== undefined) return syntax;
    at += 2 + head[at + 2]! * 256 + head[at + 3]!;
  }
  throw new PacsError('BAD_REQUEST', 'the JPEG process of the pixel data is not known: name its transfer-syntax');
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
