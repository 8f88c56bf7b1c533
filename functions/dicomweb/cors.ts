import type { HttpRequest, HttpResponse } from './http.ts';

/** What scripts of another origin may read of a response, beside what they always may. */
const EXPOSED = [
  'Accept-Ranges',
  'Allow',
  'Content-Digest',
  'Content-Disposition',
  'Content-Length',
  'Content-Location',
  'Content-Range',
  'ETag',
  'Link',
  'Location',
  'Repr-Digest',
  'Retry-After',
  'Warning',
  'X-Total-Count',
].join(', ');
const METHODS = 'GET, HEAD, POST, PUT, DELETE, OPTIONS';
/** what DICOMweb clients send that a browser asks permission for */
const REQUEST_HEADERS = [
  'Accept',
  'Authorization',
  'Content-Digest',
  'Content-Type',
  'Idempotency-Key',
  'If-Match',
  'If-Modified-Since',
  'If-None-Match',
  'If-Range',
  'Prefer',
  'Range',
  'X-Requested-With',
].join(', ');
const PREFLIGHT_SECONDS = 86_400;

/**
 * CORS headers for a response (Fetch §3.2). Nothing for origins that are not named; `*` in the list lets any origin in, but then
 * without cookies: what a browser adds by itself must never work for a page that nobody vouched for.
 */
export function corsHeaders(
  request: Pick<HttpRequest, 'headers'>,
  allowedOrigins: readonly string[],
): Record<string, string> {
  if (allowedOrigins.length === 0) return {};
  const origin = request.headers.origin;
  if (origin !== undefined && allowedOrigins.includes(origin) && origin !== '*') {
    return {
      'access-control-allow-origin': origin,
      'access-control-allow-credentials': 'true',
      'access-control-expose-headers': EXPOSED,
      vary: 'origin',
    };
  }
  if (origin !== undefined && allowedOrigins.includes('*')) {
    return { 'access-control-allow-origin': '*', 'access-control-expose-headers': EXPOSED, vary: 'origin' };
  }
  // Caches must know that another origin might get another answer.
  return { vary: 'origin' };
}

/** The answer to a preflight request; to an origin that is not allowed it says nothing, and the browser gives up. */
export function preflight(request: Pick<HttpRequest, 'headers'>, allowedOrigins: readonly string[]): HttpResponse {
  const headers = corsHeaders(request, allowedOrigins);
  if (headers['access-control-allow-origin'] === undefined) return { status: 204, headers };
  return {
    status: 204,
    headers: {
      ...headers,
      'access-control-allow-methods': METHODS,
      'access-control-allow-headers': REQUEST_HEADERS,
      'access-control-max-age': String(PREFLIGHT_SECONDS),
    },
  };
}
