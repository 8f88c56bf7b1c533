import { Buffer } from 'node:buffer';
import type { Clock } from '#core/ports/clock.ts';
import { coalesce, type Payload, releasePayload } from '#core/retrieve/stream.ts';
import { type HttpResponse, Pieces } from './http.ts';

export interface Part {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Payload;
}

/** Random, so that nobody can store an object that holds the boundary it will be sent with. */
export const newBoundary = (clock: Clock): string => `nephos-${Buffer.from(clock.randomBytes(16)).toString('hex')}`;

/**
 * A multipart/related response (PS3.18 §8.6.1.2). `type` is the root part's media type. Parts are asked for one by one
 * as the client takes them; an error after the first one tears the connection, as the status is sent by then.
 */
export function multipartResponse(
  clock: Clock,
  type: string,
  parts: AsyncIterable<Part> | Iterable<Part>,
  headers: Readonly<Record<string, string>> = {},
): HttpResponse {
  const boundary = newBoundary(clock);
  const contentType = `multipart/related; type="${type}"; boundary=${boundary}`;
  const only = Array.isArray(parts) && parts.length === 1 ? (parts[0] as Part) : undefined;
  if (only?.body instanceof Uint8Array) {
    const body = new Pieces([partHead(`--${boundary}\r\n`, only), only.body, lastDelimiter(boundary)]);
    const length = { 'content-length': String(body.sizeBytes) };
    return { status: 200, headers: { 'content-type': contentType, ...length, ...headers }, body };
  }
  return {
    status: 200,
    headers: { 'content-type': contentType, ...headers },
    body: writeMultipart(parts, boundary),
  };
}

function partHead(delimiter: string, { headers }: Part): Buffer {
  let head = delimiter;
  for (const name in headers) head += `${WIRE_NAMES[name] ?? name}: ${headers[name]}\r\n`;
  return Buffer.from(`${head}\r\n`, 'latin1');
}

const lastDelimiter = (boundary: string): Buffer => Buffer.from(`\r\n--${boundary}--\r\n`, 'latin1');

/** Small parts are joined into chunks of 64 KiB, large payloads pass uncopied. */
export const writeMultipart = (
  parts: AsyncIterable<Part> | Iterable<Part>,
  boundary: string,
): AsyncIterable<Uint8Array> => coalesce(pieces(parts, boundary));

/** Case does not matter to MIME, yet cornerstone, OHIF's image loader, finds a frame's type by these very letters. */
const WIRE_NAMES: Readonly<Record<string, string>> = {
  'content-type': 'Content-Type',
  'content-location': 'Content-Location',
};

async function* pieces(
  parts: AsyncIterable<Part> | Iterable<Part>,
  boundary: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  let delimiter = `--${boundary}\r\n`;
  for await (const part of parts) {
    const { body } = part;
    let finished = false;
    try {
      yield partHead(delimiter, part);
      if (body instanceof Uint8Array) yield body;
      else yield* body;
      finished = true;
    } finally {
      if (!finished) await releasePayload(body);
    }
    delimiter = `\r\n--${boundary}\r\n`;
  }
  // No parts at all still makes a well-formed, empty body.
  yield Buffer.from(`${delimiter.slice(0, -2)}--\r\n`, 'latin1');
}
