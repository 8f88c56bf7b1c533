import type { AuditEntry, AuditQuery } from '../api/audit.ts';
import { formatMoment, plural } from '../dicom/json.ts';
import { href } from '../router.ts';
import { hrefOf } from './audit-query.ts';
import { DOOR_WORDS, EVENT_WORDS, OUTCOME_WORDS, ROLE_WORDS, wordFor } from './words.ts';

/** Studies that are named before the rest is folded away. */
const SHOWN_STUDIES = 2;

export function AuditRow({ entry, query }: { entry: AuditEntry; query: AuditQuery }) {
  const { studies = [] } = entry;
  const seconds = String(new Date(entry.at).getSeconds()).padStart(2, '0');
  return (
    <tr>
      <td class="when">
        <time dateTime={new Date(entry.at).toISOString()}>
          {formatMoment(entry.at)}:{seconds}
        </time>
      </td>
      <td data-label="Who">
        <a href={hrefOf({ ...query, subject: entry.subject })} title={`All of ${entry.subject}`}>
          {entry.subject}
        </a>
        {entry.roles.length > 0 && (
          <span class="hint line">{entry.roles.map((role) => wordFor(ROLE_WORDS, role)).join(', ')}</span>
        )}
      </td>
      <td data-label="From">
        {entry.from ?? '–'}
        {entry.via !== undefined && <span class="hint line">via {entry.via}</span>}
        <span class="hint line">{wordFor(DOOR_WORDS, entry.door)}</span>
      </td>
      <td data-label="What">
        <strong>{wordFor(EVENT_WORDS, entry.event)}</strong>
        {factsOf(entry).map((fact) => (
          <span key={fact} class="hint line">
            {fact}
          </span>
        ))}
      </td>
      <td data-label="Studies" class={studies.length === 0 ? 'none' : undefined}>
        {studies.length === 0 ? '–' : <StudyLinks studies={studies.slice(0, SHOWN_STUDIES)} />}
        {studies.length > SHOWN_STUDIES && (
          <details>
            <summary>{plural(studies.length - SHOWN_STUDIES, 'more study', 'more studies')}</summary>
            <StudyLinks studies={studies.slice(SHOWN_STUDIES)} />
          </details>
        )}
      </td>
      <td data-label="Outcome">
        <span class={entry.outcome === 0 ? 'chip' : 'chip alarming'}>{wordFor(OUTCOME_WORDS, entry.outcome)}</span>
        {entry.error && <span class="hint line">{inWords(entry.error)}</span>}
      </td>
    </tr>
  );
}

function StudyLinks({ studies }: { studies: readonly string[] }) {
  return (
    <>
      {studies.map((study) => (
        <a key={study} class="uid study-link" href={href(`/study/${study}`)}>
          {study}
        </a>
      ))}
    </>
  );
}

/** What else is known of the act, a line each. */
function factsOf(entry: AuditEntry): string[] {
  const { transaction, instances, destination, keys, purpose, repeated } = entry;
  return [
    transaction ?? '',
    instances === undefined ? '' : plural(instances, 'image'),
    destination === undefined ? '' : `to ${destination}`,
    keys === undefined || keys.length === 0 ? '' : `by ${keys.join(', ')}`,
    purpose === undefined ? '' : `“${purpose}”`,
    repeated === undefined ? '' : `and ${plural(repeated, 'more of the same', 'more of the same')}`,
  ].filter(Boolean);
}

/** NOT_FOUND → `not found` */
const inWords = (code: string) => code.toLowerCase().replaceAll('_', ' ');
