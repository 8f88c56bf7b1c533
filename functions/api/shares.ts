import { PacsError } from '#core/errors.ts';
import { subjectOf } from '#core/share-links/guest.ts';
import { createShare, findShare, listShares, revokeShare, showShare } from '#core/share-links/links.ts';
import { readShareTrail } from '#core/share-links/trail.ts';
import { decideUploads, listUploads } from '#core/share-links/uploads.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { Route } from '#dicomweb/router.ts';
import { json, readJson, wholeNumber } from './json.ts';

/** Where the receiver's page stands; the secret goes behind the `#`, which browsers send to nobody. */
const linkAddress = (origin: string, id: string, secret: string): string => `${origin}/s/${id}#${secret}`;

/** POST: makes a link. The answer is the only place where its address ever stands. @throws PacsError as createShare */
const create: Handler = async ({ request, services, principal, facts }) => {
  const { link, secret } = await createShare(services, principal, await readJson(request));
  facts.studies = link.studies;
  facts.destination = subjectOf(link.id);
  facts.purpose = link.purpose;
  return json(201, { ...link, url: linkAddress(request.origin, link.id, secret) });
};

const list: Handler = async ({ request, services, principal }) => {
  const { query } = request;
  const study = query.get('study') ?? undefined;
  const asked = { after: query.get('after') ?? '', limit: wholeNumber(request, 'limit', 50, 500), study };
  return json(200, await listShares(services, principal, asked));
};

const one: Handler = async ({ params, services, principal }) =>
  json(200, showShare(services, await findShare(services, principal, params.id!)));

const revoke: Handler = async ({ params, services, principal, facts }) => {
  const link = await revokeShare(services, principal, params.id!);
  facts.studies = link.studies;
  facts.destination = subjectOf(link.id);
  return { status: 204, headers: { 'cache-control': 'no-store' } };
};

const trail: Handler = async ({ request, params, services, principal }) => {
  const { id } = await findShare(services, principal, params.id!);
  const limit = wholeNumber(request, 'limit', 100, 1_000);
  return json(200, await readShareTrail(services, principal.tenant, id, request.query.get('after') ?? '', limit));
};

/** What came in by a link and waits in quarantine. */
const uploads: Handler = async ({ params, services, principal }) => {
  const { id } = await findShare(services, principal, params.id!);
  return json(200, await listUploads(services, principal.tenant, id));
};

/** POST: `accept` stores what waits, `discard` sends it to the trash; some at a time, `left` says how many remain. */
const decide: Handler = async ({ request, params, services, principal, facts }) => {
  const { action } = await readJson(request);
  if (action !== 'accept' && action !== 'discard')
    throw new PacsError('BAD_REQUEST', 'action must be accept or discard');
  const { id } = await findShare(services, principal, params.id!);
  const decided = await decideUploads(services, principal, id, action);
  facts.studies = decided.studies;
  facts.instances = decided.decided;
  facts.destination = subjectOf(id);
  return json(200, { decided: decided.decided, left: decided.left });
};

const row = (method: Route['method'], path: string, name: string, handler: Handler): Route => ({
  method,
  path,
  action: 'share',
  name,
  handler,
});

export const SHARE_ROUTES: readonly Route[] = [
  { ...row('POST', '/shares', 'CreateShare', create), recordedAs: ['SecurityConfiguration', 'C'] },
  row('GET', '/shares', 'ListShares', list),
  row('GET', '/shares/{id}', 'GetShare', one),
  { ...row('DELETE', '/shares/{id}', 'RevokeShare', revoke), recordedAs: ['SecurityConfiguration', 'D'] },
  row('GET', '/shares/{id}/trail', 'GetShareTrail', trail),
  row('GET', '/shares/{id}/uploads', 'ListShareUploads', uploads),
  { ...row('POST', '/shares/{id}/uploads', 'DecideShareUploads', decide), recordedAs: ['InstancesAccessed', 'U'] },
];
