import { Throttle, type ThrottleOptions } from '#api/throttle.ts';
import type { assemble } from '#core/assemble.ts';
import type { RateLedger } from '#core/ports/rate-ledger.ts';
import { IndexRateLedger } from '#core/rate-accounts.ts';
import type { CloudConfig } from './config.ts';

export type CloudPorts = Parameters<typeof assemble>[0] & {
  /** of rates; absent: by means of the index itself */
  readonly ledger?: RateLedger | undefined;
};

/** The rates of principals and addresses, one for all programs on the same index. */
export const cloudThrottle = (
  { rates }: CloudConfig,
  { ledger, index, clock }: CloudPorts,
  options: Pick<ThrottleOptions, 'slows' | 'onFailure'>,
): Throttle | undefined =>
  rates && new Throttle(rates, clock, { ledger: ledger ?? new IndexRateLedger(index), ...options });
