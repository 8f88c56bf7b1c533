import type { Services } from '../services.ts';
import type { ProcedureStepState } from './records.ts';

/** Queue of what is still to be told of procedure steps; payload: NoticeOfStep, once for each listener. */
export const PROCEDURE_STEP_NOTICE = 'procedure-step-notice';

/** Event Type IDs of the Modality Performed Procedure Step Notification SOP Class (PS3.4 Table F.9.2-1); nothing here deletes a step. */
const STEP_EVENT = { inProgress: 1, completed: 2, discontinued: 3, updated: 4 } as const;
export type StepEvent = (typeof STEP_EVENT)[keyof typeof STEP_EVENT];

export interface NoticeOfStep {
  readonly tenant: string;
  readonly SOPInstanceUID: string;
  readonly event: StepEvent;
  /** of the step's record once it has changed: a change that came to nothing is told to nobody */
  readonly version: number;
  /** AE title */
  readonly listener: string;
}

const OF_STATE: Readonly<Record<ProcedureStepState, StepEvent>> = {
  'IN PROGRESS': STEP_EVENT.updated,
  COMPLETED: STEP_EVENT.completed,
  DISCONTINUED: STEP_EVENT.discontinued,
};

/** What a change of a step is told as. */
export const stepEventOf = (state: ProcedureStepState, isNew: boolean): StepEvent =>
  isNew ? STEP_EVENT.inProgress : OF_STATE[state];

/** The change is written right after: until then there is nothing to tell. */
const WRITTEN_MS = 1_000;

/**
 * Has the listeners that the host knows told of a change: a durable job each, so that one that is down delays no other. Asked for before
 * the change is written, as a notice too many finds nothing to tell, while one too few would be missed.
 */
export async function requestNotices(
  { jobs, policy }: Services,
  notice: Omit<NoticeOfStep, 'listener'>,
): Promise<void> {
  for (const listener of policy.procedureStepListeners)
    await jobs.enqueue(PROCEDURE_STEP_NOTICE, { ...notice, listener }, { delayMs: WRITTEN_MS });
}
