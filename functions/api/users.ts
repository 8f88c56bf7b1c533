import { isRole, mayGrant, type Principal, permitted, ROLES, type Role } from '#core/access.ts';
import { PacsError } from '#core/errors.ts';
import type { GivenLink, Users } from '#core/users/directory.ts';
import type { UserRecord } from '#core/users/records.ts';
import type { Context, Handler } from '#dicomweb/handler.ts';
import type { Route } from '#dicomweb/router.ts';
import { json, readJson } from './json.ts';
import type { LoginDoor } from './login.ts';

/** Addresses of one-time links, on every host that has people. */
export const LINK_PATH = '/oidc/link/';

const wrong = (parameter: string, rule: string): PacsError =>
  new PacsError('BAD_REQUEST', `${parameter} must be ${rule}`, { details: { parameter } });

/** @throws PacsError BAD_REQUEST; FORBIDDEN for roles that permit more than the caller may do */
function rolesOf(value: unknown, principal: Principal): Role[] {
  if (!Array.isArray(value) || !value.every(isRole)) throw wrong('roles', `some of ${ROLES.join(', ')}`);
  return granted(value as Role[], principal);
}

function granted(roles: readonly Role[], principal: Principal): Role[] {
  const excess = roles.filter((role) => !mayGrant(principal, role));
  if (excess.length > 0)
    throw new PacsError('FORBIDDEN', 'nobody can hand on what he may not do', { details: { roles: excess } });
  return [...roles];
}

const textOf = (value: unknown, parameter: string): string => {
  if (typeof value !== 'string') throw wrong(parameter, 'a text');
  return value;
};

const linkOf = ({ request }: Context, { token, expiresAt }: GivenLink) => ({
  url: `${request.origin}${LINK_PATH}${token}`,
  expiresAt,
});

/** Whoever changes how somebody signs in could sign in as him: nobody does so for one who may do more than he. */
async function changeable(users: Users, { params, principal, facts }: Context): Promise<UserRecord> {
  const user = await users.find(principal.tenant, params.name!);
  if (user === undefined) throw new PacsError('NOT_FOUND', 'There is no such person.');
  facts.about = user.name;
  granted(user.roles, principal);
  return user;
}

/** The routes of those who administer people. */
export function userRoutes(door: LoginDoor | undefined): Route[] {
  const people =
    (handler: (users: Users, context: Context) => ReturnType<Handler>): Handler =>
    async (context) => {
      if (door?.people === undefined)
        throw new PacsError('NOT_FOUND', 'people are kept by the issuer that they sign in at, not here');
      return handler(door.people.users, context);
    };

  const list = people(async (users, { principal }) =>
    json(200, {
      items: await users.list(principal.tenant),
      roles: ROLES.filter((role) => mayGrant(principal, role)).map((role) => ({ role, permits: permitted([role]) })),
    }),
  );

  const create = people(async (users, context) => {
    const { request, principal, facts } = context;
    const body = await readJson(request);
    const asked = {
      name: textOf(body.name, 'name'),
      displayName: textOf(body.displayName ?? body.name, 'displayName'),
      roles: rolesOf(body.roles, principal),
      createdBy: principal.subject,
    };
    const { user, link } = await users.create(principal.tenant, asked);
    facts.about = user.name;
    return json(201, { user, link: linkOf(context, link) });
  });

  const change = people(async (users, context) => {
    const { request, principal } = context;
    const { name } = await changeable(users, context);
    const { displayName, roles, isDisabled } = await readJson(request);
    if (isDisabled !== undefined && typeof isDisabled !== 'boolean') throw wrong('isDisabled', 'true or false');
    return json(
      200,
      await users.change(principal.tenant, name, {
        ...(displayName !== undefined && { displayName: textOf(displayName, 'displayName') }),
        ...(roles !== undefined && { roles: rolesOf(roles, principal) }),
        ...(isDisabled !== undefined && { isDisabled }),
      }),
    );
  });

  const link = people(async (users, context) => {
    const { name } = await changeable(users, context);
    return json(201, linkOf(context, await users.renewLink(context.principal.tenant, name)));
  });

  const clearTotp = people(async (users, context) => {
    const { name } = await changeable(users, context);
    await users.clearTotp(context.principal.tenant, name);
    return { status: 204, headers: { 'cache-control': 'no-store' } };
  });

  const row = (method: Route['method'], path: string, name: string, handler: Handler, act?: 'C' | 'U'): Route => ({
    ...{ method, path, action: 'administer', name, handler },
    ...(act && { recordedAs: ['UserSecurityAttributes', act] as const }),
  });
  return [
    row('GET', '/users', 'ListUsers', list),
    row('POST', '/users', 'CreateUser', create, 'C'),
    row('PUT', '/users/{name}', 'ChangeUser', change, 'U'),
    row('POST', '/users/{name}/link', 'RenewUserLink', link, 'U'),
    row('DELETE', '/users/{name}/totp', 'ClearUserTotp', clearTotp, 'U'),
  ];
}
