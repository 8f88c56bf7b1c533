import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { may } from '../api/session.ts';
import { createShare, type Share, type ShareScope } from '../api/shares.ts';
import { messageOf } from '../components/use-loaded.ts';
import { plural } from '../dicom/json.ts';
import { SecretShown } from './secret-shown.tsx';
import { SCOPE_WORDS } from './words.ts';

const EXPIRIES = [
  ['1', 'in an hour'],
  ['24', 'in a day'],
  ['168', 'in a week'],
  ['720', 'in 30 days'],
  ['2160', 'in 90 days'],
] as const;
const OPENINGS = [
  ['1', 'once'],
  ['5', '5 times'],
  ['20', '20 times'],
  ['', 'as often as wanted'],
] as const;

interface Props {
  /** none: a link to send studies in by */
  readonly studies: readonly string[];
  readonly onCreated?: () => void;
  readonly onClose: () => void;
}

/** Asks for whom, what for, how long and how; then shows the link, once. */
export function ShareForm({ studies, onCreated, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  const [made, setMade] = useState<Share & { readonly url: string; readonly pin: string }>();
  useLayoutEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="wide" aria-labelledby={titleId} onClose={onClose}>
      {made === undefined ? (
        <Questions
          titleId={titleId}
          studies={studies}
          onMade={(link) => {
            setMade(link);
            onCreated?.();
          }}
          onClose={onClose}
        />
      ) : (
        <div>
          <h2 id={titleId}>Link for {made.receiver}</h2>
          <p>Copy it now: it is shown this once, and the archive does not know it afterwards.</p>
          <SecretShown label="The link" value={made.url} />
          {made.pin && (
            <>
              <p>Tell {made.receiver} the PIN another way: by telephone, not in the same message.</p>
              <SecretShown label="The PIN" value={made.pin} />
            </>
          )}
          <div class="buttons">
            <button type="button" onClick={onClose}>
              Done
            </button>
          </div>
        </div>
      )}
    </dialog>
  );
}

interface QuestionsProps {
  readonly titleId: string;
  readonly studies: readonly string[];
  readonly onMade: (link: Share & { readonly url: string; readonly pin: string }) => void;
  readonly onClose: () => void;
}

function Questions({ titleId, studies, onMade, onClose }: QuestionsProps) {
  const isIntake = studies.length === 0;
  const [receiver, setReceiver] = useState('');
  const [purpose, setPurpose] = useState('');
  const [scopes, setScopes] = useState<readonly ShareScope[]>(isIntake ? ['upload'] : ['view']);
  const [hours, setHours] = useState('168');
  const [openings, setOpenings] = useState('20');
  const [pin, setPin] = useState(newPin);
  const [keep, setKeep] = useState<'hold' | 'store'>('hold');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  const choose = (scope: ShareScope, isChosen: boolean) =>
    setScopes(isChosen ? [...scopes, scope] : scopes.filter((one) => one !== scope));
  const submit = async (event: Event) => {
    event.preventDefault();
    if (scopes.length === 0) return setError('Choose what the receiver may do.');
    setBusy(true);
    setError('');
    try {
      const link = await createShare({
        studies,
        scopes,
        purpose: purpose.trim(),
        receiver: receiver.trim(),
        expiresInHours: Number(hours),
        openings: openings === '' ? null : Number(openings),
        ...(pin !== '' && { pin }),
        ...(scopes.includes('upload') && { upload: { into: isIntake ? 'new' : 'shared', keep } }),
      });
      onMade({ ...link, pin });
    } catch (failure) {
      setError(messageOf(failure));
      setBusy(false);
    }
  };
  const offered = (['view', 'download', 'upload'] as const).filter((scope) =>
    isIntake ? scope === 'upload' : scope !== 'upload' || may('store'),
  );
  return (
    <form onSubmit={submit}>
      <h2 id={titleId}>
        {isIntake ? 'Ask for images by a link' : `Share ${plural(studies.length, 'study', 'studies')} by a link`}
      </h2>
      <div class="pairs">
        <label class="field">
          <span>Receiver’s name (stands across the images)</span>
          <input
            required
            maxLength={100}
            autoComplete="off"
            value={receiver}
            onInput={(event) => setReceiver(event.currentTarget.value)}
          />
        </label>
        <label class="field">
          <span>Purpose (the receiver reads it)</span>
          <input
            required
            maxLength={300}
            autoComplete="off"
            value={purpose}
            onInput={(event) => setPurpose(event.currentTarget.value)}
          />
        </label>
        <Choice label="Expires" value={hours} options={EXPIRIES} onChange={setHours} />
        <Choice label="May be opened" value={openings} options={OPENINGS} onChange={setOpenings} />
      </div>
      {!isIntake && (
        <fieldset class="field roles">
          <legend>The receiver may</legend>
          {offered.map((scope) => (
            <label key={scope}>
              <input
                type="checkbox"
                checked={scopes.includes(scope)}
                onChange={(event) => choose(scope, event.currentTarget.checked)}
              />
              <span>{SCOPE_WORDS[scope]}</span>
            </label>
          ))}
        </fieldset>
      )}
      {scopes.includes('upload') && (
        <Choice
          label="What is sent in"
          value={keep}
          options={[
            ['hold', 'waits in quarantine until it is accepted'],
            ['store', 'is stored at once'],
          ]}
          onChange={(value) => setKeep(value as 'hold' | 'store')}
        />
      )}
      <label class="field">
        <span>PIN, which the receiver has to enter (empty: none)</span>
        <input
          class="uid"
          inputMode="numeric"
          pattern="[0-9]{4,12}"
          maxLength={12}
          autoComplete="off"
          value={pin}
          onInput={(event) => setPin(event.currentTarget.value.replace(/\s/g, ''))}
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
        <button type="submit" class="primary" disabled={busy}>
          {busy ? 'Working…' : 'Make the link'}
        </button>
      </div>
    </form>
  );
}

interface ChoiceProps {
  readonly label: string;
  readonly value: string;
  readonly options: readonly (readonly [value: string, word: string])[];
  readonly onChange: (value: string) => void;
}

const Choice = ({ label, value, options, onChange }: ChoiceProps) => (
  <label class="field">
    <span>{label}</span>
    <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
      {options.map(([one, word]) => (
        <option key={one} value={one}>
          {word}
        </option>
      ))}
    </select>
  </label>
);

/** Six digits, each as likely as any other. */
function newPin(): string {
  let digits = '';
  while (digits.length < 6) {
    const [byte = 255] = crypto.getRandomValues(new Uint8Array(1));
    if (byte < 250) digits += byte % 10;
  }
  return digits;
}
