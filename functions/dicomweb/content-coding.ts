import { pipeline, Readable, type Transform } from 'node:stream';
import { createGunzip, createInflate } from 'node:zlib';
import { PacsError } from '#core/errors.ts';
import type { HttpRequest } from './http.ts';

const DECODERS: Readonly<Record<string, () => Transform>> = {
  gzip: () => createGunzip(),
  'x-gzip': () => createGunzip(),
  deflate: () => createInflate(),
};

/** What is taken in a request's Content-Encoding, as an answer's Accept-Encoding has it (RFC 9110 §12.5.3). */
const ACCEPTED_CODINGS = 'gzip, deflate';

export const isCoded = ({ headers }: Pick<HttpRequest, 'headers'>): boolean => codingsOf(headers).length > 0;

/**
 * The body of a request without its content coding (RFC 9110 §8.4), in constant memory. How much comes out of it is for the reader to limit.
 * @throws PacsError UNSUPPORTED_MEDIA for another coding, or several; the body itself throws BAD_REQUEST where it is not coded so
 */
export function withoutCoding({ headers, body }: Pick<HttpRequest, 'headers' | 'body'>): AsyncIterable<Uint8Array> {
  const [coding, ...more] = codingsOf(headers);
  if (coding === undefined) return body;
  const decoder = more.length === 0 ? DECODERS[coding] : undefined;
  if (decoder !== undefined) return decoded(body, decoder());
  throw new PacsError('UNSUPPORTED_MEDIA', 'the content coding of the body is not supported', {
    details: { acceptEncoding: ACCEPTED_CODINGS },
  });
}

const codingsOf = (headers: HttpRequest['headers']): string[] =>
  (headers['content-encoding'] ?? '')
    .split(',')
    .map((coding) => coding.trim().toLowerCase())
    .filter((coding) => coding !== '' && coding !== 'identity');

async function* decoded(body: AsyncIterable<Uint8Array>, decoder: Transform): AsyncGenerator<Uint8Array> {
  // What ends one of the two ends the other; the error is thrown by the loop.
  pipeline(Readable.from(body, { objectMode: false }), decoder, () => {});
  try {
    for await (const chunk of decoder) yield chunk as Uint8Array;
  } catch (error) {
    if (!isOfCoding(error)) throw error;
    throw new PacsError('BAD_REQUEST', 'the body is not coded as its Content-Encoding says', { cause: error });
  }
}

const isOfCoding = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('Z_');
