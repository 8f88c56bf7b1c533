import { keys } from '#core/archive/records.ts';
import { PacsError } from '#core/errors.ts';
import type { Limits } from '#core/limits.ts';
import type { Delivery } from '#core/retrieve/objects.ts';
import type { Context } from './handler.ts';
import type { HttpRequest, HttpResponse } from './http.ts';

/**
 * Refuses before the first byte what one response cannot hold (behind Lambda 200 MB): never a body that is cut.
 * @param instead what the client may do
 * @throws PacsError TOO_LARGE (PS3.18 §8.5.1: 413 also for a target that is too large to be returned)
 */
export function checkFits({ responseBytes }: Limits, sizeBytes: number, instead: string): void {
  if (sizeBytes <= responseBytes) return;
  throw new PacsError('TOO_LARGE', `this is more than one response may hold: ${instead}`, {
    details: { sizeBytes, limitBytes: responseBytes },
  });
}

/** Refuses a study or series whose objects are too large together. */
export async function checkAllFit({ services, principal, params }: Context): Promise<void> {
  const { study, series } = params;
  const { tenant } = principal;
  const key = series === undefined ? keys.study(tenant, study!) : keys.series(tenant, study!, series);
  const item = await services.index.get(key);
  const instead = `retrieve ${series === undefined ? 'its series, ' : ''}its instances one by one, or its frames`;
  checkFits(services.limits, Number(item?.sizeBytes ?? 0), instead);
}

/**
 * A signed URL of the store in place of a stored object that is larger than `limits.redirectBytes`: 307, for GET alone. A client that
 * cannot follow says `Prefer: no-redirect`, and gets what fits one response. A Range within the limit is answered by ourselves.
 * @param sendingBytes of the object, or of the range that is asked for
 */
export async function redirected(
  { services, request }: Pick<Context, 'services' | 'request'>,
  delivery: Delivery,
  sendingBytes: number,
  contentType: string,
): Promise<HttpResponse | undefined> {
  const { limits, policy, direct } = services;
  if (request.method !== 'GET' || sendingBytes <= limits.redirectBytes || !direct.archive) return undefined;
  // The stored bytes as they are, which is not what is to be sent.
  if (delivery.transcode || policy.sanitizePreamble || declines(request)) return undefined;
  const { url } = await direct.archive.signRead(delivery.instance.blobKey, {
    expiresInMs: limits.redirectMs,
    contentType,
  });
  return { status: 307, headers: { location: url, 'cache-control': 'no-store', vary: 'accept, origin, prefer' } };
}

/** RFC 7240 */
const declines = ({ headers }: Pick<HttpRequest, 'headers'>): boolean =>
  (headers.prefer ?? '').split(',').some((one) => one.trim().toLowerCase() === 'no-redirect');
