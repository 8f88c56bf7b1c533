/** SOP classes of the DIMSE services (PS3.6 Annex A); storage classes are core/dicom/sop-classes.ts. */
export const VERIFICATION = '1.2.840.10008.1.1';
export const STORAGE_COMMITMENT_PUSH_MODEL = '1.2.840.10008.1.20.1';

const QUERY_RETRIEVE = '1.2.840.10008.5.1.4.1.2.';
export const PATIENT_ROOT_FIND = `${QUERY_RETRIEVE}1.1`;
export const PATIENT_ROOT_MOVE = `${QUERY_RETRIEVE}1.2`;
export const PATIENT_ROOT_GET = `${QUERY_RETRIEVE}1.3`;
export const STUDY_ROOT_FIND = `${QUERY_RETRIEVE}2.1`;
export const STUDY_ROOT_MOVE = `${QUERY_RETRIEVE}2.2`;
export const STUDY_ROOT_GET = `${QUERY_RETRIEVE}2.3`;

export const FIND_CLASSES: ReadonlySet<string> = new Set([PATIENT_ROOT_FIND, STUDY_ROOT_FIND]);
export const MOVE_CLASSES: ReadonlySet<string> = new Set([PATIENT_ROOT_MOVE, STUDY_ROOT_MOVE]);
export const GET_CLASSES: ReadonlySet<string> = new Set([PATIENT_ROOT_GET, STUDY_ROOT_GET]);

export const MODALITY_WORKLIST_FIND = '1.2.840.10008.5.1.4.31';
export { MODALITY_PERFORMED_PROCEDURE_STEP } from '#core/procedure/rules.ts';
export const MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE = '1.2.840.10008.3.1.2.3.4';
export const MODALITY_PERFORMED_PROCEDURE_STEP_NOTIFICATION = '1.2.840.10008.3.1.2.3.5';
export const INSTANCE_AVAILABILITY_NOTIFICATION = '1.2.840.10008.5.1.4.33';
