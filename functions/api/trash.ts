import { restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { getTrash, listTrash } from '#core/archive/trash.ts';
import { PacsError } from '#core/errors.ts';
import type { Handler } from '#dicomweb/handler.ts';
import { json, readJson, wholeNumber } from './json.ts';

/** What was deleted, rejected or replaced, newest first. */
export const listTrashed: Handler = async ({ request, services, principal }) => {
  const limit = wholeNumber(request, 'limit', 50, 500);
  return json(200, await listTrash(services, principal.tenant, request.query.get('after') ?? '', limit));
};

export const getTrashed: Handler = async ({ params, services, principal }) =>
  json(200, await getTrash(services, principal.tenant, params.id!));

/** Restores an entry: 200 with what came back; what is still in conflict stays in the trash. */
export const decideTrashed: Handler = async ({ request, params, services, principal }) => {
  const { action } = await readJson(request);
  if (action !== 'restore') throw new PacsError('BAD_REQUEST', 'action must be restore');
  return json(200, { id: params.id!, ...(await restoreFromTrash(services, principal.tenant, params.id!)) });
};
