import { useState } from 'preact/hooks';
import { useArchiveEvents } from '../api/events.ts';
import { may } from '../api/session.ts';
import { decideUploads, listShares, listUploads, readTrail, revokeShare, type Share } from '../api/shares.ts';
import { Confirm } from '../components/confirm.tsx';
import { PagedTable } from '../components/list-table.tsx';
import { Announcement, Empty, Failure } from '../components/notice.tsx';
import { PageTitle } from '../components/page-title.tsx';
import { useLoaded } from '../components/use-loaded.ts';
import { usePages } from '../components/use-pages.ts';
import { formatMoment, plural } from '../dicom/json.ts';
import { href, navigate } from '../router.ts';
import { ShareForm } from './share-form.tsx';
import { ACT_WORDS, SHARE_STATE_WORDS, wordFor } from './words.ts';

const EVENTS = ['ShareCreated', 'ShareOpened', 'ShareRevoked', 'ShareExpired'] as const;

/** The links that have been given out: to whom, for what, how often they were opened, and their ends. */
export function SharesPage({ selected }: { selected: string }) {
  const pages = usePages(listShares);
  const { reload } = pages;
  useArchiveEvents(EVENTS, reload);
  const [asking, setAsking] = useState(false);
  const [leaving, setLeaving] = useState<Share>();
  const [said, setSaid] = useState('');
  return (
    <div class="tokens shares">
      <PageTitle title="Shared">
        <p class="count">Links that show studies to people without an account, or take images from them.</p>
        {may('store') && (
          <button type="button" class="primary" onClick={() => setAsking(true)}>
            Ask for images
          </button>
        )}
      </PageTitle>
      <Announcement text={said} />
      <PagedTable
        pages={pages}
        more="Show earlier"
        name="Share links"
        columns={['Receiver', 'Studies', 'May', 'Opened', 'Until', 'State']}
        empty={
          <Empty title="Nothing has been shared">
            <p>Open a study, or select some in the list, and choose Share.</p>
          </Empty>
        }
        row={(link) => (
          <Row
            key={link.id}
            link={link}
            isSelected={link.id === selected}
            onRevoke={() => setLeaving(link)}
            onDecided={(text) => setSaid(text)}
          />
        )}
      />
      {asking && <ShareForm studies={[]} onCreated={reload} onClose={() => setAsking(false)} />}
      {leaving && (
        <Confirm
          title={`Revoke the link of ${leaving.receiver}?`}
          action="Revoke"
          dangerous
          onConfirm={async () => {
            await revokeShare(leaving.id);
            setSaid(`The link of ${leaving.receiver} has been revoked.`);
            reload();
          }}
          onClose={() => setLeaving(undefined)}
        >
          <p>The link stops working at once, also for people who have it open. This cannot be undone.</p>
        </Confirm>
      )}
    </div>
  );
}

interface RowProps {
  readonly link: Share;
  readonly isSelected: boolean;
  readonly onRevoke: () => void;
  readonly onDecided: (text: string) => void;
}

function Row({ link, isSelected, onRevoke, onDecided }: RowProps) {
  const { receiver, purpose, studies, scopes, openings, openingsMost, expiresAt, createdBy, createdAt, state } = link;
  return (
    <>
      <tr class={isSelected ? 'selected' : undefined}>
        <td>
          <strong>{receiver}</strong> <span class="hint">{purpose}</span>
        </td>
        <td data-label="Studies">
          {studies.length === 0 && 'new ones'}
          {studies.map((study, i) => (
            <a key={study} class="study-link" href={href(`/study/${study}`)} aria-label={`Study ${study}`}>
              {studies.length === 1 ? 'Study' : `Study ${i + 1}`}{' '}
            </a>
          ))}
        </td>
        <td data-label="May">
          {scopes.join(', ')}
          {link.hasPin && ', PIN'}
        </td>
        <td data-label="Opened">
          {openings}
          {openingsMost !== null && ` of ${openingsMost}`}
          {link.wrongPins > 0 && <span class="hint"> {plural(link.wrongPins, 'wrong PIN')}</span>}
        </td>
        <td data-label="Until">
          {formatMoment(expiresAt)}{' '}
          <span class="hint">
            by {createdBy}, {formatMoment(createdAt)}
          </span>
        </td>
        <td data-label="State">
          <span class={`chip${state === 'active' ? '' : state === 'locked' ? ' alarming' : ' cold'}`}>
            {wordFor(SHARE_STATE_WORDS, state)}
          </span>
        </td>
        <td class="actions">
          <button
            type="button"
            aria-expanded={isSelected}
            aria-label={`Trail of the link of ${receiver}`}
            onClick={() => navigate(href('/shares', isSelected ? {} : { id: link.id }))}
          >
            Trail
          </button>{' '}
          {link.ended === undefined && state !== 'expired' && (
            <button type="button" class="danger" aria-label={`Revoke the link of ${receiver}`} onClick={onRevoke}>
              Revoke
            </button>
          )}
        </td>
      </tr>
      {isSelected && (
        <tr>
          <td colSpan={7}>
            {scopes.includes('upload') && may('store') && <Uploads link={link} onDecided={onDecided} />}
            <Trail id={link.id} />
          </td>
        </tr>
      )}
    </>
  );
}

function Trail({ id }: { id: string }) {
  const { value, error, reload } = useLoaded(id, (signal) => readTrail(id, signal));
  if (error) return <Failure message={error} onRetry={reload} />;
  return (
    <ol class="share-trail" aria-label="Trail">
      {value?.items.map((act, i) => (
        <li key={`${act.at}-${i}`}>
          <time>{formatMoment(act.at)}</time> <span>{wordFor(ACT_WORDS, act.act)}</span>{' '}
          <span class="hint">
            {[
              act.by && `by ${act.by}`,
              act.from && `from ${act.from}`,
              act.state && wordFor(SHARE_STATE_WORDS, act.state),
            ]
              .filter(Boolean)
              .join(', ')}
          </span>
        </li>
      ))}
    </ol>
  );
}

/** What came in by the link and waits. */
function Uploads({ link, onDecided }: { link: Share; onDecided: (text: string) => void }) {
  const { value, error, reload } = useLoaded(`uploads ${link.id}`, (signal) => listUploads(link.id, signal));
  const [asks, setAsks] = useState<'accept' | 'discard'>();
  if (error) return <Failure message={error} onRetry={reload} />;
  if (value === undefined || value.items.length === 0) return null;
  const studies = new Set(value.items.map(({ StudyInstanceUID }) => StudyInstanceUID)).size;
  const count = `${plural(value.items.length, 'image')}${value.more ? ' or more' : ''} of ${plural(studies, 'study', 'studies')}`;
  return (
    <div class="share-uploads">
      <p>
        <strong>{count}</strong> came in from {link.receiver} and {value.items.length === 1 ? 'waits' : 'wait'}. Look at
        them in <a href={href('/quarantine')}>quarantine</a>.
      </p>
      <div class="buttons">
        <button type="button" class="primary" onClick={() => setAsks('accept')}>
          Accept…
        </button>
        <button type="button" class="danger" onClick={() => setAsks('discard')}>
          Discard…
        </button>
      </div>
      {asks && (
        <Confirm
          title={asks === 'accept' ? `Store ${count}?` : `Discard ${count}?`}
          action={asks === 'accept' ? 'Store' : 'Discard'}
          dangerous={asks === 'discard'}
          onConfirm={async () => {
            const decided = await decideUploads(link.id, asks);
            onDecided(`${plural(decided, 'image')} ${asks === 'accept' ? 'stored' : 'discarded'}.`);
            reload();
          }}
          onClose={() => setAsks(undefined)}
        >
          <p>
            {asks === 'accept'
              ? 'They become part of the archive under the patient that they name. Check that it is the right one. What would replace an image that is here stays in quarantine.'
              : 'They go to the trash.'}
          </p>
        </Confirm>
      )}
    </div>
  );
}
