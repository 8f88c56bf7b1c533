import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** What came back on a connection, read by the letter (RFC 9112): deliberately not the code under test. */
export interface RawResponse {
  readonly status: number;
  /** lower-case names */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/**
 * The answers in what a connection gave, one after the other. `isHead`: whether the answer with that number is to HEAD, and so has no body.
 * `rest`: what is no whole answer.
 */
export function readResponses(
  bytes: Buffer,
  isHead: (index: number) => boolean = () => false,
): { readonly responses: readonly RawResponse[]; readonly statuses: readonly number[]; readonly rest: Buffer } {
  const responses: RawResponse[] = [];
  let at = 0;
  for (;;) {
    const headEnd = bytes.indexOf('\r\n\r\n', at, 'latin1');
    if (headEnd < 0) break;
    const [line = '', ...lines] = bytes.toString('latin1', at, headEnd).split('\r\n');
    const status = Number(/^HTTP\/1\.1 ([1-5]\d\d) [ -~]*$/.exec(line)?.[1] ?? Number.NaN);
    if (Number.isNaN(status)) break;
    const headers: Record<string, string> = {};
    for (const header of lines) {
      const colon = header.indexOf(':');
      headers[header.slice(0, colon).toLowerCase()] = header.slice(colon + 1).trim();
    }
    const found = bodyOf(bytes, headEnd + 4, status, headers, isHead(responses.length));
    if (found === undefined) break;
    responses.push({ status, headers, body: found.body });
    at = found.end;
  }
  return { responses, statuses: responses.map(({ status }) => status), rest: bytes.subarray(at) };
}

function bodyOf(
  bytes: Buffer,
  start: number,
  status: number,
  headers: Readonly<Record<string, string>>,
  isHead: boolean,
): { readonly body: Buffer; readonly end: number } | undefined {
  if (isHead || status < 200 || status === 204 || status === 304) return { body: Buffer.alloc(0), end: start };
  if (headers['transfer-encoding'] === 'chunked') {
    const parts: Buffer[] = [];
    for (let at = start; ; ) {
      const lineEnd = bytes.indexOf('\r\n', at, 'latin1');
      if (lineEnd < 0) return undefined;
      const length = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
      const end = lineEnd + 2 + length;
      if (Number.isNaN(length) || end + 2 > bytes.length) return undefined;
      if (length === 0) return { body: Buffer.concat(parts), end: end + 2 };
      parts.push(bytes.subarray(lineEnd + 2, end));
      at = end + 2;
    }
  }
  // Without a length the body goes on to the connection's end.
  const length = headers['content-length'] === undefined ? bytes.length - start : Number(headers['content-length']);
  const end = start + length;
  return end > bytes.length ? undefined : { body: bytes.subarray(start, end), end };
}

/** How long a server may take to say what is waited for (ms). */
const PATIENCE_MS = 60_000;

/** A connection to a server, and what it has said so far. */
export class RawConnection {
  readonly socket: Socket;
  #heard: Buffer[] = [];
  readonly closed: Promise<unknown>;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    socket.on('data', (chunk) => this.#heard.push(chunk));
  }

  static async open(port: number, host = '127.0.0.1'): Promise<RawConnection> {
    const socket = connect({ port, host });
    const connection = new RawConnection(socket);
    await once(socket, 'connect');
    return connection;
  }

  get heard(): Buffer {
    return Buffer.concat(this.#heard);
  }

  write(bytes: string | Uint8Array): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  }

  /** The server has ended it, or it is broken. */
  get isOver(): boolean {
    return this.socket.readableEnded || this.socket.closed;
  }

  /**
   * All that is said until the connection ends; or, where it is not to end, until there are so many answers, those of 1xx among them,
   * and nothing more has come for `quietMs`.
   */
  async all({ answers = Number.POSITIVE_INFINITY, quietMs = 300 } = {}): Promise<Buffer> {
    const patience = performance.now() + PATIENCE_MS;
    const isWaiting = (): boolean => !this.isOver && readResponses(this.heard).responses.length < answers;
    while (isWaiting() && performance.now() < patience) await Promise.race([this.closed, sleep(10)]);
    for (let last = -1; !this.isOver && last !== this.heard.length; ) {
      last = this.heard.length;
      await Promise.race([this.closed, sleep(quietMs)]);
    }
    return this.heard;
  }

  close(): void {
    this.socket.destroy();
  }
}
