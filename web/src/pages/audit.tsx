import { useCallback, useLayoutEffect, useState } from 'preact/hooks';
import { type AuditQuery, listAudit } from '../api/audit.ts';
import { Announcement, Empty, Failure } from '../components/notice.tsx';
import { PageTitle } from '../components/page-title.tsx';
import { usePages } from '../components/use-pages.ts';
import { plural } from '../dicom/json.ts';
import { currentQuery, navigate } from '../router.ts';
import { AuditExports } from './audit-exports.tsx';
import { hrefOf, isFiltered, readQuery } from './audit-query.ts';
import { AuditRow } from './audit-row.tsx';
import { EVENT_WORDS, OUTCOME_WORDS } from './words.ts';

/** Who did what, when and from where. */
export function AuditPage({ params }: { params: URLSearchParams }) {
  const query = readQuery(params);
  const address = hrefOf(query);
  const load = useCallback((after?: string) => listAudit(query, after), [address]);
  const { items, error, loading, hasMore, loadMore, reload } = usePages(load);
  const change = (part: Partial<AuditQuery>) => navigate(hrefOf({ ...readQuery(currentQuery()), ...part }));
  const counted = items === undefined ? '' : plural(items.length, 'entry', 'entries');
  const count = hasMore ? `the ${query.oldestFirst ? 'oldest' : 'newest'} ${counted}` : counted;
  return (
    <div class="audit">
      <PageTitle title="Audit trail">
        <p class="count" aria-hidden="true">
          {count}
        </p>
        {isFiltered(query) && (
          <button
            type="button"
            class="quiet"
            onClick={() => navigate(hrefOf({ ...readQuery(new URLSearchParams()), oldestFirst: query.oldestFirst }))}
          >
            Clear filters
          </button>
        )}
        <button type="button" class="quiet" disabled={loading} onClick={reload}>
          Refresh
        </button>
      </PageTitle>
      <Filters query={query} onChange={change} />
      <AuditExports key={address} query={query} />
      <Announcement text={loading ? '' : count} />
      {error && <Failure message={error} onRetry={reload} />}
      {items?.length === 0 && !error && (
        <Empty title={hasMore ? 'Nothing found so far' : 'No entry matches these filters'}>
          {hasMore && <p>The trail is long. Narrow the time down, or search on.</p>}
        </Empty>
      )}
      {items !== undefined && items.length > 0 && (
        <div class="table-frame" data-loading={loading || undefined}>
          <table class="cards">
            <caption class="visually-hidden">Audit trail</caption>
            <thead>
              <tr>
                <th scope="col">When</th>
                <th scope="col">Who</th>
                <th scope="col">From</th>
                <th scope="col">What</th>
                <th scope="col">Studies</th>
                <th scope="col">Outcome</th>
              </tr>
            </thead>
            <tbody>
              {items.map((entry) => (
                <AuditRow key={`${entry.strand}.${entry.n}`} entry={entry} query={query} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {hasMore && (
        <button type="button" class="more" disabled={loading} onClick={loadMore}>
          {loading ? 'Loading…' : items?.length === 0 ? 'Search on' : `Show ${query.oldestFirst ? 'later' : 'earlier'}`}
        </button>
      )}
    </div>
  );
}

interface FiltersProps {
  readonly query: AuditQuery;
  readonly onChange: (part: Partial<AuditQuery>) => void;
}

function Filters({ query, onChange }: FiltersProps) {
  const typed = (label: string, name: 'subject' | 'study', inputMode: 'text' | 'decimal') => (
    <WholeText
      label={label}
      applied={query[name]}
      inputMode={inputMode}
      onApply={(text) => onChange({ [name]: text })}
    />
  );
  const moment = (label: string, name: 'from' | 'to') => (
    <label class="field">
      <span>{label}</span>
      <input
        type="datetime-local"
        value={query[name]}
        onChange={(event) => onChange({ [name]: event.currentTarget.value })}
      />
    </label>
  );
  const choice = (label: string, name: 'event' | 'outcome', words: Readonly<Record<string, string>>) => (
    <label class="field">
      <span>{label}</span>
      <select value={query[name]} onChange={(event) => onChange({ [name]: event.currentTarget.value })}>
        <option value="">All</option>
        {Object.entries(words).map(([value, word]) => (
          <option key={value} value={value}>
            {word}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <details class="filters" open={matchMedia('(min-width: 48em)').matches || isFiltered(query)}>
      <summary>Filters</summary>
      <search>
        {moment('From', 'from')}
        {moment('Before', 'to')}
        {choice('What', 'event', EVENT_WORDS)}
        {typed('Who', 'subject', 'text')}
        {typed('Study Instance UID', 'study', 'decimal')}
        {choice('Outcome', 'outcome', OUTCOME_WORDS)}
        <label class="field">
          <span>Order</span>
          <select
            value={query.oldestFirst ? 'oldest' : 'newest'}
            onChange={(event) => onChange({ oldestFirst: event.currentTarget.value === 'oldest' })}
          >
            <option value="newest">Newest first</option>
            <option value="oldest">Oldest first</option>
          </select>
        </label>
      </search>
    </details>
  );
}

interface WholeTextProps {
  readonly label: string;
  /** What the entries shown are filtered by. */
  readonly applied: string;
  readonly inputMode: 'text' | 'decimal';
  readonly onApply: (text: string) => void;
}

/**
 * A text that is matched whole, so it is applied when it is whole: on Enter, or when the field is left. Until then it is
 * kept here, for the page may be drawn anew while somebody types.
 */
function WholeText({ label, applied, inputMode, onApply }: WholeTextProps) {
  const [text, setText] = useState(applied);
  // Before anything is drawn: later, it would take away what has been typed meanwhile.
  useLayoutEffect(() => setText(applied), [applied]);
  return (
    <label class="field">
      <span>{label}</span>
      <input
        type="search"
        inputMode={inputMode}
        autoComplete="off"
        autoCapitalize="off"
        spellcheck={false}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onChange={(event) => onApply(event.currentTarget.value.trim())}
      />
    </label>
  );
}
