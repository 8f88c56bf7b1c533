import { useState } from 'preact/hooks';
import { issueSecret, listClients, type MachineClient, revokeClient, revokeSecret } from '../api/clients.ts';
import type { GrantableRole } from '../api/tokens.ts';
import { Confirm } from '../components/confirm.tsx';
import { ListTable } from '../components/list-table.tsx';
import { Announcement, Empty, Failure } from '../components/notice.tsx';
import { PageTitle } from '../components/page-title.tsx';
import { messageOf, useLoaded } from '../components/use-loaded.ts';
import { formatMoment } from '../dicom/json.ts';
import { ClientForm } from './client-form.tsx';
import { ShownOnce } from './shown-once.tsx';
import { ROLE_WORDS, wordFor } from './words.ts';

type WithSecret = MachineClient & { readonly secret: string };

/** Programs that ask by themselves: what each may do, and how it shows who it is. */
export function ClientsPage() {
  const { value, error, reload } = useLoaded('clients', listClients);
  const [asking, setAsking] = useState<readonly GrantableRole[]>();
  const [shown, setShown] = useState<WithSecret>();
  const [leaving, setLeaving] = useState<MachineClient>();
  const [failed, setFailed] = useState('');
  const [said, setSaid] = useState('');
  const done = (text: string): void => {
    setFailed('');
    setSaid(text);
    reload();
  };
  const attempt = (act: () => Promise<void>): void => {
    act().catch((failure: unknown) => setFailed(messageOf(failure)));
  };
  return (
    <div class="tokens">
      <PageTitle title="Machine clients">
        <p class="count">Programs that sign in by themselves: AI, integrations, gateways.</p>
        {value && (
          <button type="button" class="primary" onClick={() => setAsking(value.roles)}>
            New client
          </button>
        )}
      </PageTitle>
      <Announcement text={said} />
      {shown && (
        <ShownOnce
          key={shown.secret}
          title={`Secret of ${shown.name}`}
          label="The secret"
          value={shown.secret}
          onDone={() => setShown(undefined)}
        >
          <p>
            It asks for tokens at <code>{location.origin}/api/token</code> as <code>{shown.id}</code> (OAuth 2.0, client
            credentials).
          </p>
        </ShownOnce>
      )}
      {error && <Failure message={error} onRetry={reload} />}
      {failed && <Failure message={failed} />}
      <ListTable
        name="Machine clients"
        columns={['Name', 'Roles', 'Signs in with', 'Registered']}
        items={value?.items}
        empty={
          <Empty title="No machine has been registered">
            <p>Gateways register themselves by a code: see Gateways.</p>
          </Empty>
        }
        row={(client) => (
          <Row
            key={client.id}
            client={client}
            onSecret={() =>
              attempt(async () => {
                setShown(await issueSecret(client.id));
                done('');
              })
            }
            onDrop={(secret) =>
              attempt(async () => {
                await revokeSecret(client.id, secret);
                done(`A secret of ${client.name} was taken back.`);
              })
            }
            onRevoke={() => setLeaving(client)}
          />
        )}
      />
      {asking && (
        <ClientForm
          roles={asking}
          onCreated={(client) => {
            if (client.secret !== undefined) setShown({ ...client, secret: client.secret });
            done(`${client.name} registered.`);
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
            await revokeClient(leaving.id);
            if (shown?.id === leaving.id) setShown(undefined);
            done(`${leaving.name} revoked.`);
          }}
          onClose={() => setLeaving(undefined)}
        >
          <p>
            It is refused at once, with every token that it has.
            {leaving.gateway !== undefined &&
              ' The gateway keeps what modalities send, and sends it when it has been enrolled again.'}{' '}
            This cannot be taken back.
          </p>
        </Confirm>
      )}
    </div>
  );
}

interface RowProps {
  readonly client: MachineClient;
  readonly onSecret: () => void;
  readonly onDrop: (secret: string) => void;
  readonly onRevoke: () => void;
}

function Row({ client, onSecret, onDrop, onRevoke }: RowProps) {
  const { id, name, roles, method, createdAt, createdBy, gateway } = client;
  return (
    <tr>
      <td>
        <strong>{name}</strong>
        <span class="hint line uid">{id}</span>
      </td>
      <td data-label="Roles">{roles.map((role) => wordFor(ROLE_WORDS, role)).join(', ')}</td>
      <td data-label="Signs in with">
        <Shown client={client} onDrop={onDrop} />
      </td>
      <td data-label="Registered">
        {formatMoment(createdAt)} <span class="hint">by {createdBy}</span>
      </td>
      <td class="actions">
        {method === 'client_secret' && client.secrets.length < 2 && (
          <button type="button" class="quiet" aria-label={`Another secret for ${name}`} onClick={onSecret}>
            Another secret
          </button>
        )}
        <button type="button" class="danger" aria-label={`Revoke ${gateway ?? name}`} onClick={onRevoke}>
          Revoke
        </button>
      </td>
    </tr>
  );
}

function Shown({ client, onDrop }: Pick<RowProps, 'client' | 'onDrop'>) {
  const { method, secrets, keys, certificates, gateway } = client;
  if (method === 'private_key_jwt')
    return (
      <>
        {gateway === undefined ? `${keys.length === 1 ? 'a key' : `${keys.length} keys`}` : 'the key it enrolled with'}
      </>
    );
  if (method === 'certificate')
    return (
      <>
        {certificates.map((one) => (
          <span key={one} class="line uid">
            {one}
          </span>
        ))}
      </>
    );
  return (
    <>
      {secrets.map(({ id, createdAt, expiresAt }) => (
        <span key={id} class="line">
          a secret, until {formatMoment(expiresAt)}
          {expiresAt <= Date.now() && <span class="chip cold">Expired</span>}{' '}
          {secrets.length > 1 && (
            <button
              type="button"
              class="quiet"
              aria-label={`Take back the secret of ${formatMoment(createdAt)}`}
              onClick={() => onDrop(id)}
            >
              Take back
            </button>
          )}
        </span>
      ))}
    </>
  );
}
