import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { createEnrolment, type Enrolment, listEnrolments, withdrawEnrolment } from '../api/clients.ts';
import { may } from '../api/session.ts';
import { Failure } from '../components/notice.tsx';
import { messageOf, useLoaded } from '../components/use-loaded.ts';
import { formatMoment } from '../dicom/json.ts';
import { ShownOnce } from './shown-once.tsx';

const LIVES = [
  ['60', 'an hour'],
  ['1440', 'a day'],
  ['10080', 'a week'],
] as const;

/** One-time codes by which gateways become known: asked for, shown once, taken back. Nothing for whoever may not give them. */
export function Enrolments() {
  return may('administer') ? <Codes /> : null;
}

function Codes() {
  const { value: waiting, error, reload } = useLoaded('enrolments', listEnrolments);
  const [asking, setAsking] = useState(false);
  const [shown, setShown] = useState<Enrolment & { readonly code: string }>();
  const [failed, setFailed] = useState('');
  const withdraw = (id: string): void => {
    withdrawEnrolment(id).then(reload, (failure: unknown) => setFailed(messageOf(failure)));
  };
  return (
    <section aria-label="Enrolment">
      <p>
        <button type="button" class="primary" onClick={() => setAsking(true)}>
          Enrol a gateway
        </button>
      </p>
      {error && <Failure message={error} onRetry={reload} />}
      {failed && <Failure message={failed} />}
      {shown && (
        <ShownOnce
          key={shown.id}
          title={`Code for ${shown.gateway}`}
          label="The code"
          value={shown.code}
          onDone={() => setShown(undefined)}
        >
          <p>
            At the gateway, once, until {formatMoment(shown.expiresAt)}:{' '}
            <code>
              npm run edge -- enrol {location.origin} {shown.code}
            </code>
          </p>
        </ShownOnce>
      )}
      {waiting !== undefined && waiting.length > 0 && (
        <ul>
          {waiting.map(({ id, gateway, expiresAt, createdBy }) => (
            <li key={id}>
              A code for <strong>{gateway}</strong> waits until {formatMoment(expiresAt)}{' '}
              <span class="hint">by {createdBy}</span>{' '}
              <button
                type="button"
                class="quiet"
                aria-label={`Withdraw the code for ${gateway}`}
                onClick={() => withdraw(id)}
              >
                Withdraw
              </button>
            </li>
          ))}
        </ul>
      )}
      {asking && (
        <EnrolmentForm
          onCreated={(enrolment) => {
            setShown(enrolment);
            reload();
          }}
          onClose={() => setAsking(false)}
        />
      )}
    </section>
  );
}

interface Props {
  readonly onCreated: (enrolment: Enrolment & { readonly code: string }) => void;
  readonly onClose: () => void;
}

function EnrolmentForm({ onCreated, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  const [gateway, setGateway] = useState('');
  const [minutes, setMinutes] = useState<string>('60');
  const [key, setKey] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  useLayoutEffect(() => dialog.current?.showModal(), []);
  const create = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError('');
    try {
      const asked = { gateway: gateway.trim(), expiresInMinutes: Number(minutes) };
      onCreated(await createEnrolment(key.trim() === '' ? asked : { ...asked, configurationKey: key.trim() }));
      onClose();
    } catch (failure) {
      setError(messageOf(failure));
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} class="wide" aria-labelledby={titleId} onClose={onClose}>
      <form onSubmit={create}>
        <h2 id={titleId}>Enrol a gateway</h2>
        <p class="hint">
          A gateway of this id that is known already gets a new identity; the one before ends when the code is used.
        </p>
        <div class="pairs">
          <label class="field">
            <span>Gateway (letters, digits, hyphens)</span>
            <input
              required
              pattern="[a-z0-9][a-z0-9\-]*"
              maxLength={63}
              autoComplete="off"
              autoCapitalize="off"
              spellcheck={false}
              value={gateway}
              onInput={(event) => setGateway(event.currentTarget.value)}
            />
          </label>
          <label class="field">
            <span>The code holds for</span>
            <select value={minutes} onChange={(event) => setMinutes(event.currentTarget.value)}>
              {LIVES.map(([value, word]) => (
                <option key={value} value={value}>
                  {word}
                </option>
              ))}
            </select>
          </label>
        </div>
        <label class="field">
          <span>Public key whose signed configurations it takes (optional, Ed25519 in PEM)</span>
          <textarea rows={3} spellcheck={false} value={key} onInput={(event) => setKey(event.currentTarget.value)} />
        </label>
        {error && (
          <p class="error" role="alert">
            {error}
          </p>
        )}
        <div class="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="primary" disabled={busy}>
            {busy ? 'Working…' : 'Make a code'}
          </button>
        </div>
      </form>
    </dialog>
  );
}
