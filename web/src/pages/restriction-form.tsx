import { useState } from 'preact/hooks';
import { addRestriction } from '../api/access.ts';
import { CheckList } from '../components/check-list.tsx';
import { FormDialog } from '../components/dialog.tsx';
import { TextField } from '../components/fields.tsx';
import { PatientFields, patientNamed } from '../components/patient-fields.tsx';
import { listIn } from './access-words.ts';
import { ROLE_WORDS, wordFor } from './words.ts';

interface Props {
  readonly roles: readonly string[];
  readonly onAdded: () => void;
  readonly onClose: () => void;
}

/** Keeps a patient's studies from everybody but who is named here. */
export function RestrictionForm({ roles, onAdded, onClose }: Props) {
  const [patient, setPatient] = useState({ id: '', issuer: '' });
  const [reason, setReason] = useState('');
  const [subjects, setSubjects] = useState('');
  const [chosen, setChosen] = useState<readonly string[]>([]);
  const add = async () => {
    const named = patientNamed(patient);
    await addRestriction({ patient: named, reason: reason.trim(), subjects: listIn(subjects), roles: chosen });
    onAdded();
  };
  return (
    <FormDialog wide title="Restrict a patient" action="Restrict" dangerous onSubmit={add} onClose={onClose}>
      <PatientFields issuerLabel="Issuer (empty: any)" patient={patient} onChange={setPatient} />
      <TextField label="Reason" required minLength={3} maxLength={200} value={reason} onChange={setReason} />
      <TextField
        label="People who still see the studies (names as in the audit trail)"
        value={subjects}
        onChange={setSubjects}
      />
      <CheckList
        legend="Roles that still see them"
        options={roles.map((role) => ({ value: role, word: wordFor(ROLE_WORDS, role) }))}
        chosen={chosen}
        onChoose={setChosen}
      />
    </FormDialog>
  );
}
