import type { DataSet } from '../dicom/types.ts';
import type { PreparedInstance } from './commit.ts';
import type { StudyRecord } from './records.ts';

/** StudyDate, Modality, ModalitiesInStudy, StudyDescription, SeriesDescription, PatientName, PatientID, IssuerOfPatientID, PatientBirthDate. */
const WHOSE = [
  ...['00080020', '00080060', '00080061', '00081030', '0008103E'],
  ...['00100010', '00100020', '00100021', '00100030'],
];

function pick(...sets: readonly DataSet[]): DataSet {
  const all: DataSet = Object.assign({}, ...sets);
  return Object.fromEntries(WHOSE.flatMap((tag) => (all[tag] === undefined ? [] : [[tag, all[tag]]])));
}

/**
 * Whose an object is and of which study, DICOM JSON: what a person who decides about it has to see in a list. It stands in the index alone,
 * not in notes.
 */
export const whoseObject = ({
  studyAttributes,
  seriesAttributes,
}: Pick<PreparedInstance, 'studyAttributes' | 'seriesAttributes'>): DataSet => pick(studyAttributes, seriesAttributes);

/** The same of a whole study. Undefined where there is no record of it (any more). */
export const whoseStudy = (record: StudyRecord | undefined): DataSet | undefined =>
  record && pick(record.attributes, { '00080061': { vr: 'CS', Value: Object.keys(record.modalities) } });
