import { asPacsError } from '#core/errors.ts';
import { AssociationError } from './association.ts';
import { type Command, RESPONSE } from './command-set.ts';
import type { IncomingDataSet, Message, OutgoingDataSet } from './messages.ts';
import type { AcceptedContext } from './negotiation.ts';
import { PduError } from './pdu-items.ts';
import type { Session } from './session.ts';
import { isPending, STATUS } from './status.ts';

/** A request of the peer that is being performed. */
export interface Operation {
  readonly session: Session;
  readonly context: AcceptedContext;
  readonly command: Command;
  readonly dataSet: IncomingDataSet | undefined;
  /** the peer cancelled it (C-CANCEL), or has gone */
  readonly signal: AbortSignal;
  /** A response: its status and what else belongs to it. */
  respond(fields: Partial<Command> & { readonly Status: number }, dataSet?: OutgoingDataSet): Promise<void>;
  /** what the operation tells the audit trail (audit.ts) */
  readonly facts?: OperationFacts;
}

export interface OperationFacts {
  /** StudyInstanceUIDs that it touched */
  readonly studies: Set<string>;
  instances?: number;
  /** attributes that a query asked about */
  keys?: readonly string[];
}

/** Performs an operation up to its final response. What it throws becomes that response. */
export type Service = (operation: Operation) => Promise<void>;
/** By command field. */
export type ServiceTable = ReadonlyMap<number, Service>;

/** An operation of the peer that has got its final response. */
export interface PerformedOperation {
  readonly session: Session;
  /** of the request */
  readonly commandField: number;
  readonly status: number;
  readonly seconds: number;
}

/** What a session lends to the performance of one request. */
export interface Performance {
  readonly session: Session;
  readonly context: AcceptedContext;
  readonly services: ServiceTable;
  readonly signal: AbortSignal;
  readonly write: (contextId: number, command: Command, dataSet?: OutgoingDataSet) => Promise<void>;
  readonly onOperation: (operation: PerformedOperation) => void;
  readonly onDefect: (error: unknown) => void;
}

/** Performs one request of the peer: whatever happens, it gets a final response, unless the association has ended. */
export async function perform(
  { contextId, command, dataSet }: Message,
  { session, context, services, signal, write, onOperation, onDefect }: Performance,
): Promise<void> {
  const answered: Partial<Command> = {
    CommandField: command.CommandField | RESPONSE,
    MessageIDBeingRespondedTo: command.MessageID,
    // Not every sender names the class; the response must.
    AffectedSOPClassUID: command.AffectedSOPClassUID ?? command.RequestedSOPClassUID ?? context.abstractSyntax,
    AffectedSOPInstanceUID: command.AffectedSOPInstanceUID ?? command.RequestedSOPInstanceUID,
  };
  let finished = false;
  const startedAt = performance.now();
  const respond: Operation['respond'] = (fields, responseDataSet) => {
    if (!isPending(fields.Status)) {
      finished = true;
      const seconds = (performance.now() - startedAt) / 1000;
      onOperation({ session, commandField: command.CommandField, status: fields.Status, seconds });
    }
    return write(contextId, { ...answered, ...fields } as Command, responseDataSet);
  };
  try {
    const service = services.get(command.CommandField);
    if (service === undefined) await respond({ Status: STATUS.unrecognizedOperation });
    else await service({ session, context, command, dataSet, signal, respond });
  } catch (error) {
    if (error instanceof AssociationError) return;
    // What the peer sent is no message: that is no defect of ours.
    const refusal =
      error instanceof PduError ? { Status: STATUS.processingFailure, ErrorComment: error.message } : undefined;
    const failure = asPacsError(error);
    if (refusal === undefined && failure.row.http >= 500) onDefect(failure);
    if (finished) return;
    await respond(refusal ?? { Status: failure.row.dimse, ErrorComment: failure.message }).catch(() => {});
  } finally {
    // Complete or not: while bytes of it are held, the connection may be paused.
    dataSet?.discard();
  }
}
