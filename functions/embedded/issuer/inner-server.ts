import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { Duplex, duplexPair } from 'node:stream';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';

/** bytes of what a request to the issuer may carry, and of what it answers */
const BODY_BYTES = 256 * 1024;
/** An inner request that is not answered in this time is given up (ms). */
const TIMEOUT_MS = 30_000;
/** What a client says of itself here is not to be believed. */
const DROPPED =
  /^(connection|content-length|expect|forwarded|host|keep-alive|te|transfer-encoding|upgrade|x-forwarded-.*)$/;

type NodeHandler = (request: IncomingMessage, response: ServerResponse) => void;
export type InnerRequest = Pick<
  HttpRequest,
  'method' | 'path' | 'query' | 'headers' | 'body' | 'origin' | 'remoteAddress'
>;

/**
 * A handler for node:http, asked without a socket: request and answer go through a pair of streams in this process, with node's own client
 * and server at the ends. So it serves whatever stands before it (TLS, a proxy, a test), and the archive itself.
 * @returns a response with its Set-Cookie headers apart, as they cannot be joined
 */
export function innerServer(handler: NodeHandler): (request: InnerRequest) => Promise<HttpResponse> {
  const server = createServer({ keepAliveTimeout: 0 }, handler);
  return async ({ method, path, query, headers, body, origin, remoteAddress }) => {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of body) {
      size += chunk.byteLength;
      if (size > BODY_BYTES) return { status: 413, headers: { 'cache-control': 'no-store' } };
      chunks.push(chunk);
    }
    const kept = Object.entries(headers).filter(([name, value]) => value !== undefined && !DROPPED.test(name));
    const { host, protocol } = new URL(origin);
    const [near, far] = duplexPair();
    server.emit('connection', far);
    const search = query.size > 0 ? `?${query}` : '';
    return new Promise<HttpResponse>((resolve, reject) => {
      const outgoing = httpRequest(
        {
          method,
          path: encodeURI(path) + search,
          headers: {
            ...Object.fromEntries(kept),
            host,
            'x-forwarded-proto': protocol.slice(0, -1),
            ...(remoteAddress !== undefined && { 'x-forwarded-for': remoteAddress }),
            'content-length': String(size),
            connection: 'close',
          },
          createConnection: () => near as never,
          timeout: TIMEOUT_MS,
        },
        (incoming) => {
          wholeBody(incoming).then((bytes) => resolve(responseOf(incoming, bytes)), reject);
        },
      );
      outgoing.on('timeout', () => outgoing.destroy(new Error('no answer')));
      outgoing.on('error', reject);
      outgoing.end(Buffer.concat(chunks));
    }).finally(() => {
      near.destroy();
      if (far instanceof Duplex) far.destroy();
    });
  };
}

async function wholeBody(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function responseOf(incoming: IncomingMessage, bytes: Buffer): HttpResponse {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (value === undefined || DROPPED.test(name) || name === 'set-cookie' || name === 'date') continue;
    headers[name] = [value].flat().join(', ');
  }
  const cookies = incoming.headers['set-cookie'];
  return {
    status: incoming.statusCode ?? 500,
    headers: { ...headers, 'cache-control': headers['cache-control'] ?? 'no-store' },
    ...(cookies && { cookies }),
    ...(bytes.length > 0 && { body: bytes }),
  };
}
