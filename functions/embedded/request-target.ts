import type { IncomingMessage } from 'node:http';

/** A name or address, perhaps with a port (RFC 9110 §7.2): what of it stands in answers must be nothing else. */
const HOST = /^(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;

/** Where a request goes: the path decoded once, and the authority that the client named. */
export interface RequestTarget {
  readonly path: string;
  readonly query: string;
  /** undefined where the client, of HTTP/1.0, named none */
  readonly host: string | undefined;
}

const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i;

/**
 * Undefined for a request that can be understood in more than one way, or in none: two Host fields or one that names no host, a target that is
 * no path, nor an absolute one of the Host that it is sent to (RFC 9112 §3.2.2: we are no proxy), escapes that are no UTF-8, a path that holds NUL.
 */
export function targetOf({ url: target = '/', headers, rawHeaders }: IncomingMessage): RequestTarget | undefined {
  let hosts = 0;
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]!.length === 4 && rawHeaders[i]!.toLowerCase() === 'host') hosts++;
  const { host } = headers;
  if (hosts > 1 || (host !== undefined && !HOST.test(host))) return undefined;
  const [, authority, rest = ''] = ABSOLUTE.exec(target) ?? [];
  if (authority !== undefined && authority.toLowerCase() !== host?.toLowerCase()) return undefined;
  const url = authority === undefined ? target : rest.startsWith('/') ? rest : `/${rest}`;
  const mark = url.indexOf('?');
  let path: string;
  try {
    path = decodeURIComponent(mark < 0 ? url : url.slice(0, mark));
  } catch {
    return undefined;
  }
  if (!path.startsWith('/') || path.includes('\0')) return undefined;
  return { path, query: mark < 0 ? '' : url.slice(mark + 1), host };
}
