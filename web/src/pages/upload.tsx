import { useMemo, useState } from 'preact/hooks';
import { findStudy } from '../api/search.ts';
import { may } from '../api/session.ts';
import { Announcement } from '../components/notice.tsx';
import { PageTitle } from '../components/page-title.tsx';
import { useLoaded } from '../components/use-loaded.ts';
import { ViewerLink } from '../components/viewer-link.tsx';
import { formatBytes, formatDate, nameOf, plural, textOf, textsOf } from '../dicom/json.ts';
import { href } from '../router.ts';
import { useStore } from '../store.ts';
import { fromInput } from '../upload/collect.ts';
import { add, cancel, clear, type Item, pause, resume, retry, upload } from '../upload/queue.ts';

const LABELS: Record<Item['state'], string> = {
  waiting: 'Waiting',
  sending: 'Sending',
  stored: 'Stored',
  alreadyThere: 'Already there',
  held: 'Held in quarantine',
  refused: 'Refused',
  skipped: 'Skipped',
  cancelled: 'Cancelled',
};
const STATES = Object.keys(LABELS) as Item['state'][];
const ROWS_AT_ONCE = 200;
const STUDIES_AT_FIRST = 10;

const asFolder = (input: HTMLInputElement | null) => {
  if (input) input.webkitdirectory = true;
};

export function UploadPage() {
  const items = useStore(upload);
  const counts = useMemo(() => Map.groupBy(items, ({ state }) => state), [items]);
  const count = (state: Item['state']) => counts.get(state)?.length ?? 0;
  const open = count('waiting') + count('sending');
  const choose = (event: Event) => {
    const input = event.currentTarget as HTMLInputElement;
    void add(fromInput(input.files ?? []));
    // Choosing the same folder again must be a change again.
    input.value = '';
  };
  return (
    <div class="upload">
      <PageTitle title="Upload" />
      <div class="drop-zone">
        <p>
          <strong>Drop DICOM files, folders or zips here</strong>
        </p>
        <div class="buttons">
          <label class="button primary">
            Choose files
            <input type="file" class="visually-hidden" multiple onChange={choose} />
          </label>
          <label class="button">
            Choose a folder
            <input ref={asFolder} type="file" class="visually-hidden" multiple onChange={choose} />
          </label>
        </div>
      </div>
      {items.length > 0 && (
        <>
          <Progress items={items} counts={counts} open={open} />
          {open > 0 && <Waiting />}
          <div class="buttons">
            {open > 0 && (
              <button type="button" onClick={cancel}>
                Cancel
              </button>
            )}
            {items.some(({ mayRetry }) => mayRetry) && (
              <button type="button" onClick={retry}>
                Retry what failed
              </button>
            )}
            {items.length > open && (
              <button type="button" class="quiet" onClick={clear}>
                Clear finished
              </button>
            )}
          </div>
          <StudiesFound items={items} isDone={open === 0} />
          <FileList items={items} counts={counts} />
        </>
      )}
      <Announcement text={items.length > 0 && open === 0 ? `Upload finished: ${summary(counts)}` : ''} />
    </div>
  );
}

const summary = (counts: ReadonlyMap<Item['state'], readonly Item[]>) =>
  STATES.filter((state) => counts.has(state))
    .map((state) => `${counts.get(state)?.length.toLocaleString('en')} ${LABELS[state].toLowerCase()}`)
    .join(', ');

/** Nothing is lost while the archive does not answer. */
function Waiting() {
  const reason = useStore(pause)?.reason;
  if (reason === undefined) return null;
  return (
    <div class="notice-line" role="status">
      <p>{reason} The files wait, and are sent as soon as it answers.</p>
      <button type="button" onClick={resume}>
        Try now
      </button>
    </div>
  );
}

interface ProgressProps {
  readonly items: readonly Item[];
  readonly counts: ReadonlyMap<Item['state'], readonly Item[]>;
  readonly open: number;
}

function Progress({ items, counts, open }: ProgressProps) {
  let total = 0;
  let done = 0;
  for (const { source, state, progress } of items) {
    total += source.sizeBytes;
    done += state === 'waiting' || state === 'cancelled' ? 0 : source.sizeBytes * (state === 'sending' ? progress : 1);
  }
  return (
    <div class="overall">
      <progress max={Math.max(1, total)} value={total === 0 ? 1 : done} aria-label="Upload" />
      <span>
        {open > 0
          ? `${plural(items.length - open, 'file')} of ${items.length.toLocaleString('en')} · ${formatBytes(done)} of ${formatBytes(total)}`
          : `${plural(items.length, 'file')} · ${formatBytes(total)}: ${summary(counts)}`}
      </span>
    </div>
  );
}

function StudiesFound({ items, isDone }: { items: readonly Item[]; isDone: boolean }) {
  const byStudy = useMemo(
    () =>
      Map.groupBy(
        items.filter((item) => item.StudyInstanceUID !== ''),
        (item) => item.StudyInstanceUID,
      ),
    [items],
  );
  const [all, setAll] = useState(false);
  if (byStudy.size === 0) return null;
  return (
    <section aria-labelledby="studies-found">
      <h2 id="studies-found">{plural(byStudy.size, 'study', 'studies')} found</h2>
      <ul class="found">
        {[...byStudy].slice(0, all ? undefined : STUDIES_AT_FIRST).map(([study, files]) => (
          <FoundStudy key={study} study={study} files={files.length} isDone={isDone} />
        ))}
      </ul>
      {!all && byStudy.size > STUDIES_AT_FIRST && (
        <button type="button" class="quiet" onClick={() => setAll(true)}>
          Show all {byStudy.size.toLocaleString('en')} studies
        </button>
      )}
    </section>
  );
}

function FoundStudy({ study, files, isDone }: { study: string; files: number; isDone: boolean }) {
  const { value } = useLoaded(`${study} ${isDone}`, (signal) => findStudy(study, signal));
  const modalities = value ? textsOf(value, 'ModalitiesInStudy') : [];
  return (
    <li>
      <a href={href(`/study/${study}`)}>{value ? nameOf(value, 'PatientName').main || 'No name' : study}</a>
      <span>
        {value &&
          [formatDate(textOf(value, 'StudyDate')), modalities.join(', '), textOf(value, 'StudyDescription')]
            .filter(Boolean)
            .join(' · ')}
      </span>
      <span class="count">{plural(files, 'file')}</span>
      <ViewerLink study={study} modalities={modalities} class="button">
        View
      </ViewerLink>
    </li>
  );
}

function FileList({ items, counts }: { items: readonly Item[]; counts: ReadonlyMap<Item['state'], readonly Item[]> }) {
  const [only, setOnly] = useState<Item['state'] | ''>('');
  const [rows, setRows] = useState(ROWS_AT_ONCE);
  // When the last file of the chosen outcome is gone, all are shown again.
  const chosen = only !== '' && counts.has(only) ? only : '';
  const shown = chosen === '' ? items : (counts.get(chosen) ?? []);
  return (
    <section aria-labelledby="files">
      <h2 id="files">Files</h2>
      <fieldset class="outcomes" aria-label="Show">
        <button type="button" class="quiet" aria-pressed={chosen === ''} onClick={() => setOnly('')}>
          All {items.length.toLocaleString('en')}
        </button>
        {STATES.filter((state) => counts.has(state)).map((state) => (
          <button
            key={state}
            type="button"
            class={`quiet ${state}`}
            aria-pressed={chosen === state}
            onClick={() => setOnly(state)}
          >
            {LABELS[state]} {counts.get(state)?.length.toLocaleString('en')}
          </button>
        ))}
      </fieldset>
      <ul class="files">
        {shown.slice(0, rows).map((item) => (
          <li key={item.id} class={item.state}>
            <span class="name">{item.source.name}</span>
            <span class="size">{formatBytes(item.source.sizeBytes)}</span>
            <span class="outcome">
              {item.state === 'sending' ? (
                <progress max={1} value={item.progress} aria-label={`Sending ${item.source.name}`} />
              ) : (
                LABELS[item.state]
              )}
            </span>
            {item.reason && <span class="reason">{item.reason}</span>}
            {item.state === 'held' && (
              <span class="reason">
                The archive holds another object with the same UIDs.{' '}
                {may('administer') ? <a href={href('/quarantine')}>Compare them</a> : 'An administrator decides.'}
              </span>
            )}
          </li>
        ))}
      </ul>
      {shown.length > rows && (
        <button type="button" onClick={() => setRows(rows + 5 * ROWS_AT_ONCE)}>
          Show more of {shown.length.toLocaleString('en')}
        </button>
      )}
    </section>
  );
}
