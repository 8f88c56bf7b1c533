import type { Duplex } from 'node:stream';
import { AssociationError, type AssociationUser, DEFAULT_TIMERS, type Timers } from './association-user.ts';
import {
  ABORT_REASON,
  type AssociateAccept,
  type AssociateReject,
  type AssociateRequest,
  type ControlPdu,
  decodePdu,
  encodeAbort,
  encodeAssociateAccept,
  encodeAssociateReject,
  encodeAssociateRequest,
  encodeReleaseReply,
  encodeReleaseRequest,
  PDU,
} from './pdu.ts';
import { PduError } from './pdu-items.ts';
import { PduStream } from './pdu-stream.ts';
import { ACTIONS, type Action, actionFor, type Event, type State } from './state-machine.ts';

export { AssociationError, type AssociationUser, DEFAULT_TIMERS, type Timers } from './association-user.ts';

/** One association on an open connection (TCP or TLS): the actions of the protocol machine. */
export class Association {
  readonly #transport: Duplex;
  readonly #user: AssociationUser;
  readonly #timers: Timers;
  readonly #isRequestor: boolean;
  readonly #stream: PduStream;
  #state: State;
  #artim: NodeJS.Timeout | undefined;
  #idle: NodeJS.Timeout | undefined;
  #moved = true;
  #error: AssociationError | undefined;
  #ended = false;
  #broken = false;
  #draining: PromiseWithResolvers<void> | undefined;
  /** bytes of the connection, both ways */
  received = 0;
  sent = 0;

  private constructor(transport: Duplex, user: AssociationUser, timers: Timers, isRequestor: boolean) {
    this.#transport = transport;
    this.#user = user;
    this.#timers = timers;
    this.#isRequestor = isRequestor;
    this.#state = isRequestor ? 'Sta4' : 'Sta1';
    this.#stream = new PduStream({
      control: (type, body) => this.#controlPdu(type, body),
      data: (contextId, control, bytes, ends) => {
        // Most frequent by far: the table is asked, but nothing else done.
        if (actionFor(this.#state, 'dataPdu') === 'DT-2') this.#user.data(contextId, control, bytes, ends);
        else this.#fire('dataPdu', () => this.#user.data(contextId, control, bytes, ends));
      },
    });
    transport.on('data', (chunk: Buffer) => this.#receive(chunk));
    transport.on('drain', () => this.#drained());
    transport.on('error', (error) => {
      this.#error ??= new AssociationError('closed', 'the connection failed', { cause: error });
    });
    transport.on('end', () => this.#closed());
    transport.on('close', () => this.#closed());
  }

  /** Waits for the peer's A-ASSOCIATE-RQ. */
  static accepting(transport: Duplex, user: AssociationUser, timers: Timers = DEFAULT_TIMERS): Association {
    const association = new Association(transport, user, timers, false);
    association.#fire('transportIndication');
    return association;
  }

  /** Sends an A-ASSOCIATE-RQ over a connection that is open. */
  static requesting(
    transport: Duplex,
    request: AssociateRequest,
    user: AssociationUser,
    timers: Timers = DEFAULT_TIMERS,
  ): Association {
    const association = new Association(transport, user, timers, true);
    association.#fire('transportConfirmed', () => association.#write(encodeAssociateRequest(request)));
    association.#startArtim();
    return association;
  }

  get state(): State {
    return this.#state;
  }

  accept(accept: AssociateAccept): void {
    this.#fire('associateAccept', () => this.#write(encodeAssociateAccept(accept)));
    this.#watchIdleness();
  }

  reject(reject: AssociateReject): void {
    this.#error ??= new AssociationError('rejected', 'the association was rejected', { reject });
    this.#fire('associateReject', () => this.#write(encodeAssociateReject(reject)));
  }

  /**
   * Sends whole P-DATA-TF PDUs; resolves when more may be sent.
   * @throws AssociationError when the association has ended
   */
  send(buffers: readonly Uint8Array[]): Promise<void> | undefined {
    if (actionFor(this.#state, 'dataRequest') === undefined) throw this.#lost();
    const transport = this.#transport;
    if (buffers.length > 1) transport.cork();
    for (const bytes of buffers) {
      this.sent += bytes.length;
      transport.write(bytes);
    }
    if (buffers.length > 1) transport.uncork();
    if (!transport.writableNeedDrain) return undefined;
    this.#draining ??= Promise.withResolvers();
    return this.#draining.promise.then(() => {
      if (actionFor(this.#state, 'dataRequest') === undefined) throw this.#lost();
    });
  }

  /** Ends the association when all has been said. Its end is told by `ended`. */
  release(): void {
    if (actionFor(this.#state, 'releaseRequest') === undefined) return;
    this.#fire('releaseRequest', () => this.#write(encodeReleaseRequest()));
    this.#startArtim();
  }

  respondRelease(): void {
    if (actionFor(this.#state, 'releaseResponse') === undefined) return;
    this.#fire('releaseResponse', () => this.#write(encodeReleaseReply()));
  }

  abort(kind: AssociationError['kind'] = 'aborted', message = 'the association was aborted here'): void {
    if (this.#state === 'Sta2') {
      // Nothing has been asked for: nobody is told, the connection ends.
      this.#error ??= new AssociationError(kind, message);
      this.#fire('artimExpired');
      return;
    }
    if (actionFor(this.#state, 'abortRequest') === undefined) return;
    this.#error ??= new AssociationError(kind, message);
    this.#fire('abortRequest');
  }

  /** Back-pressure: nothing is read from the connection until `resume`. */
  pause(): void {
    if (this.#state !== 'Sta13') this.#transport.pause();
  }

  resume(): void {
    this.#moved = true;
    this.#transport.resume();
  }

  #receive(chunk: Buffer): void {
    this.received += chunk.length;
    this.#moved = true;
    if (this.#broken) return;
    try {
      this.#stream.push(chunk);
    } catch (error) {
      // Where the next PDU begins is not known any more. A defect of ours must not cost more than this association either.
      this.#broken = true;
      const reason = error instanceof PduError ? error.reason : ABORT_REASON.notSpecified;
      this.#error ??= new AssociationError('malformed', 'the peer sent what cannot be read', { cause: error });
      this.#fire('invalidPdu', undefined, reason);
    }
  }

  #controlPdu(type: number, body: Buffer): void {
    const pdu = decodePdu(type, body);
    switch (pdu.type) {
      case PDU.associateRequest:
        this.#fire('associateRqPdu', () => this.#user.requested?.(pdu.request));
        break;
      case PDU.associateAccept:
        this.#fire('associateAcPdu', () => {
          this.#stopArtim();
          this.#watchIdleness();
          this.#user.accepted?.(pdu.accept);
        });
        break;
      case PDU.associateReject:
        this.#fire('associateRjPdu', () => this.#rejected(pdu));
        break;
      case PDU.releaseRequest:
        this.#fire('releaseRqPdu', () => this.#state === 'Sta8' && this.#user.releasing());
        break;
      case PDU.releaseReply:
        this.#fire('releaseRpPdu');
        break;
      case PDU.abort: {
        const { abort } = pdu;
        this.#error ??= new AssociationError('aborted', 'the peer aborted the association', { abort });
        this.#fire('abortPdu');
        break;
      }
    }
  }

  #rejected({ reject }: Extract<ControlPdu, { reject: AssociateReject }>): void {
    this.#error ??= new AssociationError('rejected', 'the peer rejected the association', { reject });
  }

  /** An event of Table 9-10. `then`: the indication to the user, or what is to be sent, where the action has one. */
  #fire(event: Event, then?: () => void, reason: number = ABORT_REASON.unexpectedPdu): void {
    const action = actionFor(this.#state, event);
    if (action === undefined) return;
    const [usual, other] = ACTIONS[action] as readonly [State, State?];
    this.#state = action === 'AR-8' && !this.#isRequestor ? other! : usual;
    this.#perform(action, then, reason);
  }

  #perform(action: Action, then: (() => void) | undefined, reason: number): void {
    switch (action) {
      case 'AE-5':
        this.#startArtim();
        break;
      case 'AE-6':
        this.#stopArtim();
        then?.();
        return;
      case 'AE-4':
        then?.();
        this.#close();
        break;
      case 'AE-8':
      case 'AR-4':
        then?.();
        this.#awaitClose();
        break;
      case 'AR-3':
        this.#close();
        break;
      case 'AR-8':
      case 'AR-10':
        then?.();
        // In a collision both have said all they had to: nothing is waited for.
        if (this.#state !== 'Sta10') this.respondRelease();
        return;
      case 'AA-1':
        this.#error ??= new AssociationError('malformed', 'the peer sent what it may not send now');
        this.#write(encodeAbort({ source: 0, reason: 0 }));
        this.#awaitClose();
        break;
      case 'AA-2':
      case 'AA-3':
        this.#close();
        break;
      case 'AA-4':
      case 'AA-5':
      case 'AR-5':
        this.#stopArtim();
        this.#end();
        break;
      case 'AA-6':
        return;
      case 'AA-7':
        this.#write(encodeAbort({ source: 2, reason }));
        break;
      case 'AA-8':
        this.#error ??= new AssociationError('malformed', 'the peer sent what it may not send now');
        this.#write(encodeAbort({ source: 2, reason }));
        this.#awaitClose();
        break;
      default:
        then?.();
    }
  }

  /** Nothing more is said or listened to; the peer closes, or ARTIM does. */
  #awaitClose(): void {
    this.#startArtim();
    this.#transport.resume();
    this.#end();
  }

  #close(): void {
    this.#stopArtim();
    this.#transport.end();
    this.#transport.resume();
    // A peer that does not close its side must not keep ours.
    setTimeout(() => this.#transport.destroy(), 1_000).unref();
    this.#end();
  }

  #closed(): void {
    if (actionFor(this.#state, 'transportClosed') === undefined) {
      this.#end();
      return;
    }
    if (this.#state !== 'Sta13')
      this.#error ??= new AssociationError('closed', 'the peer closed the connection without a release');
    this.#fire('transportClosed');
    if (!this.#transport.destroyed) this.#transport.end();
  }

  /** Tells the user, once. */
  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#idle);
    this.#drained();
    this.#user.ended(this.#error);
  }

  #write(bytes: Buffer): void {
    if (this.#transport.destroyed || this.#transport.writableEnded) return;
    this.sent += bytes.length;
    this.#transport.write(bytes);
  }

  #drained(): void {
    this.#moved = true;
    this.#draining?.resolve();
    this.#draining = undefined;
  }

  #startArtim(): void {
    this.#stopArtim();
    this.#artim = setTimeout(() => {
      if (this.#state === 'Sta5' || this.#state === 'Sta7') this.abort('timeout', 'the peer did not answer');
      if (this.#state === 'Sta2') this.#error ??= new AssociationError('timeout', 'the peer asked for no association');
      this.#fire('artimExpired');
      if (this.#state === 'Sta1') this.#transport.destroy();
    }, this.#timers.artimMs);
    this.#artim.unref();
  }

  #stopArtim(): void {
    clearTimeout(this.#artim);
  }

  #watchIdleness(): void {
    this.#idle = setInterval(() => {
      const stuck = this.#draining !== undefined || this.#user.awaitsPeer();
      if (stuck && !this.#moved) this.abort('timeout', 'nothing was heard of the peer');
      this.#moved = false;
    }, this.#timers.idleMs);
    this.#idle.unref();
  }

  #lost(): AssociationError {
    return this.#error ?? new AssociationError('closed', 'the association has ended');
  }
}
