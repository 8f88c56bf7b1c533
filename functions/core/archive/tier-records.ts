import type { Key } from '../ports/index-table.ts';
import type { Tenant } from './records.ts';

export type { Tenant };

/**
 * The records by which studies move to colder tiers, in partitions of their own.
 *
 * | record | partition         | sort            | holds                                                        |
 * |--------|-------------------|-----------------|--------------------------------------------------------------|
 * | tier   | t|tier|{Study}    | tier            | TierRecord                                                   |
 * | access | t|access|{Study}  | access          | { day }: when the study was last read                        |
 * | idle   | t|idle|{tier}     | {day}|{Study}   | {}: studies that stand in a tier and wait for the next, by the day from which their idleness counts |
 * | enrol  | t|tiering         | enrolment       | EnrolmentRecord: how far the list has been looked through for studies without a tier record |
 */
export interface TierRecord {
  version: number;
  /** '' : none has been set */
  tier: string;
  /** of its entry in `idle`; undefined: it waits for nothing */
  day?: Day | undefined;
}

/** YYYYMMDD, UTC */
export type Day = string;

export const DAY_MS = 24 * 60 * 60 * 1000;
export const dayOf = (ms: number): Day => new Date(ms).toISOString().slice(0, 10).replaceAll('-', '');
/** ms since 1970 of the beginning of a day; NaN where it is none */
export const msOf = (day: Day): number =>
  Date.parse(`${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6, 8)}T00:00:00Z`);

/** stands for "no tier" in a partition's name */
const NONE = '-';

export const tierKeys = {
  enrolment: (t: Tenant): Key => ({ partition: `${t}|tiering`, sort: 'enrolment' }),
  tier: (t: Tenant, study: string): Key => ({ partition: `${t}|tier|${study}`, sort: 'tier' }),
  access: (t: Tenant, study: string): Key => ({ partition: `${t}|access|${study}`, sort: 'access' }),
  idle: (t: Tenant, tier: string, day: Day, study: string): Key => ({
    partition: `${t}|idle|${tier === '' ? NONE : tier}`,
    sort: `${day}|${study}`,
  }),
} as const;
