import { type HeldObject, listQuarantine } from '../api/archive.ts';
import { useArchiveEvents } from '../api/events.ts';
import { PagedTable } from '../components/list-table.tsx';
import { Empty } from '../components/notice.tsx';
import { PageTitle } from '../components/page-title.tsx';
import { usePages } from '../components/use-pages.ts';
import { Whose, whoseInWords } from '../components/whose.tsx';
import { formatBytes, formatMoment } from '../dicom/json.ts';
import { href, navigate } from '../router.ts';
import { Comparison } from './quarantine-comparison.tsx';

const EVENTS = ['Conflict'] as const;

/** How the held bytes differ from those in the archive (functions/core/archive/records.ts, ConflictKind). */
const KINDS: Record<string, string> = {
  otherPatient: 'Another patient',
  otherStudy: 'Another study',
  otherSopClass: 'Another kind of object',
  otherTransferSyntax: 'Another transfer syntax',
  otherPixels: 'Other pixels',
  otherHeader: 'Same pixels, other header',
  uploaded: 'Sent in by a link',
};
const kindOf = (held: HeldObject) => KINDS[held.kind] ?? held.kind;

export function QuarantinePage({ selected }: { selected: string }) {
  const pages = usePages(listQuarantine);
  const { items, reload } = pages;
  useArchiveEvents(EVENTS, reload);
  const held = items?.find(({ id }) => id === selected);
  // After a decision comes the next one of the list.
  const close = () => {
    const next = items?.[items.findIndex(({ id }) => id === selected) + 1];
    navigate(href('/quarantine', { id: next?.id }), 'replace');
    reload();
  };
  if (held)
    return (
      <div class="quarantine">
        <PageTitle title="Quarantine">
          <a href={href('/quarantine')}>Back to the list</a>
        </PageTitle>
        <Comparison key={held.id} held={held} kind={kindOf(held)} onResolved={close} />
      </div>
    );
  return (
    <div class="quarantine">
      <PageTitle title="Quarantine">
        <p class="count">
          Objects that arrived with a UID the archive already has, but with other content. Readers still get the first
          one.
        </p>
      </PageTitle>
      <PagedTable
        pages={pages}
        name="Quarantine"
        columns={['Conflict', 'Object', 'Received', 'Size']}
        empty={<Empty title="Nothing is held" />}
        row={(one) => (
          <tr key={one.id}>
            <td>
              <span class={`chip ${one.kind === 'otherPatient' ? 'alarming' : 'cold'}`}>{kindOf(one)}</span>
            </td>
            <td>
              <Whose set={one.attributes} />
              <span class="uid">{one.SOPInstanceUID}</span>
            </td>
            <td data-label="Received">{formatMoment(one.receivedAt)}</td>
            <td data-label="Size">{formatBytes(one.sizeBytes)}</td>
            <td class="actions">
              <a
                class="button"
                href={href('/quarantine', { id: one.id })}
                aria-label={`Compare ${whoseInWords(one.attributes, one.SOPInstanceUID)}`}
              >
                Compare
              </a>
            </td>
          </tr>
        )}
      />
    </div>
  );
}
