import { authorize } from '#core/access.ts';
import type { Service } from '../session.ts';
import { identifierOf } from './find.ts';
import { select } from './retrieve.ts';
import type { ArchiveAccess } from './store.ts';
import { sendAll } from './suboperations.ts';

/** C-GET (PS3.4 C.4.3): the objects come back over the association that asks, in contexts whose SCP role it took. */
export const getService =
  ({ services, principalOf }: ArchiveAccess): Service =>
  async (operation) => {
    const { session, context } = operation;
    const { tenant } = authorize(principalOf(session.callingAETitle), 'retrieve');
    const selection = await select(services, tenant, await identifierOf(operation), context.abstractSyntax);
    const contexts = [...session.contexts.values()].filter(({ requestorIsScp }) => requestorIsScp);
    await sendAll(services, operation, selection, { session, contexts });
  };
