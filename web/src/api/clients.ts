import { ask, askJson, postJson } from './http.ts';
import type { GrantableRole } from './tokens.ts';

/** A machine client (functions/core/clients.ts); never its secrets. Times are ms since 1970. */
export interface MachineClient {
  readonly id: string;
  readonly name: string;
  readonly roles: readonly string[];
  readonly method: 'client_secret' | 'private_key_jwt' | 'certificate';
  /** of an edge gateway: its id */
  readonly gateway?: string;
  readonly secrets: readonly { readonly id: string; readonly createdAt: number; readonly expiresAt: number }[];
  readonly keys: readonly object[];
  readonly certificates: readonly string[];
  readonly createdAt: number;
  readonly createdBy: string;
}

export interface Clients {
  readonly items: readonly MachineClient[];
  /** those that whoever asks may give */
  readonly roles: readonly GrantableRole[];
}

export interface AskedClient {
  readonly name: string;
  readonly roles: readonly string[];
  readonly method: MachineClient['method'];
  readonly keys?: readonly unknown[];
  readonly certificates?: readonly string[];
}

export interface Enrolment {
  readonly id: string;
  readonly gateway: string;
  readonly createdBy: string;
  readonly expiresAt: number;
}

const of = (id: string): string => `/api/clients/${encodeURIComponent(id)}`;

export const listClients = (signal: AbortSignal): Promise<Clients> => askJson('/api/clients', { signal });
/** The answer is the only place where a secret ever stands. */
export const createClient = async (asked: AskedClient): Promise<MachineClient & { readonly secret?: string }> =>
  (await postJson('/api/clients', asked)).json();
export const issueSecret = async (id: string): Promise<MachineClient & { readonly secret: string }> =>
  (await postJson(`${of(id)}/secrets`, {})).json();
export const revokeSecret = (id: string, secret: string): Promise<Response> =>
  ask(`${of(id)}/secrets/${encodeURIComponent(secret)}`, { method: 'DELETE' });
export const revokeClient = (id: string): Promise<Response> => ask(of(id), { method: 'DELETE' });

export const listEnrolments = async (signal: AbortSignal): Promise<readonly Enrolment[]> =>
  (await askJson<{ items: readonly Enrolment[] }>('/api/enrolments', { signal })).items;
/** The answer is the only place where the code ever stands. */
export const createEnrolment = async (asked: {
  readonly gateway: string;
  readonly expiresInMinutes: number;
  readonly configurationKey?: string;
}): Promise<Enrolment & { readonly code: string }> => (await postJson('/api/enrolments', asked)).json();
export const withdrawEnrolment = (id: string): Promise<Response> =>
  ask(`/api/enrolments/${encodeURIComponent(id)}`, { method: 'DELETE' });
