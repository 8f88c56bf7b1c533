import { useState } from 'preact/hooks';
import { decideDelivery, type Trial, tryRules } from '../api/routing.ts';
import { may } from '../api/session.ts';
import { ChoiceField, TextField } from '../components/fields.tsx';
import { messageOf } from '../components/use-loaded.ts';
import { plural } from '../dicom/json.ts';

interface Props {
  readonly destinations: readonly string[];
  readonly onSent: (said: string) => void;
}

/** Which rules would send a study that is here; and what sends it, whatever they say. */
export function RuleTrial({ destinations, onSent }: Props) {
  const [study, setStudy] = useState('');
  const [trial, setTrial] = useState<Trial>();
  const [error, setError] = useState('');
  const [destination, setDestination] = useState(destinations[0] ?? '');
  const send = (): void => {
    decideDelivery({ StudyInstanceUID: study.trim(), destination }, 'send').then(
      () => onSent(`The study is sent to ${destination}.`),
      (failure: unknown) => setError(messageOf(failure)),
    );
  };
  const submit = (event: Event): void => {
    event.preventDefault();
    tryRules(study.trim()).then(
      (found) => {
        setTrial(found);
        setError('');
      },
      (failure: unknown) => {
        setTrial(undefined);
        setError(messageOf(failure));
      },
    );
  };
  return (
    <form class="trial" onSubmit={submit}>
      <TextField
        label="Which rules match a study? Its UID"
        required
        spellcheck={false}
        maxLength={64}
        pattern="[0-9.]+"
        title="A Study Instance UID"
        value={study}
        onChange={setStudy}
      />
      <button type="submit">Try</button>
      <div role="status">
        {error && <p class="error">{error}</p>}
        {trial && (
          <ul>
            {trial.rules.map(({ name, enabled, matched, destinations }) => (
              <li key={name}>
                <strong>{name}</strong>
                {!enabled && ' (off)'}:{' '}
                {matched === 0
                  ? 'nothing of it'
                  : `${matched} of ${plural(trial.instances, 'instance')} to ${destinations.join(', ')}`}
              </li>
            ))}
            {!trial.whole && <li class="hint">The study has more instances than were looked at.</li>}
          </ul>
        )}
      </div>
      {trial && may('administer') && (
        <>
          <ChoiceField
            label="Send all of it, sent before or not, to"
            value={destination}
            options={destinations.map((name) => [name, name] as const)}
            onChange={setDestination}
          />
          <button type="button" onClick={send}>
            Send it
          </button>
        </>
      )}
    </form>
  );
}
