import { useState } from 'preact/hooks';
import { createClient, type MachineClient } from '../api/clients.ts';
import type { GrantableRole } from '../api/tokens.ts';
import { CheckList } from '../components/check-list.tsx';
import { FormDialog } from '../components/dialog.tsx';
import { ChoiceField, LongTextField, TextField } from '../components/fields.tsx';
import { atLeastOne } from './roles-field.tsx';
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
  const [name, setName] = useState('');
  const [chosen, setChosen] = useState<readonly string[]>([]);
  const [method, setMethod] = useState<MachineClient['method']>('client_secret');
  const [proof, setProof] = useState('');
  const create = async () => {
    atLeastOne(chosen);
    const keys = method === 'private_key_jwt' ? keysIn(proof) : [];
    const certificates = method === 'certificate' ? [proof.trim()] : [];
    onCreated(await createClient({ name: name.trim(), roles: chosen, method, keys, certificates }));
  };
  return (
    <FormDialog wide title="New machine client" action="Register" onSubmit={create} onClose={onClose}>
      <div class="pairs">
        <TextField label="Name" required maxLength={60} value={name} onChange={setName} />
        <ChoiceField
          label="Signs in with"
          value={method}
          options={METHODS}
          onChange={(value) => setMethod(value as MachineClient['method'])}
        />
      </div>
      {method === 'private_key_jwt' && (
        <LongTextField
          label="Its public key (JSON Web Key, or a set of them)"
          required
          rows={4}
          value={proof}
          onChange={setProof}
        />
      )}
      {method === 'certificate' && (
        <TextField
          label="The certificate: SHA256:… (its fingerprint), or a name in it: DNS:…, URI:…"
          required
          spellcheck={false}
          value={proof}
          onChange={setProof}
        />
      )}
      <CheckList
        legend="Roles"
        options={roles.map(({ role }) => ({ value: role, word: wordFor(ROLE_WORDS, role) }))}
        chosen={chosen}
        onChoose={setChosen}
      />
    </FormDialog>
  );
}

/** @throws Error whose message says what is wrong */
function keysIn(text: string): unknown[] {
  try {
    const value = JSON.parse(text);
    return Array.isArray(value?.keys) ? value.keys : [value];
  } catch {
    throw new Error('The key is no JSON Web Key.');
  }
}
