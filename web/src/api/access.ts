import { createStore } from '../store.ts';
import { ask, askJson, postJson } from './http.ts';
import { may, session } from './session.ts';

/** Who reaches which studies (functions/core/access). Times are ms since 1970. */
export interface Patient {
  readonly id: string;
  readonly issuer?: string;
}

/** All that it names must be met. */
export interface ReachRule {
  readonly studies?: readonly string[];
  readonly sites?: readonly string[];
  readonly modalities?: readonly string[];
  readonly referringPhysicians?: readonly string[];
  readonly patients?: readonly Patient[];
  readonly deidentified?: true;
}

export type Grantee = { readonly subject: string } | { readonly role: string } | { readonly claim: string };

export interface Grant {
  readonly id: string;
  readonly to: Grantee;
  readonly rules: readonly ReachRule[];
  readonly note: string;
  readonly createdBy: string;
  readonly createdAt: number;
}

export interface Restriction {
  readonly id: string;
  readonly patient: Patient;
  readonly reason: string;
  readonly subjects: readonly string[];
  readonly roles: readonly string[];
  readonly createdBy: string;
  readonly createdAt: number;
}

export interface Emergency {
  readonly id: string;
  readonly subject: string;
  readonly StudyInstanceUID?: string;
  readonly ofPatient: boolean;
  readonly reasonCode: string;
  readonly reason: string;
  readonly startedAt: number;
  readonly until: number;
  readonly revokedBy?: string;
  readonly revokedAt?: number;
  readonly active: boolean;
}

export interface AccessPolicy {
  readonly showRestricted: boolean;
  readonly grants: readonly Grant[];
  readonly restrictions: readonly Restriction[];
  /** that may be named in them */
  readonly roles: readonly string[];
}

export const loadPolicy = (signal: AbortSignal): Promise<AccessPolicy> => askJson('/api/access', { signal });

export const setShowRestricted = (showRestricted: boolean): Promise<Response> =>
  ask('/api/access', {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ showRestricted }),
  });

export const addGrant = (asked: Pick<Grant, 'to' | 'rules' | 'note'>): Promise<Response> =>
  postJson('/api/grants', asked);
export const removeGrant = (id: string): Promise<Response> => ask(`/api/grants/${id}`, { method: 'DELETE' });

export const addRestriction = (
  asked: Pick<Restriction, 'patient' | 'reason' | 'subjects' | 'roles'>,
): Promise<Response> => postJson('/api/restrictions', asked);
export const removeRestriction = (id: string): Promise<Response> =>
  ask(`/api/restrictions/${id}`, { method: 'DELETE' });

export const listEmergencies = async (signal: AbortSignal): Promise<readonly Emergency[]> =>
  (await askJson<{ items: readonly Emergency[] }>('/api/emergencies', { signal })).items;

/** Studies under a restriction that a search would find: their UIDs, where the archive is to show that there are any. */
export const findRestricted = async (parameters: URLSearchParams, signal: AbortSignal): Promise<Restricted> => {
  if (!may('breakGlass')) return { items: [], more: false };
  const asked = new URLSearchParams(parameters);
  for (const name of ['limit', 'offset', 'includefield']) asked.delete(name);
  return askJson(`/api/restricted?${asked}`, { signal });
};
export interface Restricted {
  readonly items: readonly { readonly StudyInstanceUID: string }[];
  readonly more: boolean;
}

/** The emergency access of whoever has signed in, while it lasts; `aheadMs`: how far the archive's clock is ahead of this one. */
export interface OwnEmergencies {
  readonly items: readonly Emergency[];
  readonly aheadMs: number;
  /** codes, with what they mean */
  readonly reasons: Readonly<Record<string, string>>;
}
const NONE: OwnEmergencies = { items: [], aheadMs: 0, reasons: {} };
export const emergencies = createStore<OwnEmergencies>(NONE);

export async function loadOwnEmergencies(): Promise<void> {
  if (!may('breakGlass')) return emergencies.set(NONE);
  const { items, now, reasons } = await askJson<{
    items: Emergency[];
    now: number;
    reasons: OwnEmergencies['reasons'];
  }>('/api/emergencies/own');
  emergencies.set({ items, aheadMs: now - Date.now(), reasons });
}
session.subscribe(() => {
  if (session.get().state === 'signedIn') void loadOwnEmergencies().catch(() => {});
  else emergencies.set(NONE);
});

/** @throws ArchiveError */
export async function beginEmergency(asked: {
  readonly StudyInstanceUID?: string;
  readonly patient?: Patient;
  readonly reasonCode: string;
  readonly reason: string;
}): Promise<void> {
  await postJson('/api/emergencies', asked);
  await loadOwnEmergencies();
}

export async function endEmergency(id: string): Promise<void> {
  await ask(`/api/emergencies/${id}`, { method: 'DELETE' });
  await loadOwnEmergencies();
}
