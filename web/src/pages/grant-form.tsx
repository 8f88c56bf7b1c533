import { useState } from 'preact/hooks';
import { addGrant, type Grantee, type ReachRule } from '../api/access.ts';
import { FormDialog } from '../components/dialog.tsx';
import { CheckField, ChoiceField, NAME_INPUT, TextField } from '../components/fields.tsx';
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
  const [kind, setKind] = useState<(typeof KINDS)[number][0]>('subject');
  const [who, setWho] = useState('');
  const [role, setRole] = useState(roles[0] ?? '');
  const [texts, setTexts] = useState<Readonly<Record<string, string>>>({});
  const [deidentified, setDeidentified] = useState(false);
  const [note, setNote] = useState('');
  const add = async () => {
    const to: Grantee = kind === 'role' ? { role } : kind === 'claim' ? { claim: who.trim() } : { subject: who.trim() };
    await addGrant({ to, rules: [ruleOf(texts, deidentified)], note: note.trim() });
    onAdded();
  };
  return (
    <FormDialog wide title="New grant" action="Grant" onSubmit={add} onClose={onClose}>
      <div class="pairs">
        <ChoiceField label="For" value={kind} options={KINDS} onChange={(value) => setKind(value as typeof kind)} />
        {kind === 'role' ? (
          <ChoiceField
            label="Role"
            value={role}
            options={roles.map((one) => [one, wordFor(ROLE_WORDS, one)] as const)}
            onChange={setRole}
          />
        ) : (
          <TextField
            label={kind === 'claim' ? 'Claim: name=value' : 'Name (as in the audit trail)'}
            {...NAME_INPUT}
            required
            maxLength={200}
            value={who}
            onChange={setWho}
          />
        )}
      </div>
      <fieldset class="field">
        <legend>Which studies? They must match every field that is filled in.</legend>
        {FIELDS.map(([name, label, example]) => (
          <TextField
            key={name}
            label={label}
            placeholder={example}
            value={texts[name] ?? ''}
            onChange={(text) => setTexts({ ...texts, [name]: text })}
          />
        ))}
        <CheckField label="De-identified studies only" checked={deidentified} onChange={setDeidentified} />
      </fieldset>
      <TextField label="Note" maxLength={200} value={note} onChange={setNote} />
    </FormDialog>
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
