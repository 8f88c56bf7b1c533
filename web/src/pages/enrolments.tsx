import { useState } from 'preact/hooks';
import { createEnrolment, type Enrolment, listEnrolments, withdrawEnrolment } from '../api/clients.ts';
import { may } from '../api/session.ts';
import { FormDialog } from '../components/dialog.tsx';
import { ChoiceField, LongTextField, NAME_INPUT, TextField } from '../components/fields.tsx';
import { Failure } from '../components/notice.tsx';
import { messageOf, useLoaded } from '../components/use-loaded.ts';
import { formatMoment } from '../dicom/json.ts';
import { ShownOnce } from './shown-once.tsx';

const LIVES = [
  ['60', 'an hour'],
  ['1440', 'a day'],
  ['10080', 'a week'],
] as const;

/** One-time codes by which gateways become known: asked for, shown once, taken back. Nothing for whoever may not give them. */
export function Enrolments() {
  return may('administer') ? <Codes /> : null;
}

function Codes() {
  const { value: waiting, error, reload } = useLoaded('enrolments', listEnrolments);
  const [asking, setAsking] = useState(false);
  const [shown, setShown] = useState<Enrolment & { readonly code: string }>();
  const [failed, setFailed] = useState('');
  const withdraw = (id: string): void => {
    withdrawEnrolment(id).then(reload, (failure: unknown) => setFailed(messageOf(failure)));
  };
  return (
    <section aria-label="Enrolment">
      <p>
        <button type="button" class="primary" onClick={() => setAsking(true)}>
          Enrol a gateway
        </button>
      </p>
      {error && <Failure message={error} onRetry={reload} />}
      {failed && <Failure message={failed} />}
      {shown && (
        <ShownOnce
          key={shown.id}
          title={`Code for ${shown.gateway}`}
          label="The code"
          value={shown.code}
          onDone={() => setShown(undefined)}
        >
          <p>
            At the gateway, once, until {formatMoment(shown.expiresAt)}:{' '}
            <code>npm run edge -- enrol {location.origin}</code>, which asks for the code.
          </p>
        </ShownOnce>
      )}
      {waiting !== undefined && waiting.length > 0 && (
        <ul>
          {waiting.map(({ id, gateway, expiresAt, createdBy }) => (
            <li key={id}>
              A code for <strong>{gateway}</strong> waits until {formatMoment(expiresAt)}{' '}
              <span class="hint">by {createdBy}</span>{' '}
              <button
                type="button"
                class="quiet"
                aria-label={`Withdraw the code for ${gateway}`}
                onClick={() => withdraw(id)}
              >
                Withdraw
              </button>
            </li>
          ))}
        </ul>
      )}
      {asking && (
        <EnrolmentForm
          onCreated={(enrolment) => {
            setShown(enrolment);
            reload();
          }}
          onClose={() => setAsking(false)}
        />
      )}
    </section>
  );
}

interface Props {
  readonly onCreated: (enrolment: Enrolment & { readonly code: string }) => void;
  readonly onClose: () => void;
}

function EnrolmentForm({ onCreated, onClose }: Props) {
  const [gateway, setGateway] = useState('');
  const [minutes, setMinutes] = useState<string>('60');
  const [key, setKey] = useState('');
  const create = async () => {
    const asked = { gateway: gateway.trim(), expiresInMinutes: Number(minutes) };
    onCreated(await createEnrolment(key.trim() === '' ? asked : { ...asked, configurationKey: key.trim() }));
  };
  return (
    <FormDialog wide title="Enrol a gateway" action="Make a code" onSubmit={create} onClose={onClose}>
      <p class="hint">
        A gateway of this id that is known already gets a new identity; the one before ends when the code is used.
      </p>
      <div class="pairs">
        <TextField
          label="Gateway (letters, digits, hyphens)"
          {...NAME_INPUT}
          required
          pattern="[a-z0-9][a-z0-9\-]*"
          maxLength={63}
          value={gateway}
          onChange={setGateway}
        />
        <ChoiceField label="The code is valid for" value={minutes} options={LIVES} onChange={setMinutes} />
      </div>
      <LongTextField
        label="Public key whose signed configurations it takes (optional, Ed25519 in PEM)"
        rows={3}
        value={key}
        onChange={setKey}
      />
    </FormDialog>
  );
}
