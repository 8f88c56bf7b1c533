import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SHAPES } from './cost/assumptions.ts';
import prices from './cost/aws-prices.json' with { type: 'json' };
import type { CostCounts } from './cost/counts.ts';
import { priceList, studyCost } from './cost/model.ts';
import { report } from './cost/report.ts';

const DOCS = join(import.meta.dirname, '../docs');
const PAGE = join(DOCS, 'costs.md');
export const [BEGIN, END] = ['<!-- npm run cost -->', '<!-- end -->'];

/** What `npm run cost` prints: counted calls times list prices. */
export function costReport(): string {
  const counts = JSON.parse(readFileSync(join(DOCS, 'cost-counts.json'), 'utf8')) as CostCounts;
  const list = priceList(prices);
  return report(
    SHAPES.map((shape) => studyCost(shape, counts, list)),
    list,
  );
}

/** The page with its tables made anew. */
export function withTables(page: string): string {
  const [before = '', after = ''] = [page.split(BEGIN)[0], page.split(END)[1]];
  return `${before}${BEGIN}\n\n${costReport()}\n\n${END}${after}`;
}

if (import.meta.main) {
  console.log(costReport());
  writeFileSync(PAGE, withTables(readFileSync(PAGE, 'utf8')));
}
