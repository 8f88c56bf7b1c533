import { Readable } from 'node:stream';
import { Agent, type Dispatcher, request as send } from 'undici';
import { PacsError } from '#core/errors.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { ObjectSender, SendAnswer, SendRequest, SentObject } from '#core/ports/object-sender.ts';
import { type AllowedDestinations, destinationUrl } from '#core/routing/allowed.ts';
import { ROUTE_HEADERS } from '#core/routing/way.ts';
import { codeOf, isUnsent } from '../unsent.ts';
import { RouteCredentials } from './credentials.ts';
import { Networks } from './networks.ts';

export interface StowSenderOptions {
  readonly clock: Clock;
  readonly allowed: AllowedDestinations;
  /** JSON of credentials by name (docs/routing.md), as it is now */
  readonly readCredentials: () => Promise<string>;
  /** in PEM, beside those that Node trusts */
  readonly ca?: readonly (string | Buffer)[];
}

const CONNECT_MS = 10_000;
const ANSWER_BYTES = 8 * 1024 * 1024;
const DICOM = 'application/dicom';

/** Posts objects by STOW-RS over HTTP/1.1, to hosts and networks that the configuration allows. */
export class StowSender implements ObjectSender {
  readonly #allowed: AllowedDestinations;
  readonly #clock: Clock;
  readonly #networks: Networks;
  readonly #agent: Agent;
  readonly #tokenAgent = new Agent({ connect: { timeout: CONNECT_MS } });
  readonly #credentials: RouteCredentials;

  /** @throws ConfigError when a network of the configuration is none */
  constructor({ clock, allowed, readCredentials, ca }: StowSenderOptions) {
    this.#clock = clock;
    this.#allowed = allowed;
    this.#networks = new Networks(allowed.networks);
    const { lookup } = this.#networks;
    this.#agent = new Agent({
      connect: { timeout: CONNECT_MS, lookup, ...(ca !== undefined && { ca: [...ca] }) },
      keepAliveTimeout: 10_000,
    });
    this.#credentials = new RouteCredentials({ clock, dispatcher: this.#tokenAgent, read: readCredentials });
  }

  async send(request: SendRequest): Promise<SendAnswer> {
    const answer = await this.#attempt(request);
    const { authentication } = request;
    // A token may be withdrawn before its time, and a secret replaced.
    if (answer.status !== 401 || authentication === undefined || !this.#credentials.forget(authentication))
      return answer;
    return this.#attempt(request);
  }

  async #attempt({ tenant, url: text, authentication, timeoutMs, route, objects }: SendRequest): Promise<SendAnswer> {
    // The configuration may have changed since the destination was made.
    const url = destinationUrl(this.#allowed, text);
    this.#networks.checkHost(url.hostname);
    const authorization =
      authentication === undefined
        ? undefined
        : await this.#credentials.authorization(tenant, authentication, url.origin);
    const boundary = `nephos-${Buffer.from(this.#clock.randomBytes(16)).toString('hex')}`;
    const body = Readable.from(multipart(objects, boundary), { objectMode: false });
    try {
      const response = await send(`${url.href.replace(/\/+$/, '')}/studies`, {
        method: 'POST',
        dispatcher: this.#agent,
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
        headers: {
          'content-type': `multipart/related; type="${DICOM}"; boundary=${boundary}`,
          'content-length': String(lengthOf(objects, boundary)),
          accept: 'application/dicom+json',
          [ROUTE_HEADERS.way]: route.join(', '),
          ...(authorization !== undefined && { authorization }),
        },
        body,
      });
      return await answerOf(response);
    } catch (cause) {
      throw thrownFor(cause);
    } finally {
      body.destroy();
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#agent.destroy(), this.#tokenAgent.destroy()]);
  }
}

/** Without its transfer syntax, which the object tells: Orthanc 1.10 passes over a part whose type has a parameter, and says 200. */
const headOf = ({ sha256 }: SentObject, boundary: string): string =>
  `--${boundary}\r\nContent-Type: ${DICOM}\r\nRepr-Digest: sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:\r\n\r\n`;
const BETWEEN = '\r\n';
const endOf = (boundary: string): string => `\r\n--${boundary}--\r\n`;

async function* multipart(objects: readonly SentObject[], boundary: string): AsyncGenerator<Uint8Array> {
  for (const [i, object] of objects.entries()) {
    yield Buffer.from((i === 0 ? '' : BETWEEN) + headOf(object, boundary), 'latin1');
    yield* object.read();
  }
  yield Buffer.from(endOf(boundary), 'latin1');
}

const lengthOf = (objects: readonly SentObject[], boundary: string): number =>
  objects.reduce((sum, object) => sum + headOf(object, boundary).length + object.sizeBytes, 0) +
  BETWEEN.length * Math.max(0, objects.length - 1) +
  endOf(boundary).length;

async function answerOf({ statusCode, headers, body }: Dispatcher.ResponseData): Promise<SendAnswer> {
  const one = (name: string): string | undefined => {
    const value = headers[name];
    return Array.isArray(value) ? value[0] : value;
  };
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.byteLength;
    // What is no answer to so few objects is not read to its end.
    if (size > ANSWER_BYTES) break;
    chunks.push(chunk);
  }
  return {
    status: statusCode,
    retryAfter: one('retry-after'),
    archive: one(ROUTE_HEADERS.archive)?.slice(0, 64),
    text: Buffer.concat(chunks).toString('utf8'),
  };
}

function thrownFor(error: unknown): PacsError {
  for (let inner = error; inner instanceof Error; inner = inner.cause) if (inner instanceof PacsError) return inner;
  const code = codeOf(error);
  if (isUnsent(error)) return new PacsError('BUSY', `it cannot be reached: ${code}`, { cause: error });
  return new PacsError('OUTCOME_UNKNOWN', `no answer came: ${code}`, { cause: error });
}
