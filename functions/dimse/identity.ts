import type { Principal } from '#core/access.ts';
import { type AssociateReject, REJECT } from './pdu.ts';
import type { UserIdentity } from './user-information.ts';

/** Kinds of user identity (PS3.7 Table D.3-14). */
export const IDENTITY = { username: 1, usernameAndPasscode: 2, kerberos: 3, saml: 4, jsonWebToken: 5 } as const;

/** Who a peer says that it is, and what that is worth here. */
export interface IdentityPolicy {
  /** associations without an identity that could be verified are rejected */
  readonly required: boolean;
  /**
   * Whom an identity stands for; undefined: for nobody, it is wrong. 'unsupported': a kind that nobody here can verify; then the
   * association goes on without, unless one is required.
   * @param from address of the peer
   */
  verify(identity: UserIdentity, from?: string): Promise<Principal | undefined | 'unsupported'>;
}

export type IdentityOutcome =
  | { readonly reject: AssociateReject }
  /** `response`: the server response of A-ASSOCIATE-AC, where one was asked for (PS3.7 D.3.3.7.2; empty for what is no ticket) */
  | { readonly principal: Principal | undefined; readonly response: Uint8Array | undefined };

/** What comes of the identity in a request for an association (PS3.7 D.3.3.7). */
export async function identify(
  identity: UserIdentity | undefined,
  policy: IdentityPolicy | undefined,
  from?: string,
): Promise<IdentityOutcome> {
  const anybody = { principal: undefined, response: undefined };
  if (policy === undefined) return anybody;
  const verified = identity === undefined ? 'unsupported' : await policy.verify(identity, from);
  if (verified === undefined) return { reject: REJECT.identityNotAccepted };
  if (verified === 'unsupported') return policy.required ? { reject: REJECT.identityNotAccepted } : anybody;
  return { principal: verified, response: identity?.responseRequested ? new Uint8Array(0) : undefined };
}
