import type { DataSet } from '#core/dicom/types.ts';
import type { NoticeOfStep } from '#core/procedure/notices.ts';
import { getProcedureStep } from '#core/procedure/procedure-step.ts';
import { AssociationError } from '../association.ts';
import { COMMAND, type Command } from '../command-set.ts';
import { encodeIdentifier } from '../identifiers.ts';
import { UNCOMPRESSED } from '../negotiation.ts';
import { associate, contextOf, proposing, type RemoteEntity } from '../scu.ts';
import { MODALITY_PERFORMED_PROCEDURE_STEP, MODALITY_PERFORMED_PROCEDURE_STEP_NOTIFICATION } from '../sop-classes.ts';
import { STATUS, statusClass } from '../status.ts';
import type { StepReport } from './procedure.ts';
import type { ArchiveAccess } from './store.ts';

/**
 * Tells a listener that a procedure step has changed (N-EVENT-REPORT, PS3.4 F.9.2), as the SCP that calls. The event carries nothing
 * else: who wants to know more asks by N-GET. A change that was not written in the end is told to nobody.
 * @throws AssociationError where it must be tried again
 */
export async function notifyOfStep(
  { services, aeTitle }: ArchiveAccess,
  { tenant, SOPInstanceUID, event, version }: NoticeOfStep,
  listener: RemoteEntity,
): Promise<void> {
  const step = await getProcedureStep(services, tenant, SOPInstanceUID).catch(() => undefined);
  if (step === undefined || step.version < version) return;
  const SOPClassUID = MODALITY_PERFORMED_PROCEDURE_STEP_NOTIFICATION;
  const session = await associate(listener, {
    callingAETitle: aeTitle,
    contexts: proposing([SOPClassUID, UNCOMPRESSED.slice(0, 2)]),
    user: { roles: [{ SOPClassUID, scu: false, scp: true }] },
  });
  try {
    const { command, dataSet } = await session.request(contextOf(session, SOPClassUID), {
      CommandField: COMMAND.nEventReport,
      AffectedSOPClassUID: SOPClassUID,
      AffectedSOPInstanceUID: SOPInstanceUID,
      EventTypeID: event,
    });
    dataSet?.discard();
    const status = command.Status ?? STATUS.processingFailure;
    if (!['success', 'warning'].includes(statusClass(status)))
      throw new AssociationError('rejected', `the notification was refused with ${status.toString(16)}`);
  } finally {
    await session.release();
  }
}

/** Passes on what a modality said of a procedure step, as an SCU of the MPPS class. @returns the response @throws AssociationError */
export async function sendStep(
  remote: RemoteEntity,
  callingAETitle: string,
  { kind, SOPInstanceUID, dataSet }: Omit<StepReport, 'source'>,
): Promise<Command> {
  const SOPClassUID = MODALITY_PERFORMED_PROCEDURE_STEP;
  const session = await associate(remote, {
    callingAETitle,
    contexts: proposing([SOPClassUID, UNCOMPRESSED.slice(0, 2)]),
  });
  try {
    const context = contextOf(session, SOPClassUID);
    const named =
      kind === 'create'
        ? {
            CommandField: COMMAND.nCreate,
            AffectedSOPClassUID: SOPClassUID,
            AffectedSOPInstanceUID: SOPInstanceUID,
          }
        : { CommandField: COMMAND.nSet, RequestedSOPClassUID: SOPClassUID, RequestedSOPInstanceUID: SOPInstanceUID };
    const attributes: DataSet = Object.fromEntries(
      Object.entries(dataSet).filter(([tag]) => tag !== '00080016' && tag !== '00080018'),
    );
    const response = await session.request(context, named, encodeIdentifier(attributes, context.transferSyntax));
    response.dataSet?.discard();
    return response.command;
  } finally {
    await session.release();
  }
}
