import type { Duplex } from 'node:stream';
import type { Principal } from '#core/access.ts';
import { Association, AssociationError, type AssociationUser, DEFAULT_TIMERS, type Timers } from './association.ts';
import { AwaitedResponses, type Response } from './awaited-responses.ts';
import { COMMAND, type Command, RESPONSE } from './command-set.ts';
import { type Message, MessageReader, MessageWriter, type OutgoingDataSet } from './messages.ts';
import { type AcceptedContext, ASYNCHRONOUS_OPERATIONS, acceptedContexts, MAX_PDU_BYTES } from './negotiation.ts';
import { type PerformedOperation, perform, type ServiceTable } from './operation.ts';
import { type AssociateAccept, type AssociateReject, type AssociateRequest, REJECT } from './pdu.ts';
import { isPending } from './status.ts';

export type { Response } from './awaited-responses.ts';
export type { Operation, OperationFacts, PerformedOperation, Service, ServiceTable } from './operation.ts';

export interface SessionEnd {
  readonly error: AssociationError | undefined;
  readonly operations: number;
  readonly received: number;
  readonly sent: number;
}

/** The answer to a request for an association; `principal`: whom its user identity stands for. */
export type Decision =
  | {
      readonly accept: AssociateAccept;
      readonly contexts: ReadonlyMap<number, AcceptedContext>;
      readonly principal?: Principal | undefined;
    }
  | { readonly reject: AssociateReject };

export interface AcceptorOptions {
  readonly timers?: Timers;
  /** what to answer; it may take its time */
  readonly decide: (request: AssociateRequest) => Decision | Promise<Decision>;
  /** where the peer's connection comes from */
  readonly peerAddress?: string | undefined;
  readonly services: ServiceTable;
  readonly onOperation?: ((operation: PerformedOperation) => void) | undefined;
  /** a defect, or a failure of a service that is not the peer's fault */
  readonly onDefect?: ((error: unknown) => void) | undefined;
}

export interface RequestorOptions {
  readonly timers?: Timers | undefined;
  /** what the peer may ask of us: C-STORE while C-GET runs, N-EVENT-REPORT */
  readonly services?: ServiceTable | undefined;
  readonly onDefect?: ((error: unknown) => void) | undefined;
}

const CANCELLABLE: ReadonlySet<number> = new Set([COMMAND.cFind, COMMAND.cMove, COMMAND.cGet]);

/** DIMSE on one association: requests of both sides, their responses, cancellation. Either side may hold either role. */
export class Session {
  readonly #association: Association;
  readonly #reader: MessageReader;
  #writer: MessageWriter | undefined;
  readonly #services: ServiceTable;
  readonly #onDefect: (error: unknown) => void;
  readonly #onOperation: (operation: PerformedOperation) => void;
  #contexts: ReadonlyMap<number, AcceptedContext> = new Map();
  #request: AssociateRequest | undefined;
  /** requests of the peer; one that uses a message id twice has as many as it asked for */
  readonly #running = new Set<{ id: number; abort: AbortController; done: Promise<void> }>();
  readonly #awaited = new AwaitedResponses();
  #window = 1;
  #operations = 0;
  #error: AssociationError | undefined;
  #principal: Principal | undefined;
  #peerAddress: string | undefined;
  #identityResponse: Uint8Array | undefined;
  #served: Promise<void> = Promise.resolve();
  /** resolves with how the association ended; never rejects */
  readonly ended: Promise<SessionEnd>;

  private constructor(
    open: (user: AssociationUser) => Association,
    options: Pick<AcceptorOptions, 'onOperation' | 'onDefect'> & { readonly services: ServiceTable },
    user: Pick<AssociationUser, 'requested' | 'accepted'>,
    settled: (error: AssociationError | undefined) => void,
  ) {
    this.#services = options.services;
    this.#onDefect = options.onDefect ?? (() => {});
    this.#onOperation = options.onOperation ?? (() => {});
    const flow = { pause: () => this.#association.pause(), resume: () => this.#association.resume() };
    this.#reader = new MessageReader(flow, (id) => this.#contexts.has(id));
    let markEnded = (_: SessionEnd): void => {};
    this.ended = new Promise((resolve) => {
      markEnded = resolve;
    });
    this.#association = open({
      ...user,
      data: (contextId, control, bytes, ends) => this.#reader.data(contextId, control, bytes, ends),
      releasing: () => {
        // What came just before it still counts; then who releases has nothing more to say: what is still awaited will not come.
        for (const response of this.#reader.takeResponses()) this.#awaited.settle(response);
        this.#awaited.settleAll(new AssociationError('closed', 'the peer released the association'));
        this.#reader.end(undefined);
      },
      awaitsPeer: () => this.#running.size === 0 || this.#awaited.size > 0 || this.#reader.underWay,
      ended: (error) => {
        this.#error = error;
        const lost = error ?? new AssociationError('closed', 'the association was released');
        this.#reader.end(lost);
        for (const { abort } of this.#running) abort.abort();
        this.#awaited.settleAll(lost);
        settled(error);
        const { received, sent } = this.#association;
        markEnded({ error, operations: this.#operations, received, sent });
      },
    });
  }

  /** Serves an association that a peer asks for on `transport`, which is open. */
  static accept(transport: Duplex, options: AcceptorOptions): Session {
    const session: Session = new Session(
      (user) => Association.accepting(transport, user, options.timers ?? DEFAULT_TIMERS),
      options,
      {
        requested: (request) => {
          const decision = options.decide(request);
          if (decision instanceof Promise) {
            decision
              .then((made) => session.#answer(request, made))
              .catch((error: unknown) => {
                // A defect of ours costs this association, not the process.
                session.#onDefect(error);
                session.#association.reject(REJECT.temporaryCongestion);
              });
          } else session.#answer(request, decision);
        },
      },
      () => {},
    );
    session.#peerAddress = options.peerAddress;
    return session;
  }

  /** Asks for an association. @throws AssociationError when there will be none */
  static request(transport: Duplex, request: AssociateRequest, options: RequestorOptions = {}): Promise<Session> {
    return new Promise((resolve, reject) => {
      const session: Session = new Session(
        (user) => Association.requesting(transport, request, user, options.timers ?? DEFAULT_TIMERS),
        { ...options, services: options.services ?? new Map() },
        {
          accepted: (accept) => {
            session.#begin(request, acceptedContexts(request.contexts, accept), accept.user.maxPduBytes, accept.user);
            session.#served = session.#serve();
            resolve(session);
          },
        },
        (error) => reject(error ?? new AssociationError('closed', 'the peer closed the connection')),
      );
    });
  }

  get contexts(): ReadonlyMap<number, AcceptedContext> {
    return this.#contexts;
  }

  get calledAETitle(): string {
    return this.#request?.calledAETitle ?? '';
  }

  get callingAETitle(): string {
    return this.#request?.callingAETitle ?? '';
  }

  /** What the requestor asked for, of a SOP class, by extended negotiation. */
  extendedNegotiation(SOPClassUID: string): Uint8Array | undefined {
    return this.#request?.user.extended?.find((one) => one.SOPClassUID === SOPClassUID)?.information;
  }

  /** Whom the peer's user identity stands for, where one was verified. */
  get principal(): Principal | undefined {
    return this.#principal;
  }

  /** Requestor: what the acceptor answered to our user identity; undefined where it said nothing. */
  get identityResponse(): Uint8Array | undefined {
    return this.#identityResponse;
  }

  get peerAddress(): string | undefined {
    return this.#peerAddress;
  }

  /** Behind the end: resolves when nothing that the peer has asked for is being performed any more. */
  get settled(): Promise<void> {
    return this.#served;
  }

  /** Acceptor: the peer has asked for an association. */
  get isAskedFor(): boolean {
    return this.#association.state !== 'Sta2';
  }

  get isOpen(): boolean {
    return this.#association.state === 'Sta6';
  }

  /**
   * A request of ours. `onPending` gets each response before the final one, with which the promise resolves. `cancel` sends C-CANCEL:
   * responses go on until the final one.
   * @throws AssociationError
   */
  async request(
    context: AcceptedContext,
    fields: Omit<Command, 'MessageID'>,
    dataSet?: OutgoingDataSet,
    options: {
      readonly onPending?: (response: Response) => Promise<void> | void;
      readonly cancel?: AbortSignal | undefined;
    } = {},
  ): Promise<Response> {
    // While the association is being released, no response would come any more.
    if (!this.isOpen) throw this.#error ?? new AssociationError('closed', 'the association is not open');
    const awaited = this.#awaited.begin();
    const { MessageID } = awaited;
    const cancel = (): void => {
      const command = { CommandField: COMMAND.cCancel, MessageIDBeingRespondedTo: MessageID };
      this.#write(context.id, command).catch(() => {});
    };
    try {
      await this.#write(context.id, { ...fields, MessageID }, dataSet);
      if (options.cancel?.aborted) cancel();
      else options.cancel?.addEventListener('abort', cancel, { once: true });
      for (;;) {
        const response = await awaited.next();
        if (response instanceof AssociationError) throw response;
        if (!isPending(response.command.Status)) return response;
        if (options.onPending) await options.onPending(response);
        else response.dataSet?.discard();
      }
    } finally {
      awaited.end();
      options.cancel?.removeEventListener('abort', cancel);
    }
  }

  /** Ends the association in good order; resolves when it has ended. */
  async release(): Promise<void> {
    this.#association.release();
    await this.ended;
  }

  abort(message?: string): void {
    this.#association.abort('aborted', message);
  }

  #answer(request: AssociateRequest, decision: Decision): void {
    // The peer may have gone while it was being decided.
    if (this.#association.state !== 'Sta3') return;
    if ('reject' in decision) {
      this.#association.reject(decision.reject);
      return;
    }
    this.#principal = decision.principal;
    this.#begin(request, decision.contexts, request.user.maxPduBytes, decision.accept.user);
    this.#association.accept(decision.accept);
    this.#served = this.#serve();
  }

  #begin(
    request: AssociateRequest,
    contexts: ReadonlyMap<number, AcceptedContext>,
    peerMaxPduBytes: number,
    agreed: AssociateAccept['user'],
  ): void {
    this.#request = request;
    this.#contexts = contexts;
    const maxPduBytes = peerMaxPduBytes === 0 ? MAX_PDU_BYTES : Math.min(peerMaxPduBytes, MAX_PDU_BYTES);
    this.#writer = new MessageWriter(this.#association, maxPduBytes);
    this.#identityResponse = agreed.identityResponse;
    this.#window = agreed.asynchronousOperations === undefined ? 1 : ASYNCHRONOUS_OPERATIONS;
  }

  async #serve(): Promise<void> {
    for (;;) {
      const message = await this.#reader.next();
      if (message === undefined) break;
      await this.#take(message);
    }
    await Promise.all([...this.#running].map(({ done }) => done));
    this.#association.respondRelease();
  }

  async #take(message: Message): Promise<void> {
    const { command, dataSet } = message;
    if (command.CommandField & RESPONSE) {
      this.#awaited.settle(message);
      return;
    }
    if (command.CommandField === COMMAND.cCancel) {
      for (const { id, abort } of this.#running) if (id === command.MessageIDBeingRespondedTo) abort.abort();
      dataSet?.discard();
      return;
    }
    // A peer that sends more than was agreed waits: its next request is not read while these are performed.
    while (this.#running.size >= this.#window + CANCELLABLE.size)
      await Promise.race([...this.#running].map(({ done }) => done));
    const abort = new AbortController();
    this.#operations++;
    const done = this.#perform(message, abort.signal).finally(() => this.#running.delete(running));
    const running = { id: command.MessageID ?? 0, abort, done };
    this.#running.add(running);
  }

  #perform(message: Message, signal: AbortSignal): Promise<void> {
    return perform(message, {
      session: this,
      context: this.#contexts.get(message.contextId)!,
      services: this.#services,
      signal,
      write: (...written) => this.#write(...written),
      onOperation: this.#onOperation,
      onDefect: this.#onDefect,
    });
  }

  async #write(contextId: number, command: Command, dataSet?: OutgoingDataSet): Promise<void> {
    try {
      await this.#writer!.write(contextId, command, dataSet);
    } catch (error) {
      // A message that breaks off cannot be taken back, nor anything be sent behind it.
      if (!(error instanceof AssociationError)) this.#association.abort('aborted', 'a data set could not be read');
      throw error;
    }
  }

  get error(): AssociationError | undefined {
    return this.#error;
  }
}
