import { NotBefore } from '../not-before.ts';
import type { Upstream } from '../upstream.ts';

/** Link relation of docs/store-transactions.md. */
const STORE_TRANSACTIONS = 'urn:nephos:rel:store-transactions';
/** What an upstream can do is asked again after this time (ms). */
const ASK_AGAIN_MS = 60 * 60 * 1000;
/** … and after this time where it refused to say: a token that had run out, or too many requests just then, tell nothing of what it can do (ms). */
const REFUSED_MS = 60 * 1000;
const REFUSALS: ReadonlySet<number> = new Set([401, 403, 407, 408, 425, 429]);
const LEAST_REQUEST_BYTES = 64 * 1024;

/** What is known of an upstream's ways and limits: asked (OPTIONS, PS3.18 §8.9) and learned from its answers. */
export class Capabilities {
  readonly #upstream: Pick<Upstream, 'request'>;
  readonly #now: () => number;
  readonly #again = new NotBefore();
  /** bytes of objects that one STOW request may hold, as far as we know */
  requestBytes = Number.POSITIVE_INFINITY;
  requestInstances = Number.POSITIVE_INFINITY;
  /** where store transactions are made */
  transactions: string | undefined;
  /** whether it says the digest of an object (Repr-Digest); undefined: not seen yet */
  statesDigests: boolean | undefined;

  constructor(upstream: Pick<Upstream, 'request'>, now: () => number) {
    this.#upstream = upstream;
    this.#now = now;
  }

  get offersTransactions(): boolean {
    return this.transactions !== undefined;
  }

  /** An upstream that knows no such request tells nothing. @throws PacsError when it cannot be reached */
  async ask(signal: AbortSignal): Promise<void> {
    if (this.#again.left(this.#now()) > 0) return;
    const response = await this.#upstream.request({
      method: 'OPTIONS',
      path: '/',
      headers: { accept: 'application/json' },
      probe: true,
      signal,
    });
    const text = response.status === 200 ? await response.text() : '';
    if (response.status !== 200) await response.discard();
    if (response.status >= 500) return;
    const now = this.#now();
    this.#again.set(now, now + (REFUSALS.has(response.status) ? REFUSED_MS : ASK_AGAIN_MS));
    this.learn(response.headers);
    this.#readLimits(text);
  }

  /** From the headers of any answer. */
  learn(headers: Readonly<Record<string, string>>): void {
    for (const link of (headers.link ?? '').split(',')) {
      const match = /^\s*<([^>]+)>\s*;(.*)$/.exec(link);
      if (match?.[2]?.includes(STORE_TRANSACTIONS)) this.transactions = match[1];
    }
  }

  /** It said 413 to as much. */
  tooLarge(bytes: number): void {
    this.requestBytes = Math.max(LEAST_REQUEST_BYTES, Math.min(this.requestBytes, Math.ceil(bytes / 2)));
  }

  /** `limits` of our own archives' description: what a STOW request may hold. */
  #readLimits(text: string): void {
    let limits: { storeRequestBytes?: unknown; storeInstances?: unknown } | undefined;
    try {
      limits = (JSON.parse(text) as { application?: { limits?: typeof limits } }).application?.limits;
    } catch {
      return;
    }
    if (typeof limits?.storeRequestBytes === 'number') this.requestBytes = limits.storeRequestBytes;
    if (typeof limits?.storeInstances === 'number') this.requestInstances = limits.storeInstances;
  }
}
