import type { Principal } from '#core/access.ts';
import type { AuditAction, AuditEvent, AuditEventName, AuditOutcome } from '#core/audit/event.ts';
import { asPacsError, type ErrorCode } from '#core/errors.ts';
import type { ArchiveAccess } from './services/store.ts';
import type { Operation, OperationFacts, Service } from './session.ts';
import { statusClass } from './status.ts';

/** Acts of which one association has many: one entry of the trail, and a count. */
const REPEATED: ReadonlySet<AuditEventName> = new Set(['InstancesTransferred', 'InstancesAccessed', 'Query']);

/**
 * A service whose every operation is recorded before its final response is sent. While the trail cannot be written, what changes the
 * archive is refused (A700), where the policy asks for it.
 */
export const audited =
  (access: ArchiveAccess, transaction: string, event: AuditEventName, action: AuditAction, service: Service): Service =>
  async (operation) => {
    const { audit } = access.services;
    const principal = access.principalOf(operation.session.callingAETitle, operation.session);
    audit.admit(action !== 'R' && action !== 'E');
    const facts: OperationFacts = operation.facts ?? { studies: new Set() };
    const record = (outcome: AuditOutcome, error?: ErrorCode): Promise<void> => {
      const entry = entryOf(access, operation, principal, facts, { event, action, transaction, outcome, error });
      return REPEATED.has(event)
        ? audit.recordOnce(principal.tenant, samenessOf(entry), entry)
        : audit.record(principal.tenant, entry);
    };
    let isRecorded = false;
    const respond: Operation['respond'] = async (fields, dataSet) => {
      const kind = statusClass(fields.Status);
      if (kind !== 'pending' && !isRecorded) {
        isRecorded = true;
        await record(kind === 'failure' ? 4 : 0);
      }
      return operation.respond(fields, dataSet);
    };
    try {
      await service({ ...operation, respond, facts });
    } catch (thrown) {
      const { code, row } = asPacsError(thrown);
      // What failed is answered as it failed: nothing was done that must be in the trail.
      if (!isRecorded) await record(row.http < 500 ? 4 : 8, code).catch(() => {});
      throw thrown;
    }
  };

function entryOf(
  { services }: ArchiveAccess,
  { session, command }: Operation,
  { subject, roles }: Principal,
  { studies, instances, keys }: OperationFacts,
  act: {
    event: AuditEventName;
    action: AuditAction;
    transaction: string;
    outcome: AuditOutcome;
    error: ErrorCode | undefined;
  },
): AuditEvent {
  const { error, ...what } = act;
  return {
    at: services.clock.now(),
    ...what,
    subject,
    roles,
    door: 'dicom',
    ...(session.peerAddress !== undefined && { from: session.peerAddress }),
    ...(studies.size > 0 && { studies: [...studies] }),
    ...(instances !== undefined && { instances }),
    ...(keys !== undefined && { keys }),
    ...(command.MoveDestination !== undefined && { destination: command.MoveDestination }),
    ...(error !== undefined && { error }),
  };
}

const samenessOf = ({ event, transaction, outcome, subject, from, studies, keys, destination, error }: AuditEvent) =>
  [event, transaction, outcome, subject, from, studies, keys, destination, error].join(' ');
