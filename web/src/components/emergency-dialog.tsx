import { useState } from 'preact/hooks';
import { beginEmergency, emergencies } from '../api/access.ts';
import { useStore } from '../store.ts';
import { FormDialog } from './dialog.tsx';
import { ChoiceField, TextField } from './fields.tsx';
import { PatientFields, patientNamed } from './patient-fields.tsx';

interface Props {
  /** absent: a patient is asked for */
  readonly study?: string;
  readonly onBegun: () => void;
  readonly onClose: () => void;
}

/** Asks for emergency access to a study or to a patient's studies: a coded reason and a text, both of which are recorded. */
export function EmergencyDialog({ study, onBegun, onClose }: Props) {
  const { reasons } = useStore(emergencies);
  const [code, setCode] = useState('');
  const [reason, setReason] = useState('');
  const [patient, setPatient] = useState({ id: '', issuer: '' });
  const options = Object.entries(reasons).map(
    ([value, words]) => [value, words.charAt(0).toUpperCase() + words.slice(1)] as const,
  );
  const begin = async () => {
    await beginEmergency({
      ...(study === undefined ? { patient: patientNamed(patient) } : { StudyInstanceUID: study }),
      reasonCode: code,
      reason: reason.trim(),
    });
    onBegun();
  };
  return (
    <FormDialog title="Emergency access" action="Take emergency access" dangerous onSubmit={begin} onClose={onClose}>
      <p>
        You will see what has been kept from you, for a limited time. It is recorded with your reason, and an alarm is
        raised.
      </p>
      {study === undefined && (
        <PatientFields issuerLabel="Issuer, where known" patient={patient} onChange={setPatient} />
      )}
      <ChoiceField
        label="Why"
        required
        value={code}
        options={[['', 'Choose a reason'], ...options]}
        onChange={setCode}
      />
      <TextField label="In your words" required minLength={5} maxLength={200} value={reason} onChange={setReason} />
    </FormDialog>
  );
}
