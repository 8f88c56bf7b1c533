import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { addGrant, type Grantee, type ReachRule } from '../api/access.ts';
import { messageOf } from '../components/use-loaded.ts';
import { listIn } from './access-words.ts';
import { ROLE_WORDS, wordFor } from './words.ts';

interface Props {
  readonly roles: readonly string[];
  readonly onAdded: () => void;
  readonly onClose: () => void;
}

const KINDS = [
  ['subject', 'one person or machine'],
  ['role', 'everybody with a role'],
  ['claim', 'whoever the issuer says it of'],
] as const;

/** One rule: what is left empty does not count. */
const FIELDS = [
  ['sites', 'Sites', 'North Hospital, South Hospital'],
  ['modalities', 'Modalities', 'CT, MR'],
  ['referringPhysicians', 'Referring physicians', 'House^Gregory'],
  ['patients', 'Patient IDs', 'of studies that name no issuer; else ID@issuer'],
  ['studies', 'StudyInstanceUIDs', ''],
] as const;

export function GrantForm({ roles, onAdded, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  const [kind, setKind] = useState<(typeof KINDS)[number][0]>('subject');
  const [who, setWho] = useState('');
  const [role, setRole] = useState(roles[0] ?? '');
  const [texts, setTexts] = useState<Readonly<Record<string, string>>>({});
  const [deidentified, setDeidentified] = useState(false);
  const [note, setNote] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  useLayoutEffect(() => dialog.current?.showModal(), []);
  const add = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError('');
    const to: Grantee = kind === 'role' ? { role } : kind === 'claim' ? { claim: who.trim() } : { subject: who.trim() };
    try {
      await addGrant({ to, rules: [ruleOf(texts, deidentified)], note: note.trim() });
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
        <h2 id={titleId}>New grant</h2>
        <div class="pairs">
          <label class="field">
            <span>For</span>
            <select value={kind} onChange={(event) => setKind(event.currentTarget.value as typeof kind)}>
              {KINDS.map(([value, words]) => (
                <option key={value} value={value}>
                  {words}
                </option>
              ))}
            </select>
          </label>
          {kind === 'role' ? (
            <label class="field">
              <span>Role</span>
              <select value={role} onChange={(event) => setRole(event.currentTarget.value)}>
                {roles.map((one) => (
                  <option key={one} value={one}>
                    {wordFor(ROLE_WORDS, one)}
                  </option>
                ))}
              </select>
            </label>
          ) : (
            <label class="field">
              <span>{kind === 'claim' ? 'Claim: name=value' : 'Name (as in the audit trail)'}</span>
              <input
                required
                maxLength={200}
                autoComplete="off"
                autoCapitalize="off"
                spellcheck={false}
                value={who}
                onInput={(event) => setWho(event.currentTarget.value)}
              />
            </label>
          )}
        </div>
        <fieldset class="field">
          <legend>Studies that meet all of this; what is left empty does not count</legend>
          {FIELDS.map(([name, label, example]) => (
            <label key={name} class="field">
              <span>{label}</span>
              <input
                autoComplete="off"
                placeholder={example}
                value={texts[name] ?? ''}
                onInput={(event) => setTexts({ ...texts, [name]: event.currentTarget.value })}
              />
            </label>
          ))}
          <label class="check">
            <input
              type="checkbox"
              checked={deidentified}
              onChange={(event) => setDeidentified(event.currentTarget.checked)}
            />
            De-identified studies only
          </label>
        </fieldset>
        <label class="field">
          <span>Note</span>
          <input maxLength={200} value={note} onInput={(event) => setNote(event.currentTarget.value)} />
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
            {busy ? 'Working…' : 'Grant'}
          </button>
        </div>
      </form>
    </dialog>
  );
}

function ruleOf(texts: Readonly<Record<string, string>>, deidentified: boolean): ReachRule {
  const rule: Record<string, unknown> = {};
  for (const [name] of FIELDS) {
    const values = listIn(texts[name] ?? '');
    if (values.length > 0) rule[name] = name === 'patients' ? values.map(patientOf) : values;
  }
  return { ...rule, ...(deidentified && { deidentified: true }) };
}

const patientOf = (text: string) => {
  const at = text.lastIndexOf('@');
  return at < 1 ? { id: text } : { id: text.slice(0, at), issuer: text.slice(at + 1) };
};
