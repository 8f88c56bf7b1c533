import { describe, expect, test } from 'vitest';
import { LIFECYCLE_TAG } from '#adapters/aws/schema.ts';
import { ConfigError, readPolicy } from '#core/configuration.ts';
import { ingestCost } from '#core/costs/aws-costs.ts';
import { COST_COUNTS } from '#core/costs/counts.ts';
import { AWS_LIST } from '#core/costs/prices.ts';
import { DEEP_TIER, type PriceSource } from '#core/costs/pricing.ts';
import { costReport } from '#core/costs/report.ts';
import { type CountedStudy, type Month, usageWrites } from '#core/costs/usage-records.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';
import { studyCost } from '../../../scripts/cost/model.ts';
import { SHAPES } from '../../../scripts/cost/shapes.ts';

const GIB = 1024 ** 3;
const DISK: PriceSource = { kind: 'disk', currency: 'EUR', perTerabyteMonth: 20 };

/** An archive at the end of January 2024 whose counters are told what happened, months with the studies that came. */
async function archive(prices: PriceSource, came: Readonly<Record<Month, readonly CountedStudy['tiers'][]>>) {
  const services = memoryServices({ policy: { prices } });
  for (const [month, studies] of Object.entries(came))
    for (const tiers of studies) await services.index.write(usageWrites(TENANT, undefined, { month, tiers }, month));
  return services;
}

describe('a disk of one’s own', () => {
  test('costs what its price says of the bytes that stand on it at a month’s end', async () => {
    const services = await archive(DISK, {
      202311: [{ default: { CT: [500, 1e12] } }],
      202401: [{ default: { MG: [4, 0.5e12] } }],
    });
    const { prices, months } = await costReport(services, TENANT, 3);
    expect(prices).toMatchObject({ currency: 'EUR', perTerabyteMonth: 20 });
    expect(months.map(({ month, costs }) => [month, costs?.total])).toEqual([
      ['2023-11', 20],
      ['2023-12', 20],
      ['2024-01', 30],
    ]);
    expect(months[2]!.cells).toEqual([
      { tier: 'default', modality: 'CT', objects: 500, bytes: 1e12, storageCost: 20 },
      { tier: 'default', modality: 'MG', objects: 4, bytes: 0.5e12, storageCost: 10 },
    ]);
  });

  test('of which no price is known has amounts, and no money is said', async () => {
    const services = await archive({ kind: 'none' }, { 202401: [{ default: { CT: [500, 1e12] } }] });
    const report = await costReport(services, TENANT, 1);
    expect(report).toMatchObject({ prices: null, nextMonth: { costs: null } });
    expect(report.months).toMatchObject([{ stored: { bytes: 1e12 }, costs: null, cells: [{ storageCost: null }] }]);
    expect(JSON.stringify(report)).not.toMatch(/EUR|USD|urrency/);
  });

  test.each(['12.50 EUR', '7 USD'])('has a price of the form %s', (NEPHOS_DISK_PRICE) => {
    const [amount, currency] = NEPHOS_DISK_PRICE.split(' ');
    expect(readPolicy({ NEPHOS_DISK_PRICE }).prices).toEqual({
      kind: 'disk',
      currency,
      perTerabyteMonth: Number(amount),
    });
  });

  test.each(['12.50', 'EUR 12', '12 euro', '-1 EUR', '1e3 EUR', ''])('refuses %j for a price', (NEPHOS_DISK_PRICE) => {
    expect(() => readPolicy({ NEPHOS_DISK_PRICE })).toThrow(ConfigError);
  });
});

describe('AWS', () => {
  test('has prices of a list whose date is said, and amounts that are estimates', async () => {
    const { prices } = await costReport(await archive({ kind: 'aws' }, {}), TENANT, 1);
    expect(prices).toMatchObject({
      currency: 'USD',
      compiled: '2026-11-21',
      source: 'list prices of AWS in us-east-1',
    });
    expect(prices?.note).toMatch(/^An estimate/);
  });

  test('takes less for a study the older it gets, as the lifecycle moves it', async () => {
    const services = await archive({ kind: 'aws' }, { 202301: [{ default: { CT: [1, GIB] } }] });
    const { months } = await costReport(services, TENANT, 13);
    const storage = months.map(({ costs }) => costs!.storage);
    const [watched, move] = [0.0000025, 0.00001];
    const expected = [0.023, 0.023, 0.023 + watched + move, 0.0125 + watched, 0.0125 + watched, 0.004 + watched];
    for (const [age, cost] of expected.entries()) expect(storage[age], String(age)).toBeCloseTo(cost, 5);
    expect(storage.at(-1)).toBeCloseTo(0.004 + watched, 5);
    // The script's model of the same study, summed up over a year
    const index = months.slice(0, 12).reduce((sum, { costs }) => sum + costs!.index!, 0);
    const shape = { ...SHAPES[0]!, instances: 1, series: 1, objectBytes: GIB };
    const { storageYear } = studyCost(shape, COST_COUNTS, AWS_LIST.prices);
    expect(storage.slice(0, 12).reduce((sum, cost) => sum + cost, index)).toBeCloseTo(storageYear, 4);
  });

  test('takes for taking in what the script says, in the month in which it came', async () => {
    const services = await archive({ kind: 'aws' }, { 202312: [{ default: { CT: [500, 260e6] } }] });
    const { months } = await costReport(services, TENANT, 2);
    const ingest = ingestCost(AWS_LIST.prices, COST_COUNTS, { studies: 1, objects: 500, bytes: 260e6 });
    expect(months[0]!.costs!.ingest).toBeCloseTo(ingest, 6);
    expect(months[1]!.costs!.ingest).toBe(0);
    expect(months[0]!.costs!.total).toBeCloseTo(ingest + months[0]!.costs!.storage + months[0]!.costs!.index!, 5);
  });

  test('has a price for the tier that the lifecycle knows, and says of which bytes it knows none', async () => {
    expect(DEEP_TIER).toBe(LIFECYCLE_TAG.deep);
    const services = await archive(
      { kind: 'aws' },
      {
        202401: [{ deep: { CT: [1, GIB] }, glacier: { MR: [1, 5 * GIB] } }],
      },
    );
    const [january] = (await costReport(services, TENANT, 1)).months;
    expect(january!.costs).toMatchObject({ storage: 0.00099, unpricedBytes: 5 * GIB });
    expect(january!.cells.find(({ tier }) => tier === 'glacier')?.storageCost).toBeNull();
  });
});

describe('the next month', () => {
  test('is what is stored and the mean growth of the last three full months; this one is not over', async () => {
    const tb = (n: number): CountedStudy['tiers'] => ({ default: { CT: [1_000, n * 1e12] } });
    const came = { 202308: [tb(10)], 202310: [tb(1)], 202311: [tb(2)], 202312: [tb(3)], 202401: [tb(9)] };
    const { nextMonth } = await costReport(await archive(DISK, came), TENANT, 1);
    expect(nextMonth).toMatchObject({ month: '2024-02', fromMonths: 3, storedBytes: 27e12 });
    expect(nextMonth.costs?.total).toBeCloseTo(27 * 20, 6);
    expect(nextMonth.rule).toContain('mean growth of the last 3 full months');
  });

  test('goes by this month where there is none before it, and by removals as well', async () => {
    const services = await archive(DISK, { 202401: [{ default: { CT: [1, 2e12] } }] });
    expect((await costReport(services, TENANT, 1)).nextMonth).toMatchObject({ fromMonths: 0, storedBytes: 4e12 });
    const gone = await archive(DISK, { 202311: [{ default: { CT: [4, 4e12] } }] });
    const two: CountedStudy = { month: '202311', tiers: { default: { CT: [3, 3e12] } } };
    const all: CountedStudy = { month: '202311', tiers: { default: { CT: [4, 4e12] } } };
    await gone.index.write(usageWrites(TENANT, all, two, '202312'));
    const { nextMonth } = await costReport(gone, TENANT, 1);
    expect(nextMonth.storedBytes).toBe(3e12 + (4e12 - 1e12) / 2);
  });

  test('of AWS has what is there a month older, and what is to come new', async () => {
    const services = await archive({ kind: 'aws' }, { 202311: [{ default: { CT: [1, GIB] } }] });
    const { nextMonth } = await costReport(services, TENANT, 1);
    // three months old: infrequent access
    expect(nextMonth.fromMonths).toBe(2);
    expect(nextMonth.costs!.storage).toBeCloseTo(0.0125 + 0.023 / 2, 4);
  });
});
