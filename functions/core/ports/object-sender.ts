/**
 * ObjectSender — posts stored objects to a DICOMweb archive elsewhere (STOW-RS, PS3.18 §10.5).
 *
 * Contract:
 * - one request a call; each object is read once, as fast as the receiver takes it: nothing is held.
 * - nothing leaves for a host that the configuration does not allow, whatever a name resolves to; redirections are not followed.
 * - any status is an answer, and given back. What is thrown says whether anything may have arrived.
 */
export interface ObjectSender {
  /**
   * @throws PacsError BUSY: it cannot be reached, nothing arrived; OUTCOME_UNKNOWN: it may have arrived; UNAUTHENTICATED: there are no
   * credentials to be had; FORBIDDEN: the configuration does not allow it; and what reading the objects threw
   */
  send(request: SendRequest): Promise<SendAnswer>;
}

export interface SendRequest {
  readonly tenant: string;
  /** DICOMweb root */
  readonly url: string;
  /** name of the credentials to show; none are shown without */
  readonly authentication?: string | undefined;
  /** how long it may be silent (ms) */
  readonly timeoutMs: number;
  /** archives that the objects have come through, this one last */
  readonly route: readonly string[];
  readonly objects: readonly SentObject[];
}

export interface SentObject {
  readonly sizeBytes: number;
  /** lower-case hex */
  readonly sha256: string;
  read(): AsyncIterable<Uint8Array>;
}

export interface SendAnswer {
  readonly status: number;
  /** Retry-After */
  readonly retryAfter?: string | undefined;
  /** by which the receiver says it is known on routes */
  readonly archive?: string | undefined;
  /** the first megabytes of the body */
  readonly text: string;
}
