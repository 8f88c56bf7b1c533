import type { InstanceRecord } from '#core/archive/records.ts';
import { PacsError } from '#core/errors.ts';
import { cacheControlOf } from './cache-control.ts';
import { etagOf, notModified, validatorHeaders } from './conditional.ts';
import type { Context } from './handler.ts';
import type { HttpResponse } from './http.ts';

/** part of every ETag: changes when the renderer draws otherwise */
export const RENDERER = 'r2';

/** The answer to a GET of something that is made from stored objects: 304 before any work is done. */
export async function answer(
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

/** Reports and documents of a series or study have rendered forms, but each of its own. */
export const noImages = (): PacsError =>
  new PacsError('NOT_ACCEPTABLE', 'there is no image to render; its instances may have rendered forms of their own');

export const notRenderable = (): PacsError =>
  new PacsError('NOT_ACCEPTABLE', 'the object has no rendered form; it can be had as application/dicom', {
    details: { available: ['application/dicom'] },
  });
