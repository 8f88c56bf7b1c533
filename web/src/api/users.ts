import { ask, askJson, postJson } from './http.ts';
import type { GrantableRole } from './tokens.ts';

/** Somebody who signs in at this archive (functions/core/users). Times are ms since 1970. */
export interface Person {
  readonly name: string;
  readonly displayName: string;
  readonly roles: readonly string[];
  readonly isDisabled: boolean;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly lastLoginAt?: number;
  readonly hasPassword: boolean;
  readonly hasTotp: boolean;
}

export interface People {
  readonly items: readonly Person[];
  /** those that whoever asks may give */
  readonly roles: readonly GrantableRole[];
}

/** A way in that works once; the answer is the only place where it ever stands. */
export interface OneTimeLink {
  readonly url: string;
  readonly expiresAt: number;
}

const pathOf = (name: string) => `/api/users/${encodeURIComponent(name)}`;
const putJson = (path: string, body: unknown): Promise<Response> =>
  ask(path, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

export const listPeople = (signal: AbortSignal): Promise<People> => askJson('/api/users', { signal });

export const addPerson = async (
  asked: Pick<Person, 'name' | 'displayName' | 'roles'>,
): Promise<{ user: Person; link: OneTimeLink }> => (await postJson('/api/users', asked)).json();

export const changePerson = (
  name: string,
  change: Partial<Pick<Person, 'displayName' | 'roles' | 'isDisabled'>>,
): Promise<Response> => putJson(pathOf(name), change);

export const renewLink = async (name: string): Promise<OneTimeLink> =>
  (await postJson(`${pathOf(name)}/link`, {})).json();

export const clearSecondFactor = (name: string): Promise<Response> => ask(`${pathOf(name)}/totp`, { method: 'DELETE' });

/** One's own account. */
export interface Account {
  readonly name: string;
  readonly displayName: string;
  readonly roles: readonly string[];
  readonly passwordChangedAt?: number;
  readonly totp: boolean;
  /** recovery codes that are left */
  readonly recoveryCodes: number;
}

export const getAccount = (signal: AbortSignal): Promise<Account> => askJson('/api/account', { signal });

/** `current` is the password that holds now. */
export const changePassword = (current: string, password: string): Promise<Response> =>
  postJson('/api/account/password', { current, password });

export const offerSecondFactor = async (current: string): Promise<{ secret: string; uri: string }> =>
  (await postJson('/api/account/totp', { current })).json();

/** @returns the recovery codes, which are shown this once */
export const acceptSecondFactor = async (code: string): Promise<readonly string[]> =>
  ((await (await putJson('/api/account/totp', { code })).json()) as { recoveryCodes: string[] }).recoveryCodes;

export const dropSecondFactor = (current: string): Promise<Response> => postJson('/api/account/totp/drop', { current });
