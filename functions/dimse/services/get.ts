import { confine } from '#core/access/confine.ts';
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
    selecting: SelectInstances = (tenant, identifier, SOPClassUID, _signal, confined) =>
      select(confined, tenant, identifier, SOPClassUID),
  ): Service =>
  async (operation) => {
    const { session, context, command, signal } = operation;
    const principal = authorize(principalOf(session.callingAETitle, session), 'retrieve');
    const { tenant } = principal;
    const confined = await confine(services, principal, 'retrieve');
    const identifier = await identifierOf(operation);
    const selection = await selecting(tenant, identifier, context.abstractSyntax, signal, confined, command.Priority);
    const contexts = [...session.contexts.values()].filter(({ requestorIsScp }) => requestorIsScp);
    await sendAll(services, operation, selection, { session, contexts });
  };
