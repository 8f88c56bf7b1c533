import { confine } from '#core/access/confine.ts';
import { authorize, mayReject, type Principal } from '#core/access.ts';
import { storeObject } from '#core/archive/store.ts';
import { ERRORS } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import { part10Header } from '../part10.ts';
import type { Service, Session } from '../session.ts';
import { STATUS } from '../status.ts';

/** What a service of the archive needs. */
export interface ArchiveAccess {
  readonly services: Services;
  /** ours, for who asks where to retrieve from, and where we send to */
  readonly aeTitle: string;
  /** who the calling AE title, or the user identity of the session, stands for */
  readonly principalOf: (callingAETitle: string, session: Session) => Principal;
}

/**
 * C-STORE (PS3.7 §9.1.1, PS3.4 Annex B): the bytes of the data set go to the archive as they come, behind a file meta that
 * depends on nothing but object and encoding, so that the same object sent by two senders is the same file. Success is said when the
 * outcome would survive losing power.
 */
export const storeService =
  ({ services, principalOf }: ArchiveAccess): Service =>
  async ({ session, context, command, dataSet, respond, facts }) => {
    const principal = authorize(principalOf(session.callingAETitle, session), 'store');
    const { AffectedSOPClassUID, AffectedSOPInstanceUID } = command;
    if (dataSet === undefined || AffectedSOPInstanceUID === undefined) {
      await respond({ Status: STATUS.unableToProcess, ErrorComment: 'no data set, or no AffectedSOPInstanceUID' });
      return;
    }
    const SOPClassUID = AffectedSOPClassUID ?? context.abstractSyntax;
    const header = part10Header(SOPClassUID, AffectedSOPInstanceUID, context.transferSyntax);
    async function* object(): AsyncGenerator<Uint8Array> {
      yield header;
      yield* dataSet!;
    }
    const { outcome } = storeObject(
      await confine(services, principal, 'store'),
      {
        tenant: principal.tenant,
        source: session.callingAETitle,
        SOPClassUID,
        SOPInstanceUID: AffectedSOPInstanceUID,
        onlyDataSetSent: true,
        mayReject: mayReject(principal),
      },
      object(),
    );
    const result = await outcome;
    if (facts && result.id.StudyInstanceUID !== undefined) facts.studies.add(result.id.StudyInstanceUID);
    if (facts && result.kind !== 'failed') facts.instances = 1;
    switch (result.kind) {
      case 'failed':
        throw result.error;
      case 'held':
        await respond({ Status: ERRORS.CONFLICT.dimse, ErrorComment: 'other bytes have this SOP Instance UID' });
        return;
      default:
        await respond({ Status: result.supplied.length > 0 ? STATUS.coerced : STATUS.success });
    }
  };
