import { afterEach, beforeEach, expect, test } from 'vitest';
import type { IndexTable, Key } from '#core/ports/index-table.ts';
import type { RateLedger } from '#core/ports/rate-ledger.ts';
import { addressAccount, principalAccount, sweepRates, tokenAccount } from '#core/rate-accounts.ts';

/** Several ledgers of one store, as processes have them, and the index that it lies in. */
export interface LedgerUnderTest {
  readonly ledgers: readonly [RateLedger, RateLedger, RateLedger];
  readonly index: IndexTable;
  close(): Promise<void>;
}

const NOW = Date.UTC(2026, 0, 1);
const DAY = 24 * 60 * 60 * 1000;

export function rateLedgerContract(open: () => Promise<LedgerUnderTest>): void {
  let under: LedgerUnderTest;
  let one: RateLedger;
  let other: RateLedger;
  let account: Key;
  let serial = 0;
  beforeEach(async () => {
    under = await open();
    [one, other] = under.ledgers;
    account = principalAccount({ tenant: 'clinic', subject: `reader ${serial++}` });
  });
  afterEach(() => under.close());

  test('an account that nobody has moved is full; what one process moves, the others see', async () => {
    expect(await one.read(account)).toEqual({});
    expect(await one.advance(account, 'requests', { now: NOW, by: 1_000 })).toEqual({
      advanced: true,
      standing: { requests: NOW + 1_000 },
    });
    expect(await other.read(account)).toEqual({ requests: NOW + 1_000 });
    expect(await other.advance(account, 'requests', { now: NOW + 500, by: 0.5 })).toEqual({
      advanced: true,
      standing: { requests: NOW + 1_000.5 },
    });
  });

  test('an instant that has passed is as good as none', async () => {
    await one.advance(account, 'requests', { now: NOW, by: 1_000 });
    const { standing } = await other.advance(account, 'requests', { now: NOW + 60_000, by: 10 });
    expect(standing).toEqual({ requests: NOW + 60_010 });
  });

  test('what would go beyond changes nothing, and tells how the account stands', async () => {
    const step = { now: NOW, by: 600, notBeyond: NOW + 1_000 };
    expect((await one.advance(account, 'requests', step)).advanced).toBe(true);
    expect(await other.advance(account, 'requests', step)).toEqual({
      advanced: false,
      standing: { requests: NOW + 600 },
    });
    expect((await other.advance(account, 'requests', { ...step, by: 400 })).advanced).toBe(true);
    expect(await one.read(account)).toEqual({ requests: NOW + 1_000 });
    expect((await one.advance(account, 'requests', { ...step, by: 1 })).advanced).toBe(false);
  });

  test('what the caller believes may be wrong in any way', async () => {
    for (const believed of [undefined, 0, NOW - 5, NOW + 5, NOW + DAY]) {
      const before = (await one.read(account)).requests ?? NOW;
      const step = { now: NOW, by: 10, notBeyond: before + 10, believed };
      expect(await one.advance(account, 'requests', step)).toMatchObject({ standing: { requests: before + 10 } });
      expect((await one.advance(account, 'requests', step)).advanced).toBe(false);
    }
  });

  test('each name of an account, each account and each tenant is for itself', async () => {
    const colleague = principalAccount({ tenant: 'clinic', subject: 'colleague' });
    const namesake = principalAccount({ tenant: 'north', subject: 'colleague' });
    await one.advance(colleague, 'requests', { now: NOW, by: 10 });
    await one.advance(colleague, 'bytes', { now: NOW, by: 20 });
    expect(await other.read(colleague)).toEqual({ requests: NOW + 10, bytes: NOW + 20 });
    for (const stranger of [namesake, addressAccount('colleague'), tokenAccount('colleague')])
      expect(await other.read(stranger)).toEqual({});
  });

  test('processes that ask at the same moment never have more together than there is, and have all of it', async () => {
    const step = { now: NOW, by: 10, notBeyond: NOW + 300 };
    const all = await Promise.all(
      Array.from({ length: 60 }, (_, i) => under.ledgers[i % 3]!.advance(account, 'requests', step)),
    );
    expect(all.filter(({ advanced }) => advanced)).toHaveLength(30);
    expect(await one.read(account)).toEqual({ requests: NOW + 300 });
  });

  test('accounts that have long been full are swept, others are not; they hold no names', async () => {
    const busy = principalAccount({ tenant: 'clinic', subject: 'busy' });
    const token = tokenAccount('nephos_secret');
    for (const each of [account, busy, token]) await one.advance(each, 'requests', { now: NOW, by: 10 });
    await one.advance(busy, 'bytes', { now: NOW + 2 * DAY, by: 10 });
    await sweepRates({ index: under.index, clock: { now: () => NOW + 2 * DAY } }, 'clinic');
    expect(await other.read(account)).toEqual({});
    expect(await other.read(token)).toEqual({});
    expect(await other.read(busy)).toEqual({ requests: NOW + 10, bytes: NOW + 2 * DAY + 10 });
    expect(JSON.stringify([account, busy, token])).not.toMatch(/reader|busy|secret/);
  });
}
