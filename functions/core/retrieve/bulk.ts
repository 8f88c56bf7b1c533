import { Buffer } from 'node:buffer';
import type { InstanceRecord } from '../archive/records.ts';
import { stripItemHeadersStream } from '../dicom/frames.ts';
import { parseBulkPath } from '../dicom/json.ts';
import { transferSyntax } from '../dicom/transfer-syntaxes.ts';
import type { Bulk, DataSet, Element } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import type { Services } from '../services.ts';
import { inflatedStream } from './inflated.ts';
import { WHOLE_READ_BYTES } from './stream.ts';

/** A bulk value of an instance. */
export interface BulkValue {
  /** tags and item numbers, as in its BulkDataURI: '7FE00010', '54000100-1-54001010' */
  readonly path: string;
  readonly source: Bulk | { readonly inline: Uint8Array };
  /** bytes as sent; unknown for fragments, whose headers are left out */
  readonly sizeBytes: number | undefined;
}

/**
 * The bulk value that a URL's last segment names: where it lies ('7FE00010.1234.5678', as in BulkDataURIs), or its path alone
 * ('00420011'), which is looked up in the instance's metadata; short values that stand there inline can be had, too.
 * @throws PacsError NOT_FOUND
 */
export function findBulk(instance: InstanceRecord, segment: string, metadata: () => DataSet): BulkValue {
  const named = parseBulkPath(segment);
  if (named) return checked(instance, named.path, named.bulk);
  const path = segment.toUpperCase().replaceAll('/', '-');
  const element = elementAt(metadata(), path);
  if (element?.InlineBinary !== undefined) {
    const inline = Buffer.from(element.InlineBinary, 'base64');
    return { path, source: { inline }, sizeBytes: inline.length };
  }
  const found = element?.BulkDataURI === undefined ? undefined : bulkOfUri(element.BulkDataURI);
  if (!found) throw noSuchBulk(instance, path);
  return checked(instance, found.path, found.bulk);
}

/** What a BulkDataURI names by its last segment. */
export const bulkOfUri = (uri: string): { path: string; bulk: Bulk } | undefined =>
  parseBulkPath(uri.slice(uri.lastIndexOf('/') + 1));

function checked(instance: InstanceRecord, path: string, bulk: Bulk): BulkValue {
  const { offset, length } = bulk;
  const outside = bulk.inflated !== true && (offset < instance.dataSetOffset || offset + length > instance.sizeBytes);
  if (outside) throw noSuchBulk(instance, path);
  return { path, source: bulk, sizeBytes: bulk.encapsulated ? undefined : length };
}

const noSuchBulk = ({ SOPInstanceUID }: InstanceRecord, path: string): PacsError =>
  new PacsError('NOT_FOUND', 'the instance has no such bulk data', { details: { SOPInstanceUID, path } });

/** The element at a path of tags and item numbers (from 1). */
export function elementAt(dataSet: DataSet, path: string): Element | undefined {
  const [tag, item, ...rest] = path.split('-');
  const element = dataSet[tag!];
  if (item === undefined || element === undefined) return element;
  const inner = element.Value?.[Number(item) - 1];
  return typeof inner === 'object' && inner !== null ? elementAt(inner as DataSet, rest.join('-')) : undefined;
}

/**
 * The bytes of a bulk value, little endian, or a range of them. `vr` tells the width of what a big endian object holds swapped.
 * Fragments come joined, without their headers and without the offset table, and whole. Short values come in one array.
 */
export function readBulk(
  services: Pick<Services, 'blobs' | 'limits'>,
  instance: InstanceRecord,
  value: BulkValue,
  vr: () => string,
  range?: { readonly offset: number; readonly length: number },
): AsyncIterable<Uint8Array> | Promise<Uint8Array> {
  const { source } = value;
  if ('inline' in source) {
    return Promise.resolve(source.inline.subarray(range?.offset ?? 0, range && range.offset + range.length));
  }
  if (source.encapsulated) return fragments(services, instance, source);
  const width = transferSyntax(instance.transferSyntaxUID).littleEndian ? 1 : widthOf(vr());
  const offset = source.offset + (range?.offset ?? 0);
  const length = range?.length ?? source.length;
  if (width > 1) return swappedRange(services, instance, source, range ?? { offset: 0, length }, width);
  if (source.inflated) return inflatedStream(services, instance, offset, length);
  const { blobs } = services;
  return length <= WHOLE_READ_BYTES
    ? blobs.readBytes(instance.blobKey, { offset, length })
    : blobs.read(instance.blobKey, { offset, length });
}

/** bytes of one value of a VR that is stored in the byte order of the transfer syntax (PS3.5 §7.3) */
function widthOf(vr: string): number {
  switch (vr) {
    case 'OW':
    case 'US':
    case 'SS':
      return 2;
    case 'OF':
    case 'OL':
    case 'FL':
    case 'UL':
    case 'SL':
      return 4;
    case 'OD':
    case 'OV':
    case 'FD':
    case 'SV':
    case 'UV':
      return 8;
    default:
      return 1;
  }
}

async function* swappedRange(
  { blobs }: Pick<Services, 'blobs'>,
  { blobKey }: InstanceRecord,
  { offset, length }: Bulk,
  range: { readonly offset: number; readonly length: number },
  width: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  // Whole values are read and swapped, then cut to the range.
  const first = range.offset - (range.offset % width);
  const end = Math.min(length - (length % width), Math.ceil((range.offset + range.length) / width) * width);
  let at = first;
  let held = Buffer.alloc(0);
  for await (const chunk of blobs.read(blobKey, { offset: offset + first, length: Math.max(0, end - first) })) {
    const bytes = Buffer.concat([held, chunk]);
    const whole = bytes.length - (bytes.length % width);
    held = bytes.subarray(whole);
    const values = bytes.subarray(0, whole);
    if (width === 2) values.swap16();
    else if (width === 4) values.swap32();
    else values.swap64();
    const from = Math.max(0, range.offset - at);
    const piece = values.subarray(from, Math.max(from, range.offset + range.length - at));
    at += whole;
    if (piece.length > 0) yield piece;
  }
}

/** The first item is the Basic Offset Table (PS3.5 A.4), no part of the stream. */
async function* fragments(
  { blobs }: Pick<Services, 'blobs'>,
  { blobKey }: InstanceRecord,
  { offset, length }: Bulk,
): AsyncGenerator<Uint8Array, void, undefined> {
  const head = Buffer.from(await blobs.readBytes(blobKey, { offset, length: Math.min(8, length) }));
  if (head.length < 8) return;
  const skip = 8 + head.readUInt32LE(4);
  if (skip >= length) return;
  yield* stripItemHeadersStream(blobs.read(blobKey, { offset: offset + skip, length: length - skip }));
}
