import type { Clock } from '#core/ports/clock.ts';
import type { BandwidthRow } from '../config.ts';

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;
/** Longest wait at a time, so that a change of the schedule is seen (ms). */
const LOOK_MS = 1_000;
/** What may go at once after a pause (ms of the rate). */
const BURST_MS = 1_000;

/** Bytes a second at `time` (local time); undefined: no limit. The first row whose days and hours hold decides. */
export function bytesPerSecondAt(rows: readonly BandwidthRow[], time: Date): number | undefined {
  const minutes = time.getHours() * 60 + time.getMinutes();
  const day = time.getDay();
  const has = (row: BandwidthRow, index: number): boolean => row.days.includes(DAYS[(index + 7) % 7]!);
  return rows.find((row) => {
    const from = minutesOf(row.from);
    const to = minutesOf(row.to);
    if (from < to) return has(row, day) && minutes >= from && minutes < to;
    // Over midnight: the evening belongs to the day named, the morning to the one before.
    return (has(row, day) && minutes >= from) || (has(row, day - 1) && minutes < to);
  })?.bytesPerSecond;
}

const minutesOf = (time: string): number => Number(time.slice(0, 2)) * 60 + Number(time.slice(3));

/** Lets bytes through at the schedule's rate, shared by all who send to a destination. */
export class BandwidthLimiter {
  readonly #rows: () => readonly BandwidthRow[];
  readonly #clock: Clock;
  /** bytes that may go now; below 0: what went ahead must be waited for */
  #credit = 0;
  #at: number | undefined;

  constructor(rows: () => readonly BandwidthRow[], clock: Clock) {
    this.#rows = rows;
    this.#clock = clock;
  }

  /** undefined: no limit. 0: only what cannot wait may be sent. */
  get bytesPerSecond(): number | undefined {
    return bytesPerSecondAt(this.#rows(), new Date(this.#clock.now()));
  }

  /** Resolves when `bytes` may go. With `urgent`, a rate of 0 stops nothing. */
  async take(bytes: number, urgent: boolean, signal: AbortSignal): Promise<void> {
    let taken = false;
    while (!signal.aborted) {
      const rate = this.bytesPerSecond;
      if (rate === undefined || (rate === 0 && urgent)) return;
      const now = this.#clock.now();
      // A clock may be put back.
      const elapsedMs = Math.max(0, now - (this.#at ?? now));
      this.#at = now;
      this.#credit = Math.min((rate * BURST_MS) / 1000, this.#credit + (rate * elapsedMs) / 1000);
      if (!taken && rate > 0) {
        this.#credit -= bytes;
        taken = true;
      }
      if (taken && this.#credit >= 0) return;
      await this.#clock.sleep(rate === 0 ? LOOK_MS : Math.min(LOOK_MS, Math.max(1, (-this.#credit * 1000) / rate)));
    }
  }
}
