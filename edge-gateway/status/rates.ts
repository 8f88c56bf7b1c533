import type { Clock } from '#core/ports/clock.ts';
import type { ForwardCounts } from '../forward/records.ts';

/** How fast a destination is being sent to. */
export interface SendRate {
  readonly objectsPerSecond: number;
  readonly bytesPerSecond: number;
}

/** The rate is that of the last minutes: long enough to be steady, short enough to be now (ms). */
const WINDOW_MS = 5 * 60_000;

interface Sample {
  readonly at: number;
  readonly objects: number;
  readonly bytes: number;
}

/** Send rates, from how the exact counts of what is confirmed grow: no sender has to tell anybody. */
export class Rates {
  readonly #clock: Clock;
  readonly #samples = new Map<string, Sample[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  sample(destination: string, { confirmed, confirmedBytes }: ForwardCounts): void {
    const at = this.#clock.now();
    const samples = this.#samples.get(destination) ?? [];
    this.#samples.set(destination, samples);
    samples.push({ at, objects: confirmed, bytes: confirmedBytes });
    while (samples.length > 2 && samples[1]!.at <= at - WINDOW_MS) samples.shift();
  }

  of(destination: string): SendRate {
    const samples = this.#samples.get(destination) ?? [];
    const first = samples[0];
    const last = samples.at(-1);
    const seconds = first === undefined || last === undefined ? 0 : (last.at - first.at) / 1000;
    if (first === undefined || last === undefined || seconds <= 0) return { objectsPerSecond: 0, bytesPerSecond: 0 };
    return {
      objectsPerSecond: Math.max(0, last.objects - first.objects) / seconds,
      bytesPerSecond: Math.max(0, last.bytes - first.bytes) / seconds,
    };
  }
}
