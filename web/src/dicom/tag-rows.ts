import type { DataSet } from './json.ts';
import { plainText } from './json.ts';

/** One line of the tag browser. */
export interface TagRow {
  /** tags and item numbers from the top: `00400275/1/00400007` */
  readonly path: string;
  readonly tag: string;
  readonly depth: number;
  readonly vr: string;
  readonly value: string;
  readonly bulkDataURI?: string;
}

const isItem = (value: unknown): value is DataSet => typeof value === 'object' && value !== null;

/** A data set as lines, sequences opened: the sequence itself, then each item and what is in it. */
export function toRows(set: DataSet, parent = '', depth = 0): TagRow[] {
  const rows: TagRow[] = [];
  for (const tag of Object.keys(set).sort()) {
    const element = set[tag];
    if (element === undefined) continue;
    const path = parent === '' ? tag : `${parent}/${tag}`;
    const values = element.Value ?? [];
    if (element.vr === 'SQ') {
      rows.push({ path, tag, depth, vr: 'SQ', value: values.length === 1 ? '1 item' : `${values.length} items` });
      values.forEach((item, index) => {
        rows.push({ path: `${path}/${index + 1}`, tag: '', depth: depth + 1, vr: '', value: `Item ${index + 1}` });
        if (isItem(item)) rows.push(...toRows(item, `${path}/${index + 1}`, depth + 2));
      });
      continue;
    }
    const inline = element.InlineBinary === undefined ? '' : hex(element.InlineBinary);
    const value = inline || values.map(plainText).join(' \\ ');
    rows.push({
      path,
      tag,
      depth,
      vr: element.vr,
      value,
      ...(element.BulkDataURI && { bulkDataURI: element.BulkDataURI }),
    });
  }
  return rows;
}

function hex(base64: string): string {
  const bytes = [...atob(base64)].map((character) => character.charCodeAt(0).toString(16).padStart(2, '0'));
  return bytes.slice(0, 64).join(' ') + (bytes.length > 64 ? ` … (${bytes.length} bytes)` : '');
}

export interface Difference {
  readonly path: string;
  readonly tag: string;
  readonly vr: string;
  /** undefined: only the other one has it */
  readonly existing: string | undefined;
  readonly held: string | undefined;
}

/** What differs between two data sets, in the order of the tags. */
export function compare(existing: DataSet, held: DataSet): Difference[] {
  const left = new Map(toRows(existing).map((row) => [row.path, row]));
  const right = new Map(toRows(held).map((row) => [row.path, row]));
  const paths = [...new Set([...left.keys(), ...right.keys()])].sort();
  return paths.flatMap((path) => {
    const one = left.get(path);
    const other = right.get(path);
    const row = one ?? other;
    // Bulk data has another address in each object; whether its bytes differ, the kind of the conflict tells.
    if (row === undefined || row.tag === '' || one?.value === other?.value) return [];
    return [{ path, tag: row.tag, vr: row.vr, existing: one?.value, held: other?.value }];
  });
}
