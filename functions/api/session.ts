import { type Principal, permitted } from '#core/access.ts';
import { PacsError } from '#core/errors.ts';
import { LOGIN_PREFIX, type Logins } from '#core/logins.ts';
import type { TokenVerifier } from '#core/ports/token-verifier.ts';
import { SESSION_MS, type TokenStore } from '#core/tokens.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import { json, readJson } from './json.ts';
import type { LoginDoor } from './login.ts';

const COOKIE = 'nephos_session';

/** The token that a request carries: Bearer, or the session's cookie. */
export function tokenOf(
  request: Pick<HttpRequest, 'headers'>,
): { token: string; from: 'bearer' | 'cookie' } | undefined {
  const bearer = /^Bearer +([A-Za-z0-9._~+/-]+=*) *$/i.exec(request.headers.authorization ?? '')?.[1];
  if (bearer !== undefined) return { token: bearer, from: 'bearer' };
  for (const pair of (request.headers.cookie ?? '').split(';')) {
    const [name, value] = pair.trim().split('=', 2);
    if (name === COOKIE && value) return { token: value, from: 'cookie' };
  }
  return undefined;
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

/** Exchanges an access token for an HttpOnly cookie, so that the page never keeps the token where scripts can read it. */
export const openSession =
  (tokens: TokenStore, verifier: TokenVerifier): Handler =>
  async ({ request, facts }) => {
    const { token } = await readJson(request);
    const principal = typeof token === 'string' ? await verifier.verify(token.trim()) : undefined;
    if (!principal) throw new PacsError('UNAUTHENTICATED', 'the access token is not valid');
    facts.principal = principal;
    const session = await tokens.openSession(principal, (token as string).trim());
    return withCookie(json(200, told(principal)), request, session, SESSION_MS / 1000);
  };

/** 204, or 200 with where the browser is sent so that it is signed out at the issuer as well. */
export const closeSession =
  (tokens: TokenStore, logins: Logins | undefined): Handler =>
  async ({ request }) => {
    const carried = tokenOf(request);
    // Only the session ends: the token of a machine that happens to ask is not the page's to revoke.
    let next: string | undefined;
    if (carried?.from === 'cookie' && carried.token.startsWith(LOGIN_PREFIX)) next = await logins?.end(carried.token);
    else if (carried?.from === 'cookie') await tokens.revoke(carried.token);
    const nothing = { status: 204, headers: { 'cache-control': 'no-store' } };
    return withCookie(next === undefined ? nothing : json(200, { next }), request, '', 0);
  };

export function withCookie(
  response: HttpResponse,
  request: HttpRequest,
  value: string,
  maxAgeSeconds: number,
): HttpResponse {
  const secure = request.origin.startsWith('https:') ? '; Secure' : '';
  const cookie = `${COOKIE}=${value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${maxAgeSeconds}${secure}`;
  return { ...response, headers: { ...response.headers, 'set-cookie': cookie } };
}
