import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import type { DataSet } from '#core/dicom/types.ts';
import { AssociationError, DEFAULT_TIMERS, type Timers } from './association.ts';
import { COMMAND, PRIORITY } from './command-set.ts';
import { decodeIdentifier, encodeIdentifier } from './identifiers.ts';
import type { OutgoingDataSet } from './messages.ts';
import { type AcceptedContext, ourInformation } from './negotiation.ts';
import { type AssociateRequest, DICOM_APPLICATION_CONTEXT, type ProposedContext } from './pdu.ts';
import { type Response, type ServiceTable, Session } from './session.ts';
import type { UserInformation } from './user-information.ts';

/** An application entity and where it listens. */
export interface RemoteEntity {
  readonly aeTitle: string;
  readonly host: string;
  readonly port: number;
  readonly tls?: ConnectionOptions | undefined;
}

export interface AssociateOptions {
  readonly callingAETitle: string;
  readonly contexts: readonly ProposedContext[];
  readonly user?: Partial<UserInformation> | undefined;
  /** what the peer may ask of us */
  readonly services?: ServiceTable | undefined;
  readonly timers?: Timers | undefined;
}

/** Connects and asks for an association. @throws AssociationError */
export async function associate(remote: RemoteEntity, options: AssociateOptions): Promise<Session> {
  const timers = options.timers ?? DEFAULT_TIMERS;
  const transport = await connect(remote, timers.artimMs);
  const request: AssociateRequest = {
    protocolVersion: 1,
    calledAETitle: remote.aeTitle,
    callingAETitle: options.callingAETitle,
    applicationContext: DICOM_APPLICATION_CONTEXT,
    contexts: options.contexts,
    user: { ...ourInformation, ...options.user },
  };
  return Session.request(transport, request, { timers, services: options.services });
}

async function connect({ host, port, tls }: RemoteEntity, timeoutMs: number): Promise<Duplex> {
  const socket: Socket = tls === undefined ? connectTcp({ host, port }) : connectTls({ ...tls, host, port });
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    await once(socket, tls === undefined ? 'connect' : 'secureConnect', { signal });
  } catch (cause) {
    socket.destroy();
    throw new AssociationError('closed', 'the peer cannot be reached', { cause });
  }
  socket.setNoDelay(true);
  socket.setKeepAlive(true, 60_000);
  return socket;
}

/** Contexts with odd ids, one for each pair of class and syntaxes. */
export const proposing = (
  ...proposals: readonly (readonly [abstractSyntax: string, transferSyntaxes: readonly string[]])[]
): ProposedContext[] =>
  proposals.map(([abstractSyntax, transferSyntaxes], i) => ({ id: 2 * i + 1, abstractSyntax, transferSyntaxes }));

/** @throws AssociationError where none of that class was accepted */
export function contextOf(session: Session, abstractSyntax: string, transferSyntax?: string): AcceptedContext {
  for (const context of session.contexts.values()) {
    if (context.abstractSyntax !== abstractSyntax) continue;
    if (transferSyntax === undefined || context.transferSyntax === transferSyntax) return context;
  }
  throw new AssociationError('rejected', 'the peer accepted no presentation context for this');
}

/** @returns the status */
export async function sendEcho(session: Session, abstractSyntax: string): Promise<number> {
  const context = contextOf(session, abstractSyntax);
  const fields = { CommandField: COMMAND.cEcho, AffectedSOPClassUID: abstractSyntax };
  return statusOf(await session.request(context, fields));
}

/** Sends the data set of an object, encoded as `context` says. @returns the status */
export async function sendObject(
  session: Session,
  context: AcceptedContext,
  SOPInstanceUID: string,
  dataSet: OutgoingDataSet,
  priority: number = PRIORITY.medium,
): Promise<{ readonly status: number; readonly comment: string | undefined }> {
  const { command } = await session.request(
    context,
    {
      CommandField: COMMAND.cStore,
      Priority: priority,
      AffectedSOPClassUID: context.abstractSyntax,
      AffectedSOPInstanceUID: SOPInstanceUID,
    },
    dataSet,
  );
  return { status: command.Status ?? -1, comment: command.ErrorComment };
}

/** C-FIND. `onMatch` gets each identifier. @returns the final status */
export async function sendFind(
  session: Session,
  abstractSyntax: string,
  identifier: DataSet,
  onMatch: (match: DataSet) => Promise<void> | void,
  cancel?: AbortSignal,
): Promise<number> {
  const context = contextOf(session, abstractSyntax);
  const response = await session.request(
    context,
    { CommandField: COMMAND.cFind, Priority: PRIORITY.medium, AffectedSOPClassUID: abstractSyntax },
    encodeIdentifier(identifier, context.transferSyntax),
    {
      cancel,
      onPending: async ({ dataSet }) => {
        if (dataSet !== undefined) await onMatch(decodeIdentifier(await dataSet.gather(), context.transferSyntax));
      },
    },
  );
  return statusOf(response);
}

/** What C-MOVE and C-GET have come to. */
export interface RetrieveReport {
  readonly status: number;
  readonly remaining: number | undefined;
  readonly completed: number | undefined;
  readonly failed: number | undefined;
  readonly warning: number | undefined;
  readonly failedUIDs: readonly string[];
}

/** C-MOVE to a destination, or C-GET without one: then the session needs a service for C-STORE. */
export async function sendRetrieve(
  session: Session,
  abstractSyntax: string,
  identifier: DataSet,
  options: {
    readonly destination?: string;
    readonly priority?: number;
    readonly cancel?: AbortSignal;
    readonly onPending?: (report: RetrieveReport) => void;
  } = {},
): Promise<RetrieveReport> {
  const context = contextOf(session, abstractSyntax);
  const { destination, priority = PRIORITY.medium, cancel, onPending } = options;
  const response = await session.request(
    context,
    {
      CommandField: destination === undefined ? COMMAND.cGet : COMMAND.cMove,
      Priority: priority,
      AffectedSOPClassUID: abstractSyntax,
      MoveDestination: destination,
    },
    encodeIdentifier(identifier, context.transferSyntax),
    {
      cancel,
      onPending: async (pending) => onPending?.(await reportOf(pending, context)),
    },
  );
  return reportOf(response, context);
}

async function reportOf({ command, dataSet }: Response, context: AcceptedContext): Promise<RetrieveReport> {
  const identifier = dataSet && decodeIdentifier(await dataSet.gather(), context.transferSyntax);
  return {
    status: command.Status ?? -1,
    remaining: command.NumberOfRemainingSuboperations,
    completed: command.NumberOfCompletedSuboperations,
    failed: command.NumberOfFailedSuboperations,
    warning: command.NumberOfWarningSuboperations,
    failedUIDs: (identifier?.['00080058']?.Value ?? []) as string[],
  };
}

const statusOf = ({ command }: Response): number => command.Status ?? -1;
