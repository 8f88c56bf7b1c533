import type { Clock } from '#core/ports/clock.ts';
import type { Key } from '#core/ports/index-table.ts';

/** `requests` and `bytes` are a principal's, the others an address's; `frontFailures` of an address that stands for many (dicomweb/http.ts, `viewerAddress`). */
export type RateName = 'requests' | 'bytes' | 'addressRequests' | 'failures' | 'frontFailures';

export interface Rate {
  readonly perSecond: number;
  /** what a bucket holds that was not used for long */
  readonly capacity: number;
}
export type Rates = Readonly<Partial<Record<RateName, Rate>>>;

/** Token buckets by account (core/rate-accounts.ts) and name of rate; a name without a rate is never empty. */
export interface RateBuckets {
  /** Takes one where there is one. @returns 0, or how long until there is one (ms) */
  take(account: Key, name: RateName): Promise<number>;
  /** Takes what was used, there or not. @returns how long until the debt is paid (ms) */
  spend(account: Key, name: RateName, amount: number): Promise<number>;
  /** How long until the bucket holds `amount` (ms). */
  waitMs(account: Key, name: RateName, amount: number): Promise<number>;
  /** What has been found valid: kept in mind for some hours. */
  hold(account: Key): Promise<void>;
  isHeld(account: Key): Promise<boolean>;
  /** … as this process knows without asking anybody */
  isKnown(account: Key): boolean;
}

/** buckets, and tokens known to be valid, that are kept of each kind; the one not used for longest goes */
const KEPT = 10_000;

interface Bucket {
  level: number;
  at: number;
}

/** Of this process alone. */
export class OwnBuckets implements RateBuckets {
  readonly #rates: Rates;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #buckets = new Map<RateName, Map<string, Bucket>>();
  readonly #held = new Map<string, true>();

  constructor(rates: Rates, clock: Pick<Clock, 'now'>) {
    this.#rates = rates;
    this.#clock = clock;
  }

  async take(account: Key, name: RateName): Promise<number> {
    const waitMs = this.#missingMs(account, name, 1);
    if (waitMs === 0) this.#bucket(account, name).level -= 1;
    return waitMs;
  }

  async spend(account: Key, name: RateName, amount: number): Promise<number> {
    if (this.#rates[name] === undefined) return 0;
    this.#bucket(account, name).level -= amount;
    return this.#missingMs(account, name, 0);
  }

  async waitMs(account: Key, name: RateName, amount: number): Promise<number> {
    return this.#missingMs(account, name, amount);
  }

  async hold(account: Key): Promise<void> {
    remember(this.#held, textOf(account), true);
  }

  async isHeld(account: Key): Promise<boolean> {
    return this.isKnown(account);
  }

  isKnown(account: Key): boolean {
    return this.#held.has(textOf(account));
  }

  /** At once, so that nobody comes between the look at a bucket and what is taken of it. */
  #missingMs(account: Key, name: RateName, amount: number): number {
    const rate = this.#rates[name];
    if (rate === undefined) return 0;
    const missing = amount - this.#bucket(account, name).level;
    return missing <= 0 ? 0 : Math.ceil((missing / rate.perSecond) * 1000);
  }

  #bucket(account: Key, name: RateName): Bucket {
    const { perSecond, capacity } = this.#rates[name] ?? { perSecond: 0, capacity: 0 };
    const ofName = this.#buckets.get(name) ?? new Map<string, Bucket>();
    this.#buckets.set(name, ofName);
    const now = this.#clock.now();
    const bucket = ofName.get(textOf(account)) ?? { level: capacity, at: now };
    const seconds = Math.max(0, now - bucket.at) / 1000;
    bucket.level = Math.min(capacity, bucket.level + seconds * perSecond);
    bucket.at = now;
    remember(ofName, textOf(account), bucket);
    return bucket;
  }
}

export const textOf = ({ partition, sort }: Key): string => `${partition} ${sort}`;

/** As the last used; what was not used for longest makes room. */
export function remember<T>(kept: Map<string, T>, key: string, value: T): void {
  kept.delete(key);
  kept.set(key, value);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value!);
}
