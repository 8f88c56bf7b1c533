import { createPublicKey } from 'node:crypto';
import { mayGrant } from '#core/access.ts';
import { readPublicJwk } from '#core/client-proof.ts';
import { clientPrincipal } from '#core/clients.ts';
import { enrol, invite, listEnrolments, withdrawEnrolment } from '#core/enrolment.ts';
import { PacsError } from '#core/errors.ts';
import type { TokenStore } from '#core/tokens.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { Route } from '#dicomweb/router.ts';
import { clientAudience } from './client-assertion.ts';
import { json, readJson } from './json.ts';

const MINUTE_MS = 60_000;
const MINUTES = 60;
/** A week: the technician comes next Tuesday. */
const MOST_MINUTES = 7 * 24 * 60;
const CODE_CHARACTERS = 40;

const list: Handler = async ({ services, principal }) =>
  json(200, { items: await listEnrolments(services, principal.tenant) });

/** The answer is the only place where the code ever stands. @throws PacsError BAD_REQUEST; TOO_LARGE */
const create: Handler = async ({ request, services, principal }) => {
  const { gateway, expiresInMinutes = MINUTES, configurationKey } = await readJson(request);
  if (!mayGrant(principal, 'gateway')) throw new PacsError('FORBIDDEN', 'nobody can hand on what he may not do');
  const minutes = expiresInMinutes as number;
  if (!Number.isInteger(minutes) || minutes < 1 || minutes > MOST_MINUTES)
    throw new PacsError('BAD_REQUEST', `expiresInMinutes must be a whole number from 1 to ${MOST_MINUTES}`);
  const enrolment = await invite(services, principal.tenant, {
    gateway: String(gateway),
    createdBy: principal.subject,
    expiresAt: services.clock.now() + minutes * MINUTE_MS,
    ...(configurationKey !== undefined && { configurationKey: readConfigurationKey(configurationKey) }),
  });
  return json(201, enrolment);
};

/** @throws PacsError BAD_REQUEST */
function readConfigurationKey(value: unknown): string {
  try {
    const key = createPublicKey(String(value));
    if (!String(value).includes('PRIVATE') && key.asymmetricKeyType === 'ed25519')
      return key.export({ type: 'spki', format: 'pem' }).toString();
  } catch {
    // Falls through: what is no key and what is another kind of key are the same to the caller.
  }
  throw new PacsError('BAD_REQUEST', 'configurationKey must be an Ed25519 public key in PEM');
}

const withdraw: Handler = async ({ services, principal, params }) => {
  await withdrawEnrolment(services, principal.tenant, params.id!);
  return { status: 204, headers: { 'cache-control': 'no-store' } };
};

/**
 * What a gateway brings its code to, with the public half of the key that it has made.
 * @throws PacsError BAD_REQUEST; UNAUTHENTICATED; TOO_MANY_REQUESTS
 */
const exchange =
  (tokens: TokenStore): Handler =>
  async ({ request, services, facts }) => {
    const { code, key } = await readJson(request);
    if (typeof code !== 'string' || code.length > CODE_CHARACTERS)
      throw new PacsError('BAD_REQUEST', 'code must be an enrolment code');
    const { tenant, enrolment, client } = await enrol(services, code, readPublicJwk(key), request.remoteAddress);
    facts.principal = clientPrincipal(tenant, client);
    // A token that was made for it by hand before is nobody's now.
    await tokens.forgetGateway(tenant, enrolment.gateway);
    return json(201, {
      clientId: client.id,
      audience: clientAudience(client.id),
      gateway: enrolment.gateway,
      tenant,
      ...(enrolment.configurationKey !== undefined && { configurationKey: enrolment.configurationKey }),
    });
  };

export const enrolmentRoutes = (tokens: TokenStore): Route[] => [
  { method: 'GET', path: '/enrolments', action: 'administer', name: 'ListEnrolments', handler: list },
  { method: 'POST', path: '/enrolments', action: 'administer', name: 'CreateEnrolment', handler: create },
  {
    method: 'DELETE',
    path: '/enrolments/{id}',
    action: 'administer',
    name: 'WithdrawEnrolment',
    handler: withdraw,
  },
  // Public: the code is in the body.
  {
    method: 'POST',
    path: '/enrolments/exchange',
    action: 'public',
    name: 'ExchangeEnrolment',
    handler: exchange(tokens),
    recordedAs: ['SecurityConfiguration', 'C'],
  },
];
