import { useEffect, useRef, useState } from 'preact/hooks';
import { useArchiveEvents } from '../api/events.ts';
import { type Results, type SortField, type StudyQuery, searchStudies, toSearchParams } from '../api/search.ts';
import { may } from '../api/session.ts';
import { Announcement, Empty, Failure } from '../components/notice.tsx';
import { PageTitle } from '../components/page-title.tsx';
import { useLoaded } from '../components/use-loaded.ts';
import { plural, textOf } from '../dicom/json.ts';
import { currentQuery, href, navigate } from '../router.ts';
import { ShareForm } from './share-form.tsx';
import { StudyFilters } from './studies-filters.tsx';
import { hrefOf, isFiltered, PAGE_SIZES, readQuery, withoutFilters } from './studies-query.ts';
import { EmergencyButton, RestrictedStudies } from './studies-restricted.tsx';
import { StudyRow } from './studies-row.tsx';

const EVENTS = ['InstanceStored', 'StudyQuiet', 'Rejected', 'Deleted', 'Restored'] as const;

export function StudiesPage({ params }: { params: URLSearchParams }) {
  const query = readQuery(params);
  const address = hrefOf(query);
  const { value, error, loading, stale, reload } = useLoaded(address, (signal) => searchStudies(query, signal));
  useArchiveEvents(EVENTS, reload);
  const fresh = useFresh(value, address);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [shares, setShares] = useState(false);
  const select = (study: string, isSelected: boolean) =>
    setSelected(new Set(isSelected ? [...selected, study] : [...selected].filter((one) => one !== study)));

  const change = (part: Partial<StudyQuery>, how: 'push' | 'replace' = 'push') =>
    navigate(hrefOf({ ...readQuery(currentQuery()), page: 1, ...part }), how);
  const sortBy = (field: SortField) =>
    change({ sort: field, descending: field === query.sort ? !query.descending : field === 'StudyDate' });

  const count = value && countOf(value, query);
  return (
    <div class="studies">
      <PageTitle title="Studies">
        <p class="count" aria-hidden="true">
          {count}
        </p>
        {isFiltered(query) && (
          <button type="button" class="quiet" onClick={() => navigate(hrefOf(withoutFilters(query)))}>
            Clear filters
          </button>
        )}
        <EmergencyButton onOpened={reload} />
        {selected.size > 0 && (
          <button type="button" class="primary" onClick={() => setShares(true)}>
            Share {plural(selected.size, 'study', 'studies')}…
          </button>
        )}
      </PageTitle>
      {shares && (
        <ShareForm studies={[...selected]} onCreated={() => setSelected(new Set())} onClose={() => setShares(false)} />
      )}
      <StudyFilters query={query} onChange={change} />
      <Announcement text={loading ? '' : (error ?? count ?? '')} />
      {error ? (
        <Failure message={error} onRetry={reload} />
      ) : (
        <>
          <div class="table-frame" data-loading={stale || undefined}>
            <table class="study-list" aria-busy={loading}>
              <caption class="visually-hidden">Studies</caption>
              <Head query={query} onSort={sortBy} />
              <tbody>
                {value?.rows.map((row) => {
                  const study = textOf(row, 'StudyInstanceUID');
                  return (
                    <StudyRow
                      key={study}
                      study={row}
                      isFresh={fresh.has(study)}
                      isSelected={selected.has(study)}
                      onSelect={may('share') ? (isSelected) => select(study, isSelected) : undefined}
                    />
                  );
                })}
              </tbody>
            </table>
            {value === undefined && <Skeleton />}
            {value?.rows.length === 0 && <Nothing query={query} />}
          </div>
          {value && <RestrictedStudies parameters={toSearchParams(query)} onOpened={reload} />}
          {value && (value.rows.length > 0 || query.page > 1) && (
            <Pager query={query} results={value} onChange={change} />
          )}
        </>
      )}
    </div>
  );
}

function countOf({ rows, total, more }: Results, { page, pageSize }: StudyQuery): string {
  if (total !== undefined) return plural(total, 'study', 'studies');
  const seen = (page - 1) * pageSize + rows.length;
  return more ? `more than ${seen.toLocaleString('en')} studies` : plural(seen, 'study', 'studies');
}

/** Studies that have come in while the same list was looked at. */
function useFresh(results: Results | undefined, address: string): ReadonlySet<string> {
  const seen = useRef<{ address: string; known: Set<string> }>(undefined);
  const [fresh, setFresh] = useState<ReadonlySet<string>>(new Set());
  useEffect(() => {
    if (results === undefined) return;
    const uids = results.rows.map((row) => textOf(row, 'StudyInstanceUID'));
    const before = seen.current?.address === address ? seen.current.known : undefined;
    seen.current = { address, known: new Set([...(before ?? []), ...uids]) };
    setFresh(new Set(before ? uids.filter((uid) => !before.has(uid)) : []));
  }, [results]);
  return fresh;
}

const COLUMNS: readonly { label: string; field?: SortField; class: string }[] = [
  { label: 'Patient', field: 'PatientName', class: 'patient' },
  { label: 'MRN', field: 'PatientID', class: 'mrn' },
  { label: 'Study date', field: 'StudyDate', class: 'date' },
  { label: 'Modality', class: 'modality' },
  { label: 'Description', field: 'StudyDescription', class: 'description' },
  { label: 'Accession', field: 'AccessionNumber', class: 'accession' },
  { label: 'Series', class: 'number series' },
  { label: 'Images', class: 'number images' },
];

function Head({ query, onSort }: { query: StudyQuery; onSort: (field: SortField) => void }) {
  return (
    <thead>
      <tr>
        {COLUMNS.map(({ label, field, ...rest }) => (
          <th
            key={label}
            scope="col"
            class={rest.class}
            aria-sort={field === query.sort ? (query.descending ? 'descending' : 'ascending') : undefined}
          >
            {field ? (
              <button type="button" class="sort" onClick={() => onSort(field)}>
                {label}
                <span class="arrow" aria-hidden="true" />
              </button>
            ) : (
              label
            )}
          </th>
        ))}
        <th scope="col" class="actions">
          <span class="visually-hidden">Actions</span>
        </th>
      </tr>
    </thead>
  );
}

const Skeleton = () => (
  <div class="skeleton" aria-hidden="true">
    {Array.from({ length: 8 }, (_, index) => (
      <div key={index} />
    ))}
  </div>
);

function Nothing({ query }: { query: StudyQuery }) {
  if (query.page > 1)
    return (
      <Empty title="There is nothing on this page any more">
        {<a href={hrefOf({ ...query, page: 1 })}>To the first page</a>}
      </Empty>
    );
  if (isFiltered(query))
    return (
      <Empty title="No study matches these filters">
        {<a href={hrefOf(withoutFilters(query))}>Clear the filters</a>}
      </Empty>
    );
  if (!may('store')) return <Empty title="There are no studies for you here" />;
  return (
    <Empty title="The archive is empty">
      <p>
        Drop DICOM files, a folder or a zip anywhere on this page, or go to <a href={href('/upload')}>Upload</a>.
      </p>
    </Empty>
  );
}

interface PagerProps {
  readonly query: StudyQuery;
  readonly results: Results;
  readonly onChange: (part: Partial<StudyQuery>) => void;
}

function Pager({ query, results, onChange }: PagerProps) {
  const { page, pageSize } = query;
  const first = (page - 1) * pageSize + 1;
  const last = first + results.rows.length - 1;
  const hasNext = results.total === undefined ? results.more : last < results.total;
  return (
    <nav class="pager" aria-label="Pages of the list">
      <label>
        Rows
        <select value={pageSize} onChange={(event) => onChange({ pageSize: Number(event.currentTarget.value) })}>
          {PAGE_SIZES.map((size) => (
            <option key={size} value={size}>
              {size}
            </option>
          ))}
        </select>
      </label>
      <span class="range">
        {results.rows.length > 0 &&
          `${first.toLocaleString('en')}–${last.toLocaleString('en')}${results.total === undefined ? '' : ` of ${results.total.toLocaleString('en')}`}`}
      </span>
      <button type="button" disabled={page === 1} onClick={() => onChange({ page: page - 1 })}>
        Previous
      </button>
      <button type="button" disabled={!hasNext} onClick={() => onChange({ page: page + 1 })}>
        Next
      </button>
    </nav>
  );
}
