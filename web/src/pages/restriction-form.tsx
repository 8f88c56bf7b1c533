import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { addRestriction } from '../api/access.ts';
import { messageOf } from '../components/use-loaded.ts';
import { listIn } from './access-words.ts';
import { ROLE_WORDS, wordFor } from './words.ts';

interface Props {
  readonly roles: readonly string[];
  readonly onAdded: () => void;
  readonly onClose: () => void;
}

/** Keeps a patient's studies from everybody but who is named here. */
export function RestrictionForm({ roles, onAdded, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  const [id, setId] = useState('');
  const [issuer, setIssuer] = useState('');
  const [reason, setReason] = useState('');
  const [subjects, setSubjects] = useState('');
  const [chosen, setChosen] = useState<readonly string[]>([]);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  useLayoutEffect(() => dialog.current?.showModal(), []);
  const add = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError('');
    const patient = { id: id.trim(), ...(issuer.trim() !== '' && { issuer: issuer.trim() }) };
    try {
      await addRestriction({ patient, reason: reason.trim(), subjects: listIn(subjects), roles: chosen });
      onAdded();
      onClose();
    } catch (failure) {
      setError(messageOf(failure));
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} class="wide" aria-labelledby={titleId} onClose={onClose}>
      <form onSubmit={add}>
        <h2 id={titleId}>Restrict a patient</h2>
        <div class="pairs">
          <label class="field">
            <span>Patient ID</span>
            <input
              required
              maxLength={64}
              autoComplete="off"
              value={id}
              onInput={(event) => setId(event.currentTarget.value)}
            />
          </label>
          <label class="field">
            <span>Issuer (empty: any)</span>
            <input
              maxLength={64}
              autoComplete="off"
              value={issuer}
              onInput={(event) => setIssuer(event.currentTarget.value)}
            />
          </label>
        </div>
        <label class="field">
          <span>Reason</span>
          <input
            required
            minLength={3}
            maxLength={200}
            autoComplete="off"
            value={reason}
            onInput={(event) => setReason(event.currentTarget.value)}
          />
        </label>
        <label class="field">
          <span>People who still see the studies (names as in the audit trail)</span>
          <input autoComplete="off" value={subjects} onInput={(event) => setSubjects(event.currentTarget.value)} />
        </label>
        <fieldset class="field roles">
          <legend>Roles that still see them</legend>
          {roles.map((role) => (
            <label key={role}>
              <input
                type="checkbox"
                checked={chosen.includes(role)}
                onChange={(event) =>
                  setChosen(event.currentTarget.checked ? [...chosen, role] : chosen.filter((one) => one !== role))
                }
              />
              <span>{wordFor(ROLE_WORDS, role)}</span>
            </label>
          ))}
        </fieldset>
        {error && (
          <p class="error" role="alert">
            {error}
          </p>
        )}
        <div class="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="danger" disabled={busy}>
            {busy ? 'Working…' : 'Restrict'}
          </button>
        </div>
      </form>
    </dialog>
  );
}
