import { readReach } from '#core/access/form.ts';
import { isRole, mayGrant, permitted, ROLES } from '#core/access.ts';
import { PacsError } from '#core/errors.ts';
import type { TokenStore } from '#core/tokens.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { Route } from '#dicomweb/router.ts';
import { json, readJson } from './json.ts';

const NAME_CHARACTERS = 100;
const DAY_MS = 24 * 60 * 60 * 1000;
const MOST_DAYS = 3_650;
/** of the audit trail: letters, digits and what stands in e-mail addresses and AE titles */
const SUBJECT = /^[\w.@+-][\w.@+: -]{0,62}[\w.@+-]$/;

/**
 * POST: a token with a name, a subject, roles and, where wanted, days until it expires. The answer is the only place where the token
 * ever stands. @throws PacsError BAD_REQUEST; FORBIDDEN for roles that permit more than the caller may do
 */
const issue =
  (tokens: TokenStore): Handler =>
  async ({ request, services, principal }) => {
    const { name, subject, roles, reach, expiresInDays = null } = await readJson(request);
    if (typeof name !== 'string' || name.trim() === '' || name.length > NAME_CHARACTERS)
      throw wrong('name', `1 to ${NAME_CHARACTERS} characters`);
    if (typeof subject !== 'string' || !SUBJECT.test(subject))
      throw wrong('subject', '2 to 64 letters, digits and . @ + - : _');
    if (!Array.isArray(roles) || roles.length === 0 || !roles.every(isRole))
      throw wrong('roles', `some of ${ROLES.join(', ')}`);
    const isDays = Number.isInteger(expiresInDays) && (expiresInDays as number) >= 1;
    if (expiresInDays !== null && (!isDays || (expiresInDays as number) > MOST_DAYS))
      throw wrong('expiresInDays', `a whole number from 1 to ${MOST_DAYS}, or null`);
    const excess = roles.filter((role) => !mayGrant(principal, role));
    if (excess.length > 0)
      throw new PacsError('FORBIDDEN', 'nobody can hand on what he may not do', { details: { roles: excess } });
    const expiresAt = expiresInDays === null ? null : services.clock.now() + (expiresInDays as number) * DAY_MS;
    const confined = reach === undefined ? {} : { reach: readReach(reach, 'reach') };
    const asked = { name: name.trim(), subject, roles, ...confined, createdBy: principal.subject, expiresAt };
    return json(201, await tokens.issue(principal.tenant, asked));
  };

const wrong = (parameter: string, rule: string): PacsError =>
  new PacsError('BAD_REQUEST', `${parameter} must be ${rule}`, { details: { parameter } });

/** What has been given out, and the roles that the caller may give. */
const list =
  (tokens: TokenStore): Handler =>
  async ({ principal }) =>
    json(200, {
      items: await tokens.listIssued(principal.tenant),
      roles: ROLES.filter((role) => mayGrant(principal, role)).map((role) => ({ role, permits: permitted([role]) })),
    });

const revoke =
  (tokens: TokenStore): Handler =>
  async ({ params, principal }) => {
    if (!(await tokens.revokeIssued(principal.tenant, params.id!)))
      throw new PacsError('NOT_FOUND', 'there is no such token');
    return { status: 204, headers: { 'cache-control': 'no-store' } };
  };

export const tokenRoutes = (tokens: TokenStore): Route[] => [
  { method: 'GET', path: '/tokens', action: 'administer', name: 'ListTokens', handler: list(tokens) },
  { method: 'POST', path: '/tokens', action: 'administer', name: 'IssueToken', handler: issue(tokens) },
  { method: 'DELETE', path: '/tokens/{id}', action: 'administer', name: 'RevokeToken', handler: revoke(tokens) },
];
