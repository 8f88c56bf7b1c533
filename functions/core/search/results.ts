import type { Services } from '../services.ts';
import type { ReadBudget } from './cursors.ts';
import { inOrder } from './order.ts';
import type { Query } from './query.ts';
import type { StudyRow } from './study-list.ts';

/** What a search found: one page of it. */
export interface Results<R> {
  readonly rows: readonly R[];
  /** matches in all, where that is known */
  readonly total?: number;
  /** there are matches behind this page */
  readonly more: boolean;
  /** the budget of reads was spent: matches may be missing */
  readonly cut: boolean;
  /** patients could not be counted that were to be: see patient-counts.ts */
  readonly uncounted?: boolean;
}

/** Confined services are searched as far as their reach goes. */
export type SearchServices = Pick<Services, 'index' | 'limits' | 'clock' | 'reach'>;

/** One page of a stream of matches, put in order first where the stream is not. */
export async function takePage<R>(
  matches: AsyncIterable<R>,
  { offset, limit, order }: Pick<Query, 'offset' | 'limit' | 'order'>,
  elementOf: ((row: R, tag: string) => ReturnType<StudyRow['element']>) | undefined,
  budget: ReadBudget,
): Promise<Results<R>> {
  const end = offset + limit;
  const rows: R[] = [];
  let count = 0;
  let more = false;
  for await (const row of matches) {
    if (elementOf === undefined && count === end) {
      more = true;
      break;
    }
    if (elementOf !== undefined || count >= offset) rows.push(row);
    count++;
  }
  if (elementOf !== undefined) {
    const page = inOrder(rows, order, elementOf).slice(offset, end);
    return { rows: page, ...(!budget.cut && { total: rows.length }), more: rows.length > end, cut: budget.cut };
  }
  return { rows, ...(!more && !budget.cut && { total: count }), more, cut: budget.cut };
}
