import type { InstanceRecord } from '#core/archive/records.ts';
import { checkOnline } from '#core/archive/tiering.ts';
import { EXPLICIT_VR_LITTLE_ENDIAN } from '#core/dicom/transfer-syntaxes.ts';
import { PacsError } from '#core/errors.ts';
import { PRODUCED_SYNTAXES } from '#core/pixels/syntaxes.ts';
import { findInstance, instancesOfSeries, instancesOfStudy } from '#core/retrieve/find.ts';
import { OCTET_STREAM } from '#core/retrieve/media-types.ts';
import { asStored, type Delivery, deliveryOf, openEither, readDelivery } from '#core/retrieve/objects.ts';
import { type Payload, releasePayload, startAhead } from '#core/retrieve/stream.ts';
import { writeZip, type ZipEntry } from '#core/retrieve/zip.ts';
import type { Services } from '#core/services.ts';
import { retrieveInstanceBulkdata, retrieveSeriesBulkdata, retrieveStudyBulkdata } from './bulkdata.ts';
import { cacheControlOf } from './cache-control.ts';
import { notModified, rangedResponse, rangeOf, validatorHeaders } from './conditional.ts';
import { reprDigest } from './digest.ts';
import { admitObject } from './guest.ts';
import type { Context, Handler } from './handler.ts';
import type { HttpResponse } from './http.ts';
import { multipartResponse, type Part } from './multipart-writer.ts';
import { acceptable, type Choice, type Offer } from './negotiate.ts';
import { checkAllFit, checkFits, redirected } from './response-limits.ts';

const DICOM = 'application/dicom';
const ZIP = 'application/zip';
/** objects that are being read while one is being sent */
const READ_AHEAD = 2;

const PARTS: Offer = { type: DICOM, packaging: 'multipart' };
const ARCHIVE: Offer = { type: ZIP, packaging: 'single' };
/** An older way to ask for the bulk data of an object, a series or a study (PS3.18 §10.4.4). */
const BULK: Offer = { type: OCTET_STREAM, packaging: 'multipart' };

/** GET studies/{study} (PS3.18 §10.4.1.1.1): multipart application/dicom, or application/zip. */
export const retrieveStudy: Handler = async (context) => {
  const { services, principal, params } = context;
  await checkOnline(services, principal.tenant, params.study!);
  return retrieveMany(
    context,
    () => instancesOfStudy(services, principal.tenant, params.study!),
    retrieveStudyBulkdata,
  );
};

/** GET studies/{study}/series/{series} */
export const retrieveSeries: Handler = async (context) => {
  const { services, principal, params } = context;
  const { study, series } = params;
  await checkOnline(services, principal.tenant, study!, series!);
  const list = () => instancesOfSeries(services, principal.tenant, study!, series!);
  return retrieveMany(context, list, retrieveSeriesBulkdata);
};

/**
 * GET studies/{study}/series/{series}/instances/{instance}: as a study, and as the object alone (application/dicom), which
 * has a strong ETag and, as stored, byte ranges.
 */
export const retrieveInstance: Handler = async (context) => {
  const { services, request, principal, params } = context;
  const instance = await findInstance(services, principal.tenant, params.study!, params.series!, params.instance!);
  admitObject(principal, instance);
  const canDeliver = (syntax: string | undefined): boolean => deliveryOf(services, instance, syntax) !== undefined;
  const transferSyntaxes = () => [instance.transferSyntaxUID, ...PRODUCED_SYNTAXES.filter(canDeliver)];
  const parts: Offer = { ...PARTS, accepts: canDeliver, transferSyntaxes };
  const alone: Offer = { type: DICOM, packaging: 'single', accepts: canDeliver };
  // Whoever takes either gets a large one by itself: only so it can be had in ranges, or from elsewhere.
  const isLarge = instance.sizeBytes > services.limits.redirectBytes;
  const choices = acceptable(request, [
    ...(isLarge ? [alone, parts] : [parts, alone]),
    { ...ARCHIVE, accepts: canDeliver },
    BULK,
  ]);
  const { offer } = choices[0]!;
  if (offer === BULK) return retrieveInstanceBulkdata(context);
  const delivery = deliver(services, instance, choices)!;
  if (offer.packaging === 'single' && offer.type === DICOM) return sendObject(context, delivery);
  checkFits(services.limits, delivery.sizeBytes ?? 0, `ask for it alone (Accept: ${DICOM}; transfer-syntax=*)`);
  if (offer.type === ZIP) return send(context, choices, once(delivery));
  const opened = await openEither(services, delivery, { lent: true });
  const part = partOf(opened.delivery, opened.body);
  return multipartResponse(services.clock, DICOM, [part], PARTS_HEADERS);
};

async function retrieveMany(
  context: Context,
  list: () => AsyncGenerator<InstanceRecord>,
  bulkdata: Handler,
): Promise<HttpResponse> {
  const { services, request } = context;
  const choices = acceptable(request, [PARTS, ARCHIVE, BULK]);
  if (choices[0]!.offer === BULK) return bulkdata(context);
  // PS3.18 §10.4.3.3.1: the response holds every instance that can be converted to what was asked for; 206 when not all can be.
  const complete = takesEverything(choices) || (await everyOne(list(), (one) => deliver(services, one, choices)));
  const deliveries = deliverable(services, list(), choices);
  // The first one decides the status: nothing there is 404, nothing that can be had as asked is 406.
  const first = await deliveries.next();
  if (first.done === true) {
    throw new PacsError('NOT_ACCEPTABLE', 'no instance can be had in a transfer syntax that is accepted', {
      details: { available: [`multipart/related; type="${DICOM}"; transfer-syntax=*`] },
    });
  }
  try {
    await checkAllFit(context);
  } catch (error) {
    await deliveries.return();
    throw error;
  }
  const response = await send(context, choices, prepend(first.value, deliveries));
  return complete ? response : { ...response, status: 206 };
}

/** Without a named transfer syntax every instance can be had in some way: no need to look at each beforehand. */
const takesEverything = (choices: readonly Choice[]): boolean =>
  choices.some(
    ({ offer, transferSyntax }) =>
      offer.type === choices[0]!.offer.type && (transferSyntax === undefined || transferSyntax === '*'),
  );

async function everyOne<T>(values: AsyncIterable<T>, test: (value: T) => unknown): Promise<boolean> {
  for await (const value of values) if (!test(value)) return false;
  return true;
}

/** The best way to deliver an instance among the choices that are packed like the best one. */
function deliver(services: Services, instance: InstanceRecord, choices: readonly Choice[]): Delivery | undefined {
  const best = choices[0]!.offer;
  for (const { offer, transferSyntax, wildcard } of choices) {
    if (offer.type !== best.type || offer.packaging !== best.packaging) continue;
    // Who takes anything takes the object as it is; so does who downloads an archive of files.
    const asked = transferSyntax ?? (wildcard || offer.type === ZIP ? '*' : undefined);
    const delivery = deliveryOf(services, instance, asked);
    if (delivery) return delivery;
  }
  return undefined;
}

/** What turns out not to be decodable leaves as stored, and says so: by then the status is sent (docs/decisions/0245-one-image-of-many.md). */
async function* deliverable(
  services: Services,
  instances: AsyncIterable<InstanceRecord>,
  choices: readonly Choice[],
): AsyncGenerator<Delivery, void, undefined> {
  for await (const instance of instances) {
    const delivery = deliver(services, instance, choices);
    if (delivery) yield delivery.transcode ? { ...delivery, otherwise: asStored(services, instance) } : delivery;
  }
}

async function send(
  { services, params }: Context,
  choices: readonly Choice[],
  deliveries: AsyncIterable<Delivery>,
): Promise<HttpResponse> {
  const isZip = choices[0]!.offer.type === ZIP;
  const ahead = startAhead(deliveries, (delivery) => openEither(services, delivery, { lent: !isZip }), {
    ahead: READ_AHEAD,
    release: ({ body }) => releasePayload(body),
  });
  // The first one is opened before the status is sent: what lies on slow media is an error, not a torn body.
  const first = await ahead.next();
  const opened = first.done === true ? ahead : prepend(first.value, ahead);
  if (isZip) {
    return {
      status: 200,
      headers: {
        'content-type': ZIP,
        'content-disposition': `attachment; filename="${params.instance ?? params.series ?? params.study}.zip"`,
        'cache-control': 'private, no-cache',
      },
      body: writeZip(mapped(opened, ({ delivery, body }): ZipEntry => ({ ...zipPlace(delivery), body }))),
    };
  }
  const parts = mapped(opened, ({ delivery, body }) => partOf(delivery, body));
  return multipartResponse(services.clock, DICOM, parts, PARTS_HEADERS);
}

const PARTS_HEADERS = { 'cache-control': 'private, no-cache', vary: 'accept, origin' };

const partOf = (delivery: Delivery, body: Payload): Part => ({
  headers: { 'content-type': contentType(delivery), ...digestHeader(delivery) },
  body,
});

/** One object alone, with validators and, as stored, byte ranges. */
export async function sendObject(context: Context, delivery: Delivery): Promise<HttpResponse> {
  const { services, request } = context;
  const validators = { etag: `"${delivery.identity}"`, lastModified: delivery.instance.storedAt };
  const cache = { 'cache-control': cacheControlOf(services.policy), vary: 'accept, origin' };
  const unchanged = notModified(request, validators, cache);
  if (unchanged) return unchanged;
  if (delivery.sizeBytes === undefined) {
    const opened = await openEither(services, delivery, { lent: true });
    if (opened.delivery !== delivery) {
      await releasePayload(opened.body);
      return sendObject(context, opened.delivery);
    }
    const headers = { 'content-type': contentType(delivery), ...cache };
    return { status: 200, headers: { ...headers, ...validatorHeaders(validators) }, body: opened.body };
  }
  const headers = { 'content-type': contentType(delivery), ...digestHeader(delivery), ...cache };
  const { sizeBytes } = delivery;
  const range = rangeOf(request, sizeBytes, validators);
  const sendingBytes = range.kind === 'part' ? range.length : sizeBytes;
  const elsewhere = await redirected({ services, request }, delivery, sendingBytes, headers['content-type']);
  if (elsewhere) return elsewhere;
  const isHead = request.method === 'HEAD';
  return rangedResponse(request, { sizeBytes, validators, headers, limits: services.limits }, (offset, length) =>
    isHead ? nothing() : readDelivery(services, delivery, { offset, length }, { lent: true }),
  );
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

/** Repr-Digest (RFC 9530) of an object as stored: what its SHA-256 was when it was received. A range is a part of that. */
const digestHeader = ({ instance, identity }: Delivery): Record<string, string> =>
  identity === instance.sha256 ? { 'repr-digest': reprDigest(instance.sha256) } : {};

/** PS3.18 §8.7.3.5.2: the parameter may be left out for the default syntax */
const contentType = ({ transferSyntaxUID }: Delivery): string =>
  transferSyntaxUID === EXPLICIT_VR_LITTLE_ENDIAN ? DICOM : `${DICOM}; transfer-syntax=${transferSyntaxUID}`;

const zipPlace = ({ instance, sizeBytes }: Delivery): Omit<ZipEntry, 'body'> => ({
  name: `DICOM/${instance.StudyInstanceUID}/${instance.SeriesInstanceUID}/${instance.SOPInstanceUID}.dcm`,
  modifiedAt: instance.storedAt,
  sizeBytes,
});

async function* mapped<T, R>(source: AsyncIterable<T>, map: (value: T) => R): AsyncGenerator<R, void, undefined> {
  for await (const value of source) yield map(value);
}

async function* once<T>(value: T): AsyncGenerator<T, void, undefined> {
  yield value;
}

async function* prepend<T>(first: T, rest: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  yield first;
  yield* rest;
}
