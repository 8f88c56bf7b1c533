import { useCallback, useState } from 'preact/hooks';
import { useArchiveEvents } from '../api/events.ts';
import { may } from '../api/session.ts';
import { decideItem, listWorklist, type WorklistItem, type WorklistQuery } from '../api/worklist.ts';
import { Confirm } from '../components/confirm.tsx';
import { PagedTable } from '../components/list-table.tsx';
import { Announcement, Empty } from '../components/notice.tsx';
import { PageTitle } from '../components/page-title.tsx';
import { SearchField } from '../components/search-field.tsx';
import { messageOf } from '../components/use-loaded.ts';
import { usePages } from '../components/use-pages.ts';
import { nameOf, plural } from '../dicom/json.ts';
import { currentQuery, navigate } from '../router.ts';
import { MODALITIES } from './studies-query.ts';
import { WorklistForm } from './worklist-form.tsx';
import { hrefOf, isFiltered, readQuery } from './worklist-query.ts';
import { WorklistRow } from './worklist-row.tsx';

const EVENTS = [
  'ProcedureStepStarted',
  'ProcedureStepCompleted',
  'ProcedureStepDiscontinued',
  'StudyComplete',
] as const;

export function WorklistPage({ params }: { params: URLSearchParams }) {
  const query = readQuery(params);
  const address = hrefOf(query);
  const load = useCallback((after?: string) => listWorklist(query, after), [address]);
  const pages = usePages(load);
  const { items, hasMore, reload } = pages;
  useArchiveEvents(EVENTS, reload);
  const [form, setForm] = useState<WorklistItem | 'new'>();
  const [cancelling, setCancelling] = useState<WorklistItem>();
  const [said, setSaid] = useState('');
  const [failed, setFailed] = useState('');
  const done = (what: string) => {
    setFailed('');
    setSaid(what);
    reload();
  };
  const change = (part: Partial<WorklistQuery>) => navigate(hrefOf({ ...readQuery(currentQuery()), ...part }));
  const count = items && plural(items.length, 'step');
  return (
    <div class="worklist">
      <PageTitle title="Worklist">
        <p class="count" aria-hidden="true">
          {count && (hasMore ? `more than ${count}` : count)}
        </p>
        {isFiltered(query) && (
          <button type="button" class="quiet" onClick={() => navigate(hrefOf(readQuery(new URLSearchParams())))}>
            Clear filters
          </button>
        )}
        {may('changeWorklist') && (
          <button type="button" class="primary" onClick={() => setForm('new')}>
            Schedule
          </button>
        )}
      </PageTitle>
      <Filters query={query} onChange={change} />
      <Announcement text={said || (count ?? '')} />
      <PagedTable
        pages={pages}
        failed={failed}
        name="Worklist"
        columns={['Start', 'Patient', 'Procedure', 'Station', 'State']}
        empty={
          <Empty title={isFiltered(query) ? 'No scheduled step matches these filters' : 'Nothing is scheduled'}>
            <p>
              Add a step here, or let an order system send it to /api/worklist. Modalities then find it in their
              worklist.
            </p>
          </Empty>
        }
        row={(item) => (
          <WorklistRow
            key={item.id}
            item={item}
            onEdit={() => setForm(item)}
            onCancel={() => setCancelling(item)}
            onReschedule={() =>
              void decideItem(item.id, 'reschedule').then(
                () => done('Put back on the list.'),
                (failure: unknown) => setFailed(messageOf(failure)),
              )
            }
          />
        )}
      />
      {form !== undefined && (
        <WorklistForm
          item={form === 'new' ? undefined : form}
          onSaved={() => done(form === 'new' ? 'Scheduled.' : 'Changed.')}
          onClose={() => setForm(undefined)}
        />
      )}
      {cancelling && (
        <Confirm
          title="Take this step off the list?"
          action="Take off"
          dangerous
          onConfirm={() => decideItem(cancelling.id, 'cancel').then(() => done('Taken off the list.'))}
          onClose={() => setCancelling(undefined)}
        >
          <p>
            Modalities will not find the step of {nameOf(cancelling.item, 'PatientName').main} any more. It can be put
            back.
          </p>
        </Confirm>
      )}
    </div>
  );
}

function Filters({ query, onChange }: { query: WorklistQuery; onChange: (part: Partial<WorklistQuery>) => void }) {
  return (
    <details class="filters" open={matchMedia('(min-width: 48em)').matches || isFiltered(query)}>
      <summary>Filters</summary>
      <search>
        <SearchField
          label="Patient name"
          applied={query.PatientName}
          onApply={(PatientName) => onChange({ PatientName })}
        />
        <SearchField label="MRN" applied={query.PatientID} onApply={(PatientID) => onChange({ PatientID })} />
        <label class="field">
          <span>Day</span>
          <input type="date" value={query.day} onChange={(event) => onChange({ day: event.currentTarget.value })} />
        </label>
        <label class="field">
          <span>Modality</span>
          <select value={query.Modality} onChange={(event) => onChange({ Modality: event.currentTarget.value })}>
            <option value="">All</option>
            {MODALITIES.map((modality) => (
              <option key={modality}>{modality}</option>
            ))}
          </select>
        </label>
        <SearchField label="Station" applied={query.station} onApply={(station) => onChange({ station })} />
        <label class="check">
          <input
            type="checkbox"
            checked={query.over}
            onChange={(event) => onChange({ over: event.currentTarget.checked })}
          />
          <span>Show past and finished</span>
        </label>
      </search>
    </details>
  );
}
