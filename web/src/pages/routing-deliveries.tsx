import { useCallback, useEffect, useState } from 'preact/hooks';
import { type Delivery, decideDelivery, listDeliveries } from '../api/routing.ts';
import { Confirm } from '../components/confirm.tsx';
import { PagedTable } from '../components/list-table.tsx';
import { messageOf } from '../components/use-loaded.ts';
import { usePages } from '../components/use-pages.ts';
import { formatMoment, plural } from '../dicom/json.ts';
import { href } from '../router.ts';

interface Props {
  readonly state: 'waiting' | 'held';
  readonly mayChange: boolean;
  /** counts what was changed on the page */
  readonly changes: number;
  readonly onDone: (said: string) => void;
}

const TITLES = { waiting: 'On their way', held: 'Held: these could not be sent' } as const;

/** Studies on their way to a destination, or that could not be sent to it. */
export function Deliveries({ state, mayChange, changes, onDone }: Props) {
  const pages = usePages(useCallback((after?: string) => listDeliveries(state, after), [state]));
  const [failed, setFailed] = useState('');
  const [leaving, setLeaving] = useState<Delivery>();
  useEffect(() => {
    if (changes > 0) pages.reload();
  }, [changes]);
  const retry = (delivery: Delivery): void => {
    decideDelivery(delivery, 'retry').then(
      () => {
        setFailed('');
        onDone(`It is sent to ${delivery.destination} once more.`);
      },
      (failure: unknown) => setFailed(messageOf(failure)),
    );
  };
  if (pages.items?.length === 0 && !pages.error) return null;
  return (
    <section>
      <h2>{TITLES[state]}</h2>
      <PagedTable
        name={TITLES[state]}
        columns={['Study', 'To', state === 'held' ? 'Held' : 'Left', 'Since', 'Why']}
        pages={pages}
        {...(failed && { failed })}
        row={(one) => {
          const { StudyInstanceUID, destination, held, waiting, sent, since, problem, leased } = one;
          return (
            <tr key={`${StudyInstanceUID} ${destination}`}>
              <td>
                <a href={href(`/study/${StudyInstanceUID}`)}>{StudyInstanceUID}</a>
              </td>
              <td data-label="To">{destination}</td>
              <td data-label={state === 'held' ? 'Held' : 'Left'}>
                {plural(state === 'held' ? held : waiting, 'instance')}
                {sent > 0 && <span class="hint line">{sent.toLocaleString('en')} sent</span>}
              </td>
              <td data-label="Since">{formatMoment(since)}</td>
              <td data-label="Why">{problem ? problem.reason : leased ? 'being sent' : '–'}</td>
              <td class="actions">
                {mayChange && (
                  <>
                    <button type="button" class="quiet" onClick={() => retry(one)}>
                      Try again
                    </button>
                    <button type="button" class="quiet" onClick={() => setLeaving(one)}>
                      Give up…
                    </button>
                  </>
                )}
              </td>
            </tr>
          );
        }}
      />
      {leaving && (
        <Confirm
          title={`Give up sending it to ${leaving.destination}?`}
          action="Give up"
          dangerous
          onConfirm={async () => {
            await decideDelivery(leaving, 'discard');
            onDone('It is not sent.');
          }}
          onClose={() => setLeaving(undefined)}
        >
          <p>{plural(leaving.held + leaving.waiting, 'instance')} will not be sent. The study stays as it is.</p>
        </Confirm>
      )}
    </section>
  );
}
