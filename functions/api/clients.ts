import { isRole, mayGrant, type Principal, permitted, ROLES, type Role } from '#core/access.ts';
import { readCertificateName, readPublicJwk } from '#core/client-proof.ts';
import {
  type AskedClient,
  addSecret,
  CLIENT_CERTIFICATES,
  CLIENT_KEYS,
  CLIENT_METHODS,
  changeClient,
  createClient,
  deleteClient,
  getClient,
  listClients,
  type MachineClient,
  removeSecret,
} from '#core/clients.ts';
import { PacsError } from '#core/errors.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { Route } from '#dicomweb/router.ts';
import { json, readJson } from './json.ts';

const NAME_CHARACTERS = 60;
const DAY_MS = 24 * 60 * 60 * 1000;
const SECRET_DAYS = 180;
const MOST_SECRET_DAYS = 730;

type Body = Record<string, unknown>;

/** Those that have been registered, and the roles that the caller may give. Secrets are told of, never told. */
const list: Handler = async ({ services, principal }) =>
  json(200, {
    items: await listClients(services, principal.tenant),
    roles: ROLES.filter((role) => mayGrant(principal, role)).map((role) => ({ role, permits: permitted([role]) })),
  });

const get: Handler = async ({ services, principal, params }) =>
  json(200, await getClient(services, principal.tenant, params.id!));

/** The answer is the only place where the secret ever stands. @throws PacsError BAD_REQUEST; FORBIDDEN; CONFLICT; TOO_LARGE */
const create: Handler = async ({ request, services, principal }) => {
  const body = await readJson(request);
  const { method } = body;
  if (!CLIENT_METHODS.some((one) => one === method)) throw wrong('method', `one of ${CLIENT_METHODS.join(', ')}`);
  const asked: AskedClient = {
    name: nameOf(body),
    roles: rolesOf(body, principal),
    method: method as MachineClient['method'],
    keys: keysOf(body),
    certificates: certificatesOf(body),
  };
  checkMethod(asked);
  const made = await createClient(services, principal.tenant, asked, principal.subject, secretMsOf(body));
  return json(201, { ...made.client, ...(made.secret !== undefined && { secret: made.secret }) });
};

/** What is named is changed. @throws PacsError as create; NOT_FOUND */
const change: Handler = async ({ request, services, principal, params }) => {
  const body = await readJson(request);
  const { method, roles } = await manageable(services, principal, params.id!);
  const next = {
    ...(body.name !== undefined && { name: nameOf(body) }),
    ...(body.roles !== undefined && { roles: rolesOf(body, principal) }),
    ...(body.keys !== undefined && { keys: keysOf(body) }),
    ...(body.certificates !== undefined && { certificates: certificatesOf(body) }),
  };
  if (next.keys || next.certificates)
    checkMethod({ method, roles, keys: [], certificates: [], ...next }, Object.keys(next));
  return json(200, await changeClient(services, principal.tenant, params.id!, next));
};

const remove: Handler = async ({ services, principal, params }) => {
  await deleteClient(services, principal.tenant, params.id!);
  return { status: 204, headers: { 'cache-control': 'no-store' } };
};

const issueSecret: Handler = async ({ request, services, principal, params }) => {
  const body = await readJson(request);
  await manageable(services, principal, params.id!);
  const { client, secret } = await addSecret(services, principal.tenant, params.id!, secretMsOf(body));
  return json(201, { ...client, secret });
};

const dropSecret: Handler = async ({ services, principal, params }) => {
  await removeSecret(services, principal.tenant, params.id!, params.secret!);
  return { status: 204, headers: { 'cache-control': 'no-store' } };
};

/** Who gets hold of a client gets what it may do: nobody hands that out who may not do it himself. */
async function manageable(
  services: Parameters<typeof getClient>[0],
  principal: Principal,
  id: string,
): Promise<MachineClient> {
  const client = await getClient(services, principal.tenant, id);
  refuseExcess(client.roles, principal);
  return client;
}

function refuseExcess(roles: readonly Role[], principal: Principal): void {
  const excess = roles.filter((role) => !mayGrant(principal, role));
  if (excess.length > 0)
    throw new PacsError('FORBIDDEN', 'nobody can hand on what he may not do', { details: { roles: excess } });
}

function nameOf({ name }: Body): string {
  if (typeof name !== 'string' || name.trim() === '' || name.length > NAME_CHARACTERS)
    throw wrong('name', `1 to ${NAME_CHARACTERS} characters`);
  return name.trim();
}

function rolesOf({ roles }: Body, principal: Principal): Role[] {
  if (!Array.isArray(roles) || roles.length === 0 || !roles.every(isRole))
    throw wrong('roles', `some of ${ROLES.join(', ')}`);
  const named = [...new Set(roles as Role[])];
  refuseExcess(named, principal);
  return named;
}

function keysOf({ keys = [] }: Body): MachineClient['keys'] {
  if (!Array.isArray(keys) || keys.length > CLIENT_KEYS) throw wrong('keys', `a list of at most ${CLIENT_KEYS} JWKs`);
  return keys.map(readPublicJwk);
}

function certificatesOf({ certificates = [] }: Body): string[] {
  if (!Array.isArray(certificates) || certificates.length > CLIENT_CERTIFICATES)
    throw wrong('certificates', `a list of at most ${CLIENT_CERTIFICATES}`);
  return [...new Set(certificates.map(readCertificateName))];
}

/** A way in that nobody knows of is one too many: keys and certificates are of the clients that use them. */
function checkMethod(
  { method, keys, certificates }: Pick<AskedClient, 'method' | 'keys' | 'certificates' | 'roles'>,
  changed: readonly string[] = ['keys', 'certificates'],
): void {
  const rules = [
    ['keys', keys.length, 'private_key_jwt'],
    ['certificates', certificates.length, 'certificate'],
  ] as const;
  for (const [name, count, owner] of rules) {
    if (count > 0 && method !== owner) throw wrong(name, `left out: the client’s method is ${method}`);
    if (count === 0 && method === owner && changed.includes(name)) throw wrong(name, 'at least one');
  }
}

function secretMsOf({ expiresInDays = SECRET_DAYS }: Body): number {
  const days = expiresInDays as number;
  if (!Number.isInteger(days) || days < 1 || days > MOST_SECRET_DAYS)
    throw wrong('expiresInDays', `a whole number from 1 to ${MOST_SECRET_DAYS}`);
  return days * DAY_MS;
}

const wrong = (parameter: string, rule: string): PacsError =>
  new PacsError('BAD_REQUEST', `${parameter} must be ${rule}`, { details: { parameter } });

export const CLIENT_ROUTES: readonly Route[] = [
  { method: 'GET', path: '/clients', action: 'administer', name: 'ListClients', handler: list },
  { method: 'POST', path: '/clients', action: 'administer', name: 'CreateClient', handler: create },
  { method: 'GET', path: '/clients/{id}', action: 'administer', name: 'GetClient', handler: get },
  { method: 'PUT', path: '/clients/{id}', action: 'administer', name: 'ChangeClient', handler: change },
  { method: 'DELETE', path: '/clients/{id}', action: 'administer', name: 'RevokeClient', handler: remove },
  {
    method: 'POST',
    path: '/clients/{id}/secrets',
    action: 'administer',
    name: 'IssueClientSecret',
    handler: issueSecret,
  },
  {
    method: 'DELETE',
    path: '/clients/{id}/secrets/{secret}',
    action: 'administer',
    name: 'RevokeClientSecret',
    handler: dropSecret,
  },
];
