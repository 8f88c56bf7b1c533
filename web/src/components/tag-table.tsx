import { useMemo, useState } from 'preact/hooks';
import { useKeywords } from '../dicom/dictionary.ts';
import { type DataSet, formatTag, plural } from '../dicom/json.ts';
import { type TagRow, toRows } from '../dicom/tag-rows.ts';
import { Announcement } from './notice.tsx';

const ROWS_AT_ONCE = 500;

/** All tags of an instance, nested ones indented; the search looks at tag, keyword and value. */
export function TagTable({ metadata }: { metadata: DataSet }) {
  const keywordOf = useKeywords();
  const [wanted, setWanted] = useState('');
  const [limit, setLimit] = useState(ROWS_AT_ONCE);
  const rows = useMemo(() => toRows(metadata), [metadata]);
  const found = useMemo(() => filter(rows, wanted, keywordOf), [rows, wanted, keywordOf]);
  return (
    <div class="tags">
      <label class="field">
        <span>Search tags</span>
        <input
          type="search"
          placeholder="Tag, keyword or value"
          value={wanted}
          onInput={(event) => setWanted(event.currentTarget.value)}
        />
      </label>
      <Announcement text={wanted === '' ? '' : `${plural(found.length, 'tag')} found`} />
      <div class="table-frame">
        <table class="tag-list">
          <thead>
            <tr>
              <th scope="col">Tag</th>
              <th scope="col">Keyword</th>
              <th scope="col">VR</th>
              <th scope="col">Value</th>
            </tr>
          </thead>
          <tbody>
            {found.slice(0, limit).map((row) => (
              <Row key={row.path} row={row} keyword={keywordOf(row.tag)} />
            ))}
          </tbody>
        </table>
        {found.length === 0 && <p class="notice">No tag matches.</p>}
      </div>
      {found.length > limit && (
        <button type="button" onClick={() => setLimit(limit + 4 * ROWS_AT_ONCE)}>
          Show more of {plural(found.length, 'tag')}
        </button>
      )}
    </div>
  );
}

function filter(rows: readonly TagRow[], wanted: string, keywordOf: (tag: string) => string): readonly TagRow[] {
  const text = wanted.trim().toLowerCase();
  if (text === '') return rows;
  const asTag = text.replace(/[(),\s]/g, '');
  return rows.filter(
    ({ tag, value }) =>
      tag !== '' &&
      (tag.toLowerCase().includes(asTag) ||
        keywordOf(tag).toLowerCase().includes(text) ||
        value.toLowerCase().includes(text)),
  );
}

function Row({ row, keyword }: { row: TagRow; keyword: string }) {
  if (row.tag === '') {
    return (
      <tr class="item">
        <td colSpan={4} data-depth={depthOf(row)}>
          {row.value}
        </td>
      </tr>
    );
  }
  return (
    <tr>
      <td class="tag" data-depth={depthOf(row)}>
        {formatTag(row.tag)}
      </td>
      <td class="keyword">{keyword}</td>
      <td class="vr">{row.vr}</td>
      <td class="value">{row.bulkDataURI ? <a href={row.bulkDataURI}>Bulk data</a> : row.value}</td>
    </tr>
  );
}

/** Deeper nesting than a phone can show is shown at the deepest indent. */
const depthOf = (row: TagRow) => Math.min(row.depth, 8);
