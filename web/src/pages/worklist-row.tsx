import { may } from '../api/session.ts';
import { readStep, type WorklistItem, type WorklistState } from '../api/worklist.ts';
import { useLoaded } from '../components/use-loaded.ts';
import {
  type DataSet,
  formatDate,
  formatSex,
  formatTime,
  nameOf,
  plural,
  TAGS,
  textOf,
  textsOf,
} from '../dicom/json.ts';
import { href } from '../router.ts';

/** the item of the one scheduled step */
export const stepOf = (item: DataSet): DataSet =>
  (item[TAGS.ScheduledProcedureStepSequence]?.Value?.[0] ?? {}) as DataSet;

const LABELS: Record<WorklistState, string> = {
  SCHEDULED: 'Scheduled',
  'IN PROGRESS': 'In progress',
  COMPLETED: 'Completed',
  DISCONTINUED: 'Discontinued',
  CANCELED: 'Taken off',
};

interface Props {
  readonly item: WorklistItem;
  readonly onEdit: () => void;
  readonly onCancel: () => void;
  readonly onReschedule: () => void;
}

export function WorklistRow({ item: one, onEdit, onCancel, onReschedule }: Props) {
  const { item, state } = one;
  const step = stepOf(item);
  const { main, other } = nameOf(item, 'PatientName');
  const birth = textOf(item, 'PatientBirthDate');
  const facts = [textOf(item, 'PatientID'), formatSex(textOf(item, 'PatientSex')), birth && formatDate(birth)];
  const performed = one.procedureSteps.at(-1);
  return (
    <tr>
      <td data-label="Start" class="when">
        {formatTime(textOf(step, 'ScheduledProcedureStepStartTime'))}
        <span class="hint"> {formatDate(textOf(step, 'ScheduledProcedureStepStartDate'))}</span>
      </td>
      <td>
        <strong>{main || '–'}</strong> {other && <span class="hint">{other}</span>}
        <span class="hint facts-line">{facts.filter(Boolean).join(' · ')}</span>
      </td>
      <td data-label="Procedure">
        <span class="chip">{textOf(step, 'Modality')}</span>{' '}
        {textOf(step, 'ScheduledProcedureStepDescription') || textOf(item, 'RequestedProcedureDescription')}
        {textOf(item, 'AccessionNumber') && <span class="hint"> · {textOf(item, 'AccessionNumber')}</span>}
      </td>
      <td data-label="Station">{textsOf(step, 'ScheduledStationAETitle').join(', ')}</td>
      <td data-label="State">
        <span class={`chip ${state === 'DISCONTINUED' ? 'alarming' : state === 'IN PROGRESS' ? 'cold' : ''}`}>
          {LABELS[state]}
        </span>
        {performed !== undefined && <Performed key={`${performed}${one.version}`} SOPInstanceUID={performed} />}
      </td>
      <td class="actions">
        {performed !== undefined && (
          <a class="button quiet" href={href(`/study/${textOf(item, 'StudyInstanceUID')}`)}>
            Study
          </a>
        )}
        {state === 'SCHEDULED' && may('changeWorklist') && (
          <>
            <button type="button" onClick={onEdit} aria-label={`Edit the step of ${main}`}>
              Edit
            </button>{' '}
            <button type="button" onClick={onCancel} aria-label={`Take the step of ${main} off the list`}>
              Take off
            </button>
          </>
        )}
        {state === 'CANCELED' && may('changeWorklist') && (
          <button type="button" onClick={onReschedule} aria-label={`Put the step of ${main} back`}>
            Put back
          </button>
        )}
      </td>
    </tr>
  );
}

/** What the modality has reported (MPPS): by whom, and whether its images are here. */
function Performed({ SOPInstanceUID }: { SOPInstanceUID: string }) {
  const { value } = useLoaded(SOPInstanceUID, (signal) => readStep(SOPInstanceUID, signal));
  if (value === undefined) return null;
  const { source, made, missing } = value;
  const images =
    made === 0
      ? ''
      : missing === 0
        ? `, ${plural(made, 'image')} here`
        : `, ${missing} of ${plural(made, 'image')} missing`;
  return (
    <span class={`hint facts-line ${missing > 0 ? 'error' : ''}`}>
      by {source}
      {images}
    </span>
  );
}
