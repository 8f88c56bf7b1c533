import type { SeriesRecord } from '#core/archive/records.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { dataSetToXml } from '#core/dicom/xml.ts';
import {
  type DocumentRequest,
  gzipBytes,
  gzipSeriesDocument,
  isPreparedFor,
  type OpenDocument,
  openSeriesDocument,
  seriesDocument,
} from '#core/retrieve/documents.ts';
import { findInstance, findStudy, isFolded, seriesOfStudy, seriesRecord } from '#core/retrieve/find.ts';
import { JoinedTexts } from '#core/retrieve/joined-texts.ts';
import { onRoot, seriesMetadata } from '#core/retrieve/metadata.ts';
import {
  firstSource,
  isOutOfReach,
  type MetadataSource,
  placedSeriesMetadata,
  servedInstanceMetadata,
} from '#core/retrieve/placed-metadata.ts';
import { etagOf, notModified, validatorHeaders } from './conditional.ts';
import type { Context, Handler } from './handler.ts';
import type { HttpRequest, HttpResponse } from './http.ts';
import { splitOutsideQuotes } from './media-type.ts';
import { multipartResponse, type Part } from './multipart-writer.ts';
import { negotiate, type Offer } from './negotiate.ts';

const JSON_TYPE = 'application/dicom+json';
const XML_TYPE = 'application/dicom+xml';
const OFFERS: readonly Offer[] = [
  { type: JSON_TYPE, packaging: 'single', aliases: ['application/json'] },
  { type: XML_TYPE, packaging: 'multipart', aliases: ['application/xml', 'text/xml'] },
];
/** One instance is one document (PS3.18 §10.4.4). Only by its own name: browsers ask for application/xml before anything else. */
const ALONE: Offer = { type: XML_TYPE, packaging: 'single' };
/** OHIF may send the Accept header of its frame requests with everything it asks (OHIF/Viewers#5442). */
const FRAMES_TYPE = 'application/octet-stream';
/** shorter bodies travel in one or two packets anyway (bytes) */
const COMPRESS_FROM_BYTES = 8 * 1024;
/** New instances must be seen at once: a cache may keep the answer but asks before it uses it. */
const CACHE = { 'cache-control': 'private, no-cache', vary: 'accept, accept-encoding, origin' };

/** GET studies/{study}/metadata (PS3.18 §10.4.1.1.2): a DICOM JSON array, or multipart DICOM XML. @throws PacsError NOT_FOUND */
export const retrieveStudyMetadata: Handler = async (context) => {
  const { services, principal, params } = context;
  const study = params.study!;
  const record = await findStudy(services, principal.tenant, study);
  const folded = await isFolded(services, principal.tenant, study);
  return answer(context, folded ? record.revision : undefined, false, () =>
    seriesOfStudy(services, principal.tenant, study).then((all) => all.map((series) => ({ series, folded }))),
  );
};

/** GET studies/{study}/series/{series}/metadata. @throws PacsError NOT_FOUND */
export const retrieveSeriesMetadata: Handler = async (context) => {
  const { services, principal, params } = context;
  const { study, series: uid } = params;
  const [record, folded] = await Promise.all([
    seriesRecord(services, principal.tenant, study!, uid!),
    isFolded(services, principal.tenant, study!),
  ]);
  const series = record ?? { StudyInstanceUID: study!, SeriesInstanceUID: uid! };
  const isCompressed = folded && record !== undefined && isPreparedFor(record, context.root);
  return answer(context, folded ? record?.revision : undefined, isCompressed, async () => [
    { series, folded: folded && record !== undefined },
  ]);
};

/** GET studies/{study}/series/{series}/instances/{instance}/metadata. @throws PacsError NOT_FOUND */
export const retrieveInstanceMetadata: Handler = async (context) => {
  const { services, principal, params, root } = context;
  const { tenant } = principal;
  const instance = await findInstance(services, tenant, params.study!, params.series!, params.instance!);
  const choice = negotiate(context.request, [...OFFERS, ALONE], { tolerate: FRAMES_TYPE });
  const isAlone = choice.offer === ALONE;
  const first = firstSource(services);
  const kind = isAlone ? `${XML_TYPE} alone` : choice.offer.type;
  const validators = { etag: etagFor(kind, first, instance.sha256, instance.version, root) };
  const unchanged = notModified(context.request, validators, CACHE);
  if (unchanged) return unchanged;
  const { text, source } = await servedInstanceMetadata(services, tenant, instance);
  // In place of our own there is nothing that would name it.
  const headers = { ...CACHE, ...(first === 'archive' && source !== first ? {} : validatorHeaders(validators)) };
  if (isAlone) return { status: 200, headers: { ...headers, 'content-type': XML_TYPE }, body: xmlOfText(text, root) };
  if (choice.offer.type === XML_TYPE) return xmlResponse(context, one(text), headers);
  const body = Buffer.from(onRoot(`[${text}]`, root));
  return { status: 200, headers: { ...headers, 'content-type': choice.type }, body };
};

/**
 * Boundaries differ from answer to answer: parts of XML say the same, their bytes do not. Neither do those of a placement, which is left out
 * while it is busy.
 */
const etagFor = (type: string, source: MetadataSource, ...parts: readonly string[]): string =>
  source === 'placement'
    ? `W/${etagOf(type, source, ...parts)}`
    : `${type === XML_TYPE ? 'W/' : ''}${etagOf(type, ...parts)}`;

interface SeriesToSend {
  readonly series: SeriesRecord | Pick<SeriesRecord, 'StudyInstanceUID' | 'SeriesInstanceUID'>;
  readonly folded: boolean;
}

/** @param isCompressed there is a document that can be sent as it lies there */
async function answer(
  context: Context,
  revision: string | undefined,
  isCompressed: boolean,
  list: () => Promise<SeriesToSend[]>,
): Promise<HttpResponse> {
  const { request, root, services, principal } = context;
  const choice = negotiate(request, OFFERS, { tolerate: FRAMES_TYPE });
  const first = firstSource(services);
  const pays = !isLocal(request) || (isCompressed && first === 'archive');
  const encoding = choice.offer.type === JSON_TYPE && pays && takesGzip(request) ? 'gzip' : 'identity';
  const validators =
    revision === undefined
      ? undefined
      : { etag: etagFor(choice.offer.type, first, revision, choice.type, encoding, root) };
  const unchanged = validators && notModified(request, validators, CACHE);
  if (unchanged) return unchanged;
  const all = await list();
  const from = (source: MetadataSource, headers: Record<string, string>): Promise<HttpResponse> => {
    if (choice.offer.type === XML_TYPE) return xmlOf(context, all, source, headers);
    const requests = all.map(
      ({ series, folded }): DocumentRequest => ({
        tenant: principal.tenant,
        StudyInstanceUID: series.StudyInstanceUID,
        SeriesInstanceUID: series.SeriesInstanceUID,
        record: folded && 'revision' in series ? series : undefined,
        root,
        from: source,
      }),
    );
    return jsonResponse(services, requests, encoding, { ...headers, 'content-type': choice.type });
  };
  try {
    return await from(first, { ...CACHE, ...(validators && validatorHeaders(validators)) });
  } catch (error) {
    if (services.placement === undefined || first === 'placement' || !isOutOfReach(error)) throw error;
    // In place of our own: the same instances, in a document that no validator names. Where that fails, too, it is our own that is missing.
    return from('placement', CACHE).catch(() => Promise.reject(error));
  }
}

async function xmlOf(
  context: Context,
  all: readonly SeriesToSend[],
  source: MetadataSource,
  headers: Record<string, string>,
): Promise<HttpResponse> {
  const texts = everyText(context, all, source);
  // The first one decides between 200 and 404.
  const first = await texts.next();
  return xmlResponse(context, first.done === true ? none() : prepend(first.value, texts), headers);
}

async function jsonResponse(
  services: Context['services'],
  requests: readonly DocumentRequest[],
  encoding: 'gzip' | 'identity',
  headers: Record<string, string>,
): Promise<HttpResponse> {
  const [only] = requests;
  if (encoding === 'gzip' && only && requests.length === 1) {
    const body = await gzipSeriesDocument(services, only);
    if (body) return { status: 200, headers: { ...headers, 'content-encoding': 'gzip' }, body };
  }
  if (encoding === 'identity' && only && requests.length === 1)
    return uncompressed(headers, await openSeriesDocument(services, only));
  const first = only ? await seriesDocument(services, only) : Buffer.from('[]');
  if (requests.length <= 1) return compressed(encoding, headers, first);
  const joined = await gather(joinArrays(services, first, requests.slice(1)));
  return compressed(encoding, headers, joined);
}

/** Sent while it is joined: of a known size all the same. */
function uncompressed(headers: Record<string, string>, body: OpenDocument): HttpResponse {
  const size = body instanceof JoinedTexts ? { 'content-length': String(body.sizeBytes) } : {};
  return { status: 200, headers: { ...headers, ...size }, body };
}

async function compressed(
  encoding: 'gzip' | 'identity',
  headers: Record<string, string>,
  body: Uint8Array | AsyncIterable<Uint8Array>,
): Promise<HttpResponse> {
  if (encoding === 'identity' || !(body instanceof Uint8Array) || body.length < COMPRESS_FROM_BYTES) {
    return { status: 200, headers, body };
  }
  return { status: 200, headers: { ...headers, 'content-encoding': 'gzip' }, body: await gzipBytes(body) };
}

/** One array out of the arrays of several series: brackets off, commas between; the bytes themselves are not copied. */
async function* joinArrays(
  services: Context['services'],
  first: Uint8Array | AsyncIterable<Uint8Array>,
  rest: readonly DocumentRequest[],
): AsyncGenerator<Uint8Array, void, undefined> {
  yield Buffer.from('[');
  yield* withoutBrackets(first);
  for (const request of rest) {
    yield Buffer.from(',');
    yield* withoutBrackets(await seriesDocument(services, request));
  }
  yield Buffer.from(']');
}

async function* withoutBrackets(document: Uint8Array | AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (document instanceof Uint8Array) {
    yield document.subarray(1, -1);
    return;
  }
  let held: Uint8Array | undefined;
  let atStart = true;
  for await (const piece of document) {
    if (held) yield held;
    held = atStart ? piece.subarray(1) : piece;
    atStart = false;
  }
  if (held) yield held.subarray(0, -1);
}

/** One array while it is small enough to hold, else the stream. */
async function gather(pieces: AsyncGenerator<Uint8Array>): Promise<Uint8Array | AsyncIterable<Uint8Array>> {
  const held: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const next = await pieces.next();
    if (next.done === true) return Buffer.concat(held, size);
    held.push(next.value);
    size += next.value.length;
    if (size > 32 * 1024 * 1024) return prependAll(held, pieces);
  }
}

/**
 * Compressing pays on a line, not inside a machine: at level 1 it takes 8 ms a MB, loopback takes 1. Inflating takes about 1, too: so
 * what is compressed already is sent as it is there as well, at a third of the time to its last byte.
 */
const isLocal = ({ origin }: HttpRequest): boolean => /^https?:\/\/(localhost|127\.|\[::1\])/.test(origin);

function takesGzip({ headers }: HttpRequest): boolean {
  return splitOutsideQuotes(headers['accept-encoding'] ?? '', ',').some((member) =>
    /^(gzip|\*)\s*(;\s*q=(?!0(\.0*)?\s*$).*)?$/i.test(member),
  );
}

async function* everyText(
  { services, principal: { tenant } }: Context,
  all: readonly SeriesToSend[],
  source: MetadataSource,
): AsyncGenerator<string> {
  for (const { series } of all) {
    const { StudyInstanceUID, SeriesInstanceUID } = series;
    const at = { tenant, StudyInstanceUID, SeriesInstanceUID };
    const placed = source === 'placement' ? await services.placement?.openMetadata(at) : undefined;
    const texts = placed
      ? placedSeriesMetadata(services, tenant, StudyInstanceUID, SeriesInstanceUID, placed)
      : seriesMetadata(services, tenant, StudyInstanceUID, SeriesInstanceUID);
    for await (const some of texts) for (const { bytes } of some) yield bytes.toString();
  }
}

function xmlResponse(
  { services, root }: Context,
  texts: AsyncIterable<string>,
  headers: Record<string, string>,
): HttpResponse {
  return multipartResponse(services.clock, XML_TYPE, xmlParts(texts, root), headers);
}

async function* xmlParts(texts: AsyncIterable<string>, root: string): AsyncGenerator<Part> {
  for await (const text of texts) yield { headers: { 'content-type': XML_TYPE }, body: xmlOfText(text, root) };
}

const xmlOfText = (text: string, root: string): Buffer =>
  Buffer.from(dataSetToXml(JSON.parse(onRoot(text, root)) as DataSet, () => ''));

async function* one(text: string): AsyncGenerator<string> {
  yield text;
}

async function* none(): AsyncGenerator<string> {}

async function* prepend<T>(first: T, rest: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  yield first;
  yield* rest;
}

async function* prependAll<T>(first: readonly T[], rest: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  yield* first;
  yield* rest;
}
