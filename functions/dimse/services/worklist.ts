import { confine } from '#core/access/confine.ts';
import { authorize } from '#core/access.ts';
import { textOf } from '#core/dicom/element-text.ts';
import { PacsError } from '#core/errors.ts';
import { searchWorklist } from '#core/worklist/worklist.ts';
import { encodeIdentifier } from '../identifiers.ts';
import type { Service } from '../session.ts';
import { STATUS } from '../status.ts';
import { identifierOf, keysOf, zoneOf } from './find.ts';
import { FUZZY_BYTE, TAG, TIMEZONE_BYTE } from './query.ts';
import type { ArchiveAccess } from './store.ts';

/**
 * C-FIND of the Modality Worklist (PS3.4 Annex K): one response for each scheduled procedure step that matches, with the keys asked
 * for. Status A700 after the matches says that the search was cut: there may be more.
 * @param ready rejects where there is no worklist to be searched, with why
 */
export const worklistService =
  (access: ArchiveAccess, ready: () => Promise<void> = async () => {}): Service =>
  async (operation) => {
    const { session, context, dataSet, signal, respond } = operation;
    const principal = authorize(access.principalOf(session.callingAETitle, session), 'readWorklist');
    const { tenant } = principal;
    const services = await confine(access.services, principal, 'readWorklist');
    await ready();
    const identifier = await identifierOf(operation);
    if (operation.facts) operation.facts.keys = keysOf(identifier);
    const characterSets = textOf(identifier[TAG.SpecificCharacterSet]).split('\\');
    const agreed = session.extendedNegotiation(context.abstractSyntax);
    const zoneMinutes = agreed?.[TIMEZONE_BYTE] === 1 ? zoneOf(identifier) : undefined;
    const options = { fuzzy: agreed?.[FUZZY_BYTE] === 1, ...(zoneMinutes !== undefined && { zoneMinutes }) };
    let cut = false;
    try {
      for await (const result of searchWorklist(services, tenant, identifier, options)) {
        if (signal.aborted) break;
        if (result === 'cut') cut = true;
        else await respond({ Status: STATUS.pending }, encodeIdentifier(result, context.transferSyntax, characterSets));
      }
    } catch (error) {
      if (!(error instanceof PacsError) || error.code !== 'BAD_REQUEST') throw error;
      throw new PacsError('DATASET_MISMATCH', error.message, { cause: error, details: { ...error.details } });
    }
    dataSet?.discard();
    if (signal.aborted) await respond({ Status: STATUS.cancel });
    else if (cut)
      await respond({ Status: STATUS.outOfResources, ErrorComment: 'the search was cut; narrow the query' });
    else await respond({ Status: STATUS.success });
  };
