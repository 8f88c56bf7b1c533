import { useEffect, useId, useState } from 'preact/hooks';
import {
  beginRun,
  type DatePolicy,
  listProjects,
  type Profile,
  type Progress,
  type Run,
  readReasons,
  readRun,
} from '../api/deidentify.ts';
import { CheckList } from '../components/check-list.tsx';
import { Dialog, DialogForm } from '../components/dialog.tsx';
import { ChoiceField, TextField } from '../components/fields.tsx';
import { messageOf, useLoaded } from '../components/use-loaded.ts';
import { plural } from '../dicom/json.ts';
import { href } from '../router.ts';
import { DATE_WORDS, OPTION_WORDS, REFUSAL_WORDS } from './deidentify-words.ts';
import { wordFor } from './words.ts';

const POLL_MS = 1_000;

interface Props {
  readonly study: string;
  readonly onClose: () => void;
}

/** Asks for the project and what is kept; then shows how the copy comes along, and where it is. */
export function DeidentifyForm({ study, onClose }: Props) {
  const [run, setRun] = useState<Run>();
  return (
    <Dialog wide onClose={onClose}>
      {(titleId) =>
        run === undefined ? (
          <Questions titleId={titleId} study={study} onBegun={setRun} onClose={onClose} />
        ) : (
          <Result titleId={titleId} begun={run} onClose={onClose} />
        )
      }
    </Dialog>
  );
}

interface QuestionsProps {
  readonly titleId: string;
  readonly study: string;
  readonly onBegun: (run: Run) => void;
  readonly onClose: () => void;
}

function Questions({ titleId, study, onBegun, onClose }: QuestionsProps) {
  const listId = useId();
  const { value: projects = [] } = useLoaded('projects', listProjects);
  const [project, setProject] = useState('');
  const [dates, setDates] = useState<DatePolicy>('shift');
  const [options, setOptions] = useState<readonly string[]>(['cleanDescriptors']);
  const known = projects.find((one) => one.project === project);
  const shown = known?.profile ?? profileOf(dates, options);
  const begin = async () =>
    onBegun(await beginRun(study, project, known === undefined ? profileOf(dates, options) : undefined));
  return (
    <DialogForm titleId={titleId} title="De-identified copy" action="Make the copy" onSubmit={begin} onClose={onClose}>
      <p>
        The study is copied without what identifies the patient. The original stays as it is. It does not look for
        faces, or for text in the images that the study does not declare.
      </p>
      <TextField
        label="Project (in which a patient keeps one pseudonym)"
        required
        pattern="[a-z0-9][a-z0-9\-]{0,62}"
        title="small letters, digits and hyphens"
        maxLength={63}
        list={listId}
        value={project}
        onChange={(text) => setProject(text.trim())}
      />
      <datalist id={listId}>
        {projects
          .filter(({ destroyedAt }) => destroyedAt === undefined)
          .map((one) => (
            <option key={one.project} value={one.project} />
          ))}
      </datalist>
      {known && <p class="hint">The project has its options from its beginning.</p>}
      <CheckList
        legend="What is kept"
        disabled={known !== undefined}
        options={Object.entries(OPTION_WORDS).map(([value, word]) => ({ value, word }))}
        chosen={Object.keys(OPTION_WORDS).filter((option) => shown[option] === true)}
        onChoose={setOptions}
      >
        <ChoiceField
          label="Dates"
          value={shown.dates}
          options={Object.entries(DATE_WORDS)}
          onChange={(value) => setDates(value as DatePolicy)}
        />
      </CheckList>
    </DialogForm>
  );
}

const profileOf = (dates: DatePolicy, options: readonly string[]): Profile => ({
  dates,
  ...Object.fromEntries(options.map((option) => [option, true])),
});

const attempted = ({ counts }: Progress): number => Object.values(counts).reduce((sum, count) => sum + count, 0);

function Result({ titleId, begun, onClose }: { titleId: string; begun: Run; onClose: () => void }) {
  const [run, setRun] = useState(begun);
  const [reasons, setReasons] = useState<readonly [string, number][]>([]);
  const [error, setError] = useState('');
  const [progress] = run.progress;
  useEffect(() => {
    let open = true;
    const look = async () => {
      try {
        const next = await readRun(begun.id);
        if (!open) return;
        setRun(next);
        setError('');
        if (next.state !== 'done') return void setTimeout(look, POLL_MS);
        setReasons(await readReasons(begun.id));
      } catch (failure) {
        if (!open) return;
        setError(messageOf(failure));
        setTimeout(look, 5 * POLL_MS);
      }
    };
    void look();
    return () => {
      open = false;
    };
  }, []);
  if (progress === undefined) return null;
  const { counts, copy, instanceCount } = progress;
  const copied = counts.stored + counts.duplicate;
  return (
    <div>
      <h2 id={titleId}>De-identified copy</h2>
      {run.state === 'done' ? (
        <p role="status">
          {copied === 0 ? 'Nothing could be copied.' : `${plural(copied, 'image')} copied.`}
          {counts.refused > 0 && ` ${plural(counts.refused, 'image')} left out.`}
          {counts.failed + counts.held > 0 && ` ${plural(counts.failed + counts.held, 'image')} failed.`}
        </p>
      ) : (
        <>
          <p role="status">
            {attempted(progress)} of {plural(instanceCount, 'image')}. You may close this: it goes on.
          </p>
          <progress max={Math.max(1, instanceCount)} value={attempted(progress)} aria-label="Images" />
        </>
      )}
      {reasons.length > 0 && (
        <ul>
          {reasons.map(([reason, count]) => (
            <li key={reason}>
              {wordFor(REFUSAL_WORDS, reason)} ({count})
            </li>
          ))}
        </ul>
      )}
      {error && (
        <p class="error" role="alert">
          {error}
        </p>
      )}
      <div class="buttons">
        <button type="button" onClick={onClose}>
          Close
        </button>
        {run.state === 'done' && copy !== undefined && (
          <a class="button primary" href={href(`/study/${copy}`)} onClick={onClose}>
            Go to the copy
          </a>
        )}
      </div>
    </div>
  );
}
