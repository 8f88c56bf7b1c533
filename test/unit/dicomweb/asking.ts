import { PacsError } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import type { Handler } from '#dicomweb/handler.ts';
import { parseMediaType } from '#dicomweb/media-type.ts';
import { readMultipart } from '#dicomweb/multipart.ts';
import { TENANT } from '#test/fixtures/services.ts';

export const ROOT = 'http://pacs.example/dicomweb';

export interface Asked {
  readonly accept?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly query?: string;
  readonly origin?: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** of an error */
  readonly details?: Readonly<Record<string, unknown>>;
}

export interface AnsweredPart {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** Asks a handler as routes.ts would; errors become their status with the code as the body. */
export async function ask(
  services: Services,
  handler: Handler,
  params: Readonly<Record<string, string>>,
  asked: Asked = {},
): Promise<Answer> {
  const origin = asked.origin ?? 'http://pacs.example';
  try {
    const { status, headers, body } = await handler({
      request: {
        method: 'GET',
        path: '/',
        query: new URLSearchParams(asked.query ?? ''),
        headers: { ...(asked.accept !== undefined && { accept: asked.accept }), ...asked.headers },
        body: (async function* () {})(),
        origin,
      },
      params,
      services,
      principal: { tenant: TENANT, subject: 'test', roles: ['admin'] },
      root: `${origin}/dicomweb`,
      facts: {},
    });
    return { status, headers, body: await wholeBody(body) };
  } catch (error) {
    if (!(error instanceof PacsError)) throw error;
    return { status: error.row.http, headers: {}, body: Buffer.from(error.code), details: error.details };
  }
}

export async function wholeBody(body: string | Uint8Array | AsyncIterable<Uint8Array> | undefined): Promise<Buffer> {
  if (body === undefined) return Buffer.alloc(0);
  if (typeof body === 'string') return Buffer.from(body);
  if (body instanceof Uint8Array) return Buffer.from(body);
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(Uint8Array.from(piece));
  return Buffer.concat(pieces);
}

export async function partsOf({ headers, body }: Answer): Promise<AnsweredPart[]> {
  const { type, parameters } = parseMediaType(headers['content-type']!);
  if (type !== 'multipart/related') throw new Error(`not a multipart answer: ${type}`);
  const parts: AnsweredPart[] = [];
  const source = (async function* () {
    yield body;
  })();
  for await (const part of readMultipart(source, parameters.boundary!)) {
    parts.push({ headers: part.headers, body: await wholeBody(part.body) });
  }
  return parts;
}
