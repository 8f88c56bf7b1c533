import { hash } from 'node:crypto';
import { PacsError } from '#core/errors.ts';
import type { Limits } from '#core/limits.ts';
import type { HttpRequest, HttpResponse } from './http.ts';
import { checkFits } from './response-limits.ts';

/** What identifies the state of a representation (RFC 9110 §8.8). */
export interface Validators {
  /** with its quotes; strong, or `W/` where the bytes differ from answer to answer although they say the same */
  readonly etag: string;
  /** ms since 1970 */
  readonly lastModified?: number;
}

/** A strong ETag over everything that the representation depends on. */
export const etagOf = (...parts: readonly string[]): string =>
  `"${hash('sha256', parts.join('\n'), 'base64url').slice(0, 27)}"`;

export function validatorHeaders({ etag, lastModified }: Validators): Record<string, string> {
  return lastModified === undefined ? { etag } : { etag, 'last-modified': httpDate(lastModified) };
}

const httpDate = (ms: number): string => new Date(ms).toUTCString();

/**
 * 304 when the client has this very state, else undefined. If-None-Match decides alone when it is there; the comparison is
 * weak, as RFC 9110 §13.1.2 has it for GET.
 * @throws PacsError PRECONDITION_FAILED where If-Match or If-Unmodified-Since ask for another state (§13.2.2)
 */
export function notModified(
  request: Pick<HttpRequest, 'headers'>,
  validators: Validators,
  headers: Readonly<Record<string, string>> = {},
): HttpResponse | undefined {
  checkState(request, validators);
  return isUnchanged(request.headers, validators)
    ? { status: 304, headers: { ...headers, ...validatorHeaders(validators) } }
    : undefined;
}

/**
 * Refuses what is asked for of another state than there is.
 * @param validators absent: nothing names the state, so nothing but `*` does
 * @throws PacsError PRECONDITION_FAILED
 */
export function checkState({ headers }: Pick<HttpRequest, 'headers'>, validators?: Validators): void {
  if (isAnother(headers, validators ?? { etag: 'W/' }))
    throw new PacsError('PRECONDITION_FAILED', 'this is not the state that the request asks for');
}

/** If-Match is compared strongly, and decides alone when it is there (RFC 9110 §13.1.1, §13.1.4). */
function isAnother(headers: HttpRequest['headers'], { etag, lastModified }: Validators): boolean {
  const match = headers['if-match'];
  if (match !== undefined) {
    return !match
      .split(',')
      .map((candidate) => candidate.trim())
      .some((candidate) => candidate === '*' || (candidate === etag && !etag.startsWith('W/')));
  }
  const since = headers['if-unmodified-since'];
  if (since === undefined || lastModified === undefined) return false;
  const time = Date.parse(since);
  return Number.isFinite(time) && Math.floor(lastModified / 1000) * 1000 > time;
}

function isUnchanged(headers: HttpRequest['headers'], { etag, lastModified }: Validators): boolean {
  const noneMatch = headers['if-none-match'];
  if (noneMatch !== undefined) {
    return noneMatch
      .split(',')
      .map((candidate) => candidate.trim())
      .some((candidate) => candidate === '*' || opaque(candidate) === opaque(etag));
  }
  const since = headers['if-modified-since'];
  if (since === undefined || lastModified === undefined) return false;
  const time = Date.parse(since);
  return Number.isFinite(time) && Math.floor(lastModified / 1000) * 1000 <= time;
}

const opaque = (etag: string): string => etag.replace(/^W\//, '');

export type RangeOutcome =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly offset: number; readonly length: number }
  | { readonly kind: 'unsatisfiable' };

/**
 * The byte range asked for (RFC 9110 §14.2), by GET alone. Several ranges, another unit or a malformed header are answered with the whole, as
 * is a range whose If-Range names another state.
 */
export function rangeOf(
  request: Pick<HttpRequest, 'headers'> & Partial<Pick<HttpRequest, 'method'>>,
  sizeBytes: number,
  { etag, lastModified }: Validators,
): RangeOutcome {
  if (request.method === 'HEAD') return { kind: 'whole' };
  const ifRange = request.headers['if-range'];
  const isThis =
    (ifRange === etag && !etag.startsWith('W/')) || (lastModified !== undefined && ifRange === httpDate(lastModified));
  if (ifRange !== undefined && !isThis) return { kind: 'whole' };
  const match = /^bytes=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(request.headers.range ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return { kind: 'whole' };
  const [, first = '', last = ''] = match;
  if (first === '') {
    const length = Math.min(Number(last), sizeBytes);
    return length === 0 ? { kind: 'unsatisfiable' } : { kind: 'part', offset: sizeBytes - length, length };
  }
  const offset = Number(first);
  const end = last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1);
  if (last !== '' && Number(last) < offset) return { kind: 'whole' };
  if (offset >= sizeBytes) return { kind: 'unsatisfiable' };
  return { kind: 'part', offset, length: end - offset + 1 };
}

/**
 * A body of known size as 200 or 206 by the request's Range; `read` gets what is to be sent.
 * @throws PacsError RANGE_NOT_SATISFIABLE; TOO_LARGE when that is over `limitBytes`
 */
export async function rangedResponse(
  request: Pick<HttpRequest, 'headers'> & Partial<Pick<HttpRequest, 'method'>>,
  representation: {
    readonly sizeBytes: number;
    readonly validators: Validators;
    readonly headers: Record<string, string>;
    /** the most that one response may hold */
    readonly limits?: Limits;
  },
  read: (offset: number, length: number) => AsyncIterable<Uint8Array> | Promise<Uint8Array>,
): Promise<HttpResponse> {
  const { sizeBytes, validators, limits } = representation;
  const headers = { ...representation.headers, ...validatorHeaders(validators), 'accept-ranges': 'bytes' };
  const range = rangeOf(request, sizeBytes, validators);
  if (range.kind === 'unsatisfiable') {
    throw new PacsError('RANGE_NOT_SATISFIABLE', 'the range begins behind the end', { details: { size: sizeBytes } });
  }
  const { offset, length } = range.kind === 'part' ? range : { offset: 0, length: sizeBytes };
  if (limits && request.method !== 'HEAD') checkFits(limits, length, 'ask for ranges of it');
  const body = read(offset, length);
  return {
    status: range.kind === 'part' ? 206 : 200,
    headers: {
      ...headers,
      'content-length': String(length),
      ...(range.kind === 'part' && { 'content-range': `bytes ${offset}-${offset + length - 1}/${sizeBytes}` }),
    },
    body: body instanceof Promise ? await body : body,
  };
}
