import { confine } from '#core/access/confine.ts';
import type { Principal } from '#core/access.ts';
import { keys, type StudyRecord, type Tenant } from '#core/archive/records.ts';
import { PacsError } from '#core/errors.ts';
import { asRecord } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import { guestPrincipal, watermarkText } from '#core/share-links/guest.ts';
import { closeSession, findBySecret, openShare, sessionOf } from '#core/share-links/opening.ts';
import type { ShareRecord } from '#core/share-links/records.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { HttpRequest } from '#dicomweb/http.ts';
import type { Route } from '#dicomweb/router.ts';
import { guestCookie, guestTokenOf } from './guest-door.ts';
import { json, readJson } from './json.ts';

/** The receiver's side of a share link. The routes are public and stand below the link's address alone: the secret is in the body, or the session in the cookie. */

/** POST: what the receiver is told before he opens the link. Of what it is for, and what is in it, nothing while a PIN stands before it. */
const look: Handler = async ({ request, services }) => {
  const { secret } = await readSecret(request);
  const { link, state } = await findBySecret(services, request.link!, secret);
  const { createdBy, receiver, expiresAt, scopes, purpose, pin } = link;
  const told = { state, sharedBy: createdBy, receiver, expiresAt, scopes, needsPin: pin !== undefined };
  return json(200, pin === undefined && state === 'active' ? { ...told, purpose } : told);
};

/** POST: opens the link, and gives the session's cookie. @throws PacsError as openShare */
const open: Handler = async ({ request, services, facts }) => {
  const { secret, pin } = await readSecret(request);
  const asked = { id: request.link!, secret, pin };
  const opened = await openShare(services, asked, request.remoteAddress, ({ tenant, link }) => {
    // Whatever comes of it is recorded as the link's, in its tenant.
    facts.principal = guestPrincipal(tenant, link, link.expiresAt);
    facts.studies = link.studies;
  });
  const { tenant, link, token, endsAt } = opened;
  const answer = json(200, await told(services, tenant, link, endsAt));
  const maxAgeSeconds = Math.max(1, Math.floor((endsAt - services.clock.now()) / 1000));
  return { ...answer, headers: { ...answer.headers, 'set-cookie': guestCookie(request, token, maxAgeSeconds) } };
};

const session: Handler = async ({ request, services }) => {
  const token = guestTokenOf(request);
  const found = token === undefined ? undefined : await sessionOf(services, request.link!, token);
  if (found === undefined)
    throw new PacsError('UNAUTHENTICATED', 'the link has not been opened, or its session is over');
  return json(200, await told(services, found.tenant, found.link, found.endsAt));
};

const close: Handler = async ({ request, services }) => {
  const token = guestTokenOf(request);
  if (token !== undefined) await closeSession(services, request.link!, token);
  const headers = { 'cache-control': 'no-store', 'set-cookie': guestCookie(request, '', 0) };
  return { status: 204, headers };
};

async function readSecret(request: HttpRequest): Promise<{ secret: string; pin: string | undefined }> {
  const { secret, pin } = await readJson(request, 4_096);
  if (typeof secret !== 'string' || secret.length > 100)
    throw new PacsError('BAD_REQUEST', 'the secret of the link is missing');
  if (pin !== undefined && (typeof pin !== 'string' || pin.length > 100))
    throw new PacsError('BAD_REQUEST', 'the PIN is a text');
  return { secret, pin: pin?.trim() };
}

/** The link as its receiver sees it, with its studies unless he may only send. */
async function told(services: Services, tenant: Tenant, link: ShareRecord, endsAt: number) {
  const { id, receiver, purpose, createdBy, expiresAt, scopes, upload } = link;
  const shows = scopes.includes('view') || scopes.includes('download');
  const principal = guestPrincipal(tenant, link, endsAt);
  return {
    id,
    receiver,
    purpose,
    sharedBy: createdBy,
    expiresAt,
    endsAt,
    scopes,
    ...(upload && { upload: { into: upload.into } }),
    watermark: watermarkText(principal.guest, services.clock.now()),
    studies: shows ? await summaries(services, principal, link) : [],
  };
}

/** Of each study that is here, and in the guest's reach by now, what its list entry says, and no more. */
async function summaries(services: Services, principal: Principal, { studies }: ShareRecord) {
  if (studies.length === 0) return [];
  const { tenant } = principal;
  // Its patient may have come under a restriction since the link was made.
  const { index } = await confine(services, principal, 'search');
  const items = await index.getMany(studies.map((study) => keys.study(tenant, study)));
  return items.flatMap((item) => {
    const record = asRecord<StudyRecord>(item);
    if (record === undefined || record.instanceCount <= 0) return [];
    const { StudyInstanceUID, attributes, modalities, instanceCount, sizeBytes } = record;
    const text = (tag: string): string => {
      const value: unknown = attributes[tag]?.Value?.[0];
      return typeof value === 'string' ? value : ((value as { Alphabetic?: string } | undefined)?.Alphabetic ?? '');
    };
    return [
      {
        StudyInstanceUID,
        PatientName: text('00100010'),
        StudyDate: text('00080020'),
        StudyDescription: text('00081030'),
        ModalitiesInStudy: Object.keys(modalities),
        instances: instanceCount,
        sizeBytes,
      },
    ];
  });
}

/** Public: each answers by itself whoever has neither secret nor session. */
const row = (method: Route['method'], path: string, name: string, handler: Handler): Route => ({
  method,
  path,
  action: 'public',
  name,
  handler,
});

export const GUEST_API_ROUTES: readonly Route[] = [
  row('POST', '/guest/look', 'LookAtShare', look),
  { ...row('POST', '/guest/opening', 'OpenShare', open), recordedAs: ['Login', 'E'] },
  row('GET', '/guest/session', 'GetGuestSession', session),
  { ...row('DELETE', '/guest/session', 'CloseGuestSession', close), recordedAs: ['Logout', 'E'] },
];
