import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import { SharedBuckets } from '#api/shared-buckets.ts';
import type { RateLedger, RateStep } from '#core/ports/rate-ledger.ts';
import { IndexRateLedger, principalAccount } from '#core/rate-accounts.ts';

// One principal in several sandboxes, whose clocks differ, at moments that are drawn.
const START = Date.UTC(2026, 0, 1);
const BURST_SECONDS = 5;
const account = principalAccount({ tenant: 'clinic', subject: 'reader' });

interface Sandbox {
  readonly buckets: SharedBuckets;
}

/** Sandboxes on one ledger; calls of it wait for as many turns as are drawn, so that they meet in any order. */
function deployment(perSecond: number, skews: readonly number[], turns: () => number) {
  let elapsed = 0;
  let calls = 0;
  const index = new MemoryIndexTable();
  const inner = new IndexRateLedger(index);
  const ledger: RateLedger = {
    async advance(key, name, step: RateStep) {
      calls++;
      for (let left = turns(); left > 0; left--) await Promise.resolve();
      return inner.advance(key, name, step);
    },
    read: (key) => inner.read(key),
  };
  let random = 1;
  const nextByte = (): number => {
    random = (random * 1_103_515_245 + 12_345) % 2 ** 31;
    return random >>> 16;
  };
  const advance = (ms: number): void => {
    elapsed += ms;
  };
  const sandboxes = skews.map((skewMs): Sandbox => {
    const clock = {
      now: () => START + elapsed + skewMs,
      randomBytes: (count: number) => Uint8Array.from({ length: count }, nextByte),
    };
    const rates = { requests: { perSecond, capacity: perSecond * BURST_SECONDS } };
    return { buckets: new SharedBuckets(rates, clock, ledger, (error) => expect.fail(String(error))) };
  });
  return { sandboxes, calls: () => calls, advance, elapsed: () => elapsed };
}

const steps = fc.array(
  fc.record({
    waitMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1_000, max: 12_000 })),
    // sandboxes that are asked at this moment, some of them several times
    asked: fc.array(fc.nat(15), { minLength: 1, maxLength: 40 }),
  }),
  { minLength: 1, maxLength: 40 },
);
const SKEW_MS = 300;
const skews = fc.array(fc.integer({ min: -SKEW_MS, max: SKEW_MS }), { minLength: 1, maxLength: 16 });

test('a principal has never more than the rate and one burst, in however many sandboxes at whatever moments', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(1, 7, 100),
      skews,
      steps,
      fc.infiniteStream(fc.nat(5)),
      async (perSecond, skewed, all, stream) => {
        const { sandboxes, advance, elapsed } = deployment(perSecond, skewed, () => stream.next().value);
        let admitted = 0;
        for (const { waitMs, asked } of all) {
          advance(waitMs);
          const answers = await Promise.all(
            asked.map((n) => sandboxes[n % sandboxes.length]!.buckets.take(account, 'requests')),
          );
          admitted += answers.filter((answer) => answer === 0).length;
          const most = perSecond * (BURST_SECONDS + (elapsed() + 2 * SKEW_MS) / 1_000);
          expect(admitted).toBeLessThanOrEqual(most + 0.001);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('in any stretch of time, too, no more than the rate, one burst, what a lot of before lasts for, and a first lot each', async () => {
  await fc.assert(
    fc.asyncProperty(skews, steps, fc.infiniteStream(fc.nat(5)), async (skewed, all, stream) => {
      const perSecond = 20;
      const { sandboxes, advance, elapsed } = deployment(perSecond, skewed, () => stream.next().value);
      const admitted: number[] = [];
      for (const { waitMs, asked } of all) {
        advance(waitMs);
        for (const n of asked)
          if ((await sandboxes[n % sandboxes.length]!.buckets.take(account, 'requests')) === 0)
            admitted.push(elapsed());
      }
      for (const [i, from] of admitted.entries())
        for (let j = i; j < admitted.length; j += 7) {
          const seconds = (admitted[j]! - from + 2 * SKEW_MS) / 1_000;
          expect(j - i + 1).toBeLessThanOrEqual(perSecond * (seconds + 2 * BURST_SECONDS) + skewed.length);
        }
    }),
    { numRuns: 100 },
  );
});

test('whoever stays well below the rate is never refused, spread over hundreds of sandboxes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(299), { minLength: 60, maxLength: 60 }), async (places) => {
      const skewed = Array.from({ length: 300 }, () => 0);
      const { sandboxes, advance } = deployment(2_000, skewed, () => 0);
      // 500 requests a second for half a minute, and nobody knows where the next one goes.
      for (let tick = 0; tick < 300; tick++) {
        advance(100);
        for (let n = 0; n < 50; n++) {
          const { buckets } = sandboxes[(places[(tick + n) % 60]! + n * tick) % 300]!;
          expect(await buckets.take(account, 'requests')).toBe(0);
        }
      }
    }),
    { numRuns: 5 },
  );
});

test('whoever asks for more than there is gets what there is: nothing is lost between sandboxes but a few lots', async () => {
  for (const sandboxCount of [1, 3, 40]) {
    const { sandboxes, advance, calls } = deployment(
      200,
      Array.from({ length: sandboxCount }, () => 0),
      () => 0,
    );
    let admitted = 0;
    for (let tick = 0; tick < 600; tick++) {
      advance(100);
      for (let n = 0; n < 120; n++)
        if ((await sandboxes[n % sandboxCount]!.buckets.take(account, 'requests')) === 0) admitted++;
    }
    // a minute
    expect(admitted).toBeGreaterThan(0.9 * 200 * 60);
    expect(admitted).toBeLessThanOrEqual(200 * (60 + BURST_SECONDS));
    // 72,000 requests; a sandbox that was refused asks about once in a second or two
    expect(calls()).toBeLessThan(1_000 + sandboxCount * 120);
  }
});

test('after the time that it was told to wait, one request passes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(1, 7, 100), skews, steps, async (perSecond, skewed, all) => {
      const { sandboxes, advance } = deployment(
        perSecond,
        skewed.map(() => 0),
        () => 0,
      );
      for (const { waitMs, asked } of all) {
        advance(waitMs);
        for (const n of asked) {
          const { buckets } = sandboxes[n % sandboxes.length]!;
          const toldMs = await buckets.take(account, 'requests');
          if (toldMs === 0) continue;
          expect(toldMs).toBeLessThanOrEqual(Math.max(2_000, 1_000 / perSecond) + 1);
          advance(toldMs);
          expect(await buckets.take(account, 'requests')).toBe(0);
        }
      }
    }),
    { numRuns: 100 },
  );
});
