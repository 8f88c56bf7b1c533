import { describe, expect, test } from 'vitest';
import type { BandwidthRow } from '#edge/config.ts';
import { BandwidthLimiter, bytesPerSecondAt } from '#edge/forward/bandwidth.ts';
import { TestClock } from '#test/fixtures/services.ts';

const WEEKDAYS = ['mon', 'tue', 'wed', 'thu', 'fri'] as const;
const ALL = [...WEEKDAYS, 'sat', 'sun'] as const;
/** Little in business hours, nothing in the nightly backup window, else as much as the line gives. */
const SCHEDULE: readonly BandwidthRow[] = [
  { days: [...WEEKDAYS], from: '08:00', to: '18:00', bytesPerSecond: 1_000_000 },
  { days: ['fri', 'sat'], from: '22:30', to: '04:00', bytesPerSecond: 0 },
];

describe('the schedule', () => {
  test.each([
    ['2024-01-31T07:59', undefined],
    ['2024-01-31T08:00', 1_000_000],
    ['2024-01-31T17:59', 1_000_000],
    ['2024-01-31T18:00', undefined],
    ['2024-02-03T12:00', undefined],
    // over midnight: the night belongs to the day on which it begins
    ['2024-02-02T22:30', 0],
    ['2024-02-03T03:59', 0],
    ['2024-02-03T04:00', undefined],
    ['2024-02-04T03:00', 0],
    ['2024-02-04T23:00', undefined],
    ['2024-02-02T03:00', undefined],
  ])('at %s, local time: %s bytes a second', (time, rate) => {
    expect(bytesPerSecondAt(SCHEDULE, new Date(time))).toBe(rate);
  });

  test('a row without hours holds the whole day', () => {
    const rows = [{ days: [...ALL], from: '00:00', to: '00:00', bytesPerSecond: 5 }];
    for (const time of ['2024-01-31T00:00', '2024-01-31T23:59']) expect(bytesPerSecondAt(rows, new Date(time))).toBe(5);
  });
});

/** Time passes only while somebody waits for it. */
class SleepingClock extends TestClock {
  slept = 0;
  override sleep = async (ms?: number): Promise<void> => {
    this.advance(ms ?? 0);
    this.slept += ms ?? 0;
    await new Promise((resolve) => setImmediate(resolve));
  };
}

const rate = (bytesPerSecond: number): BandwidthRow[] => [
  { days: [...ALL], from: '00:00', to: '00:00', bytesPerSecond },
];
const never = new AbortController().signal;

describe('the limiter', () => {
  test('lets through what the rate allows, for all who send together', async () => {
    const clock = new SleepingClock();
    const limiter = new BandwidthLimiter(() => rate(8_000), clock);
    for (let i = 0; i < 100; i++) await limiter.take(8_000, false, never);
    expect(clock.slept).toBeGreaterThan(98_000);
    expect(clock.slept).toBeLessThan(102_000);
  });

  test('without a row for the time waits for nothing', async () => {
    const clock = new SleepingClock();
    await new BandwidthLimiter(() => [], clock).take(1e9, false, never);
    expect(clock.slept).toBe(0);
  });

  test('at a rate of 0 holds all but STAT, until the schedule changes', async () => {
    const clock = new SleepingClock();
    let rows = rate(0);
    const limiter = new BandwidthLimiter(() => rows, clock);
    await limiter.take(1_000, true, never);
    expect(clock.slept).toBe(0);
    setImmediate(() => {
      rows = [];
    });
    const waited = limiter.take(1_000, false, never);
    await waited;
    expect(clock.slept).toBeGreaterThan(0);
  });
});
