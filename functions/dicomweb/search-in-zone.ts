import type { DataSet } from '#core/dicom/types.ts';
import { elementsOf } from '#core/search/match.ts';
import { inOrder } from '#core/search/order.ts';
import type { Query } from '#core/search/query.ts';
import type { Results } from '#core/search/results.ts';
import { dataSetInZone, timedConditions, zoneMatcher } from '#core/search/timezone.ts';

/** results of the wider query that are looked at together */
const PAGE = 500;

/**
 * What a query finds whose dates and times are those of a time zone: results of the wider query, told in that zone, as far as they meet its
 * keys so. In the order of the wider query: by clocks as they stand, unless the request orders them.
 * @param wide the query with dates a day or two wider and times left open (`widenedParameters`)
 * @param find one page of the wider query; `cut` when nothing more may be read
 */
export async function searchInZone(
  { query, wide, zoneMinutes }: { readonly query: Query; readonly wide: Query; readonly zoneMinutes: number },
  find: (query: Query) => Promise<Results<DataSet>>,
): Promise<Results<DataSet>> {
  const seen = (dataSet: DataSet): DataSet => dataSetInZone(dataSet, zoneMinutes);
  if (timedConditions(query).length === 0) {
    const results = await find({ ...wide, offset: query.offset, limit: query.limit });
    return { ...results, rows: results.rows.map(seen) };
  }
  const matches = zoneMatcher(query);
  const { offset, limit, order } = query;
  const end = offset + limit;
  const rows: DataSet[] = [];
  let [more, cut, uncounted] = [true, false, false];
  for (let from = 0; more && !cut && (order.length > 0 || rows.length <= end); from += PAGE) {
    const page = await find({ ...wide, offset: from, limit: PAGE });
    for (const row of page.rows.map(seen)) if (matches(elementsOf(row))) rows.push(row);
    ({ more, cut } = page);
    uncounted ||= page.uncounted === true;
  }
  const ordered = order.length > 0 ? inOrder(rows, order, (row, tag) => row[tag]) : rows;
  const isComplete = !more && !cut;
  return {
    rows: ordered.slice(offset, end),
    ...(isComplete && { total: rows.length }),
    more: rows.length > end || (more && !cut),
    cut,
    ...(uncounted && { uncounted }),
  };
}
