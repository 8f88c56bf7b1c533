import type { Principal } from '../access.ts';

/**
 * TokenVerifier — from a bearer token to who it stands for.
 * Contract: an unknown, expired or revoked token is `undefined`, never an error; timing tells nothing about stored tokens.
 * @throws PacsError BUSY when the issuer's keys or the store cannot be reached
 */
export interface TokenVerifier {
  verify(token: string): Promise<Principal | undefined>;
}
