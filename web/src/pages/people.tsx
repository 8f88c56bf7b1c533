import { useState } from 'preact/hooks';
import { listPeople, type OneTimeLink, type Person, renewLink } from '../api/users.ts';
import { Confirm } from '../components/confirm.tsx';
import { ListTable } from '../components/list-table.tsx';
import { Announcement, Empty, Failure } from '../components/notice.tsx';
import { PageTitle } from '../components/page-title.tsx';
import { useLoaded } from '../components/use-loaded.ts';
import { formatMoment } from '../dicom/json.ts';
import { PersonForm } from './person-form.tsx';
import { ShownOnce } from './shown-once.tsx';
import { ROLE_WORDS, wordFor } from './words.ts';

/** Who signs in here with a password, and what each may do. */
export function PeoplePage() {
  const { value, error, reload } = useLoaded('people', listPeople);
  const [editing, setEditing] = useState<{ readonly person?: Person }>();
  const [linking, setLinking] = useState<Person>();
  const [shown, setShown] = useState<{ readonly name: string; readonly link: OneTimeLink }>();
  const [said, setSaid] = useState('');
  return (
    <div class="tokens">
      <PageTitle title="People">
        <p class="count">People who sign in with a password of this archive.</p>
        {value && (
          <button type="button" class="primary" onClick={() => setEditing({})}>
            New person
          </button>
        )}
      </PageTitle>
      <Announcement text={said} />
      {shown && (
        <ShownOnce
          key={shown.link.url}
          title={`Link for ${shown.name}`}
          label="The link"
          value={shown.link.url}
          onDone={() => setShown(undefined)}
        >
          <p class="hint">
            Give it to {shown.name} alone: whoever opens it first chooses the password. It runs out{' '}
            {formatMoment(shown.link.expiresAt)}.
          </p>
        </ShownOnce>
      )}
      {error && <Failure message={error} onRetry={reload} />}
      <ListTable
        name="People"
        columns={['Name', 'Signs in as', 'Roles', 'Last here', 'State']}
        items={value?.items}
        empty={<Empty title="Nobody has an account yet" />}
        row={(person) => (
          <Row
            key={person.name}
            person={person}
            onEdit={() => setEditing({ person })}
            onLink={() => setLinking(person)}
          />
        )}
      />
      {editing && value && (
        <PersonForm
          person={editing.person}
          roles={value.roles}
          onSaved={(name, link) => {
            setShown(link && { name, link });
            setSaid(link ? '' : `${name} changed.`);
            reload();
          }}
          onClose={() => setEditing(undefined)}
        />
      )}
      {linking && (
        <Confirm
          title={`A new password for ${linking.name}?`}
          action="Make a link"
          onConfirm={async () => {
            setShown({ name: linking.name, link: await renewLink(linking.name) });
            setSaid('');
          }}
          onClose={() => setLinking(undefined)}
        >
          <p>
            You get a link by which {linking.displayName} chooses another password. It works once; a link that was given
            before stops working.
          </p>
        </Confirm>
      )}
    </div>
  );
}

interface RowProps {
  readonly person: Person;
  readonly onEdit: () => void;
  readonly onLink: () => void;
}

function Row({ person, onEdit, onLink }: RowProps) {
  const { name, displayName, roles, lastLoginAt, isDisabled, hasPassword, hasTotp } = person;
  return (
    <tr>
      <td>
        <strong>{displayName}</strong>
      </td>
      <td data-label="Signs in as">{name}</td>
      <td data-label="Roles">{roles.map((role) => wordFor(ROLE_WORDS, role)).join(', ')}</td>
      <td data-label="Last here">{lastLoginAt === undefined ? 'never' : formatMoment(lastLoginAt)}</td>
      <td data-label="State">
        {isDisabled && <span class="chip cold">Disabled</span>}{' '}
        {!hasPassword && <span class="chip">No password yet</span>} {hasTotp && <span class="chip">Second factor</span>}
      </td>
      <td class="actions">
        <button type="button" aria-label={`Change ${name}`} onClick={onEdit}>
          Change
        </button>{' '}
        <button type="button" aria-label={`New link for ${name}`} disabled={isDisabled} onClick={onLink}>
          New link
        </button>
      </td>
    </tr>
  );
}
