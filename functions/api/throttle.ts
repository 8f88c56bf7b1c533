import type { Principal } from '#core/access.ts';
import { type Environment, whole } from '#core/configuration.ts';
import { PacsError } from '#core/errors.ts';
import { networkOf } from '#core/network-address.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { Key } from '#core/ports/index-table.ts';
import type { RateLedger } from '#core/ports/rate-ledger.ts';
import { addressAccount, principalAccount, tokenAccount } from '#core/rate-accounts.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import { OwnBuckets, type RateBuckets, type RateName, type Rates } from './rate-buckets.ts';
import { SharedBuckets } from './shared-buckets.ts';

/** What is absent is not limited. */
export interface ThrottleRates {
  /** of one principal */
  readonly requestsPerSecond?: number | undefined;
  /** bodies of one principal's requests and answers together */
  readonly bytesPerSecond?: number | undefined;
  /** of one address, whoever asks from there */
  readonly addressRequestsPerSecond?: number | undefined;
  /** tokens that are not valid, from one address */
  readonly failuresPerMinute?: number | undefined;
}

export interface ThrottleOptions {
  /** where processes keep what they have used together; absent: each has the rates for itself */
  readonly ledger?: RateLedger | undefined;
  /** the ledger could not be asked: nobody is refused because of that */
  readonly onFailure?: ((error: unknown) => void) | undefined;
  /** false: bodies pass at full speed, and whoever moved too much is refused until it is paid; where waiting costs as much as working */
  readonly slows?: boolean | undefined;
}

/** A bucket that was not used holds what comes together in this time. */
const BURST_SECONDS = 5;
/** As many clients are thought to stand behind an address of a front (infra/constructs/web-acl.ts has the same for requests). */
const BEHIND_A_FRONT = 20;

/** By `NEPHOS_RATE_…`, or `off`; `fallback` for what is not set. Undefined: no rate is limited. @throws ConfigError that names the variable */
export function readRates(env: Environment, fallback: ThrottleRates): ThrottleRates | undefined {
  const rate = (name: string, unset: number | undefined, least: number): number | undefined => {
    if (env[name] === 'off' || (env[name] === undefined && unset === undefined)) return undefined;
    return whole(env, name, unset ?? least, least, Number.MAX_SAFE_INTEGER);
  };
  const rates = {
    requestsPerSecond: rate('NEPHOS_RATE_REQUESTS', fallback.requestsPerSecond, 1),
    bytesPerSecond: rate('NEPHOS_RATE_BYTES', fallback.bytesPerSecond, 65_536),
    addressRequestsPerSecond: rate('NEPHOS_RATE_ADDRESS_REQUESTS', fallback.addressRequestsPerSecond, 1),
    failuresPerMinute: rate('NEPHOS_RATE_FAILURES', fallback.failuresPerMinute, 1),
  };
  return Object.values(rates).some((value) => value !== undefined) ? rates : undefined;
}

/** Where a request comes from, as far as the host knows. */
type From = Pick<HttpRequest, 'remoteAddress' | 'viewerAddress'>;

/**
 * Who asks too much is told when to come again (429, Retry-After); who moves too many bytes is slowed, by reading and answering later.
 * Loopback has no limit by address: it is a proxy on this machine, and stands for everybody.
 */
export class Throttle {
  readonly #buckets: RateBuckets;
  readonly #rates: Rates;
  readonly #clock: Clock;
  readonly #slows: boolean;

  constructor(
    rates: ThrottleRates,
    clock: Clock,
    { ledger, onFailure = () => {}, slows = true }: ThrottleOptions = {},
  ) {
    this.#clock = clock;
    this.#slows = slows;
    this.#rates = ratesOf(rates);
    this.#buckets = ledger
      ? new SharedBuckets(this.#rates, clock, ledger, onFailure)
      : new OwnBuckets(this.#rates, clock);
  }

  /** @throws PacsError TOO_MANY_REQUESTS */
  async admitAddress({ remoteAddress }: From): Promise<void> {
    const network = networkOf(remoteAddress);
    if (network !== undefined) refuse(await this.#buckets.take(addressAccount(network), 'addressRequests'));
  }

  /** A request of somebody, or 429: with its body as fast as its rate allows. @throws PacsError TOO_MANY_REQUESTS */
  async admit(request: HttpRequest, principal: Principal): Promise<HttpRequest> {
    const account = principalAccount(principal);
    const waitMs = await this.#buckets.take(account, 'requests');
    refuse(Math.max(waitMs, await this.#buckets.waitMs(account, 'bytes', 0)));
    return this.#rates.bytes ? { ...request, body: this.#paced(request.body, account) } : request;
  }

  /** The answer, as fast as the principal's rate allows. */
  async answer(response: HttpResponse, principal: Principal): Promise<HttpResponse> {
    const { body } = response;
    if (!this.#rates.bytes || body === undefined) return response;
    const account = principalAccount(principal);
    if (typeof body !== 'string' && !(body instanceof Uint8Array))
      return { ...response, body: this.#paced(body, account) };
    await this.#buckets.spend(account, 'bytes', Buffer.byteLength(body)); // paid by the next request
    return response;
  }

  /**
   * Before a token is looked at. From an address with too many failures only tokens pass that were valid before: neighbours behind the
   * same address stay at work while somebody guesses.
   * @throws PacsError TOO_MANY_REQUESTS
   */
  async admitToken(from: From, token: string | undefined): Promise<void> {
    const held = token === undefined ? undefined : tokenAccount(token);
    if (held && this.#buckets.isKnown(held)) return;
    const waits = this.#failuresOf(from).map(([account, name]) => this.#buckets.waitMs(account, name, 1));
    const waitMs = Math.max(0, ...(await Promise.all(waits)));
    if (waitMs > 0 && !(held && (await this.#buckets.isHeld(held)))) refuse(waitMs);
  }

  async tokenFailed(from: From): Promise<void> {
    await Promise.all(this.#failuresOf(from).map(([account, name]) => this.#buckets.spend(account, name, 1)));
  }

  async tokenHeld(token: string): Promise<void> {
    if (this.#rates.failures) await this.#buckets.hold(tokenAccount(token));
  }

  /** An address that somebody merely claims counts together with the one that the claim came from. */
  #failuresOf({ remoteAddress, viewerAddress }: From): [account: Key, name: RateName][] {
    const [near, far] = [networkOf(remoteAddress), networkOf(viewerAddress)];
    const accounts: [Key, RateName][] = [];
    if (far !== undefined) accounts.push([addressAccount(far), 'failures']);
    if (near !== undefined) accounts.push([addressAccount(near), far === undefined ? 'failures' : 'frontFailures']);
    return accounts;
  }

  async *#paced(body: AsyncIterable<Uint8Array>, account: Key): AsyncGenerator<Uint8Array> {
    for await (const chunk of body) {
      const waitMs = await this.#buckets.spend(account, 'bytes', chunk.byteLength);
      if (waitMs > 0 && this.#slows) await this.#clock.sleep(waitMs);
      yield chunk;
    }
  }
}

function ratesOf(rates: ThrottleRates): Rates {
  const { requestsPerSecond, bytesPerSecond, addressRequestsPerSecond, failuresPerMinute } = rates;
  const burst = (name: RateName, perSecond: number | undefined) =>
    perSecond === undefined ? {} : { [name]: { perSecond, capacity: perSecond * BURST_SECONDS } };
  const minute = (name: RateName, perMinute: number | undefined) =>
    perMinute === undefined ? {} : { [name]: { perSecond: perMinute / 60, capacity: perMinute } };
  return {
    ...burst('requests', requestsPerSecond),
    ...burst('bytes', bytesPerSecond),
    ...burst('addressRequests', addressRequestsPerSecond),
    ...minute('failures', failuresPerMinute),
    ...minute('frontFailures', failuresPerMinute === undefined ? undefined : failuresPerMinute * BEHIND_A_FRONT),
  };
}

function refuse(waitMs: number): void {
  if (waitMs > 0) throw tooMany(Math.ceil(waitMs / 1000));
}

export const tooMany = (retryAfterSeconds: number): PacsError =>
  new PacsError('TOO_MANY_REQUESTS', 'too many requests', { details: { retryAfterSeconds } });
