import { authorize } from '#core/access.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { PacsError } from '#core/errors.ts';
import type { Handler } from './handler.ts';

const REASON_CHARACTERS = 200;

/**
 * DELETE of a study, series or instance: into the trash, from where it can be restored until `purgeAt`. No transaction of
 * PS3.18; the peers' custom is followed: 204 without a body. The optional query parameter `reason` is kept with the entry.
 */
export const deleteResource: Handler = async ({ request, params, services, principal }) => {
  const selection = {
    StudyInstanceUID: params.study!,
    ...(params.series === undefined ? {} : { SeriesInstanceUID: params.series }),
    ...(params.instance === undefined ? {} : { SOPInstanceUID: params.instance }),
  };
  authorize(principal, 'delete', selection);
  const reason = request.query.get('reason') ?? 'no reason given';
  if (reason.length > REASON_CHARACTERS) {
    throw new PacsError('BAD_REQUEST', 'the reason is too long', { details: { limitCharacters: REASON_CHARACTERS } });
  }
  const trash = await moveToTrash(services, principal.tenant, [selection], {
    kind: 'deleted',
    reason,
    by: principal.subject,
  });
  return { status: 204, headers: { 'x-trash-id': trash.id, 'cache-control': 'no-store' } };
};
