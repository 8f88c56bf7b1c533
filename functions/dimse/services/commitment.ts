import { confine } from '#core/access/confine.ts';
import { authorize } from '#core/access.ts';
import {
  type Commitment,
  type CommitmentRequest,
  commitmentOf,
  commitmentRequest,
  forgetCommitmentRequest,
  keepCommitmentRequest,
  type Reference,
} from '#core/archive/commitment.ts';
import { textOf } from '#core/dicom/element-text.ts';
import type { DataSet, Element } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import { isUID } from '#core/ids.ts';
import { AssociationError } from '../association.ts';
import { COMMAND } from '../command-set.ts';
import { encodeIdentifier } from '../identifiers.ts';
import { type AcceptedContext, UNCOMPRESSED } from '../negotiation.ts';
import { associate, contextOf, proposing } from '../scu.ts';
import type { Service, Session } from '../session.ts';
import { STORAGE_COMMITMENT_PUSH_MODEL } from '../sop-classes.ts';
import { STATUS } from '../status.ts';
import { identifierOf } from './find.ts';
import type { MoveAccess } from './move.ts';

/** PS3.4 J.3.5: the one instance of the push model */
const WELL_KNOWN_INSTANCE = '1.2.840.10008.1.20.1.1';
const REQUEST_COMMITMENT = 1;
const EVENT = { complete: 1, failuresExist: 2 } as const;
const TAG = {
  RetrieveAETitle: '00080054',
  ReferencedSOPClassUID: '00081150',
  ReferencedSOPInstanceUID: '00081155',
  TransactionUID: '00081195',
  FailureReason: '00081197',
  FailedSOPSequence: '00081198',
  ReferencedSOPSequence: '00081199',
} as const;
/** The answer goes out at once, over the same association or another; a job brings it when that has failed for this long (ms). */
const ANSWER_MS = 30_000;

/** What can be said of a request now; undefined: not yet of all its instances, it must be asked again. */
export type CommitmentEvidence = (tenant: string, request: CommitmentRequest) => Promise<Commitment | undefined>;

/** An archive vouches for what it holds. */
const ownEvidence =
  ({ services }: MoveAccess): CommitmentEvidence =>
  (tenant, request) =>
    commitmentOf(services, tenant, request);

/**
 * Storage Commitment Push Model (PS3.4 Annex J), as SCP: the request is kept, then answered by N-EVENT-REPORT over the same
 * association, or, should the peer have released that, over one to the destination that is configured under its AE title.
 * @param answerMs when the job looks after the request that could not be answered at once
 */
export const commitmentService =
  (
    access: MoveAccess,
    { evidence = ownEvidence(access), answerMs = ANSWER_MS }: { evidence?: CommitmentEvidence; answerMs?: number } = {},
  ): Service =>
  async (operation) => {
    const { session, context, command, respond } = operation;
    const principal = authorize(access.principalOf(session.callingAETitle, session), 'commit');
    const { tenant } = principal;
    const { reach } = await confine(access.services, principal, 'commit');
    if (command.RequestedSOPInstanceUID !== WELL_KNOWN_INSTANCE) {
      await respond({ Status: STATUS.noSuchInstance });
      return;
    }
    if (command.ActionTypeID !== REQUEST_COMMITMENT) {
      await respond({ Status: STATUS.noSuchAction, ActionTypeID: command.ActionTypeID });
      return;
    }
    const { TransactionUID, references } = requestIn(await identifierOf(operation));
    const kept = { aeTitle: session.callingAETitle, TransactionUID, references, reach: reach?.keep() };
    const request = await keepCommitmentRequest(access.services, tenant, kept, answerMs);
    await respond({ Status: STATUS.success, ActionTypeID: command.ActionTypeID });
    try {
      const commitment = await evidence(tenant, request);
      if (commitment !== undefined) await report(access, tenant, session, context, request, commitment);
    } catch (error) {
      if (!(error instanceof AssociationError)) throw error;
      // Not awaited: the peer may listen only when its release has been answered. What fails, the job tries again.
      answerCommitment(access, tenant, request.id, evidence).catch(() => {});
    }
  };

/**
 * Answers a kept request over an association of our own; a job of the queue STORAGE_COMMITMENT. `later`: it cannot be answered yet.
 * @throws where it must be tried again
 */
export async function answerCommitment(
  access: MoveAccess,
  tenant: string,
  id: string,
  evidence: CommitmentEvidence = ownEvidence(access),
): Promise<'answered' | 'later'> {
  const request = await commitmentRequest(access.services, tenant, id);
  if (request === undefined) return 'answered';
  const commitment = await evidence(tenant, request);
  if (commitment === undefined) return 'later';
  const destination = access.destinationOf(request.aeTitle);
  if (destination === undefined)
    throw new PacsError('BUSY', 'who asked for storage commitment is no configured destination');
  const session = await associate(destination, {
    callingAETitle: access.aeTitle,
    contexts: proposing([STORAGE_COMMITMENT_PUSH_MODEL, UNCOMPRESSED.slice(0, 2)]),
    user: { roles: [{ SOPClassUID: STORAGE_COMMITMENT_PUSH_MODEL, scu: false, scp: true }] },
  });
  try {
    await report(access, tenant, session, contextOf(session, STORAGE_COMMITMENT_PUSH_MODEL), request, commitment);
  } finally {
    await session.release();
  }
  return 'answered';
}

function requestIn(information: DataSet): { TransactionUID: string; references: Reference[] } {
  const uid = (element: Element | undefined): string => {
    const text = textOf(element);
    if (!isUID(text)) throw new PacsError('BAD_REQUEST', 'a UID of the request is missing or malformed');
    return text;
  };
  const items = (information[TAG.ReferencedSOPSequence]?.Value ?? []) as DataSet[];
  return {
    TransactionUID: uid(information[TAG.TransactionUID]),
    references: items.map((item) => ({
      SOPClassUID: uid(item[TAG.ReferencedSOPClassUID]),
      SOPInstanceUID: uid(item[TAG.ReferencedSOPInstanceUID]),
    })),
  };
}

async function report(
  { services, aeTitle }: MoveAccess,
  tenant: string,
  session: Session,
  context: AcceptedContext,
  request: CommitmentRequest,
  { committed, failed }: Commitment,
): Promise<void> {
  const information: DataSet = {
    [TAG.RetrieveAETitle]: { vr: 'AE', Value: [aeTitle] },
    [TAG.TransactionUID]: { vr: 'UI', Value: [request.TransactionUID] },
    ...(committed.length > 0 && { [TAG.ReferencedSOPSequence]: { vr: 'SQ', Value: committed.map(itemOf) } }),
    ...(failed.length > 0 && {
      [TAG.FailedSOPSequence]: {
        vr: 'SQ',
        Value: failed.map((one) => ({
          ...itemOf(one),
          [TAG.FailureReason]: { vr: 'US', Value: [STATUS[one.reason]] },
        })),
      },
    }),
  };
  const { command } = await session.request(
    context,
    {
      CommandField: COMMAND.nEventReport,
      AffectedSOPClassUID: STORAGE_COMMITMENT_PUSH_MODEL,
      AffectedSOPInstanceUID: WELL_KNOWN_INSTANCE,
      EventTypeID: failed.length === 0 ? EVENT.complete : EVENT.failuresExist,
    },
    encodeIdentifier(information, context.transferSyntax),
  );
  if (command.Status !== STATUS.success)
    throw new AssociationError('rejected', 'the peer did not take the answer to its storage commitment request');
  await forgetCommitmentRequest(services, tenant, request.id);
}

const itemOf = ({ SOPClassUID, SOPInstanceUID }: Reference): DataSet => ({
  [TAG.ReferencedSOPClassUID]: { vr: 'UI', Value: [SOPClassUID] },
  [TAG.ReferencedSOPInstanceUID]: { vr: 'UI', Value: [SOPInstanceUID] },
});
