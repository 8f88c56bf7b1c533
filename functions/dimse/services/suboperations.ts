import type { DataSet } from '#core/dicom/types.ts';
import { releasePayload } from '#core/retrieve/stream.ts';
import type { Services } from '#core/services.ts';
import { AssociationError } from '../association.ts';
import { COMMAND, type Command } from '../command-set.ts';
import { encodeIdentifier } from '../identifiers.ts';
import type { AcceptedContext } from '../negotiation.ts';
import type { Operation, Session } from '../session.ts';
import { STATUS, statusClass } from '../status.ts';
import { startEarly } from './ahead.ts';
import { TAG } from './query.ts';
import { RestoreWait } from './restore.ts';
import type { Outgoing, Selection } from './retrieve.ts';

/** objects that are being read while one is being sent */
const READ_AHEAD = 2;
/** UIDs of failed instances that are listed: a UI value of one list holds 64 KB with a 16-bit length */
const LISTED_UIDS = 1_000;

interface Counts {
  remaining: number;
  completed: number;
  failed: number;
  warning: number;
  readonly failedUIDs: string[];
}

/** Who takes the objects. */
export interface Receiver {
  readonly session: Session;
  readonly contexts: readonly AcceptedContext[];
  /** another association, for when this one has been given up while objects had to be waited for; undefined: there is none */
  readonly reopen?: () => Promise<Session | undefined>;
}

/**
 * The C-STORE sub-operations of C-MOVE and C-GET (PS3.4 C.4.2.3, C.4.3.3): one response with the counts after each, and the final one.
 * An instance that cannot be sent does not hinder the others. `destination` undefined: nobody takes any.
 */
export async function sendAll(
  services: Services,
  operation: Operation,
  selection: Selection,
  destination: Receiver | undefined,
  originator: Omit<Partial<Command>, 'Status'> = {},
): Promise<void> {
  const { signal, command, facts } = operation;
  const counts: Counts = { remaining: selection.count, completed: 0, failed: 0, warning: 0, failedUIDs: [] };
  const restores = new RestoreWait(services, selection, signal, command.Priority);
  const outgoing = startEarly(
    selection.instances(),
    (instance): Promise<Outgoing> => restores.prepare(instance, destination?.contexts ?? []),
    { ahead: destination === undefined ? 0 : READ_AHEAD, release: releaseOutgoing },
  );
  let receiver = destination?.session;
  let waited = false;
  let brokeOff = false;
  const stillPending = (): Promise<void> => {
    waited = true;
    return operation.respond({ Status: STATUS.pending, ...numbersOf(counts, true) });
  };
  for await (const one of whileWaiting(outgoing, services.limits.retrievePendingMs, stillPending)) {
    if (signal.aborted) {
      await releaseOutgoing(one);
      break;
    }
    // Nobody keeps an association for the hours that a restore may take.
    if ((waited || brokeOff) && receiver?.isOpen === false && destination?.reopen)
      receiver = await destination.reopen();
    const fields = { Priority: command.Priority ?? 0, ...originator };
    let kind = receiver?.isOpen === true ? await sendOne(receiver, over(receiver, one), fields) : 'failure';
    if (kind === 'failure') await releaseOutgoing(one);
    // The receiver has given the association up, and says so only now: it may have been on its way, or was lost while nobody spoke.
    if (kind === 'failure' && waited && one.open === undefined && receiver?.isOpen === false && destination?.reopen) {
      receiver = await destination.reopen();
      if (receiver?.isOpen === true && !signal.aborted) {
        const again = await restores.prepare(one.instance, [...receiver.contexts.values()]);
        kind = await sendOne(receiver, again, fields);
        if (kind === 'failure') await releaseOutgoing(again);
      }
    }
    waited = false;
    // What was passed on as it came, and came to no end, has cost the association; the others need not suffer for it.
    brokeOff = kind === 'failure' && one.open !== undefined;
    counts.remaining = Math.max(0, counts.remaining - 1);
    if (facts && !('unavailable' in one.instance)) facts.studies.add(one.instance.StudyInstanceUID);
    if (facts && kind !== 'failure') facts.instances = (facts.instances ?? 0) + 1;
    if (kind === 'success') counts.completed++;
    else if (kind === 'warning') counts.warning++;
    else {
      counts.failed++;
      if (counts.failedUIDs.length < LISTED_UIDS) counts.failedUIDs.push(one.instance.SOPInstanceUID);
    }
    if (counts.remaining > 0 && !signal.aborted)
      await operation.respond({ Status: STATUS.pending, ...numbersOf(counts, true) });
  }
  await finish(operation, counts);
}

/** The values of `source`; where the next one takes longer than `intervalMs`, `notice` is called each time that has passed. */
async function* whileWaiting<T>(
  source: AsyncGenerator<T>,
  intervalMs: number,
  notice: () => Promise<void>,
): AsyncGenerator<T, void, undefined> {
  try {
    for (;;) {
      const next = source.next();
      for (;;) {
        let timer: NodeJS.Timeout | undefined;
        const late = new Promise<'late'>((resolve) => {
          timer = setTimeout(resolve, intervalMs, 'late');
        });
        const result = await Promise.race([next, late]).finally(() => clearTimeout(timer));
        if (result === 'late') {
          await notice();
          continue;
        }
        if (result.done === true) return;
        yield result.value;
        break;
      }
    }
  } finally {
    await source.return(undefined);
  }
}

/** What was prepared for an association, for the one that took its place. */
function over(receiver: Session, one: Outgoing): Outgoing {
  const { context } = one;
  if (context === undefined || receiver.contexts.get(context.id) === context) return one;
  const same = [...receiver.contexts.values()].find(
    ({ abstractSyntax, transferSyntax }) =>
      abstractSyntax === context.abstractSyntax && transferSyntax === context.transferSyntax,
  );
  return { ...one, context: same };
}

async function releaseOutgoing({ dataSet }: Outgoing): Promise<void> {
  if (dataSet !== undefined) await dataSet.then(releasePayload, () => {});
}

async function sendOne(
  session: Session,
  { instance, context, dataSet, open }: Outgoing,
  fields: Partial<Command>,
): Promise<'success' | 'warning' | 'failure'> {
  if (context === undefined || 'unavailable' in instance) return 'failure';
  const reading = dataSet ?? open?.();
  if (reading === undefined) return 'failure';
  try {
    const { command } = await session.request(
      context,
      {
        CommandField: COMMAND.cStore,
        AffectedSOPClassUID: instance.SOPClassUID,
        AffectedSOPInstanceUID: instance.SOPInstanceUID,
        ...fields,
      },
      await reading,
    );
    const kind = statusClass(command.Status ?? STATUS.processingFailure);
    return kind === 'success' || kind === 'warning' ? kind : 'failure';
  } catch (error) {
    // What was taken while it arrives, and nobody reads any more, would hold up for ever whoever brings it.
    if (open !== undefined) await reading.then(releasePayload, () => {});
    // An object that cannot be read or converted is one failed sub-operation; so is all the rest when the receiver has gone.
    if (error instanceof AssociationError || session.error !== undefined || reading !== undefined) return 'failure';
    throw error;
  }
}

const numbersOf = (counts: Counts, withRemaining: boolean): Omit<Partial<Command>, 'Status'> => ({
  ...(withRemaining && { NumberOfRemainingSuboperations: counts.remaining }),
  NumberOfCompletedSuboperations: counts.completed,
  NumberOfFailedSuboperations: counts.failed,
  NumberOfWarningSuboperations: counts.warning,
});

/** PS3.4 C.4.2.1.4: remaining ones are counted in a response of Cancel only; failed ones are listed but in Success. */
async function finish({ context, signal, respond }: Operation, counts: Counts): Promise<void> {
  const { completed, failed, warning, failedUIDs } = counts;
  const Status = signal.aborted
    ? STATUS.cancel
    : failed + warning === 0
      ? STATUS.success
      : completed + warning === 0
        ? STATUS.cannotPerformSuboperations
        : STATUS.suboperationsWarning;
  const fields = { Status, ...numbersOf(counts, signal.aborted) };
  if (Status === STATUS.success) {
    await respond(fields);
    return;
  }
  const failedList: DataSet = { [TAG.FailedSOPInstanceUIDList]: { vr: 'UI', Value: failedUIDs } };
  await respond(fields, encodeIdentifier(failedList, context.transferSyntax));
}
