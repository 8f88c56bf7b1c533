import { confine } from '#core/access/confine.ts';
import { authorize } from '#core/access.ts';
import {
  DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
  EXPLICIT_VR_BIG_ENDIAN,
  EXPLICIT_VR_LITTLE_ENDIAN,
  IMPLICIT_VR_LITTLE_ENDIAN,
} from '#core/dicom/transfer-syntaxes.ts';
import { AssociationError } from '../association.ts';
import type { ProposedContext } from '../pdu.ts';
import { associate, type RemoteEntity } from '../scu.ts';
import type { Service, Session } from '../session.ts';
import { STATUS } from '../status.ts';
import { identifierOf } from './find.ts';
import { type SelectInstances, type Selection, select } from './retrieve.ts';
import type { ArchiveAccess } from './store.ts';
import { sendAll } from './suboperations.ts';

export interface MoveAccess extends ArchiveAccess {
  /** where an AE title is to be found; undefined: nobody knows */
  readonly destinationOf: (aeTitle: string) => RemoteEntity | undefined;
}

/** PS3.8 §7.1.1.13: odd ids from 1 to 255 */
const CONTEXTS = 128;

/** C-MOVE (PS3.4 C.4.2): the objects go to a configured destination over an association of their own. */
export const moveService =
  (
    { services, aeTitle, principalOf, destinationOf }: MoveAccess,
    selecting: SelectInstances = (tenant, identifier, SOPClassUID, _signal, confined) =>
      select(confined, tenant, identifier, SOPClassUID),
  ): Service =>
  async (operation) => {
    const { session, context, command, signal, respond } = operation;
    const principal = authorize(principalOf(session.callingAETitle, session), 'retrieve');
    const { tenant } = principal;
    const confined = await confine(services, principal, 'retrieve');
    const identifier = await identifierOf(operation);
    const destination = destinationOf(command.MoveDestination ?? '');
    if (destination === undefined) {
      await respond({ Status: STATUS.moveDestinationUnknown, ErrorComment: 'the move destination is not configured' });
      return;
    }
    const selection = await selecting(tenant, identifier, context.abstractSyntax, signal, confined, command.Priority);
    let receiver = selection.count === 0 ? undefined : await reach(destination, aeTitle, selection);
    const reopen = async (): Promise<Session | undefined> => {
      receiver = await reach(destination, aeTitle, selection);
      return receiver;
    };
    const abort = (): void => receiver?.abort('the C-MOVE was cancelled');
    try {
      await sendAll(
        services,
        operation,
        selection,
        receiver && { session: receiver, contexts: [...receiver.contexts.values()], reopen },
        {
          MoveOriginatorApplicationEntityTitle: session.callingAETitle,
          ...(command.MessageID !== undefined && { MoveOriginatorMessageID: command.MessageID }),
        },
      );
    } finally {
      // After a cancel nothing is under way: the receiver is left in good order all the same.
      if (signal.aborted && receiver?.isOpen !== true) abort();
      else await receiver?.release();
    }
  };

/** undefined where the destination cannot be reached or wants no association: then every sub-operation has failed. */
async function reach(
  destination: RemoteEntity,
  callingAETitle: string,
  selection: Selection,
): Promise<Session | undefined> {
  try {
    return await associate(destination, { callingAETitle, contexts: contextsFor(selection.encodings) });
  } catch (error) {
    if (error instanceof AssociationError) return undefined;
    throw error;
  }
}

/** What can be made of nearly everything, and is wanted by hardly anybody: for a destination that takes nothing else. */
const LAST_RESORT = [DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN];

/**
 * For each SOP class one context for each syntax it is stored in, then one for what can be made of it; where ids are left, one more for who
 * takes neither of these two.
 */
function contextsFor(encodings: ReadonlyMap<string, ReadonlySet<string>>): ProposedContext[] {
  const native = [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN];
  const proposals: Omit<ProposedContext, 'id'>[] = [];
  for (const abstractSyntax of encodings.keys()) proposals.push({ abstractSyntax, transferSyntaxes: native });
  // Implicit is a choice of its own, lest the receiver takes the explicit one and the bytes have to change.
  for (const [abstractSyntax, stored] of encodings)
    for (const syntax of stored)
      if (syntax !== native[0]) proposals.unshift({ abstractSyntax, transferSyntaxes: [syntax] });
  for (const abstractSyntax of encodings.keys()) proposals.push({ abstractSyntax, transferSyntaxes: LAST_RESORT });
  return proposals.slice(0, CONTEXTS).map((proposal, i) => ({ id: 2 * i + 1, ...proposal }));
}
