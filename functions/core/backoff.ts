import type { Clock } from './ports/clock.ts';

/** A receiver may ask for more patience than we have (ms). */
const MOST_ASKED_MS = 60 * 60 * 1000;

/** How long is waited after the first failure, and at the most. */
export interface Backoff {
  readonly firstMs: number;
  readonly mostMs: number;
}

/** How long to wait after the `failures`-th failure in a row (from 1): twice as long each time. Where many wait for the same thing, `backoffMs` parts them. */
export const doubledMs = (failures: number, { firstMs, mostMs }: Backoff): number =>
  Math.min(mostMs, firstMs * 2 ** Math.max(0, failures - 1));

/** As `doubledMs`, but between half of that and the whole, by chance. */
export function backoffMs(clock: Clock, failures: number, backoff: Backoff): number {
  const wholeMs = doubledMs(failures, backoff);
  const [high = 0, low = 0] = clock.randomBytes(2);
  return Math.ceil(wholeMs * (0.5 + (high * 256 + low) / 65_536 / 2));
}

/** Retry-After (RFC 9110 §10.2.3) in ms: seconds, or a date. */
export function retryAfterMs(field: string | undefined, now: number): number | undefined {
  if (field === undefined) return undefined;
  const ms = /^\d+$/.test(field.trim()) ? Number(field) * 1000 : Date.parse(field) - now;
  return Number.isFinite(ms) ? Math.min(MOST_ASKED_MS, Math.max(0, ms)) : undefined;
}
