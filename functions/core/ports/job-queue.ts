import type { Item } from './index-table.ts';

/**
 * JobQueue — work to be done later, at least once.
 *
 * Contract (test/contract/job-queue.ts runs it against every adapter):
 * - `enqueue` resolves when the job would survive losing power. The job becomes visible after `delayMs`.
 * - `receive` hides what it returns for `visibilityMs`; a job neither completed nor extended in that time is returned again
 *   with `attempt` one higher. No order is promised.
 * - after `maxAttempts` receives without `complete`, the job moves to the dead letters, where it stays until `redrive`.
 */
export interface JobQueue {
  enqueue(queue: string, payload: Item, options?: { readonly delayMs?: number }): Promise<void>;
  receive(
    queue: string,
    options: { readonly max: number; readonly visibilityMs: number; readonly maxAttempts?: number },
  ): Promise<Job[]>;
  complete(queue: string, job: Job): Promise<void>;
  /** Makes the job visible again after `delayMs` (a retry with back-off). */
  release(queue: string, job: Job, delayMs: number): Promise<void>;
  deadLetters(queue: string, limit: number): Promise<Job[]>;
  /** Puts dead letters back with attempt 0; returns how many. */
  redrive(queue: string): Promise<number>;
  depth(queue: string): Promise<{ readonly waiting: number; readonly inFlight: number; readonly dead: number }>;
}

export interface Job {
  readonly id: string;
  readonly payload: Item;
  /** 1 on the first receive */
  readonly attempt: number;
}
