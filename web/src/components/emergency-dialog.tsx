import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { beginEmergency, emergencies } from '../api/access.ts';
import { useStore } from '../store.ts';
import { messageOf } from './use-loaded.ts';

interface Props {
  /** absent: a patient is asked for */
  readonly study?: string;
  readonly onBegun: () => void;
  readonly onClose: () => void;
}

/** Asks for emergency access to a study or to a patient's studies: a coded reason and a text, both of which are recorded. */
export function EmergencyDialog({ study, onBegun, onClose }: Props) {
  const { reasons } = useStore(emergencies);
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  const [code, setCode] = useState('');
  const [reason, setReason] = useState('');
  const [patient, setPatient] = useState('');
  const [issuer, setIssuer] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  useLayoutEffect(() => dialog.current?.showModal(), []);
  const begin = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError('');
    const named = { id: patient.trim(), ...(issuer.trim() !== '' && { issuer: issuer.trim() }) };
    try {
      await beginEmergency({
        ...(study === undefined ? { patient: named } : { StudyInstanceUID: study }),
        reasonCode: code,
        reason: reason.trim(),
      });
      onBegun();
      onClose();
    } catch (failure) {
      setError(messageOf(failure));
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} aria-labelledby={titleId} onClose={onClose}>
      <form onSubmit={begin}>
        <h2 id={titleId}>Emergency access</h2>
        <p>
          You will see what has been kept from you, for a limited time. It is recorded with your reason, and an alarm is
          raised.
        </p>
        {study === undefined && (
          <div class="pairs">
            <label class="field">
              <span>Patient ID</span>
              <input
                required
                maxLength={64}
                autoComplete="off"
                value={patient}
                onInput={(event) => setPatient(event.currentTarget.value)}
              />
            </label>
            <label class="field">
              <span>Issuer, where known</span>
              <input
                maxLength={64}
                autoComplete="off"
                value={issuer}
                onInput={(event) => setIssuer(event.currentTarget.value)}
              />
            </label>
          </div>
        )}
        <label class="field">
          <span>Why</span>
          <select required value={code} onChange={(event) => setCode(event.currentTarget.value)}>
            <option value="">Choose a reason</option>
            {Object.entries(reasons).map(([value, words]) => (
              <option key={value} value={value}>
                {words.charAt(0).toUpperCase() + words.slice(1)}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>In your words</span>
          <input
            required
            minLength={5}
            maxLength={200}
            autoComplete="off"
            value={reason}
            onInput={(event) => setReason(event.currentTarget.value)}
          />
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
          <button type="submit" class="danger" disabled={busy}>
            {busy ? 'Working…' : 'Take emergency access'}
          </button>
        </div>
      </form>
    </dialog>
  );
}
