import type { HttpRequest } from '#dicomweb/http.ts';

interface Cookie {
  readonly name: string;
  readonly value: string;
  readonly sameSite: 'Strict' | 'Lax';
  /** 0: the browser forgets it */
  readonly maxAgeSeconds: number;
}

/**
 * Over TLS a name that browsers take from this very host alone, for all of it (`__Host-`): a neighbour below the same domain, or whoever stands on the
 * line of one in the clear, could otherwise lay a session of his own into somebody's browser.
 */
const nameAt = ({ origin }: Pick<HttpRequest, 'origin'>, name: string): string =>
  origin.startsWith('https:') ? `__Host-${name}` : name;

/** The value of a cookie that `hostCookie` set; undefined where there is none. */
export const hostCookieOf = (request: Pick<HttpRequest, 'headers' | 'origin'>, name: string): string | undefined =>
  cookieOf(request, nameAt(request, name));

/** The value of a cookie by the whole of its name. */
export function cookieOf({ headers }: Pick<HttpRequest, 'headers'>, name: string): string | undefined {
  for (const pair of (headers.cookie ?? '').split(';')) {
    const [key, value] = pair.trim().split('=', 2);
    if (key === name && value) return value;
  }
  return undefined;
}

/** Set-Cookie, for the whole host; no script sees it. */
export const hostCookie = (request: Pick<HttpRequest, 'origin'>, { name, value, ...more }: Cookie): string =>
  setCookie(request, { name: nameAt(request, name), value, path: '/', ...more });

/** Set-Cookie; no script sees it. */
export function setCookie(
  { origin }: Pick<HttpRequest, 'origin'>,
  { name, value, path, sameSite, maxAgeSeconds }: Cookie & { readonly path: string },
): string {
  const secure = origin.startsWith('https:') ? '; Secure' : '';
  return `${name}=${value}; Path=${path}; HttpOnly; SameSite=${sameSite}; Max-Age=${maxAgeSeconds}${secure}`;
}
