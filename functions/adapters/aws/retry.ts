import { doubledMs } from '#core/backoff.ts';
import { PacsError } from '#core/errors.ts';
import type { Clock } from '#core/ports/clock.ts';
import { isUnsent } from '../unsent.ts';

/**
 * Repeating calls of AWS. The clients of this folder repeat nothing by themselves (clients.ts), so that an adapter knows of every attempt
 * whether it may have been carried out though no answer came.
 */
export interface RetryPolicy {
  /** calls altogether */
  readonly attempts: number;
  /** the most that is waited before the second call, doubled for each one after it, up to `mostMs`; full jitter */
  readonly firstMs: number;
  readonly mostMs: number;
}

export const DEFAULT_RETRY: RetryPolicy = { attempts: 10, firstMs: 25, mostMs: 1_500 };

/**
 * `throttled`: nothing was done, come again; also what met another call on the same item, and what never left this machine. `ambiguous`: it may
 * have been done. `refused`: another answer than the one hoped for, the same each time.
 */
export type Failure = 'throttled' | 'ambiguous' | 'refused';

const THROTTLED = new Set([
  'ProvisionedThroughputExceededException',
  'ThrottlingException',
  'Throttling',
  'ThrottledException',
  'RequestLimitExceeded',
  'RequestThrottled',
  'RequestThrottledException',
  'TooManyRequestsException',
  'SlowDown',
  // of S3, Secrets Manager and DynamoDB, when it is the key's service that has too much to do
  'KMS.ThrottlingException',
  'KMSThrottlingException',
  'LimitExceededException',
  'TransactionConflictException',
  'TransactionInProgressException',
  'OperationAborted',
  'ConditionalRequestConflict',
]);
interface AwsError {
  readonly name?: string;
  readonly code?: string;
  /** `clockSkewCorrected`: the call was refused for this machine's clock, and the client knows by now how wrong it is */
  readonly $metadata?: {
    readonly httpStatusCode?: number;
    readonly attempts?: number;
    readonly clockSkewCorrected?: boolean;
  };
}

/** What an error of a client says about the call. */
export function failureOf(error: unknown): Failure {
  if (error instanceof PacsError || typeof error !== 'object' || error === null) return 'refused';
  const { name = '', code = '', $metadata } = error as AwsError;
  if (THROTTLED.has(name) || isUnsent(error)) return 'throttled';
  const status = $metadata?.httpStatusCode;
  if ($metadata?.clockSkewCorrected && status !== undefined && status >= 400 && status < 500) return 'throttled';
  if (status === undefined) return isNetworkError(name, code) ? 'ambiguous' : 'refused';
  return status >= 500 || status === 408 ? 'ambiguous' : status === 429 ? 'throttled' : 'refused';
}

const isNetworkError = (name: string, code: string): boolean =>
  /^(TimeoutError|RequestTimeout|RequestTimeoutException|AbortError|NetworkingError)$/.test(name) ||
  /^(E(CONN|PIPE|HOST|NET|TIMEDOUT|PROTO)|UND_ERR|ERR_HTTP|ERR_STREAM_PREMATURE_CLOSE)/.test(code) ||
  /socket hang up|other side closed/.test(name);

/** How often, and with what memory, a call has been made. */
export interface Attempts {
  /** an earlier call of this row may have been carried out */
  readonly maybeDone: boolean;
  /** an answer came that rules out that an earlier one was */
  settle(): void;
}

/**
 * Calls until it succeeds, is refused, or the attempts are used up.
 * @throws PacsError BUSY when nothing was done, OUTCOME_UNKNOWN when a call that `changes` something may have been carried out; what
 *   `call` throws when that is neither throttling nor silence
 */
export async function retrying<T>(
  { clock, policy = DEFAULT_RETRY, changes }: { clock: Clock; policy?: RetryPolicy | undefined; changes: boolean },
  call: (attempts: Attempts) => Promise<T>,
): Promise<T> {
  let maybeDone = false;
  const attempts: Attempts = {
    get maybeDone() {
      return maybeDone;
    },
    settle() {
      maybeDone = false;
    },
  };
  for (let made = 1; ; made++) {
    try {
      return await call(attempts);
    } catch (error) {
      const failure = failureOf(error);
      if (failure === 'refused') throw error;
      if (failure === 'ambiguous') maybeDone = true;
      if (made >= policy.attempts) {
        if (changes && maybeDone)
          throw new PacsError('OUTCOME_UNKNOWN', 'a service of AWS did not answer', { cause: error });
        throw new PacsError('BUSY', 'a service of AWS is busy or cannot be reached', { cause: error });
      }
      await clock.sleep(jitter(clock, doubledMs(made, policy)));
    }
  }
}

/** Somewhere between 0 and `mostMs`, so that those who met do not meet again. */
export function jitter(clock: Clock, mostMs: number): number {
  const [high = 0, low = 0] = clock.randomBytes(2);
  return (mostMs * (high * 256 + low)) / 65_535;
}
