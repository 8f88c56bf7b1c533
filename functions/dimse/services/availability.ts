import { availabilityOf } from '#core/procedure/availability.ts';
import { AssociationError } from '../association.ts';
import { COMMAND } from '../command-set.ts';
import { encodeIdentifier } from '../identifiers.ts';
import { UNCOMPRESSED } from '../negotiation.ts';
import { associate, contextOf, proposing, type RemoteEntity } from '../scu.ts';
import { INSTANCE_AVAILABILITY_NOTIFICATION } from '../sop-classes.ts';
import { STATUS, statusClass } from '../status.ts';
import type { ArchiveAccess } from './store.ts';

/**
 * Tells an application entity which instances of a study are here (Instance Availability Notification, PS3.4 Annex R), as SCU.
 * @param uid SOP Instance UID of the notification: the same at every attempt, so that one which was taken already is not taken twice
 * @throws AssociationError where it must be tried again
 */
export async function sendAvailability(
  { services, aeTitle }: ArchiveAccess,
  tenant: string,
  study: string,
  destination: RemoteEntity,
  uid: string,
): Promise<void> {
  const session = await associate(destination, {
    callingAETitle: aeTitle,
    contexts: proposing([INSTANCE_AVAILABILITY_NOTIFICATION, UNCOMPRESSED.slice(0, 2)]),
  });
  try {
    const context = contextOf(session, INSTANCE_AVAILABILITY_NOTIFICATION);
    let part = 0;
    for await (const notification of availabilityOf(services, tenant, study, aeTitle)) {
      part++;
      const { command, dataSet } = await session.request(
        context,
        {
          CommandField: COMMAND.nCreate,
          AffectedSOPClassUID: INSTANCE_AVAILABILITY_NOTIFICATION,
          AffectedSOPInstanceUID: part === 1 ? uid : `${uid}.${part}`,
        },
        encodeIdentifier(notification, context.transferSyntax),
      );
      dataSet?.discard();
      const status = command.Status ?? STATUS.processingFailure;
      // An attempt whose answer was lost has been taken all the same.
      const taken = ['success', 'warning'].includes(statusClass(status)) || status === STATUS.duplicateInstance;
      if (!taken) throw new AssociationError('rejected', `the notification was refused with ${status.toString(16)}`);
    }
  } finally {
    await session.release();
  }
}
