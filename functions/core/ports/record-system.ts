import type { Role } from '../access.ts';

/**
 * RecordSystem — an EHR that opens us for whom it has on its screen (SMART App Launch 2.2): where its login is, and what it says then.
 * @throws PacsError BUSY when it cannot be reached or answers what is no answer; UNAUTHENTICATED when it does not take the code, or when
 * what it says of the person is not signed by it
 */
export interface RecordSystem {
  /** URL of its FHIR endpoint: `iss` of a launch */
  readonly issuer: string;
  readonly tenant: string;
  /** roles of who comes from there; none: people sign in here as ever */
  readonly signIn: readonly Role[];
  /** Where the browser is sent. */
  authorizationUrl(request: {
    readonly launch: string;
    readonly redirectUri: string;
    readonly state: string;
    readonly nonce: string;
    /** PKCE, S256 */
    readonly challenge: string;
  }): Promise<string>;
  exchange(request: {
    readonly code: string;
    readonly redirectUri: string;
    readonly verifier: string;
    readonly nonce: string;
  }): Promise<LaunchContext>;
}

/** What is on the screen there. */
export interface LaunchContext {
  /** PatientIDs, as far as the configuration knows which of the identifiers they are; undefined: no patient */
  readonly patientIds?: readonly string[] | undefined;
  readonly studies: readonly string[];
  readonly accessionNumbers: readonly string[];
  /** who sits there, verified; where people are signed in by it */
  readonly subject?: string | undefined;
}
