import type { InstanceRecord } from '#core/archive/records.ts';
import { EXPLICIT_VR_BIG_ENDIAN } from '#core/dicom/transfer-syntaxes.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import { bulkOfUri, elementAt, findBulk, readBulk } from '#core/retrieve/bulk.ts';
import { findInstance, instancesOfSeries, instancesOfStudy } from '#core/retrieve/find.ts';
import { OCTET_STREAM } from '#core/retrieve/media-types.ts';
import { instanceMetadata } from '#core/retrieve/metadata.ts';
import { payloadOf } from '#core/retrieve/stream.ts';
import { cacheControlOf } from './cache-control.ts';
import { etagOf, notModified, rangedResponse, validatorHeaders } from './conditional.ts';
import { mayLookOnly } from './guest.ts';
import type { Context, Handler } from './handler.ts';
import type { HttpResponse } from './http.ts';
import { multipartResponse, type Part } from './multipart-writer.ts';
import { negotiate, type Offer } from './negotiate.ts';
import { checkFits } from './response-limits.ts';
import { allFrameParts, hasFrameParts, sendAllFrames } from './retrieve-frames.ts';

const PIXEL_DATA = '7FE00010';
const ENCAPSULATED_DOCUMENT = '00420011';
const MIME_TYPE_OF_ENCAPSULATED_DOCUMENT = '00420012';

/**
 * GET …/instances/{instance}/bulkdata/{bulk} (PS3.18 §10.4.1.1.5): one bulk value, as a part or alone, then with byte ranges. An encapsulated
 * document also under its own media type; compressed pixel data as its frames.
 * @throws PacsError NOT_FOUND, NOT_ACCEPTABLE
 */
export const retrieveBulkdata: Handler = async (context) => {
  const { services, request, principal, params, root } = context;
  const instance = await findInstance(services, principal.tenant, params.study!, params.series!, params.instance!);
  const segment = params.bulk!;
  if (mayLookOnly(principal)) await checkNamed(context, instance, segment);
  const metadata = await lazyMetadata(context, instance, segment);
  const value = findBulk(instance, segment, metadata);
  if (value.path === PIXEL_DATA && value.sizeBytes === undefined) return sendAllFrames(context, instance);

  const documentType = value.path === ENCAPSULATED_DOCUMENT ? mimeTypeOf(metadata()) : undefined;
  const { type, offer } = negotiate(request, offersFor(documentType));
  const name = etagOf(instance.sha256, segment, type);
  const single = offer.packaging === 'single';
  const validators = { etag: single ? name : `W/${name}`, lastModified: instance.storedAt };
  const cache = { 'cache-control': cacheControlOf(services.policy), vary: 'accept, origin' };
  const unchanged = notModified(request, validators, cache);
  if (unchanged) return unchanged;

  const vr = (): string => elementAt(metadata(), value.path)?.vr ?? 'UN';
  const headers = { 'content-type': type, 'content-location': root + bulkLocation(instance, segment), ...cache };
  if (single && value.sizeBytes !== undefined) {
    const { sizeBytes } = value;
    return rangedResponse(request, { sizeBytes, validators, headers, limits: services.limits }, (offset, length) =>
      readBulk(services, instance, value, vr, { offset, length }),
    );
  }
  checkFits(services.limits, value.sizeBytes ?? 0, 'ask for it alone (Accept: application/octet-stream), in ranges');
  const body = await payloadOf(readBulk(services, instance, value, vr));
  if (single) return { status: 200, headers: { ...headers, ...validatorHeaders(validators) }, body };
  const { 'content-type': _, 'content-location': location, ...outer } = headers;
  const part: Part = { headers: { 'content-type': type, 'content-location': location }, body };
  return multipartResponse(services.clock, type, [part], { ...outer, ...validatorHeaders(validators) });
};

/**
 * A URL says where its value lies. Whoever may have the object may have any of its bytes; who may only look at it has those that its metadata names, or he
 * could write himself a URL for all of them.
 * @throws PacsError NOT_FOUND
 */
async function checkNamed(context: Context, instance: InstanceRecord, segment: string): Promise<void> {
  const located = bulkOfUri(segment);
  if (located === undefined) return;
  const dataSet = JSON.parse(await metadataText(context, instance)) as DataSet;
  if (elementAt(dataSet, located.path)?.BulkDataURI?.endsWith(`/${segment}`) !== true)
    throw new PacsError('NOT_FOUND', 'the instance has no such bulk data');
}

/** GET studies/{study}/bulkdata: every bulk value of every instance (PS3.18 §10.4.3.3.5). */
export const retrieveStudyBulkdata: Handler = (context) =>
  sendMany(context, () => everyInstanceOfStudy(context), 'bulkdata');

export const retrieveSeriesBulkdata: Handler = (context) =>
  sendMany(context, () => everyInstanceOfSeries(context), 'bulkdata');

export const retrieveInstanceBulkdata: Handler = (context) => sendMany(context, () => theInstance(context), 'bulkdata');

/** GET studies/{study}/pixeldata: every frame of every instance (PS3.18 §10.4.3.3.6). */
export const retrieveStudyPixelData: Handler = (context) =>
  sendMany(context, () => everyInstanceOfStudy(context), 'pixeldata');

export const retrieveSeriesPixelData: Handler = (context) =>
  sendMany(context, () => everyInstanceOfSeries(context), 'pixeldata');

const everyInstanceOfStudy = ({ services, principal, params }: Context): AsyncGenerator<InstanceRecord> =>
  instancesOfStudy(services, principal.tenant, params.study!);

const everyInstanceOfSeries = ({ services, principal, params }: Context): AsyncGenerator<InstanceRecord> =>
  instancesOfSeries(services, principal.tenant, params.study!, params.series!);

async function* theInstance({ services, principal, params }: Context): AsyncGenerator<InstanceRecord> {
  yield await findInstance(services, principal.tenant, params.study!, params.series!, params.instance!);
}

async function sendMany(
  context: Context,
  list: () => AsyncGenerator<InstanceRecord>,
  what: 'bulkdata' | 'pixeldata',
): Promise<HttpResponse> {
  const { transferSyntax } = negotiate(context.request, [{ type: OCTET_STREAM, packaging: 'multipart' }]);
  // As with whole objects: 206 when the frames of some cannot be had in the syntax that is named (PS3.18 §10.4.3.3). The index tells.
  const isNamed = transferSyntax !== undefined && transferSyntax !== '*';
  const complete = !isNamed || (await everyOne(list(), (one) => hasFrameParts(one, transferSyntax)));
  const parts = everyPart(context, list(), what, transferSyntax);
  // The first part decides the status.
  const first = await parts.next();
  if (first.done === true && !complete)
    throw new PacsError('NOT_ACCEPTABLE', 'no pixel data can be had in the transfer syntax that is accepted');
  if (first.done === true)
    throw new PacsError('NOT_FOUND', `there is no ${what === 'bulkdata' ? 'bulk' : 'pixel'} data`);
  const response = multipartResponse(context.services.clock, OCTET_STREAM, prepend(first.value, parts), {
    'cache-control': 'private, no-cache',
    vary: 'accept, origin',
  });
  return complete ? response : { ...response, status: 206 };
}

async function everyOne<T>(values: AsyncIterable<T>, test: (value: T) => boolean): Promise<boolean> {
  for await (const value of values) if (!test(value)) return false;
  return true;
}

async function* everyPart(
  context: Context,
  instances: AsyncIterable<InstanceRecord>,
  what: 'bulkdata' | 'pixeldata',
  transferSyntax: string | undefined,
): AsyncGenerator<Part, void, undefined> {
  for await (const instance of instances) {
    if (what === 'pixeldata') {
      yield* allFrameParts(context, instance, transferSyntax);
      continue;
    }
    const text = await metadataText(context, instance);
    const dataSet = JSON.parse(text) as DataSet;
    for (const [, uri] of text.matchAll(/"BulkDataURI":"([^"\\]+)"/g)) {
      const found = bulkOfUri(uri!);
      if (!found) continue;
      if (found.path === PIXEL_DATA && found.bulk.encapsulated) {
        yield* allFrameParts(context, instance, transferSyntax);
        continue;
      }
      const segment = uri!.slice(uri!.lastIndexOf('/') + 1);
      const value = findBulk(instance, segment, () => dataSet);
      const vr = (): string => elementAt(dataSet, found.path)?.vr ?? 'UN';
      const body = await payloadOf(readBulk(context.services, instance, value, vr));
      const location = context.root + bulkLocation(instance, segment);
      yield { headers: { 'content-type': OCTET_STREAM, 'content-location': location }, body };
    }
  }
}

function offersFor(documentType: string | undefined): Offer[] {
  const offers: Offer[] = [
    { type: OCTET_STREAM, packaging: 'multipart' },
    { type: OCTET_STREAM, packaging: 'single' },
  ];
  // A document opens in a browser, which asks for anything: as what it is, alone.
  if (documentType !== undefined) {
    offers.unshift({ type: documentType, packaging: 'single' }, { type: documentType, packaging: 'multipart' });
  }
  return offers;
}

/** The document's own media type, where it is one; types that run in a browser are not handed to it. */
function mimeTypeOf(dataSet: DataSet): string | undefined {
  const value = dataSet[MIME_TYPE_OF_ENCAPSULATED_DOCUMENT]?.Value?.[0];
  if (typeof value !== 'string') return undefined;
  const type = value.trim().toLowerCase();
  if (!/^[a-z0-9.+-]+\/[a-z0-9.+-]+$/.test(type) || /html|javascript|svg|xml$/.test(type)) return undefined;
  return type;
}

const bulkLocation = (instance: InstanceRecord, segment: string): string =>
  `/studies/${instance.StudyInstanceUID}/series/${instance.SeriesInstanceUID}/instances/${instance.SOPInstanceUID}/bulkdata/${segment}`;

const metadataText = ({ services, principal }: Context, instance: InstanceRecord): Promise<string> =>
  instanceMetadata(
    services,
    principal.tenant,
    instance.StudyInstanceUID,
    instance.SeriesInstanceUID,
    instance.SOPInstanceUID,
  );

/** The metadata is read only where it is needed: a value that its URL locates is one read of the object alone. */
async function lazyMetadata(context: Context, instance: InstanceRecord, segment: string): Promise<() => DataSet> {
  const located = bulkOfUri(segment);
  const needed =
    !located || located.path === ENCAPSULATED_DOCUMENT || instance.transferSyntaxUID === EXPLICIT_VR_BIG_ENDIAN;
  if (!needed) return () => ({});
  const dataSet = JSON.parse(await metadataText(context, instance)) as DataSet;
  return () => dataSet;
}

async function* prepend<T>(first: T, rest: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  yield first;
  yield* rest;
}
