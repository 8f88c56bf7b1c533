import { ASSUMED } from '#core/costs/assumptions.ts';
import type { PriceList } from '#core/costs/prices.ts';
import { idleCost, mixed, type StudyCost } from './model.ts';

const usd = (n: number): string => (n >= 100 ? n.toFixed(0) : n.toFixed(2));

const ROWS: readonly (readonly [string, (cost: StudyCost) => number])[] = [
  ['ingest', (c) => c.ingest],
  ['storage, first year', (c) => c.storageYear],
  ['storage, seven years', (c) => c.storageSevenYears],
  ['storage, seven years, Deep Archive after two', (c) => c.storageSevenYearsDeep],
  ['first read', (c) => c.firstRead],
  ['… of it bytes to the internet', (c) => c.firstReadTransfer],
  ['a look as a prior', (c) => c.priorRead],
  ['second region: ingest', (c) => c.secondRegion.ingest],
  ['second region: storage, first year', (c) => c.secondRegion.storageYear],
  ['second region: storage, seven years', (c) => c.secondRegion.storageSevenYears],
];
const OTHERS: readonly (readonly [string, (cost: StudyCost) => number])[] = [
  ['Nephos: first read without bytes to the internet', (c) => c.firstRead - c.firstReadTransfer],
  ['HealthImaging: storage, first year', (c) => c.healthImaging.storageYear],
  ['HealthImaging: storage, seven years', (c) => c.healthImaging.storageSevenYears],
  ['HealthImaging: first read', (c) => c.healthImaging.firstRead],
  ['Google: ingest', (c) => c.google.ingest],
  ['Google: storage, first year', (c) => c.google.storageYear],
  ['Google: storage, seven years', (c) => c.google.storageSevenYears],
  ['Google: first read', (c) => c.google.firstRead],
];

/** The tables of docs/costs.md, USD. */
export function report(costs: readonly StudyCost[], prices: PriceList): string {
  const head = ['', ...costs.map(({ shape }) => shape.name), 'mix'];
  const per1000 = (rows: typeof ROWS): string =>
    table(
      head,
      rows.map(([what, of]) => [what, ...costs.map((cost) => usd(1_000 * of(cost))), usd(1_000 * mixed(costs, of))]),
    );
  const shapes = table(
    ['', 'instances', 'series', 'MiB an object', 'MiB a study', 'share of the mix'],
    costs.map(({ shape, bytes }) => [
      shape.name,
      String(shape.instances),
      String(shape.series),
      (shape.objectBytes / 1024 ** 2).toFixed(2),
      (bytes / 1024 ** 2).toFixed(0),
      `${Math.round(shape.share * 100)} %`,
    ]),
  );
  const [one, two] = [idleCost(prices, 1), idleCost(prices, 2)];
  const sum = (costs: Record<string, number>): number => Object.values(costs).reduce((a, b) => a + b, 0);
  const idle = table(
    ['USD a month', 'one region', 'two regions'],
    [
      ...Object.keys(one).map((what) => [what, usd(one[what]!), usd(two[what]!)]),
      ['together', usd(sum(one)), usd(sum(two))],
    ],
  );
  const assumed = table(
    ['assumed', ''],
    Object.entries(ASSUMED).map(([name, value]) => [`\`${name}\``, String(value)]),
  );
  return [
    '### Studies',
    shapes,
    '### USD for 1,000 studies',
    per1000(ROWS),
    '### USD a month when nobody sends or reads',
    idle,
    '### Others’ list prices for the same studies, USD for 1,000',
    per1000(OTHERS),
    '### Assumptions',
    assumed,
  ].join('\n\n');
}

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
