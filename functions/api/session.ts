import { decodeJwt } from 'jose';
import { type Principal, permitted } from '#core/access.ts';
import { PacsError } from '#core/errors.ts';
import { LOGIN_PREFIX, type Logins } from '#core/logins.ts';
import type { TokenVerifier } from '#core/ports/token-verifier.ts';
import { SESSION_MS, TOKEN_PREFIX, type TokenStore } from '#core/tokens.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import { hostCookie, hostCookieOf } from './cookies.ts';
import { json, readJson } from './json.ts';
import type { LoginDoor } from './login.ts';

const COOKIE = 'nephos_session';

/** The token that a request carries: Bearer, or the session's cookie. */
export function tokenOf(
  request: Pick<HttpRequest, 'headers' | 'origin'>,
): { token: string; from: 'bearer' | 'cookie' } | undefined {
  const bearer = /^Bearer +([A-Za-z0-9._~+/-]+=*) *$/i.exec(request.headers.authorization ?? '')?.[1];
  if (bearer !== undefined) return { token: bearer, from: 'bearer' };
  const token = hostCookieOf(request, COOKIE);
  return token === undefined ? undefined : { token, from: 'cookie' };
}

/**
 * A browser sends the cookie whatever page made it ask. The cookie is SameSite=Strict; as a second fence a request that changes
 * something must come from our own origin, as the browser itself says.
 */
export function isCrossSite(
  request: Pick<HttpRequest, 'headers' | 'method' | 'origin'>,
  trustedOrigins: readonly string[],
): boolean {
  if (request.method === 'GET' || request.method === 'HEAD' || request.method === 'OPTIONS') return false;
  const origin = request.headers.origin;
  if (origin !== undefined && trustedOrigins.includes(origin)) return false;
  const site = request.headers['sec-fetch-site'];
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  return origin !== undefined && origin !== request.origin;
}

export const getSession =
  (door?: LoginDoor): Handler =>
  async ({ request, principal }) => {
    if (principal.tenant === '') throw new PacsError('UNAUTHENTICATED', 'sign in first');
    const keepsPeople = door?.people !== undefined;
    const hasAccount = keepsPeople && tokenOf(request)?.token.startsWith(LOGIN_PREFIX) === true;
    return json(200, { ...told(principal), keepsPeople, hasAccount });
  };

/** `permits` is what a page needs to show only what may be done. */
const told = ({ tenant, subject, roles }: Principal) => ({ tenant, subject, roles, permits: permitted(roles) });

/**
 * Exchanges an access token for an HttpOnly cookie, so that the page never keeps the token where scripts can read it. Another site's page, which would lay
 * somebody else's session into the browser, is refused.
 */
export const openSession =
  (tokens: TokenStore, verifier: TokenVerifier): Handler =>
  async ({ request, services, facts }) => {
    // There is no cookie yet by which the door would have looked.
    if (isCrossSite(request, [])) throw new PacsError('FORBIDDEN', 'the request comes from another site');
    const { token: given } = await readJson(request);
    const token = typeof given === 'string' ? given.trim() : '';
    const principal = token === '' ? undefined : await verifier.verify(token);
    if (!principal) throw new PacsError('UNAUTHENTICATED', 'the access token is not valid');
    facts.principal = principal;
    const now = services.clock.now();
    const lifeMs = Math.min(SESSION_MS, endOf(token) - now);
    const session = await tokens.openSession(principal, { token, until: now + lifeMs });
    return withCookie(json(200, told(principal)), request, session, Math.max(1, Math.floor(lifeMs / 1000)));
  };

/** When a token ends that has been found valid (ms since 1970), as far as it says so itself: of ours the session ends with them by their record. */
function endOf(token: string): number {
  if (token.startsWith(TOKEN_PREFIX)) return Number.POSITIVE_INFINITY;
  const { exp } = decodeJwt(token);
  return exp === undefined ? Number.POSITIVE_INFINITY : exp * 1000;
}

/** 204, or 200 with where the browser is sent so that it is signed out at the issuer as well. */
export const closeSession =
  (tokens: TokenStore, logins: Logins | undefined): Handler =>
  async ({ request }) => {
    const carried = tokenOf(request);
    // Only the session ends: the token of a machine that happens to ask is not the page's to revoke.
    let next: string | undefined;
    if (carried?.from === 'cookie' && carried.token.startsWith(LOGIN_PREFIX)) next = await logins?.end(carried.token);
    else if (carried?.from === 'cookie') await tokens.revoke(carried.token);
    const ended = next === undefined ? { status: 204, headers: { 'cache-control': 'no-store' } } : json(200, { next });
    // Images are kept by the browser for a day: whoever signs in at this workstation next is not to find them there.
    const headers = { ...ended.headers, ...(carried?.from === 'cookie' && { 'clear-site-data': '"cache"' }) };
    return withCookie({ ...ended, headers }, request, '', 0);
  };

export function withCookie(
  response: HttpResponse,
  request: HttpRequest,
  value: string,
  maxAgeSeconds: number,
): HttpResponse {
  const cookie = hostCookie(request, { name: COOKIE, value, sameSite: 'Strict', maxAgeSeconds });
  return { ...response, headers: { ...response.headers, 'set-cookie': cookie } };
}
