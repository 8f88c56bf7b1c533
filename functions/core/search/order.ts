import type { Element } from '../dicom/types.ts';
import type { OrderKey } from './query.ts';
import { foldText } from './terms.ts';

/** Rows by the keys asked for; equal ones stay as they were. What has no value comes last, whatever the direction. */
export function inOrder<R>(
  rows: readonly R[],
  order: readonly OrderKey[],
  elementOf: (row: R, tag: string) => Element | undefined,
): R[] {
  const keyed = rows.map((row) => ({ row, keys: order.map(({ tag }) => sortKey(elementOf(row, tag))) }));
  keyed.sort((a, b) => {
    for (const [i, { descending }] of order.entries()) {
      const compared = compareKeys(a.keys[i], b.keys[i], descending ? -1 : 1);
      if (compared !== 0) return compared;
    }
    return 0;
  });
  return keyed.map(({ row }) => row);
}

type SortKey = string | number | undefined;

const NUMERIC = new Set(['IS', 'DS', 'US', 'SS', 'UL', 'SL', 'FL', 'FD', 'SV', 'UV']);

function sortKey(element: Element | undefined): SortKey {
  const value = element?.Value?.[0];
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value === 'number') return value;
  if (typeof value === 'object') {
    const name = value as { Alphabetic?: string; Ideographic?: string; Phonetic?: string };
    return foldText(name.Alphabetic ?? name.Ideographic ?? name.Phonetic ?? '') || undefined;
  }
  const number = NUMERIC.has(element?.vr ?? '') ? Number(value) : Number.NaN;
  return Number.isNaN(number) ? value : number;
}

function compareKeys(a: SortKey, b: SortKey, sign: 1 | -1): number {
  if (a === b) return 0;
  if (a === undefined) return 1;
  if (b === undefined) return -1;
  if (typeof a === 'number' && typeof b === 'number') return sign * (a - b);
  return sign * (String(a) < String(b) ? -1 : 1);
}
