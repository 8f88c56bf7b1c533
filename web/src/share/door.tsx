import { useEffect, useRef, useState } from 'preact/hooks';
import { formatMoment } from '../dicom/json.ts';
import { type EndState, type GuestSession, open, Refusal, type Told } from './link.ts';

interface Props {
  readonly told: Told;
  readonly secret: string;
  readonly onOpened: (session: GuestSession) => void;
  readonly onEnded: (how: EndState) => void;
}

/** Before the link is open: from whom, for whom, until when; and the PIN. */
export function Door({ told, secret, onOpened, onEnded }: Props) {
  const [pin, setPin] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  const isIntake = told.scopes.length === 1 && told.scopes[0] === 'upload';
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError('');
    try {
      onOpened(await open(secret, pin));
    } catch (failure) {
      const { status = 0, details = {} } = failure instanceof Refusal ? failure : {};
      if (typeof details.state === 'string') return onEnded(details.state as EndState);
      if (details.guessesLeft === 0) return onEnded('locked');
      setError(wordsFor(status, details));
      setBusy(false);
      setPin('');
      field.current?.focus();
    }
  };
  return (
    <section class="share-card">
      <h1>{isIntake ? 'You are asked for images' : 'Images for you'}</h1>
      <dl class="share-facts">
        <Fact label={isIntake ? 'By' : 'From'} value={told.sharedBy} />
        <Fact label={isIntake ? 'From' : 'For'} value={told.receiver} />
        {told.purpose && <Fact label="Purpose" value={told.purpose} />}
        <Fact label="Until" value={formatMoment(told.expiresAt)} />
      </dl>
      <form onSubmit={submit}>
        {told.needsPin && (
          <label class="field">
            <span>PIN, which you were told separately</span>
            <input
              ref={field}
              class="share-pin"
              type="text"
              inputMode="numeric"
              pattern="[0-9]{4,12}"
              minLength={4}
              maxLength={12}
              autoComplete="one-time-code"
              required
              value={pin}
              aria-invalid={error !== ''}
              aria-describedby={error === '' ? undefined : 'door-error'}
              onInput={(event) => setPin(event.currentTarget.value.replace(/\s/g, ''))}
            />
          </label>
        )}
        {error && (
          <p id="door-error" class="error" role="alert">
            {error}
          </p>
        )}
        <button type="submit" class="primary share-big" disabled={busy}>
          {busy ? 'Opening…' : 'Open'}
        </button>
      </form>
      <p class="hint">
        The link is for {told.receiver} alone. Each time it is opened, and what is done with it, is recorded
        {told.scopes.includes('view') ? '; your name is written across the images' : ''}.
      </p>
    </section>
  );
}

export const Fact = ({ label, value }: { label: string; value: string }) => (
  <div>
    <dt>{label}</dt>
    <dd>{value}</dd>
  </div>
);

function wordsFor(status: number, details: Readonly<Record<string, unknown>>): string {
  if (details.pin === 'wrong') {
    const left = Number(details.guessesLeft);
    return `That is not the PIN. ${left === 1 ? 'One more try is left.' : `${left} more tries are left.`}`;
  }
  if (status === 401) return 'The PIN is missing.';
  if (status === 404) return 'There is no such link any more.';
  if (status === 429) return 'Too many tries. Wait a moment.';
  return 'The archive cannot be reached. Try again in a moment.';
}
