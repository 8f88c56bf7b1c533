import { expect, test } from 'vitest';
import { backoffMs, doubledMs, retryAfterMs } from '#core/backoff.ts';
import { TestClock } from '../fixtures/services.ts';

const BACKOFF = { firstMs: 1_000, mostMs: 60_000 };

test.each([
  { failures: 1, waitMs: 1_000 },
  { failures: 2, waitMs: 2_000 },
  { failures: 6, waitMs: 32_000 },
  { failures: 7, waitMs: 60_000 },
  { failures: 5_000, waitMs: 60_000 },
])('the wait doubles with each failure up to the most: $waitMs ms after $failures', ({ failures, waitMs }) => {
  expect(doubledMs(failures, BACKOFF)).toBe(waitMs);
});

test.each([
  { drawn: 0x00, waitMs: 2_000 },
  { drawn: 0xff, waitMs: 4_000 },
])('those who wait for the same part between half the wait and the whole', ({ drawn, waitMs }) => {
  const clock = Object.assign(new TestClock(), { randomBytes: (count: number) => new Uint8Array(count).fill(drawn) });
  expect(backoffMs(clock, 3, BACKOFF)).toBe(waitMs);
});

const NOW = Date.parse('2026-03-01T10:00:00Z');

test.each([
  { field: undefined, waitMs: undefined, why: 'nothing was said' },
  { field: '120', waitMs: 120_000, why: 'seconds' },
  { field: 'Sun, 01 Mar 2026 10:01:00 GMT', waitMs: 60_000, why: 'a date' },
  { field: 'Sun, 01 Mar 2026 09:00:00 GMT', waitMs: 0, why: 'a date that is past' },
  { field: '86400', waitMs: 3_600_000, why: 'more patience than we have' },
  { field: 'soon', waitMs: undefined, why: 'neither' },
])('Retry-After: $why', ({ field, waitMs }) => {
  expect(retryAfterMs(field, NOW)).toBe(waitMs);
});
