import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { type GrantableRole, type IssuedToken, issueToken } from '../api/tokens.ts';
import { messageOf } from '../components/use-loaded.ts';
import { RolesField } from './roles-field.tsx';

const NEVER = 'never';
const EXPIRIES = [
  ['1', 'in a day'],
  ['7', 'in a week'],
  ['30', 'in 30 days'],
  ['90', 'in 90 days'],
  ['365', 'in a year'],
  [NEVER, 'never'],
] as const;

interface Props {
  /** those that may be given */
  readonly roles: readonly GrantableRole[];
  readonly onIssued: (issued: IssuedToken & { readonly token: string }) => void;
  readonly onClose: () => void;
}

export function TokenForm({ roles, onIssued, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  const [name, setName] = useState('');
  const [subject, setSubject] = useState('');
  const [chosen, setChosen] = useState<readonly string[]>([]);
  const [days, setDays] = useState<string>('90');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  useLayoutEffect(() => dialog.current?.showModal(), []);
  const issue = async (event: Event) => {
    event.preventDefault();
    if (chosen.length === 0) return setError('Choose at least one role.');
    setBusy(true);
    setError('');
    try {
      const expiresInDays = days === NEVER ? null : Number(days);
      onIssued(await issueToken({ name: name.trim(), subject: subject.trim(), roles: chosen, expiresInDays }));
      onClose();
    } catch (failure) {
      setError(messageOf(failure));
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} class="wide" aria-labelledby={titleId} onClose={onClose}>
      <form onSubmit={issue}>
        <h2 id={titleId}>New access token</h2>
        <label class="field">
          <span>Name: what it is for</span>
          <input
            required
            maxLength={100}
            autoComplete="off"
            value={name}
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </label>
        <div class="pairs">
          <label class="field">
            <span>Acts as (in the audit trail)</span>
            <input
              required
              minLength={2}
              maxLength={64}
              autoComplete="off"
              autoCapitalize="off"
              spellcheck={false}
              value={subject}
              onInput={(event) => setSubject(event.currentTarget.value)}
            />
          </label>
          <label class="field">
            <span>Expires</span>
            <select value={days} onChange={(event) => setDays(event.currentTarget.value)}>
              {EXPIRIES.map(([value, word]) => (
                <option key={value} value={value}>
                  {word}
                </option>
              ))}
            </select>
          </label>
        </div>
        <RolesField roles={roles} chosen={chosen} onChoose={setChosen} />
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
            {busy ? 'Working…' : 'Issue'}
          </button>
        </div>
      </form>
    </dialog>
  );
}
