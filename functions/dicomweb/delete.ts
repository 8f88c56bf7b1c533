import { authorize } from '#core/access.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { PacsError } from '#core/errors.ts';
import { findInstance } from '#core/retrieve/find.ts';
import { checkState } from './conditional.ts';
import type { Context, Handler } from './handler.ts';

const REASON_CHARACTERS = 200;

/**
 * DELETE of a study, series or instance: into the trash, from where it can be restored until `purgeAt`. No transaction of
 * PS3.18; the peers' custom is followed: 204 without a body. The optional query parameter `reason` is kept with the entry.
 */
export const deleteResource: Handler = async (context) => {
  const { request, params, services, principal } = context;
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
  await checkCurrent(context);
  const trash = await moveToTrash(services, principal.tenant, [selection], {
    kind: 'deleted',
    reason,
    by: principal.subject,
  });
  return { status: 204, headers: { 'x-trash-id': trash.id, 'cache-control': 'no-store' } };
};

/** Of an instance the ETag is that of the object; studies and series have none. @throws PacsError PRECONDITION_FAILED, NOT_FOUND */
async function checkCurrent({ request, params, services, principal }: Context): Promise<void> {
  if (params.instance === undefined) return checkState(request);
  const { 'if-match': match, 'if-unmodified-since': since } = request.headers;
  if (match === undefined && since === undefined) return;
  const { sha256, storedAt } = await findInstance(
    services,
    principal.tenant,
    params.study!,
    params.series!,
    params.instance,
  );
  checkState(request, { etag: `"${sha256}"`, lastModified: storedAt });
}
