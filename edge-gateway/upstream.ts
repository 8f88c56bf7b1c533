import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { rootCertificates } from 'node:tls';
import { Agent, type Dispatcher, request as send } from 'undici';
import { codeOf, isUnsent } from '#adapters/unsent.ts';
import { doubledMs } from '#core/backoff.ts';
import { PacsError } from '#core/errors.ts';
import type { Clock } from '#core/ports/clock.ts';
import { ConfigError } from '#embedded/config.ts';
import type { TlsFiles, UpstreamConfig } from './config.ts';
import { Credentials } from './credentials.ts';
import { NotBefore } from './not-before.ts';

export interface UpstreamRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE' | 'OPTIONS';
  /** below the DICOMweb root, with its query: `/studies?limit=1`; or an absolute URL of the upstream's own */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** a function, as it is asked again when the credentials had expired */
  readonly body?: Uint8Array | string | (() => AsyncIterable<Uint8Array>);
  /** of a streamed body, where known */
  readonly bodyBytes?: number;
  readonly signal?: AbortSignal | undefined;
  /** asks for objects that may lie on slow media: 503 with Retry-After says so, and is no failure of the upstream */
  readonly mayBeCold?: boolean;
  /** goes out although the circuit is open */
  readonly probe?: boolean;
  /** credentials are not sent: the URL is signed, or another's */
  readonly anonymous?: boolean;
}

export interface UpstreamResponse {
  readonly status: number;
  /** lower-case names */
  readonly headers: Readonly<Record<string, string>>;
  /** to be read to its end, or given up by `discard`; a torn body throws OUTCOME_UNKNOWN */
  readonly body: AsyncIterable<Uint8Array>;
  text(limitBytes?: number): Promise<string>;
  discard(): Promise<void>;
}

/** What is known of an upstream from what was last tried. */
export interface UpstreamState {
  /** undefined: not tried yet */
  readonly online: boolean | undefined;
  /** it last answered anything, ms since 1970 */
  readonly lastContactAt: number | undefined;
  readonly lastError: { readonly at: number; readonly message: string } | undefined;
  /** while offline: nothing but probes goes out before this time */
  readonly retryAt: number | undefined;
  /** why it gives us no token, until it does again */
  readonly refusal: string | undefined;
}

const CONNECT_MS = 10_000;
/** consecutive failures that open the circuit */
const FAILURES_TO_OPEN = 3;
const OPEN = { firstMs: 1_000, mostMs: 30_000 } as const;
const RESPONSE_TEXT_BYTES = 16 * 1024 * 1024;
/** What a system may still hold of a body that has been written, and the slowest link it drains over (bytes, bytes a ms). */
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;
const SLOWEST_BYTES_PER_MS = 4;
/** An answer that comes more slowly than this, when it has been waited for as long as one may wait for any, is given up (bytes a ms). */
const SLOWEST_ANSWER_BYTES_PER_MS = 0.25;

/**
 * A DICOMweb archive that we talk to: connections (HTTP/2 where offered by TLS), credentials, time limits, and a circuit that spares
 * callers the wait while it cannot be reached. One for each row of the configuration's `upstreams`; `context.upstream(name)` has it.
 */
export class Upstream {
  readonly config: UpstreamConfig;
  /** of the files of `tls` as its connections use them */
  readonly tlsStamp: string;
  readonly #clock: Clock;
  readonly #agent: Agent;
  readonly #credentials: Credentials;
  readonly #root: string;
  #online: boolean | undefined;
  #lastContactAt: number | undefined;
  #lastError: { at: number; message: string } | undefined;
  #failures = 0;
  readonly #retry = new NotBefore();

  /**
   * @param dataDir where the identity of an enrolled gateway is
   * @throws ConfigError where a file of `tls` cannot be read
   */
  constructor(config: UpstreamConfig, clock: Clock, dataDir?: string) {
    this.config = config;
    this.#clock = clock;
    this.tlsStamp = tlsStampOf(config.tls);
    this.#root = config.url.replace(/\/+$/, '');
    this.#agent = new Agent({
      allowH2: true,
      // Senders, and whoever asks and fetches meanwhile.
      connections: config.parallel * 2 + 2,
      connect: { timeout: Math.min(CONNECT_MS, config.timeoutMs), ...tlsOptions(config.tls) },
      bodyTimeout: config.timeoutMs,
      headersTimeout: config.timeoutMs,
      keepAliveTimeout: 30_000,
    });
    this.#credentials = new Credentials({ upstream: config, dispatcher: this.#agent, clock, dataDir });
  }

  get name(): string {
    return this.config.name;
  }

  get state(): UpstreamState {
    return {
      online: this.#online,
      lastContactAt: this.#lastContactAt,
      lastError: this.#lastError,
      retryAt: this.#online === false ? this.#retry.at : undefined,
      refusal: this.#credentials.refusal,
    };
  }

  /** Whether a request has a chance right now; those who wait for a person should not try without. */
  get isReachable(): boolean {
    return this.#online !== false || this.#retry.left(this.#clock.now()) === 0;
  }

  /**
   * Any status is an answer, and given back.
   * @throws PacsError BUSY: it cannot be reached, nothing was sent. OUTCOME_UNKNOWN: it was sent, and no answer came.
   * UNAUTHENTICATED: there are no credentials to be had
   */
  async request(request: UpstreamRequest): Promise<UpstreamResponse> {
    const response = await this.#attempt(request);
    if (response.status !== 401 || request.anonymous || !this.#credentials.renewable) return response;
    // A token may be withdrawn before its time.
    await response.discard();
    this.#credentials.forget();
    return this.#attempt(request);
  }

  /** @internal also where another host is spoken to on the upstream's behalf: its failures are the circuit's */
  async #attempt(request: UpstreamRequest): Promise<UpstreamResponse> {
    if (!request.probe && !this.isReachable)
      throw new PacsError('BUSY', 'the upstream cannot be reached', { details: { upstream: this.name } });
    const url = /^https?:/.test(request.path) ? request.path : this.#root + request.path;
    // Our credentials go to the upstream's own host alone, whatever an answer of it says.
    const isOwn = new URL(url).origin === new URL(this.#root).origin;
    const authorization = request.anonymous || !isOwn ? undefined : await this.#authorization();
    const { timeoutMs } = this.config;
    const bodyBytes = request.bodyBytes ?? 0;
    let started = false;
    const start = (): void => {
      started = true;
    };
    const body =
      typeof request.body === 'function'
        ? Readable.from(noting(request.body(), start), { objectMode: false })
        : request.body;
    try {
      const response = await send(url, {
        method: request.method,
        dispatcher: this.#agent,
        headers: {
          ...(typeof request.body === 'function' &&
            request.bodyBytes !== undefined && { 'content-length': String(request.bodyBytes) }),
          ...request.headers,
          ...(authorization !== undefined && { authorization }),
        },
        body: body ?? null,
        // What was written may still be on its way for a long time over a slow link.
        headersTimeout: timeoutMs + Math.min(bodyBytes, SOCKET_BUFFER_BYTES) / SLOWEST_BYTES_PER_MS,
        bodyTimeout: timeoutMs,
        ...(request.signal !== undefined && { signal: request.signal }),
      });
      const isCold = request.mayBeCold === true && response.headers['retry-after'] !== undefined;
      this.#answered(isCold && response.statusCode === 503 ? 200 : response.statusCode);
      return responseOf(response, timeoutMs, (error) => this.#broken(error));
    } catch (cause) {
      if (request.signal?.aborted === true)
        throw new PacsError('OUTCOME_UNKNOWN', 'the request was given up', { cause });
      if (cause instanceof PacsError) throw cause;
      const unsent = isUnsent(cause) && !started;
      const message = `${unsent ? 'it cannot be reached' : 'no answer came'}: ${codeOf(cause)}`;
      this.#failed(message);
      throw new PacsError(unsent ? 'BUSY' : 'OUTCOME_UNKNOWN', message, { cause, details: { upstream: this.name } });
    }
  }

  async #authorization(): Promise<string | undefined> {
    try {
      return await this.#credentials.authorization();
    } catch (error) {
      this.#failed((error as Error).message);
      throw error;
    }
  }

  #answered(status: number): void {
    this.#lastContactAt = this.#clock.now();
    // It is there, and cannot serve: the same to whoever waits.
    if (status >= 500 && status !== 501) this.#failed(`it answered ${status}`);
    else {
      this.#online = true;
      this.#failures = 0;
    }
  }

  #broken(cause: unknown): PacsError {
    const message = `the answer broke off: ${codeOf(cause)}`;
    this.#failed(message);
    return new PacsError('OUTCOME_UNKNOWN', message, { cause, details: { upstream: this.name } });
  }

  #failed(message: string): void {
    const now = this.#clock.now();
    this.#lastError = { at: now, message };
    if (++this.#failures < FAILURES_TO_OPEN) return;
    this.#online = false;
    const openMs = doubledMs(this.#failures - FAILURES_TO_OPEN + 1, OPEN);
    if (this.#retry.left(now) === 0) this.#retry.set(now, now + openMs);
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}

async function* noting(source: AsyncIterable<Uint8Array>, note: () => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    note();
    yield chunk;
  }
}

function responseOf(
  { statusCode, headers, body }: Dispatcher.ResponseData,
  timeoutMs: number,
  broken: (error: unknown) => PacsError,
): UpstreamResponse {
  async function* bytes(): AsyncGenerator<Uint8Array> {
    const chunks = body[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
    let waitedMs = 0;
    let size = 0;
    try {
      for (;;) {
        const next = await waited(chunks.next(), (ms) => {
          waitedMs += ms;
        });
        if (next.done === true) return;
        size += next.value.byteLength;
        // Who takes it slowly is not to blame: only the time counts in which nothing was there.
        if (waitedMs > timeoutMs + size / SLOWEST_ANSWER_BYTES_PER_MS)
          throw broken(Object.assign(new Error('too slow'), { code: 'TOO_SLOW' }));
        yield next.value;
      }
    } catch (error) {
      throw error instanceof PacsError ? error : broken(error);
    } finally {
      await chunks.return?.();
    }
  }
  return {
    status: statusCode,
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [
        name.toLowerCase(),
        Array.isArray(value) ? value.join(', ') : (value ?? ''),
      ]),
    ),
    body: bytes(),
    async text(limitBytes = RESPONSE_TEXT_BYTES) {
      const chunks: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of bytes()) {
        size += chunk.byteLength;
        if (size > limitBytes) throw new PacsError('TOO_LARGE', 'the answer is too large', { details: { limitBytes } });
        chunks.push(chunk);
      }
      return Buffer.concat(chunks).toString('utf8');
    },
    async discard() {
      await body.dump({ limit: 1024 * 1024, signal: AbortSignal.timeout(timeoutMs) }).catch(() => {});
    },
  };
}

async function waited<T>(promise: Promise<T>, tell: (ms: number) => void): Promise<T> {
  const since = performance.now();
  try {
    return await promise;
  } finally {
    tell(performance.now() - since);
  }
}

/** For connections of ours. @throws ConfigError when a file cannot be read */
export function tlsOptions(files: TlsFiles | undefined): { ca?: (string | Buffer)[]; cert?: Buffer; key?: Buffer } {
  const { ca, cert, key } = files ?? {};
  return {
    ...(ca !== undefined && { ca: [...rootCertificates, pem(ca)] }),
    ...(cert !== undefined && { cert: pem(cert) }),
    ...(key !== undefined && { key: pem(key) }),
  };
}

/** Another where one of the files has other bytes. @throws ConfigError when one cannot be read */
export function tlsStampOf({ ca, cert, key }: TlsFiles = {}): string {
  const hash = createHash('sha256');
  for (const path of [ca, cert, key]) hash.update(path === undefined ? '-' : pem(path)).update('\u0000');
  return hash.digest('hex');
}

function pem(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new ConfigError(`${path} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}
