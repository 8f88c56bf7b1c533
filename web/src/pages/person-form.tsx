import { useState } from 'preact/hooks';
import type { GrantableRole } from '../api/tokens.ts';
import { addPerson, changePerson, clearSecondFactor, type OneTimeLink, type Person } from '../api/users.ts';
import { FormDialog } from '../components/dialog.tsx';
import { CheckField, NAME_INPUT, TextField } from '../components/fields.tsx';
import { atLeastOne, RolesField } from './roles-field.tsx';

interface Props {
  /** absent: somebody new */
  readonly person?: Person | undefined;
  /** those that may be given */
  readonly roles: readonly GrantableRole[];
  readonly onSaved: (name: string, link?: OneTimeLink) => void;
  readonly onClose: () => void;
}

export function PersonForm({ person, roles, onSaved, onClose }: Props) {
  const [name, setName] = useState('');
  const [displayName, setDisplayName] = useState(person?.displayName ?? '');
  const [chosen, setChosen] = useState<readonly string[]>(person?.roles ?? []);
  const [mayEnter, setMayEnter] = useState(!person?.isDisabled);
  const [keepsTotp, setKeepsTotp] = useState(true);
  const save = async () => {
    atLeastOne(chosen);
    if (person === undefined) {
      const { user, link } = await addPerson({ name: name.trim(), displayName: displayName.trim(), roles: chosen });
      return onSaved(user.name, link);
    }
    await changePerson(person.name, { displayName: displayName.trim(), roles: chosen, isDisabled: !mayEnter });
    if (!keepsTotp) await clearSecondFactor(person.name);
    onSaved(person.name);
  };
  const [title, action] = person === undefined ? ['New person', 'Add'] : [person.name, 'Save'];
  return (
    <FormDialog wide title={title} action={action} onSubmit={save} onClose={onClose}>
      <div class="pairs">
        {person === undefined && (
          <TextField
            label="User name"
            {...NAME_INPUT}
            required
            minLength={2}
            maxLength={64}
            value={name}
            onChange={setName}
          />
        )}
        <TextField label="Full name" required maxLength={100} value={displayName} onChange={setDisplayName} />
      </div>
      <RolesField roles={roles} chosen={chosen} onChoose={setChosen} />
      {person !== undefined && <CheckField label="May sign in" checked={mayEnter} onChange={setMayEnter} />}
      {person?.hasTotp && (
        <CheckField label="Is asked for a code of the authenticator app" checked={keepsTotp} onChange={setKeepsTotp} />
      )}
    </FormDialog>
  );
}
