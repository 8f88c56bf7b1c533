import { BlockList, createServer, isIPv6, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import type { Principal } from '#core/access.ts';
import { AssociationError, DEFAULT_TIMERS, type Timers } from './association.ts';
import { type IdentityPolicy, identify } from './identity.ts';
import { type AcceptorPolicy, negotiate } from './negotiation.ts';
import { type AssociateReject, type AssociateRequest, DICOM_APPLICATION_CONTEXT, REJECT } from './pdu.ts';
import { type Decision, type PerformedOperation, type ServiceTable, Session, type SessionEnd } from './session.ts';

/** One line of an allow-list: an AE title (`*`: any), perhaps bound to an address or a network (`10.1.0.0/16`). */
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
  /** absent: user identities are read and not heeded */
  readonly identity?: IdentityPolicy | undefined;
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
  /** of an association that was accepted */
  readonly session?: Session | undefined;
  readonly address: string | undefined;
  readonly accepted: boolean;
  readonly seconds: number;
}

export interface DimseServer {
  /** not yet listening: a host binds it */
  readonly server: Server;
  readonly associations: () => number;
  /**
   * No new associations; those under way may end within `graceMs`, then they are aborted. What was being performed has come to its end then,
   * too, also of those that had broken off before, as long as that takes no more than SETTLE_MS.
   */
  close(graceMs: number): Promise<void>;
}

/** Connections on which no association has been asked for yet, beyond which new ones are dropped at once. */
const WAITING_CONNECTIONS = 1_000;
/** How long whoever stops the server waits for what is performed for peers that have gone (ms). */
const SETTLE_MS = 10_000;

/** The acceptor of associations on TCP or TLS. */
export function createDimseServer(options: DimseServerOptions): DimseServer {
  const sessions = new Set<Session>();
  /** operations whose peers have gone */
  const settling = new Set<Promise<void>>();
  let accepted = 0;
  let waiting = 0;
  let closing = false;

  /** A connection that nothing came of: one line for each, and nothing else. */
  const dropped = (address: string | undefined, error: AssociationError): void =>
    options.onEnd?.({
      error,
      operations: 0,
      received: 0,
      sent: 0,
      callingAETitle: undefined,
      address,
      accepted: false,
      seconds: 0,
    });

  const serve = (socket: Socket): void => {
    if (closing || waiting >= WAITING_CONNECTIONS) {
      const address = socket.remoteAddress;
      socket.on('error', () => {});
      socket.destroy();
      dropped(address, new AssociationError('rejected', 'too many connections ask for nothing'));
      return;
    }
    waiting++;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 60_000);
    const startedAt = performance.now();
    const address = socket.remoteAddress;
    let request: AssociateRequest | undefined;
    let isAccepted = false;
    let isCounted = false;
    const count = (by: 1 | -1): void => {
      isCounted = by === 1;
      accepted += by;
    };
    const session = Session.accept(socket, {
      peerAddress: address,
      timers: options.timers ?? DEFAULT_TIMERS,
      services: options.services,
      onOperation: options.onOperation,
      onDefect: options.onDefect,
      decide: (asked) => {
        waiting--;
        request = asked;
        const reject = refusal(options, asked, address, accepted, closing);
        if (reject !== undefined) return { reject };
        // It has its place while its identity is being verified.
        count(1);
        const refuse = (why: AssociateReject): Decision => {
          if (isCounted) count(-1);
          return { reject: why };
        };
        const admit = (principal: Principal | undefined, identityResponse: Uint8Array | undefined): Decision => {
          isAccepted = true;
          const { accept, contexts } = negotiate(asked, options.policy);
          if (identityResponse === undefined) return { accept, contexts, principal };
          return { accept: { ...accept, user: { ...accept.user, identityResponse } }, contexts, principal };
        };
        if (options.identity === undefined) return admit(undefined, undefined);
        return identify(asked.user.identity, options.identity, address).then(
          (outcome) => ('reject' in outcome ? refuse(outcome.reject) : admit(outcome.principal, outcome.response)),
          (error) => {
            options.onDefect?.(error);
            return refuse(REJECT.temporaryCongestion);
          },
        );
      },
    });
    sessions.add(session);
    void session.ended.then((end) => {
      if (request === undefined) waiting--;
      if (isCounted) count(-1);
      sessions.delete(session);
      const settled: Promise<void> = session.settled.finally(() => settling.delete(settled));
      settling.add(settled);
      const seconds = (performance.now() - startedAt) / 1000;
      const of = { callingAETitle: request?.callingAETitle, ...(isAccepted && { session }), address };
      options.onEnd?.({ ...end, ...of, accepted: isAccepted, seconds });
    });
  };

  const server = options.tls === undefined ? createServer(serve) : createTlsServer(options.tls, serve);
  // Also those that are still within a TLS handshake count.
  server.maxConnections = WAITING_CONNECTIONS + options.maxAssociations;
  server.on('drop', (data) =>
    dropped(data?.remoteAddress, new AssociationError('rejected', 'there are too many connections')),
  );
  // A failed handshake is one connection's misfortune.
  server.on('tlsClientError', (cause, socket: Socket) => {
    const address = socket.remoteAddress;
    socket.destroy();
    dropped(address, new AssociationError('malformed', 'the TLS handshake failed', { cause }));
  });
  return {
    server,
    associations: () => accepted,
    async close(graceMs) {
      closing = true;
      server.close();
      // Who has asked for no association yet is not waited for.
      for (const session of sessions) if (!session.isAskedFor) session.abort('the server is being stopped');
      const timer = setTimeout(() => {
        for (const session of sessions) session.abort('the server is being stopped');
      }, graceMs);
      await Promise.all([...sessions].map(({ ended }) => ended));
      clearTimeout(timer);
      await atMost(SETTLE_MS, Promise.all(settling));
    },
  };
}

async function atMost(limitMs: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limitMs);
  });
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
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
  if (allowed !== 'any' && entityOf(allowed, request.callingAETitle, address) === undefined)
    return REJECT.callingAETitleNotRecognized;
  if (closing) return REJECT.temporaryCongestion;
  if (accepted >= maxAssociations) return REJECT.localLimitExceeded;
  return undefined;
}

/** The line of an allow-list that lets somebody in: the first that fits. */
export const entityOf = <E extends AllowedEntity>(
  allowed: readonly E[],
  aeTitle: string,
  address: string | undefined,
): E | undefined =>
  allowed.find(
    (one) =>
      (one.aeTitle === aeTitle || one.aeTitle === '*') &&
      (one.address === undefined || (address !== undefined && isWithin(one.address, address))),
  );

/**
 * An address, or a network as `address/bits`. IPv4 peers of a dual-stack socket show themselves as `::ffff:…`, those of a link-local address
 * with the interface behind it (`fe80::1%eth0`).
 */
function isWithin(range: string, address: string): boolean {
  const plain = address.replace(/^::ffff:(?=\d+\.)/, '').replace(/%.*$/, '');
  const [network = '', bits] = range.split('/');
  const list = new BlockList();
  if (bits === undefined) list.addAddress(network, familyOf(network));
  else list.addSubnet(network, Number(bits), familyOf(network));
  return list.check(plain, familyOf(plain));
}

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIPv6(address) ? 'ipv6' : 'ipv4');
