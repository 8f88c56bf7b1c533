import { useState } from 'preact/hooks';
import { listTrash, restoreFromTrash, type TrashEntry } from '../api/archive.ts';
import { useArchiveEvents } from '../api/events.ts';
import { PagedTable } from '../components/list-table.tsx';
import { Announcement, Empty } from '../components/notice.tsx';
import { PageTitle } from '../components/page-title.tsx';
import { messageOf } from '../components/use-loaded.ts';
import { usePages } from '../components/use-pages.ts';
import { Whose, whoseInWords } from '../components/whose.tsx';
import { formatMoment, plural } from '../dicom/json.ts';
import { href } from '../router.ts';

const EVENTS = ['Deleted', 'Restored', 'Rejected'] as const;

export function TrashPage() {
  const pages = usePages(listTrash);
  const { reload } = pages;
  useArchiveEvents(EVENTS, reload);
  const [said, setSaid] = useState('');
  const [failed, setFailed] = useState('');
  const restore = async (entry: TrashEntry) => {
    setFailed('');
    try {
      await restoreFromTrash(entry.id);
      setSaid(`${plural(entry.instanceCount, 'image')} restored.`);
    } catch (failure) {
      setFailed(messageOf(failure));
    }
    reload();
  };
  return (
    <div class="trash">
      <PageTitle title="Trash">
        <p class="count">Deleted studies, series and images. They can be restored until the time given.</p>
      </PageTitle>
      <Announcement text={said} />
      <PagedTable
        pages={pages}
        failed={failed}
        name="Trash"
        columns={['What', 'Reason', 'Deleted', 'Gone after']}
        empty={<Empty title="The trash is empty" />}
        row={(entry) => (
          <tr key={entry.id}>
            <td>
              <Whose set={entry.attributes} />
              <span class="what">
                <span class="level">{entry.level}</span> {entry.kind} · {plural(entry.instanceCount, 'image')}
              </span>
              <span class="uid">{entry.SOPInstanceUID ?? entry.SeriesInstanceUID ?? entry.StudyInstanceUID}</span>
            </td>
            <td data-label="Reason">{entry.reason || '–'}</td>
            <td data-label="Deleted">
              {formatMoment(entry.deletedAt)}
              {entry.by && <span class="hint"> by {entry.by}</span>}
            </td>
            <td data-label="Gone after">{entry.purgeAt === null ? 'never' : formatMoment(entry.purgeAt)}</td>
            <td class="actions">
              {entry.level !== 'study' && (
                <a class="button quiet" href={href(`/study/${entry.StudyInstanceUID}`)}>
                  Study
                </a>
              )}
              <button
                type="button"
                aria-label={`Restore ${whoseInWords(entry.attributes, entry.StudyInstanceUID)}`}
                onClick={() => void restore(entry)}
              >
                Restore
              </button>
            </td>
          </tr>
        )}
      />
    </div>
  );
}
