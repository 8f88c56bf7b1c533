import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { COST_COUNTS } from '#core/costs/counts.ts';
import { AWS_LIST } from '#core/costs/prices.ts';
import { studyCost } from './cost/model.ts';
import { report } from './cost/report.ts';
import { SHAPES } from './cost/shapes.ts';

const PAGE = join(import.meta.dirname, '../docs/costs.md');
export const [BEGIN, END] = ['<!-- npm run cost -->', '<!-- end -->'];

/** What `npm run cost` prints: counted calls times list prices. */
function costReport(): string {
  const costs = SHAPES.map((shape) => studyCost(shape, COST_COUNTS, AWS_LIST.prices));
  return report(costs, AWS_LIST.prices);
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
