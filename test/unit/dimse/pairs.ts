import { duplexPair } from 'node:stream';
import { EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN } from '#core/dicom/transfer-syntaxes.ts';
import { ARCHIVE_POLICY } from '#dimse/archive.ts';
import type { Timers } from '#dimse/association.ts';
import { negotiate, ourInformation } from '#dimse/negotiation.ts';
import { type AssociateRequest, DICOM_APPLICATION_CONTEXT, type ProposedContext } from '#dimse/pdu.ts';
import { type ServiceTable, Session } from '#dimse/session.ts';
import { VERIFICATION } from '#dimse/sop-classes.ts';

export const POLICY = ARCHIVE_POLICY;
export const NATIVE = [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN];

export const requestOf = (
  contexts: readonly ProposedContext[] = [{ id: 1, abstractSyntax: VERIFICATION, transferSyntaxes: NATIVE }],
  user: Partial<AssociateRequest['user']> = {},
): AssociateRequest => ({
  protocolVersion: 1,
  calledAETitle: 'NEPHOS',
  callingAETitle: 'CT1',
  applicationContext: DICOM_APPLICATION_CONTEXT,
  contexts,
  user: { ...ourInformation, ...user },
});

/** A requestor and an acceptor that serves it, on a connection in memory. */
export async function sessionPair(options: {
  readonly services: ServiceTable;
  readonly contexts?: readonly ProposedContext[];
  readonly user?: Partial<AssociateRequest['user']>;
  readonly scuServices?: ServiceTable;
  readonly timers?: Timers;
  readonly onDefect?: (error: unknown) => void;
}): Promise<{ scu: Session; scp: Session }> {
  const [near, far] = duplexPair({ allowHalfOpen: false });
  const scp = Session.accept(far, {
    services: options.services,
    decide: (request) => negotiate(request, POLICY),
    onDefect: options.onDefect,
    ...(options.timers && { timers: options.timers }),
  });
  const scu = await Session.request(near, requestOf(options.contexts, options.user), {
    services: options.scuServices,
  });
  return { scu, scp };
}
