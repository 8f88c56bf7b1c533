import type { Tenant } from '../archive/records.ts';
import type { ErrorCode } from '../errors.ts';
import type { Key } from '../ports/index-table.ts';
import type { Refusal } from './judge.ts';
import type { ObjectUids } from './object.ts';
import type { Profile } from './profile.ts';

/**
 * What is kept of copies that are made, or have been:
 *
 * | record      | partition                             | sort                           | holds                              |
 * |-------------|---------------------------------------|--------------------------------|------------------------------------|
 * | project     | t|deidentification-projects           | {project}                      | ProjectRecord                      |
 * | its secret  | t|deidentification-secrets|{project}  | key                            | { key }: what all pseudonyms hang on |
 * | who is who  | t|deidentification-secrets|{project}  | patient|{pseudonym}            | MappedPatient                      |
 * | which is which | t|deidentification-secrets|{project} | study|{StudyInstanceUID of copy} | MappedStudy                     |
 * | run         | t|deidentifications                   | {id}                           | RunRecord                          |
 * | its studies | t|deidentification|{id}               | study|{number}                 | StudyProgress                      |
 * | outcome     | t|deidentification|{id}               | outcome|{number}|{series}|{SOP} | InstanceOutcome                   |
 */
export interface ProjectRecord {
  version: number;
  project: string;
  profile: Profile;
  createdAt: number;
  createdBy: string;
  /** the secret and who is who are gone: no copy can be added, and none be traced back */
  destroyedAt?: number | undefined;
}

export interface MappedPatient {
  readonly pseudonym: string;
  readonly PatientID: string;
  readonly IssuerOfPatientID: string;
  readonly PatientName: string;
  readonly shiftDays: number;
}

export interface MappedStudy {
  readonly StudyInstanceUID: string;
  readonly copy: string;
  readonly pseudonym: string;
}

export interface RunRecord {
  version: number;
  id: string;
  project: string;
  studies: readonly string[];
  state: 'running' | 'done';
  by: string;
  requestedAt: number;
  finishedAt?: number | undefined;
}

export type OutcomeKind = 'stored' | 'duplicate' | 'refused' | 'held' | 'failed';
export type OutcomeCounts = Readonly<Record<OutcomeKind, number>>;

export interface StudyProgress {
  version: number;
  StudyInstanceUID: string;
  state: 'waiting' | 'running' | 'done';
  counts: OutcomeCounts;
  /** instances of the study when it was begun */
  instanceCount: number;
  /** the copy, once there is something of it */
  copy?: string | undefined;
  /** the last instance whose outcome is known */
  after?: { readonly series: string; readonly sop: string } | undefined;
  /** somebody is at it until then (ms) */
  leaseUntil?: number | undefined;
  /** nothing more can be copied: who is who in the project was destroyed */
  stopped?: true | undefined;
  /** when it was last seen to move (ms) */
  at: number;
}

export interface InstanceOutcome {
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
  readonly kind: OutcomeKind;
  readonly reasons?: readonly Refusal[] | undefined;
  /** why it failed */
  readonly code?: ErrorCode | undefined;
  readonly copy?: ObjectUids | undefined;
}

export const NO_COUNTS: OutcomeCounts = { stored: 0, duplicate: 0, refused: 0, held: 0, failed: 0 };

const number = (study: number): string => String(study).padStart(4, '0');

export const deidentificationKeys = {
  project: (t: Tenant, project: string): Key => ({ partition: `${t}|deidentification-projects`, sort: project }),
  secrets: (t: Tenant, project: string): string => `${t}|deidentification-secrets|${project}`,
  secret: (t: Tenant, project: string): Key => ({ partition: `${t}|deidentification-secrets|${project}`, sort: 'key' }),
  patient: (t: Tenant, project: string, pseudonym: string): Key => ({
    partition: `${t}|deidentification-secrets|${project}`,
    sort: `patient|${pseudonym}`,
  }),
  mappedStudy: (t: Tenant, project: string, copy: string): Key => ({
    partition: `${t}|deidentification-secrets|${project}`,
    sort: `study|${copy}`,
  }),
  run: (t: Tenant, id: string): Key => ({ partition: `${t}|deidentifications`, sort: id }),
  study: (t: Tenant, id: string, study: number): Key => ({
    partition: `${t}|deidentification|${id}`,
    sort: `study|${number(study)}`,
  }),
  outcome: (t: Tenant, id: string, study: number, series: string, sop: string): Key => ({
    partition: `${t}|deidentification|${id}`,
    sort: `outcome|${number(study)}|${series}|${sop}`,
  }),
} as const;
