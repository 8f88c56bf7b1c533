import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { GrantableRole } from '../api/tokens.ts';
import { addPerson, changePerson, clearSecondFactor, type OneTimeLink, type Person } from '../api/users.ts';
import { messageOf } from '../components/use-loaded.ts';
import { RolesField } from './roles-field.tsx';

interface Props {
  /** absent: somebody new */
  readonly person?: Person | undefined;
  /** those that may be given */
  readonly roles: readonly GrantableRole[];
  readonly onSaved: (name: string, link?: OneTimeLink) => void;
  readonly onClose: () => void;
}

export function PersonForm({ person, roles, onSaved, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  const [name, setName] = useState('');
  const [displayName, setDisplayName] = useState(person?.displayName ?? '');
  const [chosen, setChosen] = useState<readonly string[]>(person?.roles ?? []);
  const [mayEnter, setMayEnter] = useState(!person?.isDisabled);
  const [keepsTotp, setKeepsTotp] = useState(true);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  useLayoutEffect(() => dialog.current?.showModal(), []);
  const save = async (event: Event) => {
    event.preventDefault();
    if (chosen.length === 0) return setError('Choose at least one role.');
    setBusy(true);
    setError('');
    try {
      if (person === undefined) {
        const { user, link } = await addPerson({ name: name.trim(), displayName: displayName.trim(), roles: chosen });
        onSaved(user.name, link);
      } else {
        await changePerson(person.name, { displayName: displayName.trim(), roles: chosen, isDisabled: !mayEnter });
        if (!keepsTotp) await clearSecondFactor(person.name);
        onSaved(person.name);
      }
      onClose();
    } catch (failure) {
      setError(messageOf(failure));
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} class="wide" aria-labelledby={titleId} onClose={onClose}>
      <form onSubmit={save}>
        <h2 id={titleId}>{person === undefined ? 'New person' : person.name}</h2>
        <div class="pairs">
          {person === undefined && (
            <label class="field">
              <span>User name</span>
              <input
                required
                minLength={2}
                maxLength={64}
                autoComplete="off"
                autoCapitalize="off"
                spellcheck={false}
                value={name}
                onInput={(event) => setName(event.currentTarget.value)}
              />
            </label>
          )}
          <label class="field">
            <span>Full name</span>
            <input
              required
              maxLength={100}
              autoComplete="off"
              value={displayName}
              onInput={(event) => setDisplayName(event.currentTarget.value)}
            />
          </label>
        </div>
        <RolesField roles={roles} chosen={chosen} onChoose={setChosen} />
        {person !== undefined && (
          <label class="check">
            <input type="checkbox" checked={mayEnter} onChange={(event) => setMayEnter(event.currentTarget.checked)} />
            <span>May sign in</span>
          </label>
        )}
        {person?.hasTotp && (
          <label class="check">
            <input
              type="checkbox"
              checked={keepsTotp}
              onChange={(event) => setKeepsTotp(event.currentTarget.checked)}
            />
            <span>Is asked for a code of the authenticator app</span>
          </label>
        )}
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
            {busy ? 'Working…' : person === undefined ? 'Add' : 'Save'}
          </button>
        </div>
      </form>
    </dialog>
  );
}
