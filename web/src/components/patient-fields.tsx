import { TextField } from './fields.tsx';

export interface TypedPatient {
  readonly id: string;
  /** '': none */
  readonly issuer: string;
}

export const patientNamed = ({ id, issuer }: TypedPatient): { readonly id: string; readonly issuer?: string } => ({
  id: id.trim(),
  ...(issuer.trim() !== '' && { issuer: issuer.trim() }),
});

/** A patient by ID and issuer. */
export function PatientFields({
  issuerLabel,
  patient,
  onChange,
}: {
  issuerLabel: string;
  patient: TypedPatient;
  onChange: (patient: TypedPatient) => void;
}) {
  return (
    <div class="pairs">
      <TextField
        label="Patient ID"
        required
        maxLength={64}
        value={patient.id}
        onChange={(id) => onChange({ ...patient, id })}
      />
      <TextField
        label={issuerLabel}
        maxLength={64}
        value={patient.issuer}
        onChange={(issuer) => onChange({ ...patient, issuer })}
      />
    </div>
  );
}
