import { useState } from 'preact/hooks';
import { type GrantableRole, type IssuedToken, issueToken } from '../api/tokens.ts';
import { FormDialog } from '../components/dialog.tsx';
import { ChoiceField, NAME_INPUT, TextField } from '../components/fields.tsx';
import { atLeastOne, RolesField } from './roles-field.tsx';

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
  const [name, setName] = useState('');
  const [subject, setSubject] = useState('');
  const [chosen, setChosen] = useState<readonly string[]>([]);
  const [days, setDays] = useState<string>('90');
  const issue = async () => {
    atLeastOne(chosen);
    const expiresInDays = days === NEVER ? null : Number(days);
    onIssued(await issueToken({ name: name.trim(), subject: subject.trim(), roles: chosen, expiresInDays }));
  };
  return (
    <FormDialog wide title="New access token" action="Issue" onSubmit={issue} onClose={onClose}>
      <TextField label="What it is for" required maxLength={100} value={name} onChange={setName} />
      <div class="pairs">
        <TextField
          label="Acts as (in the audit trail)"
          {...NAME_INPUT}
          required
          minLength={2}
          maxLength={64}
          value={subject}
          onChange={setSubject}
        />
        <ChoiceField label="Expires" value={days} options={EXPIRIES} onChange={setDays} />
      </div>
      <RolesField roles={roles} chosen={chosen} onChoose={setChosen} />
    </FormDialog>
  );
}
