import { isForViewer, ViewerLink } from '../components/viewer-link.tsx';
import {
  type DataSet,
  formatAge,
  formatDate,
  formatTime,
  nameOf,
  numberOf,
  plural,
  textOf,
  textsOf,
} from '../dicom/json.ts';
import { href } from '../router.ts';

interface Props {
  readonly study: DataSet;
  readonly isFresh: boolean;
  readonly isSelected: boolean;
  /** absent: nothing can be done with a selection */
  readonly onSelect: ((isSelected: boolean) => void) | undefined;
}

/** One study: a row on a desk, a card on a phone. The patient's name is the link; a click anywhere in the row follows it. */
export function StudyRow({ study, isFresh, isSelected, onSelect }: Props) {
  const uid = textOf(study, 'StudyInstanceUID');
  const name = nameOf(study, 'PatientName');
  const modalities = textsOf(study, 'ModalitiesInStudy');
  const target = href(`/study/${uid}`);
  const images = numberOf(study, 'NumberOfStudyRelatedInstances');
  const series = numberOf(study, 'NumberOfStudyRelatedSeries');
  const availability = textOf(study, 'InstanceAvailability');
  const open = (event: MouseEvent) => {
    const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
    const isControl = (event.target as Element).closest('a, button, input') !== null;
    // Selecting an accession number to copy it is no click on the row.
    if (isPlain && !isControl && getSelection()?.isCollapsed) location.hash = target;
  };
  return (
    <tr class={isFresh ? 'fresh' : undefined} onClick={open}>
      <td class="patient">
        {onSelect && (
          <input
            type="checkbox"
            class="pick"
            aria-label={`Select the study of ${name.main || 'No name'}, ${formatDate(textOf(study, 'StudyDate'))}`}
            checked={isSelected}
            onChange={(event) => onSelect(event.currentTarget.checked)}
          />
        )}
        <a href={target}>{name.main || 'No name'}</a>
        {name.other && <span class="other-name">{name.other}</span>}
        <span class="demographics">{demographics(study)}</span>
      </td>
      <td class="mrn" data-label="MRN">
        {textOf(study, 'PatientID')}
      </td>
      <td class="date">
        {formatDate(textOf(study, 'StudyDate'))} <span class="time">{formatTime(textOf(study, 'StudyTime'))}</span>
      </td>
      <td class="modality">
        {modalities.map((modality) => (
          <span key={modality} class="chip">
            {modality}
          </span>
        ))}
        {availability !== '' && availability !== 'ONLINE' && (
          <span class="chip cold">{availability.toLowerCase()}</span>
        )}
      </td>
      <td class="description">{textOf(study, 'StudyDescription')}</td>
      <td class="accession" data-label="Acc.">
        {textOf(study, 'AccessionNumber')}
      </td>
      <td class="number series">{series?.toLocaleString('en')}</td>
      <td class="number images">
        <span class="unit">{plural(series ?? 0, 'series', 'series')}, </span>
        {images?.toLocaleString('en')}
        <span class="unit"> {images === 1 ? 'image' : 'images'}</span>
      </td>
      <td class="actions">
        <ViewerLink
          study={uid}
          modalities={modalities}
          class="button"
          label={
            isForViewer(modalities)
              ? `View ${name.main || 'No name'}, ${plural(images ?? 0, 'image')}, in the viewer`
              : `View ${name.main || 'No name'}, ${plural(images ?? 0, 'object')}`
          }
        >
          View
        </ViewerLink>
      </td>
    </tr>
  );
}

function demographics(study: DataSet): string {
  const age = formatAge(textOf(study, 'PatientAge'), textOf(study, 'PatientBirthDate'), textOf(study, 'StudyDate'));
  return [textOf(study, 'PatientSex'), age].filter(Boolean).join(' · ');
}
