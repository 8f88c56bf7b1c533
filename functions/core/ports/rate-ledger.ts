import type { Key } from './index-table.ts';

/**
 * RateLedger — what many processes together have used of rates: token buckets that they share.
 *
 * An account is kept by name of rate as one instant each: when its bucket is full again, were nothing more used (the generic cell rate
 * algorithm, as ITU-T I.371 has it for ATM). Whoever uses something moves the instant on by as long as the rate takes for it; a bucket is empty
 * when the instant lies its whole capacity ahead. So two processes that use something at the same moment add up, and neither fails because of the other.
 *
 * Contract (test/contract/rate-ledger.ts runs it against every adapter):
 * - an account that nobody has moved is full, and so is one whose instant has passed; `now` is the caller's clock, and clocks may differ: an account is
 *   exact but for what the rate gives in that difference.
 * - `advance` is atomic, for one name of one account, among all processes. What would go beyond `notBeyond` changes nothing.
 * - one whose answer was lost may have been carried out, and may be repeated: at worst something counts twice.
 * - accounts are records of the index under `version`, so that whoever sweeps them (core/rate-accounts.ts) never removes one that was moved meanwhile.
 */
export interface RateLedger {
  /** @throws PacsError BUSY, OUTCOME_UNKNOWN: the ledger cannot be reached */
  advance(account: Key, name: string, step: RateStep): Promise<RateOutcome>;

  /** How an account stands. @throws PacsError BUSY */
  read(account: Key): Promise<Standing>;
}

export interface RateStep {
  /** the caller's clock (ms since 1970) */
  readonly now: number;
  /** ms; fractions count */
  readonly by: number;
  /** ms since 1970; absent: however far it goes */
  readonly notBeyond?: number;
  /** how the caller believes it stands; a wrong belief costs a call */
  readonly believed?: number | undefined;
}

/** By name of rate: when its bucket is full again (ms since 1970); what is absent is full. */
export type Standing = Readonly<Record<string, number>>;

export interface RateOutcome {
  readonly advanced: boolean;
  /** after it, of every name of the account */
  readonly standing: Standing;
}
