import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { TLSSocket, TlsOptions } from 'node:tls';
import { giveBack, isLent } from '#core/lent-bytes.ts';
import { discard } from '#core/retrieve/stream.ts';
import { type HttpRequest, type HttpResponse, Pieces } from '#dicomweb/http.ts';
import { SAFE_HEADERS } from '#dicomweb/safe-headers.ts';
import { type ConnectionLimits, limitConnections } from './connection-limits.ts';
import { IncomingBody } from './incoming-body.ts';
import { targetOf } from './request-target.ts';

/** Answers a request; what it throws is a defect and becomes a bare 500. */
export type Answer = (
  request: HttpRequest,
) => Promise<{ response: HttpResponse; route: string | undefined; tenant?: string | undefined }>;

export interface HttpHostOptions {
  readonly answer: Answer;
  /** scheme and authority as clients see them; from the Host header when undefined */
  readonly publicUrl: string | undefined;
  /** with it, connections are TLS */
  readonly tls?: TlsOptions | undefined;
  /** beyond them connections are dropped; absent: as many as come */
  readonly connections?: ConnectionLimits | undefined;
  readonly onDone?: (done: {
    route: string | undefined;
    /** of who asked, where that is known */
    tenant: string | undefined;
    status: number;
    seconds: number;
    received: number;
    sent: number;
  }) => void;
  readonly onDefect?: (error: unknown) => void;
}

/** A browser that has seen us over TLS comes back over TLS (RFC 6797); for a year. */
const STRICT_TRANSPORT = 'max-age=31536000';
/** A connection on which nothing moves for this long is closed (ms). */
const IDLE_MS = 120_000;
const HEADERS_MS = 30_000;
/** A chunk of an answer that is sent without waiting for what comes after it (bytes). */
const AT_ONCE_BYTES = 64 * 1024;
/** An answer waits while this much of it is waiting for the client (bytes). */
const WAITING_BYTES = 1024 * 1024;
/** What is left of a refused body is read up to this much (bytes), and as long as some comes within this time (ms), so that the client gets to see the answer. */
const DRAIN_BYTES = 8 * 1024 * 1024;
const DRAIN_MS = 10_000;

/** An answer without a body, behind which the connection ends. */
const BARE = { ...SAFE_HEADERS, 'content-length': '0', connection: 'close' } as const;

/** node:http ↔ HttpRequest and HttpResponse. No rules of the archive here. */
export function createHttpHost(options: HttpHostOptions): Server | TlsServer {
  const settings = {
    keepAliveTimeout: 65_000,
    headersTimeout: HEADERS_MS,
    requestTimeout: 0,
    noDelay: true,
    // a request that announces no body has none: no stream is worked through to find its end
    optimizeEmptyRequests: true,
  };
  const listener = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    // Pipelined behind others it has its turn when they are answered: made all at once, what one connection asks for in a few kilobytes and
    // never reads would fill the memory, and what stands behind a request that ends the connection would be done.
    if (outgoing.socket === null) outgoing.once('socket', () => setImmediate(serve, options, incoming, outgoing));
    else void serve(options, incoming, outgoing);
  };
  const server = options.tls
    ? createTlsServer({ ...settings, ...options.tls }, listener)
    : createServer(settings, listener);
  // Its listener asks for the body itself, when it is read.
  server.on('checkContinue', listener);
  // Large bodies may take hours; what must not last is silence.
  server.timeout = IDLE_MS;
  if (options.connections) limitConnections(server, options.connections);
  return server;
}

async function serve(options: HttpHostOptions, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const startedAt = performance.now();
  const gone = new AbortController();
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) gone.abort();
  });
  const body = new IncomingBody(incoming, outgoing);
  let route: string | undefined;
  let tenant: string | undefined;
  let status = 500;
  let sent = 0;
  try {
    if (options.tls) outgoing.setHeader('strict-transport-security', STRICT_TRANSPORT);
    const request = toRequest(incoming, body, options, gone.signal);
    if (!request) {
      status = 400;
      outgoing.writeHead(400, BARE).end();
      return;
    }
    const answered = await options.answer(request);
    ({ route, tenant } = answered);
    status = answered.response.status;
    sent = await send(answered.response, incoming, outgoing, body);
  } catch (error) {
    if (!gone.signal.aborted) options.onDefect?.(error);
    if (outgoing.headersSent) outgoing.destroy();
    else outgoing.writeHead(500, BARE).end();
  } finally {
    const seconds = (performance.now() - startedAt) / 1000;
    options.onDone?.({ route, tenant, status, seconds, received: body.received, sent });
  }
}

function toRequest(
  incoming: IncomingMessage,
  body: IncomingBody,
  { publicUrl, tls }: HttpHostOptions,
  signal: AbortSignal,
): HttpRequest | undefined {
  const target = targetOf(incoming);
  if (target === undefined) return undefined;
  return {
    method: incoming.method ?? 'GET',
    path: target.path,
    query: new URLSearchParams(target.query),
    headers: incoming.headers as Record<string, string | undefined>,
    body,
    remoteAddress: incoming.socket.remoteAddress,
    ...(tls?.requestCert && { clientCertificate: certificateNames(incoming.socket as TLSSocket) }),
    origin: publicUrl ?? `${tls ? 'https' : 'http'}://${target.host ?? 'localhost'}`,
    signal,
  };
}

const shown = new WeakMap<TLSSocket, readonly string[] | undefined>();

/** Names by which somebody may be registered; undefined where none was shown, or none that an authority of ours has signed. */
function certificateNames(socket: TLSSocket): readonly string[] | undefined {
  if (!socket.authorized) return undefined;
  if (!shown.has(socket)) {
    const { fingerprint256, subjectaltname = '' } = socket.getPeerCertificate();
    const digest = `SHA256:${fingerprint256?.replaceAll(':', '').toLowerCase()}`;
    // A name that needs quotes is none that anybody is registered by.
    const names = subjectaltname.includes('"') ? [] : subjectaltname.split(', ').filter((name) => name !== '');
    shown.set(socket, fingerprint256 ? [digest, ...names] : undefined);
  }
  return shown.get(socket);
}

async function send(
  response: HttpResponse,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  body: IncomingBody,
): Promise<number> {
  const headers: Record<string, string | readonly string[]> = { ...response.headers };
  if (response.cookies) headers['set-cookie'] = response.cookies;
  const content = response.body;
  const whole = wholeOf(content);
  if (whole) headers['content-length'] = String(sizeOf(whole));
  else if (content === undefined && response.status !== 204 && response.status !== 304)
    headers['content-length'] ??= '0';
  const unread = !incoming.complete;
  if (unread) headers.connection = 'close';
  outgoing.writeHead(response.status, headers as OutgoingHttpHeaders);
  if (incoming.method === 'HEAD' || content === undefined || whole) {
    const pieces = incoming.method === 'HEAD' || whole === undefined ? [] : whole;
    // Ended at once, the connection would break under a client that is still sending, and the answer be lost.
    if (unread && incoming.headers.expect === undefined) {
      outgoing.flushHeaders();
      for (const piece of pieces) write(outgoing, piece);
      await drain(incoming, body);
      outgoing.end();
    } else {
      // header and body in one call of the system
      outgoing.cork();
      for (const piece of pieces) write(outgoing, piece);
      outgoing.end();
      outgoing.uncork();
    }
    // What was opened for an answer that HEAD does not want must be closed.
    if (content !== undefined && whole === undefined) await discard(content as AsyncIterable<Uint8Array>);
    return sizeOf(pieces);
  }
  let sent = 0;
  for await (const chunk of content as AsyncIterable<Uint8Array>) {
    if (outgoing.destroyed) return sent;
    sent += chunk.byteLength;
    // What is small goes out with what stands around it, in one call of the system.
    const mayGoOn = write(outgoing, chunk);
    // What is large goes at once, not when this turn ends: its reader is at work while the next chunk is made.
    if (chunk.byteLength >= AT_ONCE_BYTES) outgoing.socket?.uncork();
    if (!mayGoOn && outgoing.writableLength >= WAITING_BYTES) await drained(outgoing);
  }
  outgoing.end();
  return sent;
}

/** The pieces of a body that is there as a whole. */
function wholeOf(body: HttpResponse['body']): readonly (string | Uint8Array)[] | undefined {
  if (typeof body === 'string' || body instanceof Uint8Array) return body.length === 0 ? [] : [body];
  return body instanceof Pieces ? body.pieces : undefined;
}

const sizeOf = (pieces: readonly (string | Uint8Array)[]): number => {
  let sum = 0;
  for (const piece of pieces) sum += Buffer.byteLength(piece);
  return sum;
};

/**
 * Memory that is lent is given back when the system has taken it, and not before: until then a slow client's answer stands in it. What a
 * connection that broke has not taken is left to be collected.
 */
function write(outgoing: ServerResponse, piece: string | Uint8Array): boolean {
  if (typeof piece === 'string' || !isLent(piece)) return outgoing.write(piece);
  return outgoing.write(piece, (error) => {
    if (!error) giveBack(piece);
  });
}

/** Resolves when what was written is on its way, or never will be. */
function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    if (outgoing.destroyed) return resolve();
    const done = (): void => {
      outgoing.off('drain', done);
      outgoing.off('close', done);
      resolve();
    };
    outgoing.on('drain', done);
    outgoing.on('close', done);
  });
}

async function drain(incoming: IncomingMessage, body: IncomingBody): Promise<void> {
  const before = body.received;
  const late = setTimeout(() => incoming.destroy(), DRAIN_MS);
  try {
    for await (const _ of body) {
      if (body.received - before > DRAIN_BYTES) break;
      late.refresh();
    }
  } catch {
    // The client has gone, or takes too long: nothing left to drain.
  } finally {
    clearTimeout(late);
  }
  if (!incoming.complete) incoming.destroy();
}
