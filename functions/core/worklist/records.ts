import type { Tenant } from '../archive/records.ts';
import type { DataSet } from '../dicom/types.ts';
import type { Key } from '../ports/index-table.ts';

/**
 * The records of the worklist. They stand in the order of their scheduled start, so that a query by date reads those days alone.
 *
 * | record | partition                | sort             | holds                                             |
 * |--------|--------------------------|------------------|---------------------------------------------------|
 * | item   | t|worklist               | {start}|{id}     | WorklistItem                                      |
 * | where  | t|worklist-id|{id}       | id               | { startsAt }: where the item stands               |
 * | step   | t|worklist-step|{Study}  | {SPS ID}         | { id }: the one item of this scheduled step       |
 * | change | t|worklist-changes       | (a log)          | { id, at }: for whoever keeps a copy              |
 */

/** What has become of a scheduled procedure step. Procedure steps that are performed drive it (PS3.4 Annex F). */
export type WorklistState = 'SCHEDULED' | 'IN PROGRESS' | 'COMPLETED' | 'DISCONTINUED' | 'CANCELED';

export interface WorklistItem {
  /** optimistic lock, from 1 */
  version: number;
  id: string;
  state: WorklistState;
  /** start of the step as `YYYYMMDDHHMMSS`, local to the site as DICOM has it */
  startsAt: string;
  /** the item as a query answers it: DICOM JSON, one item in ScheduledProcedureStepSequence */
  dataSet: DataSet;
  /** SOP Instance UIDs of the procedure steps that were performed for it */
  procedureSteps: string[];
  /** ms since 1970 */
  createdAt: number;
  updatedAt: number;
}

export const worklistKeys = {
  items: (t: Tenant): string => `${t}|worklist`,
  item: (t: Tenant, { startsAt, id }: Pick<WorklistItem, 'startsAt' | 'id'>): Key => ({
    partition: `${t}|worklist`,
    sort: `${startsAt}|${id}`,
  }),
  where: (t: Tenant, id: string): Key => ({ partition: `${t}|worklist-id|${id}`, sort: 'id' }),
  step: (t: Tenant, study: string, scheduledProcedureStepID: string): Key => ({
    partition: `${t}|worklist-step|${study}`,
    sort: scheduledProcedureStepID,
  }),
  changes: (t: Tenant): string => `${t}|worklist-changes`,
} as const;

/** Attributes of the worklist that rules speak of. */
export const WORKLIST_TAG = {
  SpecificCharacterSet: '00080005',
  AccessionNumber: '00080050',
  Modality: '00080060',
  PatientName: '00100010',
  PatientID: '00100020',
  StudyInstanceUID: '0020000D',
  RequestedProcedureDescription: '00321060',
  RequestedProcedureCodeSequence: '00321064',
  ScheduledStationAETitle: '00400001',
  ScheduledProcedureStepStartDate: '00400002',
  ScheduledProcedureStepStartTime: '00400003',
  ScheduledProcedureStepDescription: '00400007',
  ScheduledProtocolCodeSequence: '00400008',
  ScheduledProcedureStepID: '00400009',
  ScheduledProcedureStepStatus: '00400020',
  ScheduledProcedureStepSequence: '00400100',
  RequestedProcedureID: '00401001',
} as const;
