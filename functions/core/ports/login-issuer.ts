import type { Principal } from '../access.ts';

/**
 * LoginIssuer — where people show who they are: an OpenID Connect issuer, by authorization code with PKCE (RFC 6749 §4.1, RFC 7636).
 * Contract: what an issuer says is believed only when its signature, issuer, audience, expiry and nonce hold.
 * `origin` is the archive as the browser sees it.
 * @throws PacsError BUSY where the issuer cannot be reached, or does not take the archive for its client; UNAUTHENTICATED where it refuses, or what it says does not hold
 */
export interface LoginIssuer {
  /** where the browser is sent */
  authorizationUrl(origin: string, login: LoginProof): Promise<string>;
  /** @param callback the whole address that the browser came back to */
  exchange(origin: string, callback: URL, login: LoginProof): Promise<LoginTokens>;
  /** undefined: the issuer has ended it */
  renew(origin: string, refreshToken: string): Promise<LoginTokens | undefined>;
  /** where the browser is sent so that it is signed out at the issuer as well; undefined where the issuer has no such address */
  logoutUrl(origin: string, idToken: string | undefined): Promise<string | undefined>;
  /** gives the refresh token back, where the issuer takes it */
  revoke(origin: string, refreshToken: string): Promise<void>;
}

/** What was made for one sign-in, and is compared at its end. */
export interface LoginProof {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

export interface LoginTokens {
  /** undefined: the answer to a renewal said nothing new of the person */
  readonly principal: Principal | undefined;
  readonly idToken: string | undefined;
  readonly refreshToken: string | undefined;
  /** how long they hold (s) */
  readonly expiresInSeconds: number;
}
