import type { InstanceRecord } from '#core/archive/records.ts';
import { EXPLICIT_VR_LITTLE_ENDIAN, transferSyntax as syntaxOf } from '#core/dicom/transfer-syntaxes.ts';
import { PacsError } from '#core/errors.ts';
import { instead } from '#core/lent-bytes.ts';
import { PRODUCED_SYNTAXES } from '#core/pixels/syntaxes.ts';
import { openPixelData, transcodeFrame } from '#core/pixels/transcode.ts';
import { isUndecodable } from '#core/pixels/undecodable.ts';
import { findInstance } from '#core/retrieve/find.ts';
import { frameCount, openFrame, openFrames } from '#core/retrieve/frames.ts';
import { COMPRESSED_MEDIA_TYPES, isNativeLittleEndian, mediaTypeOf, OCTET_STREAM } from '#core/retrieve/media-types.ts';
import { canTranscode } from '#core/retrieve/objects.ts';
import { type Payload, releasePayload, startAhead } from '#core/retrieve/stream.ts';
import type { Services } from '#core/services.ts';
import { cacheControlOf } from './cache-control.ts';
import { etagOf, notModified, rangedResponse, type Validators, validatorHeaders } from './conditional.ts';
import type { Context, Handler } from './handler.ts';
import type { HttpResponse } from './http.ts';
import { multipartResponse, type Part } from './multipart-writer.ts';
import { negotiate, type Offer } from './negotiate.ts';
import { checkFits } from './response-limits.ts';

/** How the frames of an instance leave. */
interface FrameDelivery {
  readonly transferSyntaxUID: string;
  readonly transcode: boolean;
  /** Content-Type of the frame */
  readonly mediaType: string;
}

/**
 * GET …/instances/{instance}/frames/{list} (PS3.18 §10.4.1.1.6): the frames of a comma-separated list, in its order, as parts; one
 * frame also alone. @throws PacsError BAD_REQUEST for a list that is none or repeats itself, NOT_FOUND for a frame out of range
 */
export const retrieveFrames: Handler = async (context) => {
  const { services, principal, params } = context;
  const numbers = parseFrameList(params.frames!);
  const instance = await findInstance(services, principal.tenant, params.study!, params.series!, params.instance!);
  const frames = frameCount(instance);
  const missing = numbers.find((number) => number > frames);
  if (missing !== undefined) {
    throw new PacsError('NOT_FOUND', 'there is no such frame', { details: { frame: missing, frames } });
  }
  return sendFrames(context, instance, numbers);
};

/** GET …/instances/{instance}/pixeldata (PS3.18 §10.4.1.1.7): all frames, as parts or joined. @throws PacsError NOT_FOUND where there are none */
export const retrievePixelData: Handler = async (context) => {
  const { services, principal, params } = context;
  const instance = await findInstance(services, principal.tenant, params.study!, params.series!, params.instance!);
  return sendAllFrames(context, instance);
};

/**
 * Every frame of an instance, negotiated. Several in a single part are their samples one behind the other: what is not compressed is
 * application/octet-stream, however it is stored (PS3.18 §8.7.3.3). @throws PacsError NOT_FOUND, NOT_ACCEPTABLE
 */
export function sendAllFrames(context: Context, instance: InstanceRecord): Promise<HttpResponse> {
  const frames = frameCount(instance);
  if (frames === 0) throw new PacsError('NOT_FOUND', 'the instance has no pixel data');
  return sendFrames(context, instance, allNumbers(frames), frames > 1 ? [joinedOffer(instance)] : []);
}

/** Whether the frames of an instance can be had as parts in a syntax asked for; also where it has none. */
export const hasFrameParts = (instance: InstanceRecord, transferSyntax: string | undefined): boolean =>
  frameCount(instance) === 0 || frameDelivery(instance, OCTET_STREAM, transferSyntax) !== undefined;

/**
 * Every frame of an instance as parts, in a syntax asked for; none where there are no frames or none can be had so. Among those of other
 * instances, what turns out not to be decodable is the codestream as stored, under its own media type and syntax.
 */
export async function* allFrameParts(
  { services, root }: Context,
  instance: InstanceRecord,
  transferSyntax: string | undefined,
): AsyncGenerator<Part, void, undefined> {
  const delivery = frameDelivery(instance, OCTET_STREAM, transferSyntax);
  const frames = frameCount(instance);
  if (!delivery || frames === 0) return;
  const numbers = allNumbers(frames);
  const location = framesLocation(root, instance);
  if (!delivery.transcode) {
    yield* partsOf(openFrames(services, instance, numbers), numbers, location, contentTypeOf(delivery));
    return;
  }
  const { transferSyntaxUID } = instance;
  const { encapsulated } = syntaxOf(transferSyntaxUID);
  const otherwise: FrameDelivery = { transferSyntaxUID, transcode: false, mediaType: mediaTypeOf(transferSyntaxUID) };
  yield* startAhead(
    numbers,
    async (number): Promise<Part> => {
      const part = async (as: FrameDelivery): Promise<Part> => ({
        headers: { 'content-type': contentTypeOf(as), 'content-location': `${location}/${number}` },
        body: await openOne(services, instance, number, as),
      });
      try {
        return await part(delivery);
      } catch (error) {
        // Native samples are not sent in another byte order, nor too few of them.
        if (!isUndecodable(error) || !encapsulated) throw error;
        return part(otherwise);
      }
    },
    { ahead: 1, release: ({ body }) => releasePayload(body) },
  );
}

async function sendFrames(
  context: Context,
  instance: InstanceRecord,
  numbers: readonly number[],
  joined: readonly Offer[] = [],
): Promise<HttpResponse> {
  const { services, request, root } = context;
  const choice = negotiate(request, [...offersFor(instance, numbers.length === 1), ...joined]);
  const isJoined = joined.includes(choice.offer);
  const asked = isJoined ? EXPLICIT_VR_LITTLE_ENDIAN : choice.transferSyntax;
  const delivery = frameDelivery(instance, choice.type, asked)!;
  const single = choice.offer.packaging === 'single';
  const name = etagOf(
    instance.sha256,
    numbers.join(),
    choice.offer.packaging,
    delivery.mediaType,
    delivery.transferSyntaxUID,
  );
  // Boundaries differ from answer to answer: the parts are the same, the bytes are not.
  const validators = { etag: single ? name : `W/${name}`, lastModified: instance.storedAt };
  const cache = { 'cache-control': cacheControlOf(services.policy), vary: 'accept, origin' };
  const unchanged = notModified(request, validators, cache);
  if (unchanged) return unchanged;

  const contentType = contentTypeOf(delivery);
  const location = framesLocation(root, instance);
  if (isJoined) {
    const { sizeBytes, bytes } = await openPixelData(services, instance);
    checkFits(services.limits, sizeBytes, 'ask for its frames one by one');
    const headers = { 'content-type': contentType, 'content-length': String(sizeBytes), ...cache };
    return { status: 200, headers: { ...headers, ...validatorHeaders(validators) }, body: bytes };
  }
  if (numbers.length === 1) {
    const body = await openOne(services, instance, numbers[0]!, delivery);
    const headers = { 'content-type': contentType, 'content-location': `${location}/${numbers[0]}` };
    if (single) return sendAlone(request, body, validators, { ...headers, ...cache });
    const outer = { ...cache, ...validatorHeaders(validators) };
    return multipartResponse(services.clock, delivery.mediaType, [{ headers, body }], outer);
  }
  const payloads = openDelivery(services, instance, numbers, delivery);
  // The first frame is there before the status is sent: what cannot be decoded is an error, not a torn body.
  const first = await payloads.next();
  if (first.done === true) throw new Error('no frame was read');
  const parts = partsOf(prepend(first.value, payloads), numbers, location, contentType);
  return multipartResponse(services.clock, delivery.mediaType, parts, { ...cache, ...validatorHeaders(validators) });
}

const openOne = (
  services: Services,
  instance: InstanceRecord,
  number: number,
  { transcode, transferSyntaxUID }: FrameDelivery,
): Promise<Payload> =>
  transcode ? transcodeFrame(services, instance, number, transferSyntaxUID) : openFrame(services, instance, number);

/** One frame by itself, or a range of it. */
function sendAlone(
  request: Context['request'],
  frame: Payload,
  validators: Validators,
  headers: Record<string, string>,
): Promise<HttpResponse> | HttpResponse {
  if (!(frame instanceof Uint8Array))
    return { status: 200, headers: { ...headers, ...validatorHeaders(validators) }, body: frame };
  const sizeBytes = frame.length;
  return rangedResponse(request, { sizeBytes, validators, headers }, async (offset, length) =>
    length === sizeBytes ? frame : instead(frame, frame.subarray(offset, offset + length)),
  );
}

async function* partsOf(
  payloads: AsyncIterable<Payload>,
  numbers: readonly number[],
  location: string,
  contentType: string,
): AsyncGenerator<Part, void, undefined> {
  let at = 0;
  for await (const body of payloads) {
    yield { headers: { 'content-type': contentType, 'content-location': `${location}/${numbers[at++]}` }, body };
  }
}

async function* prepend<T>(first: T, rest: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  yield first;
  yield* rest;
}

const allNumbers = (frames: number): number[] => Array.from({ length: frames }, (_, i) => i + 1);

const contentTypeOf = ({ mediaType, transferSyntaxUID }: FrameDelivery): string =>
  `${mediaType}; transfer-syntax=${transferSyntaxUID}`;

const framesLocation = (root: string, instance: InstanceRecord): string =>
  `${root}/studies/${instance.StudyInstanceUID}/series/${instance.SeriesInstanceUID}/instances/${instance.SOPInstanceUID}/frames`;

const openDelivery = (
  services: Services,
  instance: InstanceRecord,
  numbers: readonly number[],
  { transcode, transferSyntaxUID }: FrameDelivery,
): AsyncGenerator<Payload, void, undefined> =>
  transcode
    ? startAhead(numbers, (number) => transcodeFrame(services, instance, number, transferSyntaxUID), { ahead: 1 })
    : openFrames(services, instance, numbers);

/** PS3.18 §10.4.1.1.6: "comma separated list of one or more non duplicate frame numbers … in any order". */
function parseFrameList(text: string): number[] {
  const members = text.split(/,|%2C/i);
  const numbers = members.map((member) => (/^[0-9]{1,10}$/.test(member) ? Number(member) : 0));
  if (numbers.some((number) => number < 1)) {
    throw new PacsError('BAD_REQUEST', 'the frame list is a comma-separated list of numbers from 1');
  }
  if (new Set(numbers).size < numbers.length) throw new PacsError('BAD_REQUEST', 'the frame list names a frame twice');
  return numbers;
}

function offersFor(instance: InstanceRecord, single: boolean): Offer[] {
  const stored = mediaTypeOf(instance.transferSyntaxUID);
  // `image/*` takes what is stored before what would have to be made.
  const rows = [...COMPRESSED_MEDIA_TYPES].sort((a, b) => Number(b.type === stored) - Number(a.type === stored));
  return [{ type: OCTET_STREAM, aliases: [] }, ...rows].flatMap(({ type, aliases }) => {
    const accepts = (syntax: string | undefined): boolean => frameDelivery(instance, type, syntax) !== undefined;
    const transferSyntaxes = () => [instance.transferSyntaxUID, ...PRODUCED_SYNTAXES].filter(accepts);
    const offer: Offer = { type, aliases, packaging: 'multipart', accepts, transferSyntaxes };
    return single ? [offer, { ...offer, packaging: 'single' }] : [offer];
  });
}

/** All frames in one part: samples, whatever syntax is taken. */
const joinedOffer = (instance: InstanceRecord): Offer => ({
  type: OCTET_STREAM,
  packaging: 'single',
  accepts: (syntax) =>
    (syntax === undefined || syntax === '*' || syntax === EXPLICIT_VR_LITTLE_ENDIAN) &&
    frameDelivery(instance, OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN) !== undefined,
  transferSyntaxes: () => [EXPLICIT_VR_LITTLE_ENDIAN],
});

/** what OHIF and static-wado say for HTJ2K, from before it had UIDs; any of them will do */
const PROVISIONAL_HTJ2K = '3.2.840.10008.1.2.4.96';

/** Says how a whole data set is written, nothing of frames: those would be native ones, little endian. */
function isOfDataSets(transferSyntaxUID: string): boolean {
  const { deflated, littleEndian } = syntaxOf(transferSyntaxUID);
  return deflated || !littleEndian;
}

/** How the frames can be had as this media type in this transfer syntax; undefined when they cannot. */
function frameDelivery(instance: InstanceRecord, type: string, asked: string | undefined): FrameDelivery | undefined {
  const stored = instance.transferSyntaxUID;
  const storedAs = isNativeLittleEndian(stored) ? EXPLICIT_VR_LITTLE_ENDIAN : stored;
  const asStored = (mediaType: string): FrameDelivery => ({ transferSyntaxUID: storedAs, transcode: false, mediaType });
  const made = (transferSyntaxUID: string, mediaType = type): FrameDelivery | undefined =>
    canTranscode(instance, transferSyntaxUID) && !isOfDataSets(transferSyntaxUID)
      ? { transferSyntaxUID, transcode: true, mediaType }
      : undefined;

  if (type === OCTET_STREAM) {
    if (asked !== undefined && asked !== '*' && asked !== EXPLICIT_VR_LITTLE_ENDIAN) {
      return asked === stored ? asStored(OCTET_STREAM) : made(asked);
    }
    if (storedAs === EXPLICIT_VR_LITTLE_ENDIAN) return asStored(OCTET_STREAM);
    // Any syntax will do: the codestream as it lies there, under its own name. Big endian samples never leave (PS3.18 §8.7.3).
    if (asked === '*' && mediaTypeOf(stored) !== OCTET_STREAM) return asStored(mediaTypeOf(stored));
    const decoded = made(EXPLICIT_VR_LITTLE_ENDIAN);
    // What nobody here can decode still can be had, unless samples were asked for by name.
    return decoded ?? (asked === EXPLICIT_VR_LITTLE_ENDIAN ? undefined : asStored(mediaTypeOf(stored)));
  }

  const row = COMPRESSED_MEDIA_TYPES.find((other) => other.type === type || other.aliases.includes(type));
  if (!row) return undefined;
  const { transferSyntaxUIDs } = row;
  if (asked !== undefined && asked !== '*' && asked !== PROVISIONAL_HTJ2K) {
    if (!transferSyntaxUIDs.includes(asked)) return undefined;
    return asked === stored ? asStored(type) : made(asked);
  }
  if (transferSyntaxUIDs.includes(stored)) return asStored(type);
  for (const uid of transferSyntaxUIDs) {
    const delivery = made(uid);
    if (delivery) return delivery;
  }
  return undefined;
}
