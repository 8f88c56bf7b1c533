import { useEffect, useState } from 'preact/hooks';
import { forgetGateway, type Gateway, type GatewayQueue, listGateways } from '../api/gateways.ts';
import { Confirm } from '../components/confirm.tsx';
import { ListTable } from '../components/list-table.tsx';
import { Empty, Failure } from '../components/notice.tsx';
import { PageTitle } from '../components/page-title.tsx';
import { useLoaded } from '../components/use-loaded.ts';
import { formatBytes, formatMoment, plural } from '../dicom/json.ts';
import { Enrolments } from './enrolments.tsx';

const RELOAD_MS = 15_000;

/** The edge gateways: which are well, what waits there, who has called. */
export function GatewaysPage() {
  const { value: gateways, error, reload } = useLoaded('gateways', listGateways);
  const [leaving, setLeaving] = useState<Gateway>();
  useEffect(() => {
    const timer = setInterval(() => document.visibilityState === 'visible' && reload(), RELOAD_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <div class="gateways">
      <PageTitle title="Gateways">
        <p class="count">The edge gateways in the hospitals, as they last reported.</p>
      </PageTitle>
      <Enrolments />
      {error && <Failure message={error} onRetry={reload} />}
      <ListTable
        name="Gateways"
        columns={['Gateway', 'State', 'Waits there', 'Room', 'Modalities', 'Last report']}
        items={gateways}
        empty={
          <Empty title="No gateway has reported yet">
            <p>Gateways report here when they are set to send a heartbeat.</p>
          </Empty>
        }
        row={(gateway) => <Row key={gateway.id} gateway={gateway} onForget={() => setLeaving(gateway)} />}
      />
      {leaving && (
        <Confirm
          title={`Forget ${leaving.id}?`}
          action="Forget"
          dangerous
          onConfirm={async () => {
            await forgetGateway(leaving.id);
            reload();
          }}
          onClose={() => setLeaving(undefined)}
        >
          <p>
            It leaves this list, and a configuration that waits for it is withdrawn. Should it report again, it is
            listed again.
          </p>
        </Confirm>
      )}
    </div>
  );
}

function Row({ gateway, onForget }: { gateway: Gateway; onForget: () => void }) {
  const { id, report, receivedAt, configurationNumber } = gateway;
  const { number, refused } = report.configuration;
  return (
    <tr>
      <td>
        <strong>{id}</strong>
        <span class="hint line">
          {report.aeTitle}, version {report.version}
          {number !== null && `, configuration ${number}`}
          {configurationNumber !== undefined &&
            configurationNumber > (number ?? 0) &&
            refused?.number !== configurationNumber && <> (configuration {configurationNumber} waits for it)</>}
        </span>
        {refused && (
          <span class="error line">
            Configuration {refused.number} refused: {refused.reason}
          </span>
        )}
      </td>
      <td data-label="State">
        <State gateway={gateway} />
      </td>
      <td data-label="Waits there">
        {report.queues.map((queue) => (
          <Queue key={queue.upstream} queue={queue} many={report.queues.length > 1} />
        ))}
      </td>
      <td data-label="Room">
        {report.disk.daysLeft === null ? formatBytes(report.disk.freeBytes) : days(report.disk.daysLeft)}
      </td>
      <td data-label="Modalities">
        <Modalities gateway={gateway} />
      </td>
      <td data-label="Last report">{formatMoment(receivedAt)}</td>
      <td class="actions">
        <button type="button" class="quiet" aria-label={`Forget ${id}`} onClick={onForget}>
          Forget…
        </button>
      </td>
    </tr>
  );
}

/** The worst of what there is to say. */
function State({ gateway: { isStale, report } }: { gateway: Gateway }) {
  const held = report.queues.reduce((sum, queue) => sum + queue.held, 0);
  if (isStale) return <span class="chip alarming">Not heard of</span>;
  if (held > 0) return <span class="chip alarming">{held.toLocaleString('en')} held</span>;
  if (report.queues.some(({ paused }) => paused)) return <span class="chip cold">Paused</span>;
  if (report.queues.some(({ link }) => link === 'offline')) return <span class="chip cold">Line down</span>;
  return <span class="chip">Well</span>;
}

function Queue({ queue, many }: { queue: GatewayQueue; many: boolean }) {
  const { upstream, waiting, waitingBytes, oldestAt, lastError } = queue;
  return (
    <span class="line">
      {many && <strong>{upstream}: </strong>}
      {waiting === 0 ? 'nothing' : `${plural(waiting, 'object')}, ${formatBytes(waitingBytes)}`}
      {oldestAt !== null && <span class="hint"> since {formatMoment(oldestAt)}</span>}
      {waiting > 0 && lastError && <span class="hint line">{lastError}</span>}
    </span>
  );
}

/** The last few; the others on demand. */
function Modalities({ gateway: { report } }: { gateway: Gateway }) {
  const { modalities } = report;
  if (modalities.length === 0) return <>none yet</>;
  return (
    <details>
      <summary>{plural(modalities.length, 'AE title')}</summary>
      <ul>
        {modalities.map(({ aeTitle, lastSeenAt, objects }) => (
          <li key={aeTitle}>
            {aeTitle}{' '}
            <span class="hint">
              {formatMoment(lastSeenAt)}, {plural(objects, 'object')}
            </span>
          </li>
        ))}
      </ul>
    </details>
  );
}

const days = (left: number): string => (left >= 100 ? 'more than 100 days' : `${left.toFixed(left < 10 ? 1 : 0)} days`);
