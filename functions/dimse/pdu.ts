import { itemsOf, PduError, type PduReader, readerOf, uidItem, uint16, uint32, wrapped } from './pdu-items.ts';
import { readUserInformation, type UserInformation, userInformationItem } from './user-information.ts';

/** Protocol data units of the DICOM upper layer (PS3.8 §9.3). P-DATA-TF is read as it streams in: see PduStream. */
export const PDU = {
  associateRequest: 0x01,
  associateAccept: 0x02,
  associateReject: 0x03,
  data: 0x04,
  releaseRequest: 0x05,
  releaseReply: 0x06,
  abort: 0x07,
} as const;

export const DICOM_APPLICATION_CONTEXT = '1.2.840.10008.3.1.1.1';
export const PDU_HEADER_BYTES = 6;
/** length of a PDV item, then presentation context id and message control header */
export const PDV_HEADER_BYTES = 6;

export interface ProposedContext {
  /** odd, 1 to 255 */
  readonly id: number;
  readonly abstractSyntax: string;
  readonly transferSyntaxes: readonly string[];
}

/** PS3.8 Table 9-18 */
export const CONTEXT_RESULT = {
  acceptance: 0,
  userRejection: 1,
  noReason: 2,
  abstractSyntaxNotSupported: 3,
  transferSyntaxesNotSupported: 4,
} as const;

export interface ContextAnswer {
  readonly id: number;
  readonly result: number;
  /** says nothing unless accepted */
  readonly transferSyntax: string;
}

interface Association {
  readonly protocolVersion: number;
  /** without leading and trailing spaces */
  readonly calledAETitle: string;
  readonly callingAETitle: string;
  readonly applicationContext: string;
  readonly user: UserInformation;
}

export interface AssociateRequest extends Association {
  readonly contexts: readonly ProposedContext[];
}

export interface AssociateAccept extends Association {
  readonly contexts: readonly ContextAnswer[];
}

/** PS3.8 Table 9-21 */
export interface AssociateReject {
  readonly result: number;
  readonly source: number;
  readonly reason: number;
}

const reject = (result: number, source: number, reason: number): AssociateReject => ({ result, source, reason });
export const REJECT = {
  noReason: reject(1, 1, 1),
  applicationContextNotSupported: reject(1, 1, 2),
  callingAETitleNotRecognized: reject(1, 1, 3),
  calledAETitleNotRecognized: reject(1, 1, 7),
  protocolVersionNotSupported: reject(1, 2, 2),
  /** by the ACSE part of the provider, without a reason: there is none for a user identity */
  identityNotAccepted: reject(1, 2, 1),
  temporaryCongestion: reject(2, 3, 1),
  localLimitExceeded: reject(2, 3, 2),
} as const;

/** PS3.8 Table 9-26: `source` 0 the user of the service, 2 its provider, whose reasons these are. */
export interface Abort {
  readonly source: number;
  readonly reason: number;
}
export const ABORT_REASON = {
  notSpecified: 0,
  unrecognizedPdu: 1,
  unexpectedPdu: 2,
  unrecognizedParameter: 4,
  unexpectedParameter: 5,
  invalidParameter: 6,
} as const;

/** Any PDU but P-DATA-TF. */
export type ControlPdu =
  | { readonly type: typeof PDU.associateRequest; readonly request: AssociateRequest }
  | { readonly type: typeof PDU.associateAccept; readonly accept: AssociateAccept }
  | { readonly type: typeof PDU.associateReject; readonly reject: AssociateReject }
  | { readonly type: typeof PDU.releaseRequest | typeof PDU.releaseReply }
  | { readonly type: typeof PDU.abort; readonly abort: Abort };

/** The PDU of a body, which follows its six-byte header. @throws PduError with the reason for the A-ABORT it deserves */
export function decodePdu(type: number, body: Buffer): ControlPdu {
  switch (type) {
    case PDU.associateRequest: {
      const { contexts, ...association } = readAssociation(body, readProposedContext, 0x20);
      return { type, request: { ...association, contexts } };
    }
    case PDU.associateAccept: {
      const { contexts, ...association } = readAssociation(body, readContextAnswer, 0x21);
      return { type, accept: { ...association, contexts } };
    }
    case PDU.associateReject:
      return { type, reject: { result: fixed(body, 1), source: fixed(body, 2), reason: fixed(body, 3) } };
    case PDU.releaseRequest:
    case PDU.releaseReply:
      return { type };
    case PDU.abort:
      return { type, abort: { source: fixed(body, 2), reason: fixed(body, 3) } };
    default:
      throw new PduError(ABORT_REASON.unrecognizedPdu, 'a PDU of an unknown type');
  }
}

function fixed(body: Buffer, at: number): number {
  if (body.length < 4) throw new PduError(ABORT_REASON.invalidParameter, 'a PDU is too short');
  return body[at]!;
}

function readAssociation<C extends { readonly id: number }>(
  body: Buffer,
  readContext: (reader: PduReader) => C,
  contextItem: number,
): Association & { contexts: C[] } {
  const reader = readerOf(body);
  const protocolVersion = reader.uint16();
  reader.skip(2);
  const calledAETitle = reader.text(16);
  const callingAETitle = reader.text(16);
  reader.skip(32);
  const contexts: C[] = [];
  let applicationContext: string | undefined;
  let user: UserInformation | undefined;
  for (const { type, content } of itemsOf(reader)) {
    if (type === 0x10) applicationContext = content.uid(content.left);
    else if (type === contextItem) {
      const context = readContext(content);
      if (contexts.some(({ id }) => id === context.id))
        throw new PduError(ABORT_REASON.invalidParameter, 'a presentation context id stands twice');
      contexts.push(context);
    } else if (type === 0x50) user = readUserInformation(content);
    // Items of other types are for those who know them (PS3.8 §9.3.1).
  }
  if (applicationContext === undefined || user === undefined)
    throw new PduError(ABORT_REASON.invalidParameter, 'an association item is missing');
  return { protocolVersion, calledAETitle, callingAETitle, applicationContext, contexts, user };
}

function readProposedContext(reader: PduReader): ProposedContext {
  const id = reader.uint8();
  reader.skip(3);
  let abstractSyntax: string | undefined;
  const transferSyntaxes: string[] = [];
  for (const { type, content } of itemsOf(reader)) {
    if (type === 0x30) abstractSyntax = content.uid(content.left);
    else if (type === 0x40) transferSyntaxes.push(content.uid(content.left));
  }
  if (abstractSyntax === undefined || id % 2 === 0)
    throw new PduError(ABORT_REASON.invalidParameter, 'a presentation context is malformed');
  return { id, abstractSyntax, transferSyntaxes };
}

function readContextAnswer(reader: PduReader): ContextAnswer {
  const id = reader.uint8();
  reader.skip(1);
  const result = reader.uint8();
  reader.skip(1);
  let transferSyntax = '';
  for (const { type, content } of itemsOf(reader)) if (type === 0x40) transferSyntax = content.uid(content.left);
  return { id, result, transferSyntax };
}

export const encodeAssociateRequest = (request: AssociateRequest): Buffer =>
  encodeAssociation(
    PDU.associateRequest,
    request,
    request.contexts.map(({ id, abstractSyntax, transferSyntaxes }) =>
      wrapped(0x20, [
        Buffer.of(id, 0, 0, 0),
        uidItem(0x30, abstractSyntax),
        ...transferSyntaxes.map((uid) => uidItem(0x40, uid)),
      ]),
    ),
  );

export const encodeAssociateAccept = (accept: AssociateAccept): Buffer =>
  encodeAssociation(
    PDU.associateAccept,
    accept,
    accept.contexts.map(({ id, result, transferSyntax }) =>
      wrapped(0x21, [Buffer.of(id, 0, result, 0), uidItem(0x40, transferSyntax)]),
    ),
  );

const aeTitle = (title: string): Buffer => Buffer.from(title.slice(0, 16).padEnd(16), 'latin1');

function encodeAssociation(type: number, association: Association, contexts: readonly Buffer[]): Buffer {
  return encodePdu(type, [
    uint16(association.protocolVersion),
    uint16(0),
    aeTitle(association.calledAETitle),
    aeTitle(association.callingAETitle),
    Buffer.alloc(32),
    uidItem(0x10, association.applicationContext),
    ...contexts,
    userInformationItem(association.user),
  ]);
}

const encodePdu = (type: number, parts: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.of(type, 0), uint32(body.length), body]);
};

export const encodeAssociateReject = ({ result, source, reason }: AssociateReject): Buffer =>
  encodePdu(PDU.associateReject, [Buffer.of(0, result, source, reason)]);
export const encodeReleaseRequest = (): Buffer => encodePdu(PDU.releaseRequest, [Buffer.alloc(4)]);
export const encodeReleaseReply = (): Buffer => encodePdu(PDU.releaseReply, [Buffer.alloc(4)]);
export const encodeAbort = ({ source, reason }: Abort): Buffer =>
  encodePdu(PDU.abort, [Buffer.of(0, 0, source, reason)]);

/** Header of a P-DATA-TF PDU with one presentation data value of `bytes` behind it (PS3.8 §9.3.5, Annex E.2). */
export function dataHeader(contextId: number, isCommand: boolean, isLast: boolean, bytes: number): Buffer {
  const header = Buffer.allocUnsafe(PDU_HEADER_BYTES + PDV_HEADER_BYTES);
  header[0] = PDU.data;
  header[1] = 0;
  header.writeUInt32BE(bytes + PDV_HEADER_BYTES, 2);
  header.writeUInt32BE(bytes + 2, 6);
  header[10] = contextId;
  header[11] = (isCommand ? 1 : 0) | (isLast ? 2 : 0);
  return header;
}
