import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { SeriesRecord, Tenant } from '../archive/records.ts';
import type { BlobStore } from '../ports/blob-store.ts';
import type { PlacedMetadata } from '../ports/frame-placement.ts';
import type { Services } from '../services.ts';
import { ByteCache } from './byte-cache.ts';
import { JoinedTexts, type KeptText } from './joined-texts.ts';
import { seriesMetadata } from './metadata.ts';
import { type MetadataSource, placedSeriesMetadata } from './placed-metadata.ts';
import { inflatePrepared, readPrepared } from './prepare.ts';

/** kept in memory for all series of this process (bytes) */
const CACHE_BYTES = 64 * 1024 * 1024;
/** larger documents are streamed and not kept (bytes) */
const WHOLE_BYTES = 16 * 1024 * 1024;
/** cheap: on-the-fly compression is for slow lines, and the prepared document is compressed well already */
const GZIP_LEVEL = 1;

const deflate = promisify(gzip);
const caches = new WeakMap<BlobStore, ByteCache>();

function cacheOf({ blobs }: Pick<Services, 'blobs'>): ByteCache {
  const cache = caches.get(blobs) ?? new ByteCache(CACHE_BYTES);
  caches.set(blobs, cache);
  return cache;
}

/** What a series' metadata document is asked for by. `record`: only when all commits are folded into it, so its revision holds. */
export interface DocumentRequest {
  readonly tenant: Tenant;
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly record: SeriesRecord | undefined;
  /** the DICOMweb root that the client sees */
  readonly root: string;
  readonly from: MetadataSource;
}

/** Names the bytes for ever: another revision, root or source is another document. */
const nameOf = ({ tenant, record, root, from }: DocumentRequest): string | undefined =>
  record && `${tenant}|${record.StudyInstanceUID}|${record.SeriesInstanceUID}|${record.revision}|${root}|${from}`;

/** A document that is there as a whole; one that is joined while it is sent; or pieces, where it is too large to hold. */
export type OpenDocument = Uint8Array | JoinedTexts | AsyncIterable<Uint8Array>;

/**
 * The DICOM JSON array of a series, references on `root`: out of memory, else the placement's where it is to come from there and there is
 * one, else the prepared document, else put together from the index.
 * @throws PacsError NOT_FOUND; ARCHIVED, BUSY where texts too long for the index cannot be read
 */
export async function openSeriesDocument(services: Services, request: DocumentRequest): Promise<OpenDocument> {
  const name = nameOf(request);
  const known = name === undefined ? undefined : cacheOf(services).get(name);
  return known ?? madeDocument(services, request, await placedOf(services, request));
}

/** The same, for who wants it whole. One array, or pieces where it is too large to hold. */
export const seriesDocument = async (
  services: Services,
  request: DocumentRequest,
): Promise<Uint8Array | AsyncIterable<Uint8Array>> => wholeOf(await openSeriesDocument(services, request));

const wholeOf = (document: OpenDocument): Uint8Array | AsyncIterable<Uint8Array> =>
  document instanceof JoinedTexts ? document.whole() : document;

const placedOf = async (
  { placement }: Services,
  { from, tenant, StudyInstanceUID, SeriesInstanceUID }: DocumentRequest,
): Promise<PlacedMetadata | undefined> =>
  from === 'placement' ? placement?.openMetadata({ tenant, StudyInstanceUID, SeriesInstanceUID }) : undefined;

async function madeDocument(
  services: Services,
  request: DocumentRequest,
  placed: PlacedMetadata | undefined,
): Promise<OpenDocument> {
  const name = nameOf(request);
  const keep = (document: Uint8Array): void => {
    if (name !== undefined) cacheOf(services).set(name, document);
  };
  const prepared = placed ? undefined : await preparedDocument(services, request);
  if (prepared) keep(prepared);
  return prepared ?? assembledDocument(services, request, placed, keep);
}

/** There is a prepared document of all that the series holds, whose references stand on that root. */
export const isPreparedFor = ({ prepared, revision }: SeriesRecord, root: string): boolean =>
  prepared?.revision === revision && prepared.root === root;

/** The same, gzip: the prepared document as it is where its references stand on `root`; else compressed once and kept. */
export async function gzipSeriesDocument(
  services: Services,
  request: DocumentRequest,
): Promise<Uint8Array | undefined> {
  const { record, root } = request;
  const name = nameOf(request);
  if (name === undefined) return undefined;
  const known = cacheOf(services).get(`${name}|gzip`);
  if (known) return known;
  const placed = await placedOf(services, request);
  const { prepared } = record ?? {};
  const asIs =
    !placed && record && prepared && isPreparedFor(record, root)
      ? await readPrepared(services, prepared.blobKey)
      : undefined;
  const bytes =
    asIs ?? (await compressed(cacheOf(services).get(name) ?? wholeOf(await madeDocument(services, request, placed))));
  if (bytes) cacheOf(services).set(`${name}|gzip`, bytes);
  return bytes;
}

const compressed = async (document: Uint8Array | AsyncIterable<Uint8Array>): Promise<Uint8Array | undefined> =>
  document instanceof Uint8Array ? gzipBytes(document) : undefined;

/** On a thread of the pool, not on this one. */
export const gzipBytes = (bytes: Uint8Array): Promise<Uint8Array> => deflate(bytes, { level: GZIP_LEVEL });

async function preparedDocument(
  services: Services,
  { record, root }: DocumentRequest,
): Promise<Uint8Array | undefined> {
  const prepared = record?.prepared;
  if (!prepared || prepared.revision !== record.revision) return undefined;
  const bytes = await readPrepared(services, prepared.blobKey);
  if (!bytes) return undefined;
  const text = await inflatePrepared(bytes);
  if (prepared.root === root) return text;
  if (prepared.root === undefined) return new JoinedTexts([{ bytes: text }], { open: '', close: '', root }).whole();
  return Buffer.from(text.toString().replaceAll(`"BulkDataURI":"${prepared.root}/`, `"BulkDataURI":"${root}/`));
}

async function assembledDocument(
  services: Services,
  request: DocumentRequest,
  placed: PlacedMetadata | undefined,
  onWhole: (document: Uint8Array) => void,
): Promise<OpenDocument> {
  const { tenant, StudyInstanceUID, SeriesInstanceUID, root } = request;
  const texts = placed
    ? placedSeriesMetadata(services, tenant, StudyInstanceUID, SeriesInstanceUID, placed)
    : seriesMetadata(services, tenant, StudyInstanceUID, SeriesInstanceUID);
  const held: KeptText[] = [];
  let size = 0;
  for (;;) {
    const next = await texts.next();
    if (next.done === true) return new JoinedTexts(held, { open: '[', close: ']', root, onWhole });
    held.push(...next.value);
    for (const { bytes } of next.value) size += bytes.length;
    if (size > WHOLE_BYTES) return pieces(held, texts, root);
  }
}

async function* pieces(
  held: KeptText[],
  rest: AsyncIterable<readonly KeptText[]>,
  root: string,
): AsyncGenerator<Uint8Array> {
  yield* new JoinedTexts(held.splice(0), { open: '[', close: '', root });
  for await (const some of rest) yield* new JoinedTexts(some, { open: ',', close: '', root });
  yield Buffer.from(']');
}
