import { STORAGE_SOP_CLASSES } from '#core/dicom/sop-classes.ts';
import {
  EXPLICIT_VR_BIG_ENDIAN,
  EXPLICIT_VR_LITTLE_ENDIAN,
  IMPLICIT_VR_LITTLE_ENDIAN,
  TRANSFER_SYNTAXES,
} from '#core/dicom/transfer-syntaxes.ts';
import { IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME } from '#core/dicom/writer.ts';
import {
  type AssociateAccept,
  type AssociateRequest,
  CONTEXT_RESULT,
  type ContextAnswer,
  type ProposedContext,
} from './pdu.ts';
import { FIND_CLASSES, GET_CLASSES, MODALITY_WORKLIST_FIND, MOVE_CLASSES, VERIFICATION } from './sop-classes.ts';
import type { ExtendedNegotiation, RoleSelection, UserInformation } from './user-information.ts';

/** A presentation context in use: what is said of what, and how it is encoded. */
export interface AcceptedContext {
  readonly id: number;
  readonly abstractSyntax: string;
  readonly transferSyntax: string;
  /** roles of the association's requestor */
  readonly requestorIsScu: boolean;
  readonly requestorIsScp: boolean;
}

/** Identifiers, action and event information are data sets of a few kilobytes: the three native syntaxes will do. */
export const UNCOMPRESSED: readonly string[] = [
  EXPLICIT_VR_LITTLE_ENDIAN,
  IMPLICIT_VR_LITTLE_ENDIAN,
  EXPLICIT_VR_BIG_ENDIAN,
];

/** Objects are stored as they come, so any syntax of the standard will do whose data sets travel in messages. */
export const STORAGE_SYNTAXES: readonly string[] = [...TRANSFER_SYNTAXES.values()]
  .filter(({ codec }) => codec !== 'unknown' && codec !== 'smpte')
  .map(({ UID }) => UID);
const STORABLE = new Set(STORAGE_SYNTAXES);

/** bytes of a P-DATA-TF PDU that we take, and at most send */
export const MAX_PDU_BYTES = 128 * 1024;
/** operations of one association at a time, each way */
export const ASYNCHRONOUS_OPERATIONS = 16;

export interface AcceptorPolicy {
  /** also private storage classes, and those of later editions of the standard */
  readonly acceptUnknownSopClasses: boolean;
  /** services offered beside storage and Verification */
  readonly services: ReadonlySet<string>;
}

export const isStorage = (abstractSyntax: string, { acceptUnknownSopClasses }: AcceptorPolicy): boolean =>
  STORAGE_SOP_CLASSES.has(abstractSyntax) || (acceptUnknownSopClasses && mayBeStorage(abstractSyntax));

/** 1.2.840.10008.5.1.4.1.1 is the standard's branch of storage classes; private classes are seldom anything else. */
const mayBeStorage = (uid: string): boolean =>
  uid.startsWith('1.2.840.10008.5.1.4.1.1.') || (uid !== '' && !uid.startsWith('1.2.840.10008.'));

/** What we answer to a proposal (PS3.8 §7.1.1, PS3.7 Annex D). */
export function negotiate(
  request: AssociateRequest,
  policy: AcceptorPolicy,
): { accept: AssociateAccept; contexts: ReadonlyMap<number, AcceptedContext> } {
  const roles = rolesFor(request, policy);
  const contexts = new Map<number, AcceptedContext>();
  const answers = request.contexts.map((proposed): ContextAnswer => {
    const answer = answerTo(proposed, policy);
    if (answer.result === CONTEXT_RESULT.acceptance) {
      const { id, abstractSyntax } = proposed;
      const role = roles.find(({ SOPClassUID }) => SOPClassUID === abstractSyntax);
      contexts.set(id, {
        id,
        abstractSyntax,
        transferSyntax: answer.transferSyntax,
        requestorIsScu: role?.scu ?? true,
        requestorIsScp: role?.scp ?? false,
      });
    }
    return answer;
  });
  const extended = (request.user.extended ?? []).flatMap((one) => extendedAnswer(one, policy));
  const { asynchronousOperations } = request.user;
  const user: UserInformation = {
    ...ourInformation,
    ...(asynchronousOperations && {
      asynchronousOperations: {
        invoked: windowOf(asynchronousOperations.invoked),
        performed: windowOf(asynchronousOperations.performed),
      },
    }),
    ...(roles.length > 0 && { roles }),
    ...(extended.length > 0 && { extended }),
  };
  const { calledAETitle, callingAETitle, applicationContext } = request;
  const accept = { protocolVersion: 1, calledAETitle, callingAETitle, applicationContext, contexts: answers, user };
  return { accept, contexts };
}

export const ourInformation: UserInformation = {
  maxPduBytes: MAX_PDU_BYTES,
  implementationClassUID: IMPLEMENTATION_CLASS_UID,
  implementationVersionName: IMPLEMENTATION_VERSION_NAME,
};

/** 0 asks for any number (PS3.7 D.3.3.3) */
const windowOf = (asked: number): number =>
  asked === 0 ? ASYNCHRONOUS_OPERATIONS : Math.min(asked, ASYNCHRONOUS_OPERATIONS);

function answerTo({ id, abstractSyntax, transferSyntaxes }: ProposedContext, policy: AcceptorPolicy): ContextAnswer {
  const storage = isStorage(abstractSyntax, policy);
  const first = transferSyntaxes[0] ?? IMPLICIT_VR_LITTLE_ENDIAN;
  if (!storage && abstractSyntax !== VERIFICATION && !policy.services.has(abstractSyntax))
    return { id, result: CONTEXT_RESULT.abstractSyntaxNotSupported, transferSyntax: first };
  const known = transferSyntaxes.filter((uid) => (storage ? STORABLE.has(uid) : UNCOMPRESSED.includes(uid)));
  // The proposer's first choice; but byte swapping for nothing is nobody's.
  const transferSyntax = known.find((uid) => uid !== EXPLICIT_VR_BIG_ENDIAN) ?? known[0];
  if (transferSyntax === undefined)
    return { id, result: CONTEXT_RESULT.transferSyntaxesNotSupported, transferSyntax: first };
  return { id, result: CONTEXT_RESULT.acceptance, transferSyntax };
}

/** Who retrieves by C-GET takes the objects as SCP of their storage classes; who asks for commitment stays its SCU. */
function rolesFor(request: AssociateRequest, policy: AcceptorPolicy): RoleSelection[] {
  return (request.user.roles ?? [])
    .filter(({ SOPClassUID }) => request.contexts.some(({ abstractSyntax }) => abstractSyntax === SOPClassUID))
    .map(({ SOPClassUID, scu, scp }) => ({ SOPClassUID, scu, scp: scp && isStorage(SOPClassUID, policy) }));
}

/** The answer has as many bytes as the proposal, each no more than we do. */
function extendedAnswer(
  { SOPClassUID, information }: ExtendedNegotiation,
  policy: AcceptorPolicy,
): ExtendedNegotiation[] {
  const table = EXTENDED.find(({ applies }) => applies(SOPClassUID, policy));
  if (table === undefined) return [];
  const answer = Uint8Array.from(information).map((asked, i) => table.answer[i]?.(asked) ?? 0);
  return [{ SOPClassUID, information: answer }];
}

const atMost =
  (limit: number) =>
  (asked: number): number =>
    Math.min(asked, limit);
const always = (value: number) => (): number => value;

const EXTENDED: readonly {
  readonly applies: (uid: string, policy: AcceptorPolicy) => boolean;
  readonly answer: readonly ((asked: number) => number)[];
}[] = [
  {
    // PS3.4 C.5.1.1: relational queries, combined date-time matching, fuzzy names, timezone adjustment, enhanced conversion, empty values,
    // multiple values
    applies: (uid, { services }) => FIND_CLASSES.has(uid) && services.has(uid),
    answer: [atMost(1), atMost(1), atMost(1), atMost(1), always(0), atMost(1), atMost(1)],
  },
  {
    // PS3.4 K.5.1: two that are reserved, fuzzy names, timezone adjustment
    applies: (uid, { services }) => uid === MODALITY_WORKLIST_FIND && services.has(uid),
    answer: [atMost(1), atMost(1), atMost(1), atMost(1)],
  },
  {
    // PS3.4 C.5.2.1, C.5.3.1: relational retrieval, enhanced conversion
    applies: (uid, { services }) => (MOVE_CLASSES.has(uid) || GET_CLASSES.has(uid)) && services.has(uid),
    answer: [atMost(1), always(0)],
  },
  {
    // PS3.4 B.3.1: level 2 (all attributes kept), reserved, digital signatures kept to the bit, reserved, nothing coerced
    applies: isStorage,
    answer: [always(2), always(0), always(3), always(0), always(0)],
  },
];

/** What an acceptor answered, for the requestor. */
export function acceptedContexts(
  proposed: readonly ProposedContext[],
  accept: AssociateAccept,
): ReadonlyMap<number, AcceptedContext> {
  const contexts = new Map<number, AcceptedContext>();
  for (const { id, result, transferSyntax } of accept.contexts) {
    const proposal = proposed.find((one) => one.id === id);
    if (proposal === undefined || result !== CONTEXT_RESULT.acceptance) continue;
    // What was not proposed cannot be accepted: nothing is sent in it.
    if (!proposal.transferSyntaxes.includes(transferSyntax)) continue;
    const { abstractSyntax } = proposal;
    const role = accept.user.roles?.find(({ SOPClassUID }) => SOPClassUID === abstractSyntax);
    contexts.set(id, {
      id,
      abstractSyntax,
      transferSyntax,
      requestorIsScu: role?.scu ?? true,
      requestorIsScp: role?.scp ?? false,
    });
  }
  return contexts;
}
