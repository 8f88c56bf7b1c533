import { useState } from 'preact/hooks';
import { deleteAt } from '../api/archive.ts';
import { findInstances, instancePath, readMetadata, seriesPath } from '../api/search.ts';
import { may } from '../api/session.ts';
import { Confirm } from '../components/confirm.tsx';
import { Failure } from '../components/notice.tsx';
import { TagTable } from '../components/tag-table.tsx';
import { useLoaded } from '../components/use-loaded.ts';
import { type DataSet, numberOf, plural, pluralOf, textOf } from '../dicom/json.ts';
import { href, navigate } from '../router.ts';
import { InstancePreview, kindOf } from './study-preview.tsx';

const PAGE_SIZE = 50;
/** in place of a SOPInstanceUID: the last of its page */
const LAST = 'last';

interface Props {
  readonly study: string;
  readonly series: DataSet;
  readonly query: URLSearchParams;
  readonly onDeleted: () => void;
}

/** One series: its instances page by page, and of the selected one the picture or the tags. */
export function SeriesPanel({ study, series, query, onDeleted }: Props) {
  const uid = textOf(series, 'SeriesInstanceUID');
  const count = numberOf(series, 'NumberOfSeriesRelatedInstances') ?? 0;
  const page = Math.max(1, Number(query.get('page')) || 1);
  const showsTags = query.get('show') === 'tags';
  const { value, error, loading, reload } = useLoaded(`${uid} ${page} ${count}`, (signal) =>
    findInstances(study, uid, (page - 1) * PAGE_SIZE, PAGE_SIZE, signal),
  );
  // What was chosen, and not what has its place when that is confirmed: images come in meanwhile, and move on what is selected.
  const [deleting, setDeleting] = useState<{ readonly what: string; readonly path: string }>();
  const rows = value?.rows ?? [];
  const wanted = query.get('instance');
  const at = Math.max(
    0,
    wanted === LAST ? rows.length - 1 : rows.findIndex((row) => textOf(row, 'SOPInstanceUID') === wanted),
  );
  const selected = rows[at];
  const instance = selected ? textOf(selected, 'SOPInstanceUID') : '';
  const link = (change: Readonly<Record<string, string | undefined>>) =>
    href(`/study/${study}`, {
      series: uid,
      instance,
      show: showsTags ? 'tags' : undefined,
      page: page > 1 ? String(page) : undefined,
      ...change,
    });
  /** the neighbour, on this page or the next; undefined at either end */
  const neighbour = (step: -1 | 1): string | undefined => {
    const next = rows[at + step];
    if (next) return link({ instance: textOf(next, 'SOPInstanceUID') });
    if (step === 1 && value?.more) return link({ page: String(page + 1), instance: undefined });
    return step === -1 && page > 1
      ? link({ page: page > 2 ? String(page - 1) : undefined, instance: LAST })
      : undefined;
  };
  const stepBy = (step: -1 | 1) => {
    const target = neighbour(step);
    return target === undefined ? undefined : () => navigate(target, 'replace');
  };
  return (
    <section class="series-panel" aria-labelledby="series-title">
      <div class="series-head">
        <h2 id="series-title">{textOf(series, 'SeriesDescription') || 'Series without description'}</h2>
        <div class="buttons">
          <a class="button" href={`${seriesPath(study, uid)}?accept=application/zip`} download={`${uid}.zip`}>
            Download series
          </a>
          {may('delete') && (
            <button
              type="button"
              class="quiet danger"
              onClick={() => setDeleting({ what: 'series', path: seriesPath(study, uid) })}
            >
              Delete series…
            </button>
          )}
        </div>
      </div>
      {error && <Failure message={error} onRetry={reload} />}
      <div class="series-body" aria-busy={loading}>
        <InstanceList
          rows={rows}
          first={(page - 1) * PAGE_SIZE + 1}
          selected={at}
          linkTo={(row) => link({ instance: textOf(row, 'SOPInstanceUID') })}
        >
          {(page > 1 || value?.more) && (
            <div class="pager">
              <button
                type="button"
                disabled={page === 1}
                onClick={() => navigate(link({ page: String(page - 1), instance: undefined }))}
              >
                Previous
              </button>
              <span>
                {page} / {Math.max(page, Math.ceil(count / PAGE_SIZE))}
              </span>
              <button
                type="button"
                disabled={!value?.more}
                onClick={() => navigate(link({ page: String(page + 1), instance: undefined }))}
              >
                Next
              </button>
            </div>
          )}
        </InstanceList>
        {value === undefined && !error && <p class="notice">Loading the images…</p>}
        {selected && (
          <div class="instance">
            <div class="instance-head">
              <nav class="tabs" aria-label="Show">
                <a href={link({ show: undefined })} aria-current={showsTags ? undefined : 'true'}>
                  {kindOf(selected)}
                </a>
                <a href={link({ show: 'tags' })} aria-current={showsTags ? 'true' : undefined}>
                  Tags
                </a>
              </nav>
              <div class="buttons">
                <a
                  class="button"
                  href={`${instancePath(study, uid, instance)}?accept=application/dicom`}
                  download={`${instance}.dcm`}
                >
                  Download
                </a>
                {may('delete') && (
                  <button
                    type="button"
                    class="quiet danger"
                    onClick={() =>
                      setDeleting({
                        what: kindOf(selected).toLowerCase(),
                        path: instancePath(study, uid, instance),
                      })
                    }
                  >
                    Delete…
                  </button>
                )}
              </div>
            </div>
            {showsTags ? (
              <Tags path={instancePath(study, uid, instance)} />
            ) : (
              <InstancePreview
                study={study}
                series={uid}
                instance={selected}
                onBefore={stepBy(-1)}
                onAfter={stepBy(1)}
              />
            )}
          </div>
        )}
      </div>
      {deleting && (
        <Confirm
          title={`Move this ${deleting.what} to the trash?`}
          action="Move to the trash"
          reasonLabel="Reason"
          dangerous
          onConfirm={async (reason) => {
            await deleteAt(deleting.path, reason);
            navigate(deleting.what === 'series' ? href(`/study/${study}`) : link({ instance: undefined }), 'replace');
            onDeleted();
            if (deleting.what !== 'series') reload();
          }}
          onClose={() => setDeleting(undefined)}
        >
          <p>
            {deleting.what === 'series' ? pluralOf(count, textOf(series, 'Modality')) : 'It'} can be restored from the
            trash until it is emptied.
          </p>
        </Confirm>
      )}
    </section>
  );
}

interface ListProps {
  readonly rows: readonly DataSet[];
  readonly first: number;
  readonly selected: number;
  readonly linkTo: (row: DataSet) => string;
  readonly children: preact.ComponentChildren;
}

function InstanceList({ rows, first, selected, linkTo, children }: ListProps) {
  return (
    <div class="instance-list">
      <ol start={first} aria-label="Images">
        {rows.map((row, index) => {
          const frames = numberOf(row, 'NumberOfFrames') ?? 1;
          const size = [textOf(row, 'Columns'), textOf(row, 'Rows')].filter(Boolean).join(' × ');
          return (
            <li key={textOf(row, 'SOPInstanceUID')}>
              <a href={linkTo(row)} aria-current={index === selected ? 'true' : undefined}>
                <span>{textOf(row, 'InstanceNumber') || first + index}</span>
                <span class="hint">{[size, frames > 1 && plural(frames, 'frame')].filter(Boolean).join(' · ')}</span>
              </a>
            </li>
          );
        })}
      </ol>
      {children}
    </div>
  );
}

function Tags({ path }: { path: string }) {
  const { value, error, reload } = useLoaded(path, (signal) => readMetadata(`${path}/metadata`, signal), true);
  if (error) return <Failure message={error} onRetry={reload} />;
  return value === undefined ? <p class="notice">Loading the tags…</p> : <TagTable metadata={value} />;
}
