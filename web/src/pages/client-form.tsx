import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { createClient, type MachineClient } from '../api/clients.ts';
import type { GrantableRole } from '../api/tokens.ts';
import { messageOf } from '../components/use-loaded.ts';
import { ROLE_WORDS, wordFor } from './words.ts';

const METHODS = [
  ['client_secret', 'a secret, shown once'],
  ['private_key_jwt', 'a signature by its key'],
  ['certificate', 'a certificate on its connection'],
] as const;

interface Props {
  /** those that may be given */
  readonly roles: readonly GrantableRole[];
  readonly onCreated: (client: MachineClient & { readonly secret?: string }) => void;
  readonly onClose: () => void;
}

export function ClientForm({ roles, onCreated, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  const [name, setName] = useState('');
  const [chosen, setChosen] = useState<readonly string[]>([]);
  const [method, setMethod] = useState<MachineClient['method']>('client_secret');
  const [proof, setProof] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  useLayoutEffect(() => dialog.current?.showModal(), []);
  const create = async (event: Event) => {
    event.preventDefault();
    if (chosen.length === 0) return setError('Choose at least one role.');
    const keys = method === 'private_key_jwt' ? keysIn(proof) : [];
    if (keys === undefined) return setError('The key is no JSON Web Key.');
    setBusy(true);
    setError('');
    try {
      const certificates = method === 'certificate' ? [proof.trim()] : [];
      onCreated(await createClient({ name: name.trim(), roles: chosen, method, keys, certificates }));
      onClose();
    } catch (failure) {
      setError(messageOf(failure));
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} class="wide" aria-labelledby={titleId} onClose={onClose}>
      <form onSubmit={create}>
        <h2 id={titleId}>New machine client</h2>
        <div class="pairs">
          <label class="field">
            <span>Name: what it is</span>
            <input
              required
              maxLength={60}
              autoComplete="off"
              value={name}
              onInput={(event) => setName(event.currentTarget.value)}
            />
          </label>
          <label class="field">
            <span>Shows itself by</span>
            <select
              value={method}
              onChange={(event) => setMethod(event.currentTarget.value as MachineClient['method'])}
            >
              {METHODS.map(([value, word]) => (
                <option key={value} value={value}>
                  {word}
                </option>
              ))}
            </select>
          </label>
        </div>
        {method === 'private_key_jwt' && (
          <label class="field">
            <span>Its public key (JSON Web Key, or a set of them)</span>
            <textarea
              required
              rows={4}
              spellcheck={false}
              value={proof}
              onInput={(event) => setProof(event.currentTarget.value)}
            />
          </label>
        )}
        {method === 'certificate' && (
          <label class="field">
            <span>The certificate: SHA256:… (its fingerprint), or a name in it: DNS:…, URI:…</span>
            <input
              required
              autoComplete="off"
              spellcheck={false}
              value={proof}
              onInput={(event) => setProof(event.currentTarget.value)}
            />
          </label>
        )}
        <fieldset class="field roles">
          <legend>Roles</legend>
          {roles.map(({ role }) => (
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
          <button type="submit" class="primary" disabled={busy}>
            {busy ? 'Working…' : 'Register'}
          </button>
        </div>
      </form>
    </dialog>
  );
}

function keysIn(text: string): unknown[] | undefined {
  try {
    const value = JSON.parse(text);
    return Array.isArray(value?.keys) ? value.keys : [value];
  } catch {
    return undefined;
  }
}
