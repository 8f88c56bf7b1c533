import { textOf } from '#core/dicom/element-text.ts';
import type { DataSet, Element } from '#core/dicom/types.ts';
import { isUID } from '#core/ids.ts';
import type { Level } from '#core/search/attributes.ts';
import { type Condition, elementsOf, matches } from '#core/search/match.ts';
import { LEVELS_FROM, type Query } from '#core/search/query.ts';
import type { Match } from '#dimse/services/find.ts';
import { TAG } from '#dimse/services/query.ts';

/** How many studies, series or instances something holds: of two archives' answers the larger is nearer to what there is. */
const COUNTS: ReadonlySet<string> = new Set(['00201206', '00201208', '00201209']);
/** ModalitiesInStudy, SOPClassesInStudy: what either archive has seen */
const UNIONS: ReadonlySet<string> = new Set(['00080061', '00080062']);
/** what tells whether all of it is here */
const INSTANCES: Readonly<Record<Level, string | undefined>> = {
  study: '00201208',
  series: '00201209',
  instance: undefined,
};

/** The unique key of a row of QIDO-RS, as the keys of our own matches are; undefined where it lacks its UIDs. */
export function keyOfRow(level: Level, row: DataSet): string | undefined {
  const [study, series, sop] = [TAG.StudyInstanceUID, TAG.SeriesInstanceUID, TAG.SOPInstanceUID].map((tag) =>
    textOf(row[tag]),
  );
  if (level === 'study') return isUID(study!) ? study : undefined;
  if (level === 'series') return isUID(study!) && isUID(series!) ? `${study}|${series}` : undefined;
  return isUID(sop!) ? sop : undefined;
}

/**
 * Whether a row meets the query as far as it tells: a server may leave keys out of account that it does not know. What a row does not hold
 * was matched there, or not at all.
 */
export function isMatch(query: Query, row: DataSet): boolean {
  const told = ({ tag, key }: Condition): boolean =>
    hasValue(row[tag]) &&
    (key.kind !== 'dateAndTime' || hasValue(row[key.timeTag])) &&
    // Names that sound alike to one archive need not to the other.
    (key.kind !== 'name' || key.fuzzyWords === undefined);
  const conditions = LEVELS_FROM[query.level].flatMap((level) => query.conditions[level]);
  return conditions.every((condition) => !told(condition) || matches(condition, elementsOf(row)));
}

/** A match that only the archive upstream has. */
export const remoteMatch = (key: string, row: DataSet): Match => ({
  key,
  element: (tag) => (tag === TAG.InstanceAvailability ? availability(row) : row[tag]),
});

/**
 * A match that both archives have, as one. `localFirst`: something of it has not been forwarded yet, so what is here is newer; else the
 * archive upstream knows better (it may have been corrected there).
 */
export function mergedMatch(level: Level, local: Match, row: DataSet, localFirst: boolean): Match {
  const counted = INSTANCES[level];
  const isWhole = counted === undefined || countOf(local.element(counted)) >= countOf(row[counted]);
  return {
    key: local.key,
    element(tag) {
      const here = local.element(tag);
      const there = row[tag];
      if (tag === TAG.InstanceAvailability) return isWhole ? here : availability(row);
      if (COUNTS.has(tag)) return countOf(there) > countOf(here) ? there : here;
      if (UNIONS.has(tag)) return union(here, there);
      const [first, second] = localFirst ? [here, there] : [there, here];
      return hasValue(first) ? first : hasValue(second) ? second : (first ?? second);
    },
  };
}

/** Fetched when it is asked for, unless the archive says that even it cannot have it at once. */
const availability = (row: DataSet): Element => {
  const said = textOf(row[TAG.InstanceAvailability]);
  return { vr: 'CS', Value: [said === 'OFFLINE' || said === 'UNAVAILABLE' ? said : 'NEARLINE'] };
};

const hasValue = (element: Element | undefined): boolean =>
  element?.Value?.some((value) => value !== null && value !== '') === true;

const countOf = (element: Element | undefined): number => Number(element?.Value?.[0] ?? 0) || 0;

function union(one: Element | undefined, other: Element | undefined): Element | undefined {
  if (!hasValue(one)) return other ?? one;
  if (!hasValue(other)) return one;
  const values = new Set(
    [...one!.Value!, ...other!.Value!].filter((value) => typeof value === 'string' && value !== ''),
  );
  return { vr: one!.vr, Value: [...values].sort() };
}
