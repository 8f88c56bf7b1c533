import { type DataSet, formatDate, nameOf, textOf, textsOf } from '../dicom/json.ts';

/** Whose an object is, and of which study; `set` is undefined where the archive did not note it yet. */
export function Whose({ set, href }: { readonly set: DataSet | undefined; readonly href?: string }) {
  if (set === undefined) return null;
  const { main, other } = nameOf(set, 'PatientName');
  const name = main || 'No name';
  return (
    <>
      <strong class="whose">{href === undefined ? name : <a href={href}>{name}</a>}</strong>
      {other && <span class="other-name">{other}</span>}
      <span class="demographics">{inOneLine(textOf(set, 'PatientID'), bornOn(set))}</span>
      <span class="of-study">{studyOf(set)}</span>
    </>
  );
}

/** For who only hears it: `Doe, Jane, 05 Mar 2024 CT Head`. */
export const whoseInWords = (set: DataSet | undefined, uid: string): string =>
  set === undefined ? uid : [nameOf(set, 'PatientName').main || 'No name', studyOf(set)].filter(Boolean).join(', ');

const bornOn = (set: DataSet): string => {
  const date = formatDate(textOf(set, 'PatientBirthDate'));
  return date && `born ${date}`;
};

const studyOf = (set: DataSet): string => {
  const modalities = [...new Set([...textsOf(set, 'Modality'), ...textsOf(set, 'ModalitiesInStudy')])].join(' ');
  const descriptions = [textOf(set, 'StudyDescription'), textOf(set, 'SeriesDescription')];
  return inOneLine(formatDate(textOf(set, 'StudyDate')), modalities, ...new Set(descriptions));
};

const inOneLine = (...parts: readonly string[]): string => parts.filter(Boolean).join(' · ');
