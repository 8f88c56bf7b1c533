import { useEffect, useState } from 'preact/hooks';
import { formatMoment } from '../dicom/json.ts';
import { Door } from './door.tsx';
import { type EndState, type GuestSession, LINK, look, Refusal, readSession, type Told } from './link.ts';
import { Shared } from './shared.tsx';

/** The secret, kept in this page alone: it leaves the address as soon as the link is open. */
let secret = location.hash.slice(1);

type State =
  | { readonly is: 'looking' }
  | { readonly is: 'door'; readonly told: Told }
  | { readonly is: 'open'; readonly session: GuestSession }
  | { readonly is: 'ended'; readonly how: EndState; readonly told?: Told }
  | { readonly is: 'over' | 'unknown' | 'incomplete' | 'unreachable' };

/** seconds between two looks whether the session still holds */
const LOOK_SECONDS = 20;

/** The page of whoever was sent a link: what it is, the PIN, and then what the link is for. */
export function SharePage() {
  const [state, setState] = useState<State>({ is: 'looking' });
  const begin = () => void find().then(setState);
  useEffect(begin, []);
  const isOpen = state.is === 'open';
  useEffect(() => {
    if (!isOpen) return;
    const check = () =>
      void readSession().then(
        (session) => setState({ is: 'open', session }),
        (error: unknown) => error instanceof Refusal && error.status === 401 && setState({ is: 'over' }),
      );
    const timer = setInterval(check, LOOK_SECONDS * 1000);
    addEventListener('focus', check);
    return () => {
      clearInterval(timer);
      removeEventListener('focus', check);
    };
  }, [isOpen]);
  const opened = (session: GuestSession) => {
    history.replaceState(null, '', location.pathname);
    secret = '';
    setState({ is: 'open', session });
  };
  return (
    <>
      <header class="share-top">
        <img src="/nephos.svg" alt="" width="20" height="20" />
        <span>Nephos</span>
      </header>
      <main class="share">
        {state.is === 'looking' && (
          <p class="share-quiet" aria-busy="true">
            Looking for the link…
          </p>
        )}
        {state.is === 'door' && (
          <Door
            told={state.told}
            secret={secret}
            onOpened={opened}
            onEnded={(how) => setState({ is: 'ended', how, told: state.told })}
          />
        )}
        {state.is === 'open' && <Shared session={state.session} onClosed={() => setState({ is: 'over' })} />}
        {state.is === 'ended' && <Ended how={state.how} told={state.told} />}
        {(state.is === 'unknown' || state.is === 'incomplete' || state.is === 'over' || state.is === 'unreachable') && (
          <Notice state={state.is} onRetry={begin} />
        )}
      </main>
    </>
  );
}

/** A session that is open goes on; else the link is looked at, which uses nothing up. */
async function find(): Promise<State> {
  if (LINK === '') return { is: 'incomplete' };
  try {
    return { is: 'open', session: await readSession() };
  } catch (error) {
    if (!(error instanceof Refusal) || (error.status !== 401 && error.status !== 404)) return { is: 'unreachable' };
  }
  if (secret === '') return { is: 'incomplete' };
  try {
    const told = await look(secret);
    return told.state === 'active' ? { is: 'door', told } : { is: 'ended', how: told.state, told };
  } catch (error) {
    return { is: error instanceof Refusal && error.status === 404 ? 'unknown' : 'unreachable' };
  }
}

const ENDS: Readonly<Record<EndState, readonly [title: string, text: string]>> = {
  expired: ['This link has expired', 'It was made for a limited time, which is over.'],
  revoked: ['This link has been withdrawn', 'Whoever shared the images has ended it.'],
  usedUp: ['This link has been used up', 'It could be opened a limited number of times, and has been.'],
  locked: ['This link is locked', 'The PIN was entered wrongly too often. It cannot be opened any more.'],
};

function Ended({ how, told }: { how: EndState; told: Told | undefined }) {
  const [title, text] = ENDS[how];
  return (
    <section class="share-card share-end">
      <h1>{title}</h1>
      <p>{text}</p>
      {how === 'expired' && told && <p class="hint">It ended {formatMoment(told.expiresAt)}.</p>}
      <p>
        Ask {told ? <strong>{told.sharedBy}</strong> : 'the person who sent it'} for a new link if you still need the
        images.
      </p>
    </section>
  );
}

const NOTICES = {
  unknown: ['There is no such link', 'Check that the address was copied whole, to its last letter.'],
  incomplete: [
    'The address is not complete',
    'Open the link from the message that it came in. The part behind the # belongs to it.',
  ],
  over: ['You have left', 'To look again, open the link from the message that it came in.'],
  unreachable: ['The archive cannot be reached', 'Check the connection and try again in a moment.'],
} as const;

function Notice({ state, onRetry }: { state: keyof typeof NOTICES; onRetry: () => void }) {
  const [title, text] = NOTICES[state];
  return (
    <section class="share-card share-end" role={state === 'unreachable' ? 'alert' : undefined}>
      <h1>{title}</h1>
      <p>{text}</p>
      {state === 'unreachable' && (
        <button type="button" onClick={onRetry}>
          Try again
        </button>
      )}
    </section>
  );
}
