import { countDamaged, listDamaged } from '#core/archive/damage.ts';
import { fixityPass } from '#core/archive/fixity.ts';
import type { Handler } from '#dicomweb/handler.ts';
import { json, wholeNumber } from './json.ts';

/** How far the archive has come with comparing its objects with their SHA-256, and how many it knows to be damaged. */
export const getVerification: Handler = async ({ services, principal }) => {
  const pass = await fixityPass(services, principal.tenant);
  const damaged = await countDamaged(services, principal.tenant);
  if (pass === undefined) return json(200, { damaged });
  const { startedAt, endedAt, objects, bytes } = pass;
  return json(200, { damaged, pass: { startedAt, endedAt, objects, bytes } });
};

/** The damaged objects, whose they are, and what is wrong with each. */
export const listDamagedObjects: Handler = async ({ request, services, principal }) => {
  const limit = wholeNumber(request, 'limit', 50, 500);
  return json(200, await listDamaged(services, principal.tenant, request.query.get('after') ?? '', limit));
};
