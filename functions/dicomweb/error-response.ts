import { asPacsError, type PacsError } from '#core/errors.ts';
import type { HttpResponse } from './http.ts';
import { SAFE_HEADERS } from './safe-headers.ts';

const RETRY_AFTER_SECONDS = 5;

/**
 * Problem details (RFC 9457) for whatever was thrown. What is not foreseen is a 500 whose message says nothing; the log has
 * the cause under the same request.
 */
export function errorResponse(thrown: unknown): { response: HttpResponse; error: PacsError } {
  const error = asPacsError(thrown);
  const { http, resend } = error.row;
  const headers: Record<string, string> = {
    ...SAFE_HEADERS,
    'content-type': 'application/problem+json',
    'cache-control': 'no-store',
  };
  if (error.code === 'UNAUTHENTICATED') headers['www-authenticate'] = 'Bearer realm="nephos"';
  if (error.code === 'METHOD_NOT_ALLOWED' && Array.isArray(error.details.allow))
    headers.allow = error.details.allow.join(', ');
  if (error.code === 'RANGE_NOT_SATISFIABLE' && typeof error.details.size === 'number') {
    headers['content-range'] = `bytes */${error.details.size}`;
  }
  if (error.code === 'UNSUPPORTED_MEDIA' && typeof error.details.acceptEncoding === 'string')
    headers['accept-encoding'] = error.details.acceptEncoding;
  if (resend === 'safe' || resend === 'later') headers['retry-after'] = String(retryAfterOf(error));
  const hidden = error.code === 'INTERNAL';
  const body = {
    status: http,
    code: error.code,
    title: hidden ? 'internal error' : error.message,
    ...(hidden || Object.keys(error.details).length === 0 ? {} : { details: error.details }),
  };
  return { response: { status: http, headers, body: JSON.stringify(body) }, error };
}

const retryAfterOf = ({ details }: PacsError): number =>
  typeof details.retryAfterSeconds === 'number' ? details.retryAfterSeconds : RETRY_AFTER_SECONDS;
