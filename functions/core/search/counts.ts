import type { Tenant } from '../archive/records.ts';
import type { IndexTable } from '../ports/index-table.ts';
import type { PlaceRange, ReadBudget } from './cursors.ts';
import { modalityKey, partitions } from './postings.ts';

/**
 * How many studies a stretch of days holds, and on which day the nth of them stands, from the counters of years, months and
 * days: about a hundred small records, however large the archive and however deep the page.
 */

type Unit = 'y' | 'm' | 'd';
const DIGITS = { y: 4, m: 6, d: 8 } as const;
const WITHIN = { y: 'm', m: 'd' } as const;
const PAGE = 10_000;

interface Period {
  readonly unit: Unit;
  /** YYYY, YYYYMM or YYYYMMDD */
  readonly digits: string;
  readonly studies: number;
}

export class StudyCounts {
  readonly #index: IndexTable;
  readonly #partition: string;
  readonly #field: string;
  readonly #budget: ReadBudget;

  /** Of one modality, or of all studies. */
  constructor(index: IndexTable, tenant: Tenant, modality: string | undefined, budget: ReadBudget) {
    this.#index = index;
    this.#partition = partitions.count(tenant);
    this.#field = modality === undefined ? 'n' : `m|${modalityKey(modality)}`;
    this.#budget = budget;
  }

  /** The periods that make up the days of a range, ascending; none without studies. */
  async periods({ from = '00000000', to = '99999999' }: Pick<PlaceRange, 'from' | 'to'>): Promise<Period[]> {
    const first = wholeFrom(from.slice(0, 8));
    const last = wholeTo(to.slice(0, 8));
    const unit = first.slice(0, 6) === last.slice(0, 6) ? 'd' : first.slice(0, 4) === last.slice(0, 4) ? 'm' : 'y';
    return this.#within(unit, first, last);
  }

  async #within(unit: Unit, first: string, last: string): Promise<Period[]> {
    const digits = DIGITS[unit];
    const limit = this.#budget.grant(PAGE);
    if (limit === 0) return [];
    const page = await this.#index.query(
      {
        partition: this.#partition,
        from: `${unit}|${first.slice(0, digits)}`,
        to: `${unit}|${last.slice(0, digits)}~`,
        limit,
      },
      this.#budget.meter,
    );
    const periods: Period[] = [];
    for (const { sort, item } of page.records) {
      const studies = Number(item[this.#field] ?? 0);
      if (studies <= 0) continue;
      const period = sort.slice(2);
      const least = period.padEnd(8, '0');
      const greatest = period.padEnd(8, '9');
      if (unit === 'd' || (least >= first && greatest <= last)) periods.push({ unit, digits: period, studies });
      else
        periods.push(
          ...(await this.#within(WITHIN[unit], least > first ? least : first, greatest < last ? greatest : last)),
        );
    }
    return periods;
  }

  /** The day on which the study stands that has `offset` others of `periods` before it, and how many of these on that day. */
  async dayOf(
    periods: readonly Period[],
    offset: number,
    descending: boolean,
  ): Promise<{ day: string; before: number } | undefined> {
    let before = offset;
    for (const period of descending ? periods.toReversed() : periods) {
      if (before >= period.studies) {
        before -= period.studies;
        continue;
      }
      if (period.unit === 'd') return { day: period.digits, before };
      const parts = await this.#within(WITHIN[period.unit], period.digits.padEnd(8, '0'), period.digits.padEnd(8, '9'));
      return this.dayOf(parts, before, descending);
    }
    return undefined;
  }
}

/** The first of a year or a month is its whole beginning, so that the year's or the month's counter can be used. */
const wholeFrom = (date: string): string =>
  date.endsWith('0101') ? `${date.slice(0, 4)}0000` : date.endsWith('01') ? `${date.slice(0, 6)}00` : date;

function wholeTo(date: string): string {
  const day = date.slice(6);
  const month = date.slice(4, 6);
  const lastDay = month === '02' ? '29' : ['04', '06', '09', '11'].includes(month) ? '30' : '31';
  if (day < lastDay) return date;
  return month === '12' ? `${date.slice(0, 4)}9999` : `${date.slice(0, 6)}99`;
}
