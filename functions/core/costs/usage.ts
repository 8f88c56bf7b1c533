import type { Tenant } from '../archive/records.ts';
import type { Item } from '../ports/index-table.ts';
import { partitions } from '../search/postings.ts';
import type { Services } from '../services.ts';
import { DEFAULT_TIER, type Month, monthAfter, monthOf, monthsBetween, usageKeys } from './usage-records.ts';

/** Studies, objects, and bytes as received. */
export interface Sum {
  readonly studies: number;
  readonly objects: number;
  readonly bytes: number;
}

/** What of one modality stands in one tier. */
export interface Cell {
  readonly tier: string;
  readonly modality: string;
  readonly objects: number;
  readonly bytes: number;
}

export interface MonthUsage {
  readonly month: Month;
  /** at the month's end; of this month, now */
  readonly stored: Sum;
  readonly cells: readonly Cell[];
  /** what came, and what went, in it */
  readonly added: Sum;
  readonly removed: Sum;
  /** absent where no host counted */
  readonly served?: { readonly requests: number; readonly bytes: number } | undefined;
}

export interface Usage {
  /** ascending; the last one is this month */
  readonly months: readonly MonthUsage[];
  /** of what stands in the default tier now: by the month in which its study began, ascending */
  readonly ages: readonly { readonly month: Month; readonly objects: number; readonly bytes: number }[];
  /** studies of the list that the counters do not hold: not quiet yet, or stored by a release that did not count */
  readonly uncountedStudies: number;
}

/** three kinds of records of a month each: 270 years */
const RECORDS = 10_000;

/**
 * The last `months` months of what a tenant stores, from its counters: a few hundred small records after many years, however much is
 * stored.
 */
export async function readUsage(
  { index, clock }: Pick<Services, 'index' | 'clock'>,
  tenant: Tenant,
  months: number,
): Promise<Usage> {
  const now = monthOf(clock.now());
  const { partition } = usageKeys.changes(tenant, now);
  const [changes, ages, served, years] = await Promise.all([
    index.query({ partition, prefix: 'c|', limit: RECORDS }),
    index.query({ partition, prefix: 'a|', limit: RECORDS }),
    index.query({ partition: usageKeys.served(tenant, now).partition, limit: RECORDS }),
    index.query({ partition: partitions.count(tenant), prefix: 'y|', limit: RECORDS }),
  ]);
  const walked = walk(
    changes.records.map(({ sort, item }) => ({ month: clamped(sort.slice(2), now), item })),
    new Map(served.records.map(({ sort, item }) => [sort, item])),
    monthAfter(now, 1 - months),
    now,
  );
  const listed = years.records.reduce((sum, { item }) => sum + numberOf(item, 'n'), 0);
  return {
    months: walked,
    ages: ages.records.map(({ sort, item }) => ({
      month: clamped(sort.slice(2), now),
      objects: numberOf(item, `n|${DEFAULT_TIER}`),
      bytes: numberOf(item, `b|${DEFAULT_TIER}`),
    })),
    uncountedStudies: Math.max(0, listed - (walked.at(-1)?.stored.studies ?? 0)),
  };
}

/** A clock that was wrong once wrote a month that has not come: what happened then has happened by now. */
const clamped = (month: Month, now: Month): Month => (month > now ? now : month);

const numberOf = (item: Item, name: string): number => Number(item[name] ?? 0);

/** Sums up the changes of all months, and keeps what stood there at the end of each from `first` to `last`. */
function walk(
  changes: readonly { readonly month: Month; readonly item: Item }[],
  served: ReadonlyMap<Month, Item>,
  first: Month,
  last: Month,
): MonthUsage[] {
  const running = new RunningSums();
  for (const { month, item } of changes) if (month < first) running.apply(item);
  return Array.from({ length: monthsBetween(first, last) + 1 }, (_, n) => {
    const month = monthAfter(first, n);
    const before = running.stored();
    const own = changes.filter((change) => change.month === month).map(({ item }) => item);
    for (const item of own) running.apply(item);
    const stored = running.stored();
    const removed = {
      studies: sumOf(own, (name) => name === 'rs'),
      objects: sumOf(own, (name) => name.startsWith('rn|')),
      bytes: sumOf(own, (name) => name.startsWith('rb|')),
    };
    const added = {
      studies: stored.studies - before.studies + removed.studies,
      objects: stored.objects - before.objects + removed.objects,
      bytes: stored.bytes - before.bytes + removed.bytes,
    };
    return { month, stored, cells: running.cells(), added, removed, ...servedOf(served.get(month)) };
  });
}

const sumOf = (items: readonly Item[], isMeant: (name: string) => boolean): number =>
  items.flatMap((item) => Object.entries(item)).reduce((sum, [name, n]) => sum + (isMeant(name) ? Number(n) : 0), 0);

const servedOf = (item: Item | undefined): Pick<MonthUsage, 'served'> =>
  item === undefined ? {} : { served: { requests: numberOf(item, 'requests'), bytes: numberOf(item, 'bytes') } };

class RunningSums {
  /** by `{tier}|{modality}` */
  readonly #cells = new Map<string, { objects: number; bytes: number }>();
  #studies = 0;

  apply(item: Item): void {
    this.#studies += numberOf(item, 's');
    for (const [name, value] of Object.entries(item)) {
      const what = name.slice(0, 2);
      if (what !== 'n|' && what !== 'b|') continue;
      const cell = this.#cells.get(name.slice(2)) ?? { objects: 0, bytes: 0 };
      cell[what === 'n|' ? 'objects' : 'bytes'] += Number(value);
      this.#cells.set(name.slice(2), cell);
    }
  }

  stored(): Sum {
    const all = [...this.#cells.values()];
    return {
      studies: this.#studies,
      objects: all.reduce((sum, { objects }) => sum + objects, 0),
      bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
    };
  }

  /** Those with anything in them, the largest first. */
  cells(): Cell[] {
    return [...this.#cells]
      .filter(([, { objects, bytes }]) => objects > 0 || bytes > 0)
      .map(([name, { objects, bytes }]) => {
        const [tier = '', modality = ''] = name.split('|', 2);
        return { tier, modality, objects, bytes };
      })
      .sort((a, b) => b.bytes - a.bytes || (`${a.tier}|${a.modality}` < `${b.tier}|${b.modality}` ? -1 : 1));
  }
}
