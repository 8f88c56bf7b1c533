import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import prices from '#core/costs/aws-prices.json' with { type: 'json' };
import { COST_COUNTS } from '#core/costs/counts.ts';
import { AWS_LIST, priceList } from '#core/costs/prices.ts';
import { idleCost, mixed, studyCost } from '../../../scripts/cost/model.ts';
import { SHAPES } from '../../../scripts/cost/shapes.ts';
import { withTables } from '../../../scripts/cost.ts';

const list = AWS_LIST.prices;
const costs = SHAPES.map((shape) => studyCost(shape, COST_COUNTS, list));

test('the page of costs is what `npm run cost` makes of counts, prices and assumptions', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/costs.md'), 'utf8');
  expect(withTables(page)).toBe(page);
});

test('every price has a source and says how sure it is; one that is missing is an error', () => {
  for (const [name, item] of Object.entries(prices.items)) {
    expect(item.source, name).not.toBe('');
    expect(Object.keys(prices.confidence), name).toContain(item.confidence);
  }
  expect(() => priceList({ items: {} })).toThrow(/no price of/);
});

describe('the model', () => {
  test('prices a radiograph as one does by hand', () => {
    const shape = { name: 'CR', instances: 1, series: 1, objectBytes: 1024 ** 3, share: 1 } as const;
    const nothing = { writeUnits: 0, readUnits: 0, s3Puts: 0, s3Gets: 0, queueRequests: 0 };
    const usage = {
      study: { ...nothing, writeUnits: 1_000_000, s3Puts: 1 },
      instance: nothing,
      quiet: nothing,
      search: nothing,
      metadata: nothing,
      frame: nothing,
      indexBytes: { study: 0, instance: 0 },
    };
    const cost = studyCost(shape, usage, list);
    // a GiB for two months in Standard, one frequent, two infrequent, seven archived; moved once, watched for ten months
    expect(cost.storageYear).toBeCloseTo(3 * 0.023 + 2 * 0.0125 + 7 * 0.004 + 0.00001 + 10 * 0.0000025, 9);
    // a million write units, a put, a GiB to the origin, one request
    expect(cost.ingest).toBeCloseTo(0.625 + 0.000005 + 0.02, 4);
    expect(cost.firstReadTransfer).toBeCloseTo(0.085, 9);
    expect(cost.google.storageYear).toBeCloseTo(12 * 0.02, 2);
  });

  test('never has more years, a second region or warmer tiers cost less', () => {
    for (const cost of costs) {
      expect(cost.storageSevenYears).toBeGreaterThan(cost.storageYear);
      expect(cost.storageSevenYearsDeep).toBeLessThan(cost.storageSevenYears);
      expect(cost.secondRegion.ingest).toBeGreaterThan(0);
      expect(cost.priorRead).toBeLessThan(cost.firstRead);
    }
    const sum = (parts: Record<string, number>) => Object.values(parts).reduce((a, b) => a + b, 0);
    expect(sum(idleCost(list, 2))).toBeGreaterThan(sum(idleCost(list, 1)));
  });

  test('mixes by shares that are the whole', () => {
    expect(SHAPES.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 9);
    expect(mixed(costs, () => 1)).toBeCloseTo(1, 9);
  });
});
