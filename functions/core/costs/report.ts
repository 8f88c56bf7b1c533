import type { Tenant } from '../archive/records.ts';
import type { Services } from '../services.ts';
import { AWS_LIST } from './prices.ts';
import { cellCost, type MonthCosts, monthCosts, type PriceSource, ratesOf } from './pricing.ts';
import { type Cell, type MonthUsage, readUsage, type Sum, type Usage } from './usage.ts';
import { DEFAULT_TIER, type Month, monthAfter } from './usage-records.ts';

/** What a tenant stores, by month, and what that costs. Bytes are bytes; amounts of money are in `prices.currency`. No patient data. */
export interface CostReport {
  readonly tenant: Tenant;
  /** ms since 1970 */
  readonly at: number;
  /** null: no price is known, and no amount of money is said */
  readonly prices: PriceList | null;
  /** ascending; the last one is this month, as far as it has come */
  readonly months: readonly MonthReport[];
  readonly nextMonth: Projection;
  readonly uncountedStudies: number;
}

export interface PriceList {
  readonly currency: string;
  /** what the prices are, in words */
  readonly source: string;
  /** YYYY-MM-DD, of a list */
  readonly compiled?: string | undefined;
  /** of a disk: for 10^12 bytes */
  readonly perTerabyteMonth?: number | undefined;
  /** what the amounts are not */
  readonly note: string;
}

export interface MonthReport {
  /** YYYY-MM */
  readonly month: string;
  readonly stored: Sum;
  readonly added: Sum;
  readonly removed: Sum;
  /** null: no host counted in that month */
  readonly served: { readonly requests: number; readonly bytes: number } | null;
  readonly costs: MonthCosts | null;
  readonly cells: readonly (Cell & { readonly storageCost: number | null })[];
}

export interface Projection {
  readonly month: string;
  readonly storedBytes: number;
  readonly costs: MonthCosts | null;
  /** months whose mean growth it goes by; 0: this month alone */
  readonly fromMonths: number;
  readonly rule: string;
}

/** full months whose mean growth the projection goes by */
const GROWTH_MONTHS = 3;
const RULE = `what is stored now plus the mean growth of the last ${GROWTH_MONTHS} full months, or of this month so far where there are none`;

const NOTES = {
  aws:
    'An estimate from what the archive has counted: objects by the default lifecycle as if nobody read them, the index, and taking in. The bill has ' +
    'more: reading, bytes to the internet, the trash, noncurrent versions, a second region, HealthImaging, and what a deployment costs when nobody uses it.',
  disk: 'An estimate: bytes of the objects as received, at the price that was configured. The trash, quarantine and the index take space as well.',
} as const;

/** @param months from 1 */
export async function costReport(services: Services, tenant: Tenant, months: number): Promise<CostReport> {
  const { prices: source } = services.policy;
  const usage = await readUsage(services, tenant, Math.max(months, GROWTH_MONTHS + 1));
  return {
    tenant,
    at: services.clock.now(),
    prices: priceListOf(source),
    months: usage.months.slice(-months).map((month) => monthReport(source, usage, month)),
    nextMonth: projected(source, usage),
    uncountedStudies: usage.uncountedStudies,
  };
}

function priceListOf(source: PriceSource): PriceList | null {
  switch (source.kind) {
    case 'none':
      return null;
    case 'disk': {
      const { currency, perTerabyteMonth } = source;
      return { currency, source: 'the price of a disk of one’s own', perTerabyteMonth, note: NOTES.disk };
    }
    case 'aws': {
      const { currency, region, compiled } = AWS_LIST;
      return { currency, source: `list prices of AWS in ${region}`, compiled, note: NOTES.aws };
    }
  }
}

const dashed = (month: Month): string => `${month.slice(0, 4)}-${month.slice(4)}`;

function monthReport(source: PriceSource, { ages }: Usage, usage: MonthUsage): MonthReport {
  const { month, stored, added, removed, served, cells } = usage;
  const rates = ratesOf(source, month, ages);
  const costs = monthCosts(source, rates, usage);
  return {
    month: dashed(month),
    stored,
    added,
    removed,
    served: served ?? null,
    costs: costs === undefined ? null : rounded(costs),
    cells: cells.map((cell) => {
      const cost = cellCost(rates, cell);
      return { ...cell, storageCost: cost === undefined ? null : round(cost) };
    }),
  };
}

/** The next month by RULE: what is there is a month older, what is to come is new, and goes to the default tier. */
function projected(source: PriceSource, { months, ages }: Usage): Projection {
  const current = months.at(-1)!;
  const month = monthAfter(current.month);
  const before = months.slice(0, -1).filter(({ stored, added }) => stored.studies > 0 || added.studies > 0);
  const full = before.slice(-GROWTH_MONTHS);
  const basis = full.length > 0 ? full : [current];
  const mean = (of: (usage: MonthUsage) => number): number =>
    basis.reduce((sum, one) => sum + of(one), 0) / basis.length;
  const meanSum = (of: (usage: MonthUsage) => Sum): Sum => ({
    studies: mean((one) => of(one).studies),
    objects: mean((one) => of(one).objects),
    bytes: mean((one) => of(one).bytes),
  });
  const [added, removed] = [meanSum((one) => one.added), meanSum((one) => one.removed)];
  const stored = plus(current.stored, added, removed);
  // What goes is taken from all alike.
  const kept = (n: number, all: number, gone: number): number => (all > 0 ? n * Math.max(0, 1 - gone / all) : 0);
  const cells = current.cells.map((cell) => ({
    ...cell,
    objects: kept(cell.objects, current.stored.objects, removed.objects),
    bytes: kept(cell.bytes, current.stored.bytes, removed.bytes),
  }));
  cells.push({ tier: DEFAULT_TIER, modality: '', objects: added.objects, bytes: added.bytes });
  const young = { month, objects: added.objects, bytes: added.bytes };
  const costs = monthCosts(source, ratesOf(source, month, [...ages, young]), { cells, stored, added });
  return {
    month: dashed(month),
    storedBytes: Math.round(stored.bytes),
    costs: costs === undefined ? null : rounded(costs),
    fromMonths: full.length,
    rule: RULE,
  };
}

const plus = (stored: Sum, added: Sum, removed: Sum): Sum => ({
  studies: Math.max(0, stored.studies + added.studies - removed.studies),
  objects: Math.max(0, stored.objects + added.objects - removed.objects),
  bytes: Math.max(0, stored.bytes + added.bytes - removed.bytes),
});

const round = (amount: number): number => Math.round(amount * 1e6) / 1e6;
const rounded = ({ storage, index, ingest, total, unpricedBytes }: MonthCosts): MonthCosts => ({
  storage: round(storage),
  ...(index !== undefined && { index: round(index) }),
  ...(ingest !== undefined && { ingest: round(ingest) }),
  total: round(total),
  unpricedBytes: Math.round(unpricedBytes),
});
