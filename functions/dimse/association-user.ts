import type { Abort, AssociateAccept, AssociateReject, AssociateRequest } from './pdu.ts';

/** Times after which a peer that says nothing is given up (ms). */
export interface Timers {
  /** PS3.8 §9.1.5: to an A-ASSOCIATE-RQ, and to the closing of the connection; also to the answer of a request or a release */
  readonly artimMs: number;
  /** on an established association while it is the peer's turn */
  readonly idleMs: number;
}
export const DEFAULT_TIMERS: Timers = { artimMs: 30_000, idleMs: 10 * 60_000 };

/** The association did not come about, or is no more. */
export class AssociationError extends Error {
  readonly kind: 'rejected' | 'aborted' | 'closed' | 'timeout' | 'malformed';
  readonly reject: AssociateReject | undefined;
  readonly abort: Abort | undefined;

  constructor(
    kind: AssociationError['kind'],
    message: string,
    details: { reject?: AssociateReject; abort?: Abort; cause?: unknown } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'AssociationError';
    this.kind = kind;
    this.reject = details.reject;
    this.abort = details.abort;
  }
}

/** What the layer above is told. None of these may throw. */
export interface AssociationUser {
  /** acceptor: answer with `accept` or `reject` */
  requested?(request: AssociateRequest): void;
  /** requestor */
  accepted?(accept: AssociateAccept): void;
  /** a piece of a presentation data value: see PduSink */
  data(contextId: number, control: number, bytes: Buffer, ends: boolean): void;
  /** the peer has nothing more to send: finish, then call `respondRelease` */
  releasing(): void;
  /** the end; `error` unless it was released */
  ended(error: AssociationError | undefined): void;
  /** is it the peer's turn? While it is not, silence is no fault of the peer's. */
  awaitsPeer(): boolean;
}
