import { PacsError } from '#core/errors.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';

/** bytes of a JSON body of this API */
const BODY_LIMIT_BYTES = 64 * 1024;

export const json = (status: number, value: unknown): HttpResponse => ({
  status,
  headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
  body: JSON.stringify(value),
});

/** @throws PacsError BAD_REQUEST when the body is no JSON object; TOO_LARGE */
export async function readJson(request: HttpRequest, limitBytes = BODY_LIMIT_BYTES): Promise<Record<string, unknown>> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body) {
    size += chunk.byteLength;
    if (size > limitBytes) {
      throw new PacsError('TOO_LARGE', 'the body is too large', { details: { limitBytes } });
    }
    chunks.push(chunk);
  }
  try {
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Falls through: what is no JSON and what is no object are the same to the caller.
  }
  throw new PacsError('BAD_REQUEST', 'the body is not a JSON object');
}

/** A whole number from a query parameter. @throws PacsError BAD_REQUEST */
export function wholeNumber(request: HttpRequest, name: string, fallback: number, most: number): number {
  const text = request.query.get(name);
  if (text === null) return fallback;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > most) {
    throw new PacsError('BAD_REQUEST', `${name} must be a whole number from 1 to ${most}`);
  }
  return value;
}
