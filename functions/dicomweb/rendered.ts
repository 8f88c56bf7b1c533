import type { InstanceRecord } from '#core/archive/records.ts';
import { tableEntry } from '#core/dicom/frames.ts';
import { PacsError } from '#core/errors.ts';
import { bulkReader, dataSetOf } from '#core/pixels/image-source.ts';
import {
  DOCUMENT_TYPES,
  renderableOf,
  representativeOfSeries,
  representativeOfStudy,
} from '#core/pixels/renderable.ts';
import { type RenderingRequest, renderAnimation, renderFrame, renderState } from '#core/pixels/rendering.ts';
import { reportHtml, reportText } from '#core/pixels/report.ts';
import { isUndecodable } from '#core/pixels/undecodable.ts';
import { findInstance, instancesOfSeries, instancesOfStudy } from '#core/retrieve/find.ts';
import { frameCount, openFrames } from '#core/retrieve/frames.ts';
import { mediaTypeOf } from '#core/retrieve/media-types.ts';
import { cacheControlOf } from './cache-control.ts';
import { etagOf, notModified, rangedResponse, validatorHeaders } from './conditional.ts';
import { errorResponse } from './error-response.ts';
import { watermarkOf } from './guest.ts';
import type { Context, Handler } from './handler.ts';
import type { HttpResponse } from './http.ts';
import { multipartResponse, type Part } from './multipart-writer.ts';
import { negotiate, type Offer } from './negotiate.ts';
import { type RenderingParameters, renderingParameters } from './rendered-parameters.ts';

/**
 * Rendered resources (PS3.18 §10.4.1.1.3, §8.7.4): what a person looks at, made for a browser. An image is JPEG or PNG; a multi-frame
 * image as one part is its first frame, as multipart every frame, as GIF a loop; video, PDF and other documents leave as
 * they are; a report as HTML or text; a presentation state as the image that it is for.
 */
const JPEG: Offer = { type: 'image/jpeg', aliases: ['image/jpg'], packaging: 'single' };
const PNG: Offer = { type: 'image/png', packaging: 'single' };
const GIF: Offer = { type: 'image/gif', packaging: 'single' };
const multipart = (offer: Offer): Offer => ({ ...offer, packaging: 'multipart' });
const IMAGES = [JPEG, PNG, multipart(JPEG), multipart(PNG)];

/** part of every ETag: changes when the renderer draws otherwise */
const RENDERER = 'r2';

/** What is asked for, and what must be on every picture for who asks. */
const parametersOf = ({ request, services, principal }: Context): RenderingParameters => ({
  ...renderingParameters(request.query, services.limits),
  ...watermarkOf(principal, services.clock),
});

type Single = 'image/jpeg' | 'image/png';
const asSingle = (type: string): Single => (type === 'image/png' ? 'image/png' : 'image/jpeg');

/** GET studies/{study}/rendered: every image as parts, or the representative one alone. */
export const renderStudy: Handler = async (context) => {
  const { services, principal, params } = context;
  const all = instancesOfStudy(services, principal.tenant, params.study!);
  return renderMany(context, all, () => representativeOfStudy(services, principal.tenant, params.study!));
};

/** GET studies/{study}/series/{series}/rendered */
export const renderSeries: Handler = async (context) => {
  const { services, principal, params } = context;
  const { study, series } = params;
  const all = instancesOfSeries(services, principal.tenant, study!, series!);
  return renderMany(context, all, () => representativeOfSeries(services, principal.tenant, study!, series!));
};

/** GET …/instances/{instance}/rendered */
export const renderInstance: Handler = async (context) => {
  const { services, principal, params } = context;
  const instance = await findInstance(services, principal.tenant, params.study!, params.series!, params.instance!);
  return renderRecord(context, instance);
};

/** What an instance looks like, whether it stands in the archive or is held in quarantine. @throws PacsError NOT_ACCEPTABLE */
export async function renderRecord(context: Context, instance: InstanceRecord): Promise<HttpResponse> {
  const parameters = parametersOf(context);
  switch (renderableOf(instance)) {
    case 'image':
      return renderImage(context, instance, parameters);
    case 'state':
      return stateResponse(context, instance, parameters);
    case 'video':
      return videoResponse(context, instance);
    case 'document':
      return documentResponse(context, instance);
    case 'report':
      return reportResponse(context, instance);
    default:
      throw notRenderable();
  }
}

/** GET …/instances/{instance}/frames/{list}/rendered: one frame alone or as a part, several as parts, in the list's order. */
export const renderFrames: Handler = async (context) => {
  const { services, principal, params, request } = context;
  const parameters = parametersOf(context);
  const numbers = params.frames!.split(/,|%2C/i).map((text) => (/^[1-9]\d{0,9}$/.test(text.trim()) ? Number(text) : 0));
  if (numbers.includes(0))
    throw new PacsError('BAD_REQUEST', 'the frame list is a comma-separated list of numbers from 1');
  const instance = await findInstance(services, principal.tenant, params.study!, params.series!, params.instance!);
  if (renderableOf(instance) !== 'image') throw notRenderable();
  const frames = frameCount(instance);
  const missing = numbers.find((number) => number > frames);
  if (missing !== undefined)
    throw new PacsError('NOT_FOUND', 'there is no such frame', { details: { frame: missing, frames } });
  const choice = negotiate(request, numbers.length === 1 ? IMAGES : [multipart(JPEG), multipart(PNG)]);
  return choice.offer.packaging === 'single'
    ? frameResponse(context, instance, numbers[0]!, { ...parameters, mediaType: asSingle(choice.offer.type) })
    : partsResponse(context, once(instance), { ...parameters, mediaType: asSingle(choice.offer.type) }, () => numbers);
};

async function renderImage(
  context: Context,
  instance: InstanceRecord,
  parameters: RenderingParameters,
): Promise<HttpResponse> {
  const frames = frameCount(instance);
  const choice = negotiate(context.request, frames > 1 ? [JPEG, PNG, GIF, ...IMAGES.slice(2)] : IMAGES);
  const { type, packaging } = choice.offer;
  if (type === 'image/gif') checkGifColours(parameters);
  if (type === 'image/gif') return gifResponse(context, instance, { ...parameters, mediaType: 'image/gif' });
  const request: RenderingRequest = { ...parameters, mediaType: asSingle(type) };
  if (packaging === 'single') return frameResponse(context, instance, 1, request);
  return partsResponse(context, once(instance), request, allFrames);
}

/** Several instances: images and what presentation states show, as parts; alone, the one that stands for them. */
async function renderMany(
  context: Context,
  instances: AsyncIterable<InstanceRecord>,
  representative: () => Promise<InstanceRecord>,
): Promise<HttpResponse> {
  const { request } = context;
  const parameters = parametersOf(context);
  const choice = negotiate(request, IMAGES);
  const rendering: RenderingRequest = { ...parameters, mediaType: asSingle(choice.offer.type) };
  if (choice.offer.packaging === 'multipart') return partsResponse(context, instances, rendering, allFrames);
  const instance = await representative();
  if (renderableOf(instance) !== 'image') throw noImages();
  return frameResponse(context, instance, (frameCount(instance) >> 1) + 1, rendering, 'private, no-cache');
}

/** A GIF has no room for a profile: colours that are not those of every browser would be seen wrongly. */
function checkGifColours({ colourSpace }: RenderingParameters): void {
  if (colourSpace === undefined || colourSpace === 'own' || colourSpace === 'srgb') return;
  throw new PacsError('NOT_ACCEPTABLE', 'image/gif cannot say that its colours are of this space', {
    details: { parameter: 'iccprofile', available: ['image/jpeg', 'image/png'] },
  });
}

const allFrames = (instance: InstanceRecord): number[] => Array.from({ length: frameCount(instance) }, (_, i) => i + 1);

/** Reports and documents of a series or study have rendered forms, but each of its own. */
const noImages = (): PacsError =>
  new PacsError('NOT_ACCEPTABLE', 'there is no image to render; its instances may have rendered forms of their own');

const notRenderable = (): PacsError =>
  new PacsError('NOT_ACCEPTABLE', 'the object has no rendered form; it can be had as application/dicom', {
    details: { available: ['application/dicom'] },
  });

/** The answer to a GET of something that is made from stored objects: 304 before any work is done. */
async function answer(
  context: Context,
  instance: InstanceRecord,
  identity: readonly string[],
  make: () => Promise<{ readonly type: string; readonly body: Uint8Array; readonly headers?: Record<string, string> }>,
  cacheControl = cacheControlOf(context.services.policy),
): Promise<HttpResponse> {
  const validators = { etag: etagOf(RENDERER, instance.sha256, ...identity), lastModified: instance.storedAt };
  const cache = { 'cache-control': cacheControl, vary: 'accept' };
  const unchanged = notModified(context.request, validators, cache);
  if (unchanged) return unchanged;
  const { type, body, headers } = await make();
  return {
    status: 200,
    headers: {
      'content-type': type,
      'content-length': String(body.length),
      ...cache,
      ...validatorHeaders(validators),
      ...headers,
    },
    body,
  };
}

const frameResponse = (
  context: Context,
  instance: InstanceRecord,
  frame: number,
  request: RenderingRequest,
  cacheControl?: string,
): Promise<HttpResponse> =>
  answer(
    context,
    instance,
    [String(frame), JSON.stringify(request)],
    async () => {
      const image = await renderFrame(context.services, instance, frame, request);
      return { type: image.mediaType, body: image.bytes };
    },
    cacheControl,
  );

const gifResponse = (context: Context, instance: InstanceRecord, request: RenderingRequest): Promise<HttpResponse> =>
  answer(context, instance, ['all', JSON.stringify(request)], async () => {
    const image = await renderAnimation(context.services, instance, request);
    return { type: image.mediaType, body: image.bytes };
  });

/**
 * An image as a presentation state of its study has it (PS3.18 §9.1.2.4).
 * @throws PacsError BAD_REQUEST when the state is none, or not for this image; NOT_FOUND; NOT_ACCEPTABLE
 */
export function renderPresented(
  context: Context,
  state: InstanceRecord,
  of: { readonly SOPInstanceUID: string; readonly frame?: number },
): Promise<HttpResponse> {
  if (renderableOf(state) !== 'state')
    throw new PacsError('BAD_REQUEST', 'presentationUID names no presentation state', {
      details: { parameter: 'presentationUID' },
    });
  return stateResponse(context, state, parametersOf(context), of);
}

/** The image may change under the state (another version, a deletion), so nothing is kept without asking. */
function stateResponse(
  context: Context,
  state: InstanceRecord,
  parameters: RenderingParameters,
  of?: { readonly SOPInstanceUID: string; readonly frame?: number },
): Promise<HttpResponse> {
  const choice = negotiate(context.request, [JPEG, PNG]);
  const request: RenderingRequest = { ...parameters, mediaType: asSingle(choice.offer.type) };
  return answer(
    context,
    state,
    ['state', JSON.stringify(request), JSON.stringify(of ?? '')],
    async () => {
      const image = await renderState(context.services, context.principal.tenant, state, request, of);
      return { type: image.mediaType, body: image.bytes };
    },
    'private, no-store',
  );
}

/**
 * Pictures as parts. One that cannot be drawn is no reason to keep the others back, and must not be missed: in its place stands a part that
 * says why, problem details under the picture's Content-Location (docs/decisions/0245-one-image-of-many.md).
 */
async function partsResponse(
  { services, root }: Context,
  instances: AsyncIterable<InstanceRecord>,
  request: RenderingRequest,
  framesOf: (instance: InstanceRecord) => readonly number[],
): Promise<HttpResponse> {
  let failure: PacsError | undefined;
  async function* parts(): AsyncGenerator<Part, void, undefined> {
    for await (const instance of instances) {
      if (renderableOf(instance) !== 'image') continue;
      for (const frame of framesOf(instance)) {
        const location = { 'content-location': `${locationOf(root, instance)}/frames/${frame}/rendered` };
        try {
          const image = await renderFrame(services, instance, frame, request);
          yield { headers: { 'content-type': image.mediaType, ...location }, body: image.bytes };
        } catch (error) {
          if (!isUndecodable(error)) throw error;
          failure ??= error;
          const { headers, body } = errorResponse(error).response;
          const problem = { 'content-type': headers['content-type']!, ...location };
          yield { headers: problem, body: Buffer.from(String(body)) };
        }
      }
    }
  }
  const rest = parts();
  // Drawn before the status is sent, up to the first that can be: where none can, that is an error.
  const head: Part[] = [];
  for (;;) {
    const next = await rest.next();
    if (next.done === true) throw failure ?? noImages();
    head.push(next.value);
    if (next.value.headers['content-type'] === request.mediaType) break;
  }
  async function* all(): AsyncGenerator<Part, void, undefined> {
    yield* head;
    yield* rest;
  }
  return multipartResponse(services.clock, request.mediaType, all(), {
    'cache-control': 'private, no-cache',
    vary: 'accept',
  });
}

const locationOf = (root: string, instance: InstanceRecord): string =>
  `${root}/studies/${instance.StudyInstanceUID}/series/${instance.SeriesInstanceUID}/instances/${instance.SOPInstanceUID}`;

/** The one stream of all frames, as stored. In one fragment, as nearly all are, it has ranges: players seek by them. */
async function videoResponse({ services, request }: Context, instance: InstanceRecord): Promise<HttpResponse> {
  const { offer } = negotiate(request, [{ type: mediaTypeOf(instance.transferSyntaxUID), packaging: 'single' }]);
  const validators = { etag: etagOf(RENDERER, instance.sha256, 'video'), lastModified: instance.storedAt };
  const headers = { 'content-type': offer.type, 'cache-control': cacheControlOf(services.policy), vary: 'accept' };
  const unchanged = notModified(request, validators, headers);
  if (unchanged) return unchanged;
  const { blobKey, pixels } = instance;
  if (pixels?.kind === 'fragments' && pixels.table !== undefined) {
    const run = tableEntry(pixels.table, 1);
    const item = await services.blobs.readBytes(blobKey, { offset: run.offset, length: ITEM_HEADER_BYTES });
    const sizeBytes = Buffer.from(item).readUInt32LE(4);
    if (sizeBytes === run.length - ITEM_HEADER_BYTES) {
      const start = run.offset + ITEM_HEADER_BYTES;
      return rangedResponse(request, { sizeBytes, validators, headers }, (offset, length) =>
        services.blobs.read(blobKey, { offset: start + offset, length }),
      );
    }
  }
  const stream = await openFrames(services, instance, [1]).next();
  if (stream.done === true) throw notRenderable();
  return { status: 200, headers: { ...headers, ...validatorHeaders(validators) }, body: stream.value };
}

/** tag and length of an item of encapsulated pixel data (PS3.5 A.4) */
const ITEM_HEADER_BYTES = 8;

/** What came in from outside is shown to a browser under our own origin: it may run nothing there. */
const INERT = {
  'content-security-policy': "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:",
  'x-content-type-options': 'nosniff',
};

async function documentResponse(context: Context, instance: InstanceRecord): Promise<HttpResponse> {
  const { services, request } = context;
  const type = DOCUMENT_TYPES[instance.SOPClassUID]!;
  negotiate(request, [{ type, aliases: type === 'text/xml' ? ['application/xml'] : [], packaging: 'single' }]);
  return answer(context, instance, ['document'], async () => {
    const dataSet = await dataSetOf(services, instance);
    const element = dataSet['00420011'];
    const bytes = element === undefined ? new Uint8Array(0) : await bulkReader(services, instance)(element);
    if (bytes.length === 0) throw new PacsError('NOT_FOUND', 'the object encapsulates no document');
    const stated = dataSet['00420015']?.Value?.[0];
    // an OB value of odd length is padded; the object may say how long it really is
    const body = typeof stated === 'number' && stated > 0 && stated < bytes.length ? bytes.subarray(0, stated) : bytes;
    // viewers of PDF do not start in a sandbox; what a PDF can do, it does in the viewer's own
    const headers = type === 'application/pdf' ? { 'x-content-type-options': 'nosniff' } : INERT;
    return { type, body, headers };
  });
}

const REPORTS: readonly Offer[] = [
  { type: 'text/html', packaging: 'single' },
  { type: 'text/plain', packaging: 'single' },
];

async function reportResponse(context: Context, instance: InstanceRecord): Promise<HttpResponse> {
  const { type } = negotiate(context.request, REPORTS).offer;
  const { watermark } = watermarkOf(context.principal, context.services.clock);
  return answer(context, instance, [type, watermark ?? ''], async () => {
    const dataSet = await dataSetOf(context.services, instance);
    const text = type === 'text/html' ? reportHtml(dataSet, watermark) : reportText(dataSet, watermark);
    return { type: `${type}; charset=utf-8`, body: Buffer.from(text), headers: INERT };
  });
}

async function* once<T>(value: T): AsyncGenerator<T, void, undefined> {
  yield value;
}

export { thumbnailFrames, thumbnailInstance, thumbnailSeries, thumbnailStudy } from './thumbnail.ts';
