import { beforeEach, describe, expect, test } from 'vitest';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import { sweepExpired } from '#core/expiring.ts';
import { type Attempt, Attempts } from '#core/users/attempts.ts';
import { TestClock } from '#test/fixtures/services.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

let clock: TestClock;
let index: MemoryIndexTable;
let attempts: Attempts;
beforeEach(() => {
  clock = new TestClock();
  index = new MemoryIndexTable();
  attempts = new Attempts({ index, clock });
});

const at = (name: string, address: string | undefined): Attempt => ({ tenant: 'clinic', name, address });
const VERA = at('vera', '10.0.0.1');

/** Guesses that may be made until one has to wait. */
async function until(attempt: Attempt): Promise<{ made: number; waitSeconds: number }> {
  for (let made = 0; made < 1_000; made++) {
    const wait = await attempts.reserve(attempt).then(
      () => undefined,
      (error: { details: { retryAfterSeconds: number } }) => error.details.retryAfterSeconds,
    );
    if (wait !== undefined) return { made, waitSeconds: wait };
  }
  throw new Error('nobody was ever asked to wait');
}

describe('guesses at a password', () => {
  test('five cost nothing; after each further one the wait doubles, up to a quarter of an hour', async () => {
    expect(await until(VERA)).toEqual({ made: 5, waitSeconds: 1 });
    for (const waitSeconds of [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]) {
      clock.advance(15 * MINUTE_MS);
      expect(await until(VERA)).toEqual({ made: 1, waitSeconds });
    }
  });

  test('from everywhere together twenty cost nothing; others who guess wrong keep nobody out before', async () => {
    for (let n = 0; n < 4; n++) expect((await until(at('vera', `10.0.1.${n}`))).made).toBe(5);
    expect(await until(VERA)).toEqual({ made: 0, waitSeconds: 1 });
    expect((await until(at('otto', '10.0.0.1'))).made).toBe(5);
  });

  test('from anywhere keep nobody out who comes from where he has been in of late; there, and from elsewhere, he has no more than others', async () => {
    await attempts.forget(await attempts.reserve(VERA));
    for (let n = 0; n < 30; n++) {
      clock.advance(15 * MINUTE_MS);
      await until(at('vera', `10.0.1.${n}`));
    }
    expect(await until(at('vera', '10.0.2.1'))).toEqual({ made: 0, waitSeconds: 900 });
    expect(await until(VERA)).toEqual({ made: 5, waitSeconds: 1 });
    clock.advance(1_000);
    await attempts.forget(await attempts.reserve(VERA));
    for (let n = 0; n < 4; n++) expect((await until(at('vera', `10.0.3.${n}`))).made).toBe(5);
    clock.advance(30 * DAY_MS - 60 * MINUTE_MS);
    for (let n = 0; n < 4; n++) expect((await until(at('vera', `10.0.3.${n}`))).made).toBe(5);
    clock.advance(60 * MINUTE_MS);
    for (let n = 0; n < 4; n++) await until(at('vera', `10.0.4.${n}`));
    // Nobody has come from there for a month.
    expect((await until(VERA)).made).toBe(0);
  });

  test('from one address fifty cost nothing, whoever they are at; this machine stands for everybody', async () => {
    for (let n = 0; n < 10; n++) expect((await until(at(`name${n}`, '10.0.0.1'))).made).toBe(5);
    expect((await until(at('vera', '10.0.0.1'))).made).toBe(0);
    for (let n = 0; n < 11; n++) expect((await until(at(`name${n}`, undefined))).made).toBe(5);
  });

  test('a hundred at the same moment, by several processes, are no more than five', async () => {
    const processes = [attempts, new Attempts({ index, clock }), new Attempts({ index, clock })];
    const outcomes = await Promise.allSettled(Array.from({ length: 100 }, (_, n) => processes[n % 3]!.reserve(VERA)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason.code).toMatch(/^(TOO_MANY_REQUESTS|BUSY)$/);
  });

  test('whoever is in begins anew; what was guessed from his address at others stays', async () => {
    for (let n = 0; n < 9; n++) await until(at(`name${n}`, '10.0.0.1'));
    for (let n = 0; n < 4; n++) await attempts.reserve(VERA);
    await attempts.forget(await attempts.reserve(VERA));
    // 45 of others and 4 of hers: one is left of the address's fifty.
    expect((await until(VERA)).made).toBe(1);
    expect((await until(at('vera', '10.0.0.9'))).made).toBe(5);
  });

  test('a right password before the code of the second factor counts for nothing, and frees nothing', async () => {
    await until(VERA);
    clock.advance(1_000);
    await attempts.takeBack(await attempts.reserve(VERA));
    // The code may be tried at once, once: the wait after a wrong one is as long as if the password had not been right.
    expect(await until(VERA)).toEqual({ made: 1, waitSeconds: 2 });
    expect(await until(VERA)).toEqual({ made: 0, waitSeconds: 2 });
  });

  test('are forgotten after a day without any, and swept', async () => {
    await until(VERA);
    clock.advance(DAY_MS + 1);
    expect(await sweepExpired({ index, clock })).toBe(3);
    expect((await until(VERA)).made).toBe(5);
  });

  test('leave no name in the index: people type passwords into the wrong field', async () => {
    await attempts.reserve(at('my secret password', '10.0.0.1'));
    const { records } = await index.query({ partition: 'clinic|attempts', limit: 10 });
    expect(JSON.stringify(records)).not.toContain('secret');
  });
});
