import type { Tenant } from '../archive/records.ts';
import type { Key } from '../ports/index-table.ts';

/**
 * The records of performed procedure steps (MPPS, PS3.4 Annex F).
 *
 * | record   | partition                | sort                | holds                                   |
 * |----------|--------------------------|---------------------|-----------------------------------------|
 * | step     | t|mpps|{SOP}             | mpps                | ProcedureStepRecord                     |
 * | by time  | t|mpps-by-time           | {id}                | { sop }: in the order they were created |
 * | of study | t|mpps-of|{Study}        | {SOP}               | {}                                      |
 */

export type ProcedureStepState = 'IN PROGRESS' | 'COMPLETED' | 'DISCONTINUED';

export interface ProcedureStepRecord {
  /** optimistic lock, from 1 */
  version: number;
  /** of `by time` (ULID) */
  id: string;
  SOPInstanceUID: string;
  state: ProcedureStepState;
  /** DICOM JSON, deflated: the references of a step with 20,000 instances must fit */
  dataSet: Uint8Array;
  StudyInstanceUIDs: string[];
  /** ids of the worklist items that it was performed for */
  worklistItems: string[];
  /** AE title, or who used the API */
  source: string;
  /** SHA-256 of what created it: the same message again is no other step */
  createdBy: string;
  /** keys of the messages that changed it, the last ones: the same message again changes nothing */
  applied: string[];
  /** ms since 1970 */
  createdAt: number;
  updatedAt: number;
  /** every instance that it names has arrived (ms) */
  arrivedAt?: number | undefined;
}

export const procedureKeys = {
  step: (t: Tenant, sop: string): Key => ({ partition: `${t}|mpps|${sop}`, sort: 'mpps' }),
  byTime: (t: Tenant, id: string): Key => ({ partition: `${t}|mpps-by-time`, sort: id }),
  ofStudy: (t: Tenant, study: string, sop: string): Key => ({ partition: `${t}|mpps-of|${study}`, sort: sop }),
} as const;

export const PROCEDURE_TAG = {
  SpecificCharacterSet: '00080005',
  SOPClassUID: '00080016',
  SOPInstanceUID: '00080018',
  AccessionNumber: '00080050',
  Modality: '00080060',
  ReferencedStudySequence: '00081110',
  ReferencedImageSequence: '00081140',
  ReferencedSOPClassUID: '00081150',
  ReferencedSOPInstanceUID: '00081155',
  PatientName: '00100010',
  PatientID: '00100020',
  StudyInstanceUID: '0020000D',
  SeriesInstanceUID: '0020000E',
  ScheduledProcedureStepID: '00400009',
  ReferencedNonImageCompositeSOPInstanceSequence: '00400220',
  PerformedStationAETitle: '00400241',
  PerformedProcedureStepStartDate: '00400244',
  PerformedProcedureStepStartTime: '00400245',
  PerformedProcedureStepEndDate: '00400250',
  PerformedProcedureStepEndTime: '00400251',
  PerformedProcedureStepStatus: '00400252',
  PerformedProcedureStepID: '00400253',
  PerformedProcedureStepDescription: '00400254',
  ScheduledStepAttributesSequence: '00400270',
  PerformedSeriesSequence: '00400340',
} as const;
