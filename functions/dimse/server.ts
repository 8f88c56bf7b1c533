import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { DEFAULT_TIMERS, type Timers } from './association.ts';
import { type AcceptorPolicy, negotiate } from './negotiation.ts';
import { type AssociateReject, type AssociateRequest, DICOM_APPLICATION_CONTEXT, REJECT } from './pdu.ts';
import { type PerformedOperation, type ServiceTable, Session, type SessionEnd } from './session.ts';

/** One line of an allow-list: an AE title, perhaps bound to an address. */
export interface AllowedEntity {
  readonly aeTitle: string;
  readonly address?: string | undefined;
}

export interface DimseServerOptions {
  readonly aeTitle: string;
  /** reject associations that call another AE title */
  readonly checkCalledAETitle: boolean;
  /** who may associate; 'any': everybody */
  readonly allowed: 'any' | readonly AllowedEntity[];
  readonly maxAssociations: number;
  readonly policy: AcceptorPolicy;
  readonly services: ServiceTable;
  readonly timers?: Timers | undefined;
  /** with it, connections are TLS (1.2 or later) */
  readonly tls?: TlsOptions | undefined;
  /** an association, or an attempt at one, has ended */
  readonly onEnd?: ((end: AssociationSummary) => void) | undefined;
  readonly onOperation?: ((operation: PerformedOperation) => void) | undefined;
  readonly onDefect?: ((error: unknown) => void) | undefined;
}

/** What may be said in a log: nothing of data sets. */
export interface AssociationSummary extends SessionEnd {
  readonly callingAETitle: string | undefined;
  readonly address: string | undefined;
  readonly accepted: boolean;
  readonly seconds: number;
}

export interface DimseServer {
  /** not yet listening: a host binds it */
  readonly server: Server;
  readonly associations: () => number;
  /** No new associations; those under way may end within `graceMs`, then they are aborted. */
  close(graceMs: number): Promise<void>;
}

/** Connections on which no association has been asked for yet, beyond which new ones are dropped at once. */
const WAITING_CONNECTIONS = 1_000;

/** The acceptor of associations on TCP or TLS. */
export function createDimseServer(options: DimseServerOptions): DimseServer {
  const sessions = new Set<Session>();
  let accepted = 0;
  let waiting = 0;
  let closing = false;

  const serve = (socket: Socket): void => {
    if (closing || waiting >= WAITING_CONNECTIONS) {
      socket.destroy();
      return;
    }
    waiting++;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 60_000);
    const startedAt = performance.now();
    const address = socket.remoteAddress;
    let request: AssociateRequest | undefined;
    let isAccepted = false;
    const session = Session.accept(socket, {
      timers: options.timers ?? DEFAULT_TIMERS,
      services: options.services,
      onOperation: options.onOperation,
      onDefect: options.onDefect,
      decide: (asked) => {
        waiting--;
        request = asked;
        const reject = refusal(options, asked, address, accepted, closing);
        if (reject !== undefined) return { reject };
        isAccepted = true;
        accepted++;
        return negotiate(asked, options.policy);
      },
    });
    sessions.add(session);
    void session.ended.then((end) => {
      if (request === undefined) waiting--;
      if (isAccepted) accepted--;
      sessions.delete(session);
      const seconds = (performance.now() - startedAt) / 1000;
      options.onEnd?.({ ...end, callingAETitle: request?.callingAETitle, address, accepted: isAccepted, seconds });
    });
  };

  const server = options.tls === undefined ? createServer(serve) : createTlsServer(options.tls, serve);
  // A failed handshake is one connection's misfortune.
  server.on('tlsClientError', (_error, socket: Socket) => socket.destroy());
  return {
    server,
    associations: () => accepted,
    async close(graceMs) {
      closing = true;
      server.close();
      const timer = setTimeout(() => {
        for (const session of sessions) session.abort('the server is being stopped');
      }, graceMs);
      await Promise.all([...sessions].map(({ ended }) => ended));
      clearTimeout(timer);
    },
  };
}

function refusal(
  { aeTitle, checkCalledAETitle, allowed, maxAssociations }: DimseServerOptions,
  request: AssociateRequest,
  address: string | undefined,
  accepted: number,
  closing: boolean,
): AssociateReject | undefined {
  if ((request.protocolVersion & 1) === 0) return REJECT.protocolVersionNotSupported;
  if (request.applicationContext !== DICOM_APPLICATION_CONTEXT) return REJECT.applicationContextNotSupported;
  if (checkCalledAETitle && request.calledAETitle !== aeTitle) return REJECT.calledAETitleNotRecognized;
  if (request.callingAETitle === '') return REJECT.callingAETitleNotRecognized;
  if (allowed !== 'any' && !allowed.some((one) => isEntity(one, request.callingAETitle, address)))
    return REJECT.callingAETitleNotRecognized;
  if (closing) return REJECT.temporaryCongestion;
  if (accepted >= maxAssociations) return REJECT.localLimitExceeded;
  return undefined;
}

const isEntity = (allowed: AllowedEntity, aeTitle: string, address: string | undefined): boolean =>
  allowed.aeTitle === aeTitle &&
  (allowed.address === undefined || allowed.address === address || `::ffff:${allowed.address}` === address);
