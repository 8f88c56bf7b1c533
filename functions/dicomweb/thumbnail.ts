import type { InstanceRecord } from '#core/archive/records.ts';
import { PacsError } from '#core/errors.ts';
import { placeholder } from '#core/pixels/placeholder.ts';
import { labelOf, renderableOf, representativeOfSeries, representativeOfStudy } from '#core/pixels/renderable.ts';
import type { Viewport } from '#core/pixels/rendering.ts';
import { renderFrame } from '#core/pixels/rendering.ts';
import type { RenderedImage } from '#core/ports/pixel-engine.ts';
import { findInstance } from '#core/retrieve/find.ts';
import { frameCount } from '#core/retrieve/frames.ts';
import { cacheControlOf } from './cache-control.ts';
import { etagOf, notModified, validatorHeaders } from './conditional.ts';
import { watermarkOf } from './guest.ts';
import type { Context, Handler } from './handler.ts';
import type { HttpResponse } from './http.ts';
import { negotiate, type Offer } from './negotiate.ts';
import { parseViewport } from './rendered-parameters.ts';

/**
 * Thumbnails (PS3.18 §10.4.1.1.4): one small image, whatever the resource is. The middle image of the largest image series
 * stands for a study, the middle one for a series, the middle frame for a cine loop; what has no picture, or one that
 * cannot be read, gets a drawing of what it is.
 */
const OFFERS: readonly Offer[] = [
  { type: 'image/jpeg', aliases: ['image/jpg'], packaging: 'single' },
  { type: 'image/png', packaging: 'single' },
];

const SIDE_PIXELS = 128;
const QUALITY = 80;
/** part of every ETag: changes when thumbnails are drawn otherwise */
const RENDERER = 't1';

/** GET studies/{study}/thumbnail */
export const thumbnailStudy: Handler = async (context) => {
  const { services, principal, params } = context;
  return thumbnail(
    context,
    await representativeOfStudy(services, principal.tenant, params.study!),
    undefined,
    'private, no-cache',
  );
};

/** GET studies/{study}/series/{series}/thumbnail */
export const thumbnailSeries: Handler = async (context) => {
  const { services, principal, params } = context;
  const instance = await representativeOfSeries(services, principal.tenant, params.study!, params.series!);
  return thumbnail(context, instance, undefined, 'private, no-cache');
};

/** GET …/instances/{instance}/thumbnail */
export const thumbnailInstance: Handler = async (context) => thumbnail(context, await instanceOf(context), undefined);

/** GET …/instances/{instance}/frames/{frames}/thumbnail: of the first of the frames */
export const thumbnailFrames: Handler = async (context) => {
  const instance = await instanceOf(context);
  const text = context.params.frames!.split(/,|%2C/i)[0]!.trim();
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new PacsError('BAD_REQUEST', 'frame numbers count from 1');
  const frames = frameCount(instance);
  if (Number(text) > frames) throw new PacsError('NOT_FOUND', 'there is no such frame', { details: { frames } });
  return thumbnail(context, instance, Number(text));
};

const instanceOf = ({ services, principal, params }: Context): Promise<InstanceRecord> =>
  findInstance(services, principal.tenant, params.study!, params.series!, params.instance!);

async function thumbnail(
  context: Context,
  instance: InstanceRecord,
  frame: number | undefined,
  cacheControl = cacheControlOf(context.services.policy),
): Promise<HttpResponse> {
  const { services, request } = context;
  const viewport = parseViewport(request.query.get('viewport'), services.limits, false) ?? {
    width: SIDE_PIXELS,
    height: SIDE_PIXELS,
  };
  const mediaType = negotiate(request, OFFERS).offer.type === 'image/png' ? 'image/png' : 'image/jpeg';
  const number = frame ?? (frameCount(instance) >> 1) + 1;
  const { watermark = '' } = watermarkOf(context.principal, services.clock);
  const size = `${viewport.width}x${viewport.height}`;
  const validators = {
    etag: etagOf(RENDERER, instance.sha256, String(number), mediaType, size, watermark),
    lastModified: instance.storedAt,
  };
  const cache = { 'cache-control': cacheControl, vary: 'accept' };
  const unchanged = notModified(request, validators, cache);
  if (unchanged) return unchanged;
  const image = await draw(context, instance, number, mediaType, viewport);
  return {
    status: 200,
    headers: { 'content-type': image.mediaType, ...cache, ...validatorHeaders(validators) },
    body: image.bytes,
  };
}

async function draw(
  { services, principal }: Context,
  instance: InstanceRecord,
  frame: number,
  mediaType: 'image/jpeg' | 'image/png',
  viewport: Viewport,
): Promise<RenderedImage> {
  const watermark = watermarkOf(principal, services.clock);
  if (renderableOf(instance) === 'image') {
    try {
      return await renderFrame(services, instance, frame, { mediaType, quality: QUALITY, viewport, ...watermark });
    } catch (error) {
      if (!(error instanceof PacsError) || !NO_PICTURE.has(error.code)) throw error;
    }
  }
  const icon = placeholder(labelOf(instance), renderableOf(instance) === 'video');
  const voi = { center: 127.5, width: 255, function: 'LINEAR_EXACT' } as const;
  const presentation = {
    mediaType,
    quality: QUALITY,
    voi,
    ...watermark,
    fit: { width: viewport.width, height: viewport.height, enlarge: true },
  };
  return services.pixels.render({ ...icon, presentation });
}

/** a list of studies shows its other pictures although one cannot be drawn */
const NO_PICTURE: ReadonlySet<string> = new Set([
  'UNREADABLE_DATASET',
  'UNSUPPORTED_TRANSFER_SYNTAX',
  'TOO_LARGE',
  'NOT_ACCEPTABLE',
]);
