import { isIP } from 'node:net';
import { Readable } from 'node:stream';
import type { APIGatewayProxyEvent, APIGatewayProxyResult } from 'aws-lambda';
import { isRole, type Principal, type Reach } from '#core/access.ts';
import { PacsError } from '#core/errors.ts';
import { discard } from '#core/retrieve/stream.ts';
import { errorResponse } from '#dicomweb/error-response.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';

/** Proxy events of an API Gateway REST API ↔ HttpRequest and HttpResponse. No rules of the archive here. */
export function toRequest(
  event: APIGatewayProxyEvent,
  { publicUrl, signal }: { readonly publicUrl: string | undefined; readonly signal: AbortSignal },
): HttpRequest {
  const body = Buffer.from(event.body ?? '', event.isBase64Encoded ? 'base64' : 'utf8');
  const headers = { ...headersOf(event), 'content-length': String(body.length) };
  return {
    method: event.httpMethod,
    path: decoded(event.path),
    query: queryOf(event),
    headers,
    body: (async function* () {
      if (body.length > 0) yield body;
    })(),
    principal: principalOf(event),
    origin: publicUrl ?? originOf(event, headers),
    remoteAddress: event.requestContext?.identity?.sourceIp,
    viewerAddress: viewerOf(headers),
    refusedSeconds: refusalOf(event),
    signal,
  };
}

function headersOf({ headers, multiValueHeaders }: APIGatewayProxyEvent): Record<string, string> {
  const joined: Record<string, string> = {};
  const all: [string, string[] | undefined][] = multiValueHeaders
    ? Object.entries(multiValueHeaders)
    : Object.entries(headers ?? {}).map(([name, value]) => [name, value === undefined ? undefined : [value]]);
  for (const [name, values] of all) {
    const lower = name.toLowerCase();
    if (values) joined[lower] = [joined[lower] ?? [], values].flat().join(lower === 'cookie' ? '; ' : ', ');
  }
  return joined;
}

/** API Gateway has decoded names and values already. */
function queryOf({ queryStringParameters, multiValueQueryStringParameters }: APIGatewayProxyEvent): URLSearchParams {
  const query = new URLSearchParams();
  const all: Record<string, string[] | string | undefined> =
    multiValueQueryStringParameters ?? queryStringParameters ?? {};
  for (const [name, values] of Object.entries(all))
    for (const value of [values ?? []].flat()) query.append(name, value);
  return query;
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** What the authorizer found out (authorizer.ts); undefined on routes without it. */
function principalOf({ requestContext }: APIGatewayProxyEvent): Principal | undefined {
  const { tenant, subject, roles, reach, claims } = requestContext?.authorizer ?? {};
  if (typeof tenant !== 'string' || typeof subject !== 'string') return undefined;
  return {
    tenant,
    subject,
    roles: String(roles ?? '')
      .split(' ')
      .filter(isRole),
    ...(typeof reach === 'string' && { reach: JSON.parse(reach) as Reach }),
    ...(typeof claims === 'string' && { claims: JSON.parse(claims) as string[] }),
  };
}

/** CloudFront adds the address of whoever asked it, and API Gateway that of CloudFront; what stands before, or comes past CloudFront, anybody wrote. */
function viewerOf(headers: Record<string, string>): string | undefined {
  const address = headers['x-forwarded-for']?.split(',').at(-2)?.trim() ?? '';
  return isIP(address) === 0 ? undefined : address;
}

/** The authorizer cannot say 429: it lets such a request pass as nobody's, to be refused here. */
function refusalOf({ requestContext }: APIGatewayProxyEvent): number | undefined {
  const { refusedSeconds } = requestContext?.authorizer ?? {};
  return refusedSeconds === undefined ? undefined : Number(refusedSeconds);
}

/** CloudFront tells under which name it was asked; without it the API's own, whose paths begin with the stage. */
function originOf({ requestContext }: APIGatewayProxyEvent, headers: Record<string, string>): string {
  const scheme = headers['x-forwarded-proto']?.split(',')[0] ?? 'https';
  const forwarded = headers['x-forwarded-host'];
  if (forwarded !== undefined) return `${scheme}://${forwarded}`;
  const { domainName = headers.host ?? 'localhost', stage, path } = requestContext ?? {};
  return `${scheme}://${domainName}${path?.startsWith(`/${stage}/`) ? `/${stage}` : ''}`;
}

export interface StreamedResult {
  readonly statusCode: number;
  readonly headers: Record<string, string>;
  readonly multiValueHeaders?: Record<string, string[]>;
  readonly body: Readable | string;
}

/** Several cookies need a header each. */
const severalCookies = ({ cookies }: HttpResponse): { multiValueHeaders?: Record<string, string[]> } =>
  cookies === undefined ? {} : { multiValueHeaders: { 'set-cookie': [...cookies] } };

const hasNoBody = (request: Pick<HttpRequest, 'method'>, { status }: HttpResponse): boolean =>
  request.method === 'HEAD' || status === 204 || status === 304;

/**
 * For a response stream: read only as fast as the client takes it. A body that grows over `limitBytes` breaks off with an error, which
 * the client sees as a torn body: never as a short one.
 */
export async function toStream(
  request: Pick<HttpRequest, 'method'>,
  response: HttpResponse,
  limitBytes: number,
  onClosed: () => void,
): Promise<StreamedResult> {
  const { status: statusCode, headers, body } = response;
  const several = severalCookies(response);
  if (body === undefined || hasNoBody(request, response)) {
    if (isStream(body)) await discard(body);
    return { statusCode, headers: { ...headers }, ...several, body: '' };
  }
  if (typeof body === 'string') return { statusCode, headers: { ...headers }, ...several, body };
  const chunks = isStream(body) ? limited(body, limitBytes) : [body];
  const stream = Readable.from(chunks, { objectMode: false, highWaterMark: 1024 * 1024 });
  stream.once('close', onClosed);
  return { statusCode, headers: { ...headers }, ...several, body: stream };
}

/** For an answer that goes in one piece: base64 only for what is not text. */
export async function toWhole(
  request: Pick<HttpRequest, 'method'>,
  response: HttpResponse,
  limitBytes: number,
): Promise<APIGatewayProxyResult> {
  const { status: statusCode, headers, body } = response;
  if (body === undefined || hasNoBody(request, response)) {
    if (isStream(body)) await discard(body);
    return { statusCode, headers: { ...headers }, ...severalCookies(response), body: '', isBase64Encoded: false };
  }
  try {
    const bytes = isStream(body)
      ? Buffer.concat(await Array.fromAsync(limited(body, limitBytes)))
      : Buffer.from(body as Uint8Array);
    if (bytes.length > limitBytes) throw tooLarge(limitBytes);
    // What is compressed is no text, whatever it was before.
    const isText =
      headers['content-encoding'] === undefined &&
      /^(text\/|application\/(\S+\+)?(json|xml))/.test(headers['content-type'] ?? '');
    return {
      statusCode,
      headers: { ...headers },
      ...severalCookies(response),
      body: bytes.toString(isText ? 'utf8' : 'base64'),
      isBase64Encoded: !isText,
    };
  } catch (thrown) {
    const { response: refused } = errorResponse(thrown);
    return {
      statusCode: refused.status,
      headers: { ...refused.headers },
      body: String(refused.body),
      isBase64Encoded: false,
    };
  }
}

const isStream = (body: HttpResponse['body']): body is AsyncIterable<Uint8Array> =>
  body !== undefined && typeof body !== 'string' && !(body instanceof Uint8Array);

async function* limited(body: AsyncIterable<Uint8Array>, limitBytes: number): AsyncGenerator<Uint8Array> {
  let sent = 0;
  for await (const chunk of body) {
    sent += chunk.byteLength;
    if (sent > limitBytes) throw tooLarge(limitBytes);
    yield chunk;
  }
}

const tooLarge = (limitBytes: number): PacsError =>
  new PacsError('TOO_LARGE', 'this is more than one response may hold: ask for parts of it', {
    details: { limitBytes },
  });
