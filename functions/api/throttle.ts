import { createHash } from 'node:crypto';
import type { Principal } from '#core/access.ts';
import { PacsError } from '#core/errors.ts';
import { networkOf } from '#core/network-address.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';

/** Rates of one process; what is absent is not limited. */
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

/** A bucket that was not used holds what comes together in this time. */
const BURST_SECONDS = 5;
/** buckets, and tokens known to be valid, that are kept of each kind; the one not used for longest goes */
const KEPT = 10_000;

/**
 * Who asks too much is told when to come again (429, Retry-After); who moves too many bytes is slowed, by reading and answering later.
 * Loopback has no limit by address: it is a proxy on this machine, and stands for everybody.
 */
export class Throttle {
  readonly #requests: Buckets | undefined;
  readonly #bytes: Buckets | undefined;
  readonly #addresses: Buckets | undefined;
  readonly #failures: Buckets | undefined;
  readonly #valid = new Map<string, true>();
  readonly #clock: Clock;

  constructor(rates: ThrottleRates, clock: Clock) {
    this.#clock = clock;
    this.#requests = bucketsOf(clock, rates.requestsPerSecond);
    this.#bytes = bucketsOf(clock, rates.bytesPerSecond);
    this.#addresses = bucketsOf(clock, rates.addressRequestsPerSecond);
    this.#failures =
      rates.failuresPerMinute === undefined
        ? undefined
        : new Buckets(clock, rates.failuresPerMinute / 60, rates.failuresPerMinute);
  }

  /** @throws PacsError TOO_MANY_REQUESTS */
  admitAddress(address: string | undefined): void {
    const key = networkOf(address);
    if (key !== undefined) refuse(this.#addresses?.take(key) ?? 0);
  }

  /** A request of somebody, or 429: with its body as fast as its rate allows. @throws PacsError TOO_MANY_REQUESTS */
  admit(request: HttpRequest, principal: Principal): HttpRequest {
    const key = `${principal.tenant}|${principal.subject}`;
    refuse(Math.max(this.#requests?.take(key) ?? 0, this.#bytes?.waitMs(key, 0) ?? 0));
    return this.#bytes ? { ...request, body: this.#paced(request.body, key) } : request;
  }

  /** The answer, as fast as the principal's rate allows. */
  answer(response: HttpResponse, principal: Principal): HttpResponse {
    const { body } = response;
    if (!this.#bytes || body === undefined) return response;
    const key = `${principal.tenant}|${principal.subject}`;
    if (typeof body !== 'string' && !(body instanceof Uint8Array)) return { ...response, body: this.#paced(body, key) };
    this.#bytes.spend(key, Buffer.byteLength(body)); // paid by the next request
    return response;
  }

  /**
   * Before a token is looked at. From an address with too many failures only tokens pass that were valid before: neighbours behind the
   * same address stay at work while somebody guesses.
   * @throws PacsError TOO_MANY_REQUESTS
   */
  admitToken(address: string | undefined, token: string | undefined): void {
    const key = networkOf(address);
    const waitMs = key === undefined ? 0 : (this.#failures?.waitMs(key, 1) ?? 0);
    if (waitMs > 0 && (token === undefined || !this.#valid.has(digestOf(token)))) refuse(waitMs);
  }

  tokenFailed(address: string | undefined): void {
    const key = networkOf(address);
    if (key !== undefined) this.#failures?.take(key);
  }

  tokenHeld(token: string): void {
    if (this.#failures) remember(this.#valid, digestOf(token), true);
  }

  async *#paced(body: AsyncIterable<Uint8Array>, key: string): AsyncGenerator<Uint8Array> {
    for await (const chunk of body) {
      const waitMs = this.#bytes!.spend(key, chunk.byteLength);
      if (waitMs > 0) await this.#clock.sleep(waitMs);
      yield chunk;
    }
  }
}

interface Bucket {
  level: number;
  at: number;
}

/** Token buckets by key. */
class Buckets {
  readonly #clock: Clock;
  readonly #perSecond: number;
  readonly #capacity: number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: Clock, perSecond: number, capacity: number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#capacity = capacity;
  }

  /** Takes one where there is one. @returns 0, or how long until there is one (ms) */
  take(key: string): number {
    const waitMs = this.waitMs(key, 1);
    if (waitMs === 0) this.#bucket(key).level -= 1;
    return waitMs;
  }

  /** Takes what was used, there or not. @returns how long until the debt is paid (ms) */
  spend(key: string, amount: number): number {
    this.#bucket(key).level -= amount;
    return this.waitMs(key, 0);
  }

  /** How long until the bucket holds `amount` (ms). */
  waitMs(key: string, amount: number): number {
    const missing = amount - this.#bucket(key).level;
    return missing <= 0 ? 0 : Math.ceil((missing / this.#perSecond) * 1000);
  }

  #bucket(key: string): Bucket {
    const now = this.#clock.now();
    const bucket = this.#buckets.get(key) ?? { level: this.#capacity, at: now };
    const seconds = Math.max(0, now - bucket.at) / 1000;
    bucket.level = Math.min(this.#capacity, bucket.level + seconds * this.#perSecond);
    bucket.at = now;
    remember(this.#buckets, key, bucket);
    return bucket;
  }
}

const bucketsOf = (clock: Clock, perSecond: number | undefined): Buckets | undefined =>
  perSecond === undefined ? undefined : new Buckets(clock, perSecond, perSecond * BURST_SECONDS);

/** As the last used; what was not used for longest makes room. */
function remember<T>(kept: Map<string, T>, key: string, value: T): void {
  kept.delete(key);
  kept.set(key, value);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value!);
}

function refuse(waitMs: number): void {
  if (waitMs === 0) return;
  const retryAfterSeconds = Math.ceil(waitMs / 1000);
  throw new PacsError('TOO_MANY_REQUESTS', 'too many requests', { details: { retryAfterSeconds } });
}

const digestOf = (token: string): string => createHash('sha256').update(token).digest('base64');
