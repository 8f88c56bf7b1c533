import type { Key, WriteOperation } from '../ports/index-table.ts';

type Tenant = string;

/**
 * The counters of what a tenant stores and of what is served to it, in partitions of their own: three small records a month, of sums that `add`
 * makes. Those of what is stored can be made anew from the objects.
 *
 * | record  | partition | sort     | holds                                                                                        |
 * |---------|-----------|----------|----------------------------------------------------------------------------------------------|
 * | changes | t|usage   | c|YYYYMM | what came and went in a month: `n|{tier}|{modality}` objects and `b|…` bytes, the difference that |
 * |         |           |          | it made; of it `rn|{modality}`, `rb|{modality}` removed; `s` studies, of it `rs` removed      |
 * | ages    | t|usage   | a|YYYYMM | what is stored now of studies that began in a month: `n|{tier}`, `b|{tier}`                   |
 * | served  | t|served  | YYYYMM   | requests, bytes: answered by hosts that count (served.ts)                                     |
 *
 * They are no hot records: a study is counted when it has become quiet, when its tier changes, and when it goes; not with each instance.
 */
export const usageKeys = {
  changes: (t: Tenant, month: Month): Key => ({ partition: `${t}|usage`, sort: `c|${month}` }),
  ages: (t: Tenant, month: Month): Key => ({ partition: `${t}|usage`, sort: `a|${month}` }),
  served: (t: Tenant, month: Month): Key => ({ partition: `${t}|served`, sort: month }),
} as const;

/** YYYYMM, UTC */
export type Month = string;

export const monthOf = (ms: number): Month => new Date(ms).toISOString().slice(0, 7).replace('-', '');
export const monthsBetween = (from: Month, to: Month): number =>
  (Number(to.slice(0, 4)) - Number(from.slice(0, 4))) * 12 + Number(to.slice(4)) - Number(from.slice(4));
export function monthAfter(month: Month, months = 1): Month {
  const at = Number(month.slice(0, 4)) * 12 + Number(month.slice(4)) - 1 + months;
  return `${String(Math.floor(at / 12)).padStart(4, '0')}${String((at % 12) + 1).padStart(2, '0')}`;
}

/** objects, bytes as received */
export type Amount = readonly [objects: number, bytes: number];

/** What the counters hold of one study; it stands in the study's record and changes in one write with them, so that each counts exactly once. */
export interface CountedStudy {
  /** in which its first object came */
  readonly month: Month;
  /** by tier and modality */
  readonly tiers: { readonly [tier: string]: { readonly [modality: string]: Amount } };
}

/** the tier of what no policy has moved: the store's own rules alone decide about it */
export const DEFAULT_TIER = 'default';

/** The operations that bring the counters from what they hold of a study to what they are to hold of it; at most three. */
export function usageWrites(
  tenant: Tenant,
  before: CountedStudy | undefined,
  after: CountedStudy | undefined,
  month: Month,
): WriteOperation[] {
  const changes = new Sums();
  const ages = new Map<Month, Sums>();
  const left = new Map<string, [number, number]>();
  for (const [study, sign] of [[before, -1] as const, [after, 1] as const]) {
    if (study === undefined) continue;
    const age = ages.get(study.month) ?? new Sums();
    ages.set(study.month, age);
    changes.add('s', sign);
    for (const [tier, modalities] of Object.entries(study.tiers))
      for (const [modality, [objects, bytes]] of Object.entries(modalities)) {
        changes.add(`n|${tier}|${modality}`, sign * objects);
        changes.add(`b|${tier}|${modality}`, sign * bytes);
        age.add(`n|${tier}`, sign * objects);
        age.add(`b|${tier}`, sign * bytes);
        const [n, b] = left.get(modality) ?? [0, 0];
        left.set(modality, [n - sign * objects, b - sign * bytes]);
      }
  }
  for (const [modality, [objects, bytes]] of left) {
    if (objects > 0) changes.add(`rn|${modality}`, objects);
    if (bytes > 0) changes.add(`rb|${modality}`, bytes);
  }
  if (before !== undefined && after === undefined) changes.add('rs', 1);
  const operations = [...ages].map(([of, sums]) => ({ key: usageKeys.ages(tenant, of), sums }));
  return [{ key: usageKeys.changes(tenant, month), sums: changes }, ...operations].flatMap(({ key, sums }) => {
    const increments = sums.changed();
    return increments === undefined ? [] : [{ kind: 'add' as const, key, increments }];
  });
}

class Sums {
  readonly #sums: Record<string, number> = {};

  add(name: string, amount: number): void {
    this.#sums[name] = (this.#sums[name] ?? 0) + amount;
  }

  /** those that are not 0; undefined where all are */
  changed(): Record<string, number> | undefined {
    const changed = Object.entries(this.#sums).filter(([, sum]) => sum !== 0);
    return changed.length === 0 ? undefined : Object.fromEntries(changed);
  }
}
