import { useEffect, useState } from 'preact/hooks';
import {
  type Destination,
  getRouting,
  type Rule,
  removeDestination,
  removeRule,
  retryDestination,
} from '../api/routing.ts';
import { may } from '../api/session.ts';
import { Confirm } from '../components/confirm.tsx';
import { ListTable } from '../components/list-table.tsx';
import { Announcement, Empty, Failure } from '../components/notice.tsx';
import { PageTitle } from '../components/page-title.tsx';
import { messageOf, useLoaded } from '../components/use-loaded.ts';
import { formatMoment, plural } from '../dicom/json.ts';
import { Deliveries } from './routing-deliveries.tsx';
import { DestinationForm } from './routing-destination-form.tsx';
import { RuleForm } from './routing-rule-form.tsx';
import { RuleTrial } from './routing-trial.tsx';
import { conditionWords, WHEN_WORDS } from './routing-words.ts';

const RELOAD_MS = 15_000;

/** Where the archive sends studies by itself, by which rules, and what is on its way or could not be sent. */
export function RoutingPage() {
  const { value, error, reload } = useLoaded('routing', getRouting);
  const mayChange = may('administer');
  const [destination, setDestination] = useState<Destination | 'new'>();
  const [rule, setRule] = useState<Rule | 'new'>();
  const [leaving, setLeaving] = useState<{ kind: 'rule' | 'destination'; name: string }>();
  const [failed, setFailed] = useState('');
  const [said, setSaid] = useState('');
  const [changes, setChanges] = useState(0);
  useEffect(() => {
    const look = () => {
      if (document.visibilityState !== 'visible') return;
      setChanges((count) => count + 1);
      reload();
    };
    const timer = setInterval(look, RELOAD_MS);
    return () => clearInterval(timer);
  }, []);
  const done = (text: string): void => {
    setFailed('');
    setSaid(text);
    setChanges((count) => count + 1);
    reload();
  };
  const retry = (name: string): void => {
    retryDestination(name).then(
      () => done(`What waits for ${name} is tried now.`),
      (failure: unknown) => setFailed(messageOf(failure)),
    );
  };
  if (value?.hosts.length === 0)
    return (
      <div class="routing">
        <PageTitle title="Routing" />
        <Empty title="This archive sends nothing on by itself">
          <p>
            To turn routing on, name the hosts that it may send to in the setting <code>NEPHOS_ROUTING_HOSTS</code>.
          </p>
        </Empty>
      </div>
    );
  const names = value?.destinations.map(({ name }) => name) ?? [];
  return (
    <div class="routing">
      <PageTitle title="Routing">
        <p class="count">Studies that the archive sends on to other archives by itself.</p>
        {mayChange && value && (
          <div class="buttons">
            <button type="button" onClick={() => setDestination('new')}>
              New destination
            </button>
            <button type="button" class="primary" disabled={names.length === 0} onClick={() => setRule('new')}>
              New rule
            </button>
          </div>
        )}
      </PageTitle>
      <Announcement text={said} />
      {error && <Failure message={error} onRetry={reload} />}
      {failed && <Failure message={failed} />}
      <Deliveries state="held" mayChange={mayChange} changes={changes} onDone={done} />
      <h2>Destinations</h2>
      <ListTable
        name="Destinations"
        columns={['Destination', 'State', 'Waiting', 'Last sent']}
        items={value?.destinations}
        empty={<Empty title="No destination yet" />}
        row={(one) => (
          <DestinationRow
            key={one.name}
            destination={one}
            {...(mayChange && {
              onRetry: () => retry(one.name),
              onEdit: () => setDestination(one),
              onRemove: () => setLeaving({ kind: 'destination', name: one.name }),
            })}
          />
        )}
      />
      <h2>Rules</h2>
      <ListTable
        name="Rules"
        columns={['Rule', 'Sends', 'Of', 'To']}
        items={value?.rules}
        empty={
          <Empty title="No rule yet">{names.length === 0 && <p>A rule needs a destination: add one first.</p>}</Empty>
        }
        row={(one) => (
          <RuleRow
            key={one.name}
            rule={one}
            {...(mayChange && {
              onEdit: () => setRule(one),
              onRemove: () => setLeaving({ kind: 'rule', name: one.name }),
            })}
          />
        )}
      />
      {value && names.length > 0 && <RuleTrial destinations={names} onSent={done} />}
      <Deliveries state="waiting" mayChange={mayChange} changes={changes} onDone={done} />
      {destination !== undefined && value && (
        <DestinationForm
          known={destination === 'new' ? undefined : destination}
          hosts={value.hosts}
          onSaved={(name) => done(`${name} saved.`)}
          onClose={() => setDestination(undefined)}
        />
      )}
      {rule !== undefined && (
        <RuleForm
          known={rule === 'new' ? undefined : rule}
          destinations={names}
          onSaved={(name) => done(`${name} saved.`)}
          onClose={() => setRule(undefined)}
        />
      )}
      {leaving && (
        <Confirm
          title={`Remove ${leaving.name}?`}
          action="Remove"
          dangerous
          onConfirm={async () => {
            await (leaving.kind === 'rule' ? removeRule : removeDestination)(leaving.name);
            done(`${leaving.name} removed.`);
          }}
          onClose={() => setLeaving(undefined)}
        >
          <p>
            {leaving.kind === 'rule'
              ? 'Studies already on their way are still sent.'
              : 'Studies that wait for it are held. It cannot be removed while a rule names it.'}
          </p>
        </Confirm>
      )}
    </div>
  );
}

interface Actions {
  readonly onEdit?: () => void;
  readonly onRemove?: () => void;
}

function DestinationRow({
  destination,
  onRetry,
  ...actions
}: { destination: Destination; onRetry?: () => void } & Actions) {
  const { name, url, authentication, waiting, oldestAt, sentAt, problem, retryAt } = destination;
  return (
    <tr>
      <td>
        <strong>{name}</strong>
        <span class="hint line">{url}</span>
        {authentication && <span class="hint line">credentials {authentication}</span>}
      </td>
      <td data-label="State">
        <DestinationState destination={destination} />
        {problem && <span class="error line">{problem.reason}</span>}
        {problem && retryAt !== undefined && <span class="hint line">next attempt {formatMoment(retryAt)}</span>}
      </td>
      <td data-label="Waiting">
        {waiting === 0 ? 'nothing' : plural(waiting, 'study', 'studies')}
        {oldestAt !== undefined && <span class="hint line">since {formatMoment(oldestAt)}</span>}
      </td>
      <td data-label="Last sent">{sentAt === undefined ? '–' : formatMoment(sentAt)}</td>
      <td class="actions">
        {onRetry && waiting > 0 && (
          <button type="button" class="quiet" aria-label={`Try ${name} now`} onClick={onRetry}>
            Try now
          </button>
        )}
        <EditAndRemove name={name} {...actions} />
      </td>
    </tr>
  );
}

/** The worst of what there is to say. */
function DestinationState({ destination: { enabled, held, problem } }: { destination: Destination }) {
  if (!enabled) return <span class="chip cold">Stopped</span>;
  if (problem) return <span class="chip alarming">Not taken</span>;
  if (held > 0) return <span class="chip alarming">{held.toLocaleString('en')} held</span>;
  return <span class="chip">Well</span>;
}

function RuleRow({ rule, ...actions }: { rule: Rule } & Actions) {
  const { name, enabled, order, when, scope, condition, destinations, final } = rule;
  return (
    <tr>
      <td>
        <strong>{name}</strong> {!enabled && <span class="chip cold">Off</span>}
        <span class="hint line">
          order {order}
          {final && ', the last that is asked for what it matches'}
        </span>
      </td>
      <td data-label="Sends">
        {scope === 'study' ? 'the whole study' : 'instances'}
        <span class="hint line">{WHEN_WORDS[when]}</span>
      </td>
      <td data-label="Of">{conditionWords(condition)}</td>
      <td data-label="To">{destinations.join(', ')}</td>
      <td class="actions">
        <EditAndRemove name={name} {...actions} />
      </td>
    </tr>
  );
}

function EditAndRemove({ name, onEdit, onRemove }: { name: string } & Actions) {
  return (
    <>
      {onEdit && (
        <button type="button" class="quiet" aria-label={`Change ${name}`} onClick={onEdit}>
          Change…
        </button>
      )}
      {onRemove && (
        <button type="button" class="quiet" aria-label={`Remove ${name}`} onClick={onRemove}>
          Remove…
        </button>
      )}
    </>
  );
}
