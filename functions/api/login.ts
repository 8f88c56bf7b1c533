import { PacsError } from '#core/errors.ts';
import type { Logins } from '#core/logins.ts';
import type { Users } from '#core/users/directory.ts';
import type { SignIn } from '#core/users/sign-in.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { HttpRequest } from '#dicomweb/http.ts';
import type { Route } from '#dicomweb/router.ts';
import { hostCookie, hostCookieOf } from './cookies.ts';
import { json } from './json.ts';
import { withCookie } from './session.ts';

/** How people sign in, where the host has an issuer. */
export interface LoginDoor {
  readonly logins: Logins;
  /** where the archive keeps the people itself */
  readonly people?: { readonly users: Users; readonly signIn: SignIn };
  /** an issuer does not answer, or its answer does not hold: whoever runs the archive is to hear why; the browser is not told */
  readonly onRefused?: (error: PacsError) => void;
}

/** Binds a sign-in to the browser that began it. Lax: it must come along when the issuer sends the browser back. */
const BROWSER_COOKIE = 'nephos_login';
const BROWSER_SECONDS = 60 * 60;

/** Where somebody may be sent to after signing in: below this origin, and not to what answers data. */
export function localPath(text: string | null, origin: string): string {
  if (text === null || !/^\/(?![/\\])[\x21-\x7e]{0,4000}$/.test(text) || text.includes('\\')) return '/';
  const url = URL.canParse(text, origin) ? new URL(text, origin) : undefined;
  if (url === undefined || url.origin !== new URL(origin).origin) return '/';
  // Taken apart it may be another than it looked: of `/.//elsewhere` there is left what browsers take for a host.
  if (url.pathname.startsWith('//') || /^\/(api|dicomweb|wado|oidc)(\/|$)/.test(url.pathname)) return '/';
  return url.pathname + url.search;
}

/** What a page offers to whoever is not signed in. */
const options =
  (door: LoginDoor | undefined): Handler =>
  async () =>
    json(200, { signIn: door !== undefined, people: door?.people !== undefined });

/** Sends the browser to the issuer. */
const start =
  (door: LoginDoor | undefined): Handler =>
  async ({ request }) => {
    const { logins } = required(door);
    const returnTo = localPath(request.query.get('returnTo'), request.origin);
    try {
      const { url, browser } = await logins.start(request.origin, returnTo, browserOf(request));
      return {
        status: 303,
        headers: { location: url, 'cache-control': 'no-store', 'set-cookie': browserCookie(request, browser) },
      };
    } catch (error) {
      if (!(error instanceof PacsError) || error.code === 'INTERNAL') throw error;
      door?.onRefused?.(error);
      return backWith('unreachable');
    }
  };

/**
 * Takes the browser back from the issuer: its code is exchanged here, so that no script ever sees a token. What goes wrong is told on the
 * console's first page: this is a page that people look at.
 */
const callback =
  (door: LoginDoor | undefined): Handler =>
  async ({ request, facts }) => {
    const { logins } = required(door);
    const address = new URL(`${request.origin}${request.path}?${request.query}`);
    try {
      const { token, principal, returnTo, lifeMs } = await logins.finish(address, browserOf(request));
      facts.principal = principal;
      const response = { status: 303, headers: { location: returnTo, 'cache-control': 'no-store' } };
      return withCookie(response, request, token, Math.floor(lifeMs / 1000));
    } catch (error) {
      if (!(error instanceof PacsError) || error.code === 'INTERNAL') throw error;
      facts.error = error.code;
      if (error.code !== 'GONE') door?.onRefused?.(error);
      if (error.code === 'BUSY') return backWith('unreachable');
      return backWith(error.code === 'GONE' ? 'over' : 'refused');
    }
  };

/** Without a word of what the issuer said: words in an address can be anybody's. */
const backWith = (problem: 'over' | 'refused' | 'unreachable') => ({
  status: 303,
  headers: { location: `/?signIn=${problem}`, 'cache-control': 'no-store' },
});

const browserOf = (request: HttpRequest): string | undefined => hostCookieOf(request, BROWSER_COOKIE);
const browserCookie = (request: HttpRequest, value: string): string =>
  hostCookie(request, { name: BROWSER_COOKIE, value, sameSite: 'Lax', maxAgeSeconds: BROWSER_SECONDS });

/** @throws PacsError NOT_FOUND where nobody signs in but by tokens */
function required<T>(door: T | undefined): T {
  if (door === undefined) throw new PacsError('NOT_FOUND', 'nobody signs in here but by access token');
  return door;
}

/** Public, all of them: this is how somebody becomes somebody. */
export const loginRoutes = (door: LoginDoor | undefined): Route[] => [
  { method: 'GET', path: '/session/options', action: 'public', name: 'GetSignInOptions', handler: options(door) },
  { method: 'GET', path: '/session/start', action: 'public', name: 'StartSignIn', handler: start(door) },
  {
    method: 'GET',
    path: '/session/callback',
    action: 'public',
    name: 'FinishSignIn',
    handler: callback(door),
    recordedAs: ['Login', 'E'],
  },
];
