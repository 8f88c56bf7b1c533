import { PRIORITY } from '../command-set.ts';

/** The most urgent first; what is none of these is taken for MEDIUM (PS3.7 §9.3.2.1: 0, 1 and 2 are all there are). */
const ORDER: readonly number[] = [PRIORITY.high, PRIORITY.medium, PRIORITY.low];

/**
 * Turns at work that many operations want at once: at most `limit` have one, and of those who wait, who is more urgent gets the next one,
 * of the equally urgent who has waited longest. Who is less urgent waits as long as there are others.
 */
export class Turns {
  readonly #limit: number;
  readonly #waiting: (() => void)[][] = ORDER.map(() => []);
  #taken = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Runs `work` in its turn, which ends when that has settled.
   * @param priority Priority (0000,0700)
   * @throws what `work` throws; what `signal` was aborted for, when that was before its turn
   */
  async run<T>(priority: number | undefined, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#taken >= this.#limit) await this.#wait(priority, signal);
    else this.#taken++;
    try {
      return await work();
    } finally {
      const next = this.#waiting.find((queue) => queue.length > 0)?.shift();
      if (next === undefined) this.#taken--;
      else next();
    }
  }

  /** Whose turn ends hands it on: nobody can come in between. */
  #wait(priority = PRIORITY.medium as number, signal?: AbortSignal): Promise<void> {
    const rank = ORDER.indexOf(priority);
    const queue = this.#waiting[rank === -1 ? ORDER.indexOf(PRIORITY.medium) : rank]!;
    return new Promise((resolve, reject) => {
      const begin = (): void => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      const leave = (): void => {
        queue.splice(queue.indexOf(begin), 1);
        reject(signal!.reason);
      };
      queue.push(begin);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }
}
