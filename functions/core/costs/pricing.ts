import { indexBytesOf, indexMonth, ingestCost, lifecycleMonth } from './aws-costs.ts';
import { COST_COUNTS } from './counts.ts';
import { AWS_LIST } from './prices.ts';
import type { Cell, Sum, Usage } from './usage.ts';
import { DEFAULT_TIER, type Month, monthsBetween } from './usage-records.ts';

/** By which prices a host's costs are reckoned. */
export type PriceSource =
  /** none is known: amounts alone */
  | { readonly kind: 'none' }
  /** a disk of one's own; a terabyte is 10^12 bytes */
  | { readonly kind: 'disk'; readonly currency: string; readonly perTerabyteMonth: number }
  /** the list prices of AWS, as `npm run cost` has them */
  | { readonly kind: 'aws' };

/** What a month costs, in the currency of its prices. Storage is paid for the whole month by what stands there at its end. */
export interface MonthCosts {
  readonly storage: number;
  /** AWS: what the index holds of it, and taking in what came in the month */
  readonly index?: number | undefined;
  readonly ingest?: number | undefined;
  readonly total: number;
  /** in tiers of which no price is known */
  readonly unpricedBytes: number;
}

/** the tier whose rule of the bucket's lifecycle is Deep Archive (LIFECYCLE_TAG in adapters/aws/schema.ts) */
export const DEEP_TIER = 'deep';
const TERABYTE = 1e12;

/** A month of storage, for each byte and each object of a tier; undefined where no price is known. */
export type Rates = (tier: string) => { readonly byte: number; readonly object: number } | undefined;

/** What storage costs in a month. @param ages of what stands in the default tier: the older, the colder the class its lifecycle has brought it to */
export function ratesOf(source: PriceSource, month: Month, ages: Usage['ages']): Rates | undefined {
  if (source.kind === 'none') return undefined;
  if (source.kind === 'disk') return () => ({ byte: source.perTerabyteMonth / TERABYTE, object: 0 });
  const mean = lifecycleMean(month, ages);
  return (tier) =>
    tier === DEFAULT_TIER ? mean : tier === DEEP_TIER ? { byte: AWS_LIST.prices.deep, object: 0 } : undefined;
}

/** What is there no longer is taken to have been as old as what is. */
function lifecycleMean(month: Month, ages: Usage['ages']): { readonly byte: number; readonly object: number } {
  const sums = { bytes: 0, objects: 0, byte: 0, object: 0 };
  for (const { month: began, bytes, objects } of ages) {
    if (began > month || bytes <= 0) continue;
    const rate = lifecycleMonth(AWS_LIST.prices, monthsBetween(began, month));
    sums.bytes += bytes;
    sums.objects += objects;
    sums.byte += bytes * rate.byte;
    sums.object += objects * rate.object;
  }
  if (sums.bytes <= 0) return lifecycleMonth(AWS_LIST.prices, 0);
  return { byte: sums.byte / sums.bytes, object: sums.objects > 0 ? sums.object / sums.objects : 0 };
}

/** undefined where no price is known */
export function cellCost(rates: Rates | undefined, { tier, objects, bytes }: Cell): number | undefined {
  const rate = rates?.(tier);
  return rate && bytes * rate.byte + objects * rate.object;
}

/** @param rates as `ratesOf` has them for this source; `stored` and `added` of the month */
export function monthCosts(
  source: PriceSource,
  rates: Rates | undefined,
  { cells, stored, added }: { readonly cells: readonly Cell[]; readonly stored: Sum; readonly added: Sum },
): MonthCosts | undefined {
  if (rates === undefined) return undefined;
  let [storage, unpricedBytes] = [0, 0];
  for (const cell of cells) {
    const cost = cellCost(rates, cell);
    if (cost === undefined) unpricedBytes += cell.bytes;
    else storage += cost;
  }
  if (source.kind !== 'aws') return { storage, total: storage, unpricedBytes };
  const index = indexMonth(AWS_LIST.prices, indexBytesOf(COST_COUNTS, stored));
  const ingest = ingestCost(AWS_LIST.prices, COST_COUNTS, added);
  return { storage, index, ingest, total: storage + index + ingest, unpricedBytes };
}
