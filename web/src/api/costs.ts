import { ask, askJson } from './http.ts';

export interface Sum {
  readonly studies: number;
  readonly objects: number;
  readonly bytes: number;
}

/** in the currency of the report's prices */
export interface MonthCosts {
  readonly storage: number;
  readonly index?: number;
  readonly ingest?: number;
  readonly total: number;
  readonly unpricedBytes: number;
}

export interface Cell {
  readonly tier: string;
  readonly modality: string;
  readonly objects: number;
  readonly bytes: number;
  readonly storageCost: number | null;
}

export interface CostMonth {
  /** YYYY-MM */
  readonly month: string;
  readonly stored: Sum;
  readonly added: Sum;
  readonly removed: Sum;
  readonly served: { readonly requests: number; readonly bytes: number } | null;
  readonly costs: MonthCosts | null;
  readonly cells: readonly Cell[];
}

export interface CostReport {
  readonly prices: {
    readonly currency: string;
    readonly source: string;
    readonly compiled?: string;
    readonly perTerabyteMonth?: number;
    readonly note: string;
  } | null;
  /** ascending; the last one is this month */
  readonly months: readonly CostMonth[];
  readonly nextMonth: {
    readonly month: string;
    readonly storedBytes: number;
    readonly costs: MonthCosts | null;
    readonly rule: string;
  };
  readonly uncountedStudies: number;
}

const MONTHS = 12;

export const loadCosts = (signal: AbortSignal): Promise<CostReport> =>
  askJson<CostReport>(`/api/costs?months=${MONTHS}`, { signal });

export type CostTable = 'csv' | 'csv-parts';

export async function loadCostTable(format: CostTable): Promise<Blob> {
  return (await ask(`/api/costs?months=${MONTHS}&format=${format}`)).blob();
}
