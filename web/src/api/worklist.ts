import type { DataSet } from '../dicom/json.ts';
import type { PageOf } from './archive.ts';
import { ask, askJson, postJson } from './http.ts';

const STATES = ['SCHEDULED', 'IN PROGRESS', 'COMPLETED', 'DISCONTINUED', 'CANCELED'] as const;
export type WorklistState = (typeof STATES)[number];

/** A scheduled procedure step (functions/core/worklist/records.ts). */
export interface WorklistItem {
  readonly id: string;
  readonly version: number;
  readonly state: WorklistState;
  /** YYYYMMDDHHMMSS, local to the site */
  readonly startsAt: string;
  /** SOP Instance UIDs of the procedure steps that were performed for it */
  readonly procedureSteps: readonly string[];
  readonly item: DataSet;
}

export interface ProcedureStep {
  readonly SOPInstanceUID: string;
  readonly state: 'IN PROGRESS' | 'COMPLETED' | 'DISCONTINUED';
  /** AE title of who reported it */
  readonly source: string;
  /** ms since 1970 */
  readonly updatedAt: number;
  /** instances that it names, and those of them that have not arrived */
  readonly made: number;
  readonly missing: number;
}

export interface WorklistQuery {
  readonly PatientName: string;
  readonly PatientID: string;
  readonly Modality: string;
  readonly station: string;
  /** YYYY-MM-DD */
  readonly day: string;
  readonly over: boolean;
}

const compactDate = (day: string) => day.replaceAll('-', '');

/** The day before, as an item has it: night shifts end in the morning. */
function dayBefore(now: Date): string {
  const day = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  const two = (number: number) => String(number).padStart(2, '0');
  return `${day.getFullYear()}${two(day.getMonth() + 1)}${two(day.getDate())}`;
}

/** Of all days from yesterday on, unless one is named or what is over is to be seen as well. */
export function toParameters(query: WorklistQuery, after?: string, now = new Date()): URLSearchParams {
  const parameters = new URLSearchParams({ limit: '100' });
  const set = (name: string, value: string) => value !== '' && parameters.set(name, value);
  const part = (text: string) => (text === '' || /[*?]/.test(text) ? text : `*${text}*`);
  set('PatientName', part(query.PatientName));
  set('PatientID', part(query.PatientID));
  set('Modality', query.Modality);
  set('ScheduledStationAETitle', part(query.station));
  const from = query.over ? '' : `${dayBefore(now)}-`;
  set('ScheduledProcedureStepStartDate', compactDate(query.day) || from);
  if (query.over) parameters.set('state', 'all');
  set('after', after ?? '');
  return parameters;
}

export const listWorklist = (query: WorklistQuery, after?: string): Promise<PageOf<WorklistItem>> =>
  askJson(`/api/worklist?${toParameters(query, after)}`);

export const addItem = (item: DataSet): Promise<Response> => postJson('/api/worklist', item);

/** @throws ArchiveError 412 when somebody else has changed it meanwhile */
export const replaceItem = ({ id, version }: WorklistItem, item: DataSet): Promise<Response> =>
  ask(`/api/worklist/${id}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json', 'if-match': `"${version}"` },
    body: JSON.stringify(item),
  });

export const decideItem = (id: string, action: 'cancel' | 'reschedule'): Promise<Response> =>
  postJson(`/api/worklist/${id}`, { action });

export const readStep = (SOPInstanceUID: string, signal: AbortSignal): Promise<ProcedureStep> =>
  askJson(`/api/procedure-steps/${SOPInstanceUID}`, { signal });
