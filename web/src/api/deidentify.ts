import { askJson, postJson } from './http.ts';

export type DatePolicy = 'remove' | 'keep' | 'shift';

/** Options of the profile (functions/core/deidentify/profile.ts). */
export interface Profile {
  readonly dates: DatePolicy;
  readonly [option: string]: unknown;
}

export interface Project {
  readonly project: string;
  readonly profile: Profile;
  readonly destroyedAt?: number;
}

export type OutcomeKind = 'stored' | 'duplicate' | 'refused' | 'held' | 'failed';

export interface Progress {
  readonly StudyInstanceUID: string;
  readonly state: 'waiting' | 'running' | 'done';
  readonly counts: Readonly<Record<OutcomeKind, number>>;
  readonly instanceCount: number;
  /** StudyInstanceUID of the copy */
  readonly copy?: string;
}

export interface Run {
  readonly id: string;
  readonly state: 'running' | 'done';
  readonly progress: readonly Progress[];
}

export interface Outcome {
  readonly SOPInstanceUID: string;
  readonly kind: OutcomeKind;
  readonly reasons?: readonly string[];
  readonly code?: string;
}

export const listProjects = async (signal: AbortSignal): Promise<readonly Project[]> =>
  (await askJson<{ items: Project[] }>('/api/deidentification-projects', { signal })).items;
/** A project that is known keeps its profile: it is not sent then. */
export const beginRun = async (study: string, project: string, profile: Profile | undefined): Promise<Run> =>
  (await postJson('/api/deidentifications', { studies: [study], project, ...(profile && { profile }) })).json();
export const readRun = (id: string): Promise<Run> => askJson(`/api/deidentifications/${id}`);

/** How many instances were left out for each reason, of the first thousand. */
export async function readReasons(id: string): Promise<readonly [reason: string, count: number][]> {
  const { items } = await askJson<{ items: Outcome[] }>(`/api/deidentifications/${id}/instances?limit=1000`);
  const counts = new Map<string, number>();
  for (const { reasons, code } of items)
    for (const reason of reasons ?? (code === undefined ? [] : [code]))
      counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts];
}
