import { useState } from 'preact/hooks';
import { type GrantableRole, type IssuedToken, listTokens, revokeToken } from '../api/tokens.ts';
import { Confirm } from '../components/confirm.tsx';
import { ListTable } from '../components/list-table.tsx';
import { Announcement, Empty, Failure } from '../components/notice.tsx';
import { PageTitle } from '../components/page-title.tsx';
import { useLoaded } from '../components/use-loaded.ts';
import { formatMoment } from '../dicom/json.ts';
import { TokenForm } from './token-form.tsx';
import { TokenShown } from './token-shown.tsx';
import { ROLE_WORDS, wordFor } from './words.ts';

/** Who has been given a token, for what and until when. */
export function TokensPage() {
  const { value, error, reload } = useLoaded('tokens', listTokens);
  const [asking, setAsking] = useState<readonly GrantableRole[]>();
  const [shown, setShown] = useState<IssuedToken & { readonly token: string }>();
  const [leaving, setLeaving] = useState<IssuedToken>();
  const [said, setSaid] = useState('');
  return (
    <div class="tokens">
      <PageTitle title="Access tokens">
        <p class="count">For scripts and machines, and for people without an account.</p>
        {value && (
          <button type="button" class="primary" onClick={() => setAsking(value.roles)}>
            New token
          </button>
        )}
      </PageTitle>
      <Announcement text={said} />
      {shown && <TokenShown key={shown.id} issued={shown} onDone={() => setShown(undefined)} />}
      {error && <Failure message={error} onRetry={reload} />}
      <ListTable
        name="Access tokens"
        columns={['Name', 'Acts as', 'Roles', 'Created', 'Expires']}
        items={value?.items}
        empty={
          <Empty title="No token has been given out">
            <p>The administrator’s first one, printed when the archive was started, is not listed here.</p>
          </Empty>
        }
        row={(issued) => <Row key={issued.id} issued={issued} onRevoke={() => setLeaving(issued)} />}
      />
      {asking && (
        <TokenForm
          roles={asking}
          onIssued={(issued) => {
            setShown(issued);
            setSaid('');
            reload();
          }}
          onClose={() => setAsking(undefined)}
        />
      )}
      {leaving && (
        <Confirm
          title={`Revoke ${leaving.name}?`}
          action="Revoke"
          dangerous
          onConfirm={async () => {
            await revokeToken(leaving.id);
            if (shown?.id === leaving.id) setShown(undefined);
            setSaid(`${leaving.name} revoked.`);
            reload();
          }}
          onClose={() => setLeaving(undefined)}
        >
          <p>
            Whoever uses it as {leaving.subject} is refused at once, and every session opened with it ends. This cannot
            be taken back.
          </p>
        </Confirm>
      )}
    </div>
  );
}

function Row({ issued, onRevoke }: { issued: IssuedToken; onRevoke: () => void }) {
  const { name, subject, roles, createdAt, createdBy, expiresAt } = issued;
  return (
    <tr>
      <td>
        <strong>{name}</strong>
      </td>
      <td data-label="Acts as">{subject}</td>
      <td data-label="Roles">{roles.map((role) => wordFor(ROLE_WORDS, role)).join(', ')}</td>
      <td data-label="Created">
        {formatMoment(createdAt)} <span class="hint">by {createdBy}</span>
      </td>
      <td data-label="Expires">
        {expiresAt === null ? 'never' : formatMoment(expiresAt)}
        {expiresAt !== null && expiresAt <= Date.now() && (
          <>
            {' '}
            <span class="chip cold">Expired</span>
          </>
        )}
      </td>
      <td class="actions">
        <button type="button" class="danger" aria-label={`Revoke ${name}`} onClick={onRevoke}>
          Revoke
        </button>
      </td>
    </tr>
  );
}
