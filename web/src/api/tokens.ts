import { ask, askJson, postJson } from './http.ts';

/** A token that has been given out (functions/core/tokens.ts); never the token itself. Times are ms since 1970. */
export interface IssuedToken {
  readonly id: string;
  readonly name: string;
  readonly subject: string;
  readonly roles: readonly string[];
  readonly createdAt: number;
  readonly createdBy: string;
  /** null: until it is revoked */
  readonly expiresAt: number | null;
}

export interface GrantableRole {
  readonly role: string;
  /** actions (docs/roles.md) */
  readonly permits: readonly string[];
}

export interface Tokens {
  readonly items: readonly IssuedToken[];
  /** those that whoever asks may give */
  readonly roles: readonly GrantableRole[];
}

export interface AskedToken {
  readonly name: string;
  readonly subject: string;
  readonly roles: readonly string[];
  /** null: until it is revoked */
  readonly expiresInDays: number | null;
}

export const listTokens = (signal: AbortSignal): Promise<Tokens> => askJson('/api/tokens', { signal });

/** The answer is the only place where the token ever stands. */
export const issueToken = async (asked: AskedToken): Promise<IssuedToken & { readonly token: string }> =>
  (await postJson('/api/tokens', asked)).json();

export const revokeToken = (id: string): Promise<Response> =>
  ask(`/api/tokens/${encodeURIComponent(id)}`, { method: 'DELETE' });
