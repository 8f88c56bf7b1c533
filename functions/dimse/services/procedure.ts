import { confine } from '#core/access/confine.ts';
import { authorize, type Principal } from '#core/access.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { asPacsError } from '#core/errors.ts';
import { newUID } from '#core/ids.ts';
import type { WriteOperation } from '#core/ports/index-table.ts';
import { createProcedureStep, getProcedureStep, setProcedureStep } from '#core/procedure/procedure-step.ts';
import { checkStepReach } from '#core/procedure/reach.ts';
import type { Services } from '#core/services.ts';
import type { Command } from '../command-set.ts';
import { encodeIdentifier } from '../identifiers.ts';
import type { Operation, Service } from '../session.ts';
import { MODALITY_PERFORMED_PROCEDURE_STEP } from '../sop-classes.ts';
import { STATUS } from '../status.ts';
import { identifierOf } from './find.ts';
import { TAG } from './query.ts';
import type { ArchiveAccess } from './store.ts';

/** A message about a procedure step, as a modality sent it. */
export interface StepReport {
  readonly kind: 'create' | 'set';
  readonly SOPInstanceUID: string;
  readonly dataSet: DataSet;
  /** AE title */
  readonly source: string;
}

/** What is to be written in one with what a message changes, by who passes it on; what it throws refuses the message. */
export type NoteStep = (tenant: string, report: StepReport) => Promise<readonly WriteOperation[]>;

/**
 * N-CREATE of a Modality Performed Procedure Step (PS3.4 F.7.2.1). Success is said when the step is durable and its worklist items
 * are IN PROGRESS. A modality that names no SOP Instance UID is told the one it got (PS3.7 §10.1.5).
 */
export const createStepService = (access: ArchiveAccess, note?: NoteStep): Service =>
  reporting(access, 'performProcedure', async (operation, { tenant, subject }, services) => {
    const sop = operation.command.AffectedSOPInstanceUID ?? newUID(services.clock);
    const dataSet = await identifierOf(operation);
    await checkStepReach(services, tenant, sop, dataSet);
    const report: StepReport = { kind: 'create', SOPInstanceUID: sop, dataSet, source: subject };
    const alongside = (await note?.(tenant, report)) ?? [];
    await createProcedureStep(services, sop, dataSet, { tenant, source: subject, alongside });
    await operation.respond({
      Status: STATUS.success,
      AffectedSOPClassUID: MODALITY_PERFORMED_PROCEDURE_STEP,
      AffectedSOPInstanceUID: sop,
    });
  });

/** N-SET of a Modality Performed Procedure Step (PS3.4 F.7.2.2). */
export const setStepService = (access: ArchiveAccess, note?: NoteStep): Service =>
  reporting(access, 'performProcedure', async (operation, { tenant, subject }, services) => {
    const sop = operation.command.RequestedSOPInstanceUID ?? '';
    const dataSet = await identifierOf(operation);
    await checkStepReach(services, tenant, sop);
    const report: StepReport = { kind: 'set', SOPInstanceUID: sop, dataSet, source: subject };
    const alongside = (await note?.(tenant, report)) ?? [];
    await setProcedureStep(services, sop, dataSet, { tenant, source: subject, alongside });
    await operation.respond({ Status: STATUS.success });
  });

/** N-GET of the Modality Performed Procedure Step Retrieve SOP Class (PS3.4 F.8): all attributes, or those that are listed. */
export const getStepService = (access: ArchiveAccess): Service =>
  reporting(access, 'readWorklist', async ({ command, context, respond }, { tenant }, services) => {
    const { dataSet } = await getProcedureStep(services, tenant, command.RequestedSOPInstanceUID ?? '');
    const wanted = command.AttributeIdentifierList ?? [];
    const absent = wanted.filter((tag) => dataSet[tag] === undefined && tag !== TAG.SpecificCharacterSet);
    const result: DataSet = {};
    for (const [tag, element] of Object.entries(dataSet))
      if (wanted.length === 0 || wanted.includes(tag)) result[tag] = element;
    await respond(
      {
        Status: absent.length === 0 ? STATUS.success : STATUS.attributeListError,
        ...(absent.length > 0 && { AttributeIdentifierList: absent }),
      },
      encodeIdentifier(result, context.transferSyntax),
    );
  });

/** What is refused says so as PS3.7 §10 and PS3.4 Table F.7.2-2 have it: status, the tag concerned, the error ID. */
function reporting(
  { services, principalOf }: ArchiveAccess,
  action: 'performProcedure' | 'readWorklist',
  perform: (operation: Operation, principal: Principal, services: Services) => Promise<void>,
): Service {
  return async (operation) => {
    const { session, respond } = operation;
    const principal = authorize(principalOf(session.callingAETitle, session), action);
    try {
      await perform(operation, principal, await confine(services, principal, action));
    } catch (thrown) {
      const answer = refusalOf(thrown);
      if (answer === undefined) throw thrown;
      await respond(answer);
    }
  };
}

function refusalOf(thrown: unknown): (Partial<Command> & { readonly Status: number }) | undefined {
  const { code, message, details } = asPacsError(thrown);
  const ErrorComment = message;
  if (code === 'BUSY' || code === 'TOO_LARGE' || code === 'OUT_OF_SPACE')
    return { Status: STATUS.resourceLimitation, ErrorComment };
  if (typeof details.status !== 'number') return undefined;
  return {
    Status: details.status,
    ErrorComment,
    ...(typeof details.tag === 'string' && { AttributeIdentifierList: [details.tag] }),
    ...(typeof details.errorID === 'number' && { ErrorID: details.errorID }),
  };
}
