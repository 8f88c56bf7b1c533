import { authorize } from '#core/access.ts';
import type { Service } from '../session.ts';
import { identifierOf } from './find.ts';
import { type SelectInstances, select } from './retrieve.ts';
import type { ArchiveAccess } from './store.ts';
import { sendAll } from './suboperations.ts';

/** C-GET (PS3.4 C.4.3): the objects come back over the association that asks, in contexts whose SCP role it took. */
export const getService =
  (
    { services, principalOf }: ArchiveAccess,
    selecting: SelectInstances = (tenant, identifier, SOPClassUID) => select(services, tenant, identifier, SOPClassUID),
  ): Service =>
  async (operation) => {
    const { session, context, signal } = operation;
    const { tenant } = authorize(principalOf(session.callingAETitle, session), 'retrieve');
    const selection = await selecting(tenant, await identifierOf(operation), context.abstractSyntax, signal);
    const contexts = [...session.contexts.values()].filter(({ requestorIsScp }) => requestorIsScp);
    await sendAll(services, operation, selection, { session, contexts });
  };
