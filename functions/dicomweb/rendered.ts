import type { InstanceRecord } from '#core/archive/records.ts';
import { PacsError } from '#core/errors.ts';
import { renderableOf, representativeOfSeries, representativeOfStudy } from '#core/pixels/renderable.ts';
import { type RenderingRequest, renderAnimation, renderFrame, renderState } from '#core/pixels/rendering.ts';
import { findInstance, instancesOfSeries, instancesOfStudy } from '#core/retrieve/find.ts';
import { frameCount } from '#core/retrieve/frames.ts';
import { watermarkOf } from './guest.ts';
import type { Context, Handler } from './handler.ts';
import type { HttpResponse } from './http.ts';
import { negotiate, type Offer } from './negotiate.ts';
import { answer, noImages, notRenderable } from './rendered-answer.ts';
import { documentResponse, reportResponse, videoResponse } from './rendered-documents.ts';
import { type RenderingParameters, renderingParameters } from './rendered-parameters.ts';
import { partsResponse } from './rendered-parts.ts';

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

async function* once<T>(value: T): AsyncGenerator<T, void, undefined> {
  yield value;
}

export { thumbnailFrames, thumbnailInstance, thumbnailSeries, thumbnailStudy } from './thumbnail.ts';
