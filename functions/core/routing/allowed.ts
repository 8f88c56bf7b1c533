import { PacsError } from '../errors.ts';

/** A host that objects may be sent to. */
export interface AllowedHost {
  /** https where nothing else is said */
  readonly scheme: 'http' | 'https';
  /** lower case; `*.` before it stands for every name below */
  readonly host: string;
  /** the scheme's own where nothing is said */
  readonly port: number;
}

/** Where the archive may send objects by itself: what a deployment says, which no user of the archive can widen. */
export interface AllowedDestinations {
  readonly hosts: readonly AllowedHost[];
  /** addresses and networks that are not the public internet's, and may be sent to all the same: `10.0.0.8`, `10.1.0.0/16` */
  readonly networks: readonly string[];
}

export const NO_DESTINATIONS: AllowedDestinations = { hosts: [], networks: [] };

const PORTS = { http: 80, https: 443 } as const;
const URL_CHARACTERS = 500;

/** `[http://|https://][*.]host[:port]`; undefined when it is none. */
export function parseHost(text: string): AllowedHost | undefined {
  const [, given = 'https', star = '', host = '', port] =
    /^(?:(https?):\/\/)?(\*\.)?(\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::(\d{1,5}))?$/i.exec(text) ?? [];
  const scheme = given.toLowerCase() as AllowedHost['scheme'];
  const number = port === undefined ? PORTS[scheme] : Number(port);
  if (host === '' || number < 1 || number > 65_535) return undefined;
  return { scheme, host: `${star}${host}`.toLowerCase(), port: number };
}

/** An address or a network, by its looks: who connects takes it apart. */
export const isNetworkText = (text: string): boolean => /^[0-9a-f:.]+(\/\d{1,3})?$/i.test(text);

/** What a deployment allows, as a person writes it. */
export const hostText = ({ scheme, host, port }: AllowedHost): string =>
  `${scheme}://${host}${port === PORTS[scheme] ? '' : `:${port}`}`;

/**
 * The DICOMweb root of a destination in its usual form, where the configuration allows it.
 * @throws PacsError BAD_REQUEST when it is none; FORBIDDEN when its host is not among those allowed
 */
export function destinationUrl({ hosts }: AllowedDestinations, text: string): URL {
  const url = URL.canParse(text) && text.length <= URL_CHARACTERS ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw new PacsError('BAD_REQUEST', 'url must be an http or https address');
  // Credentials have a place of their own, and whatever else an address can hold has none here.
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    throw new PacsError('BAD_REQUEST', 'url must be scheme, host and path alone');
  const scheme = url.protocol.slice(0, -1) as AllowedHost['scheme'];
  const port = url.port === '' ? PORTS[scheme] : Number(url.port);
  const isAllowed = hosts.some(
    (allowed) => allowed.scheme === scheme && allowed.port === port && isNamed(allowed.host, url.hostname),
  );
  if (!isAllowed)
    throw new PacsError('FORBIDDEN', 'the configuration of this archive does not let it send to that host');
  url.pathname = url.pathname.replace(/\/+$/, '');
  return url;
}

const isNamed = (allowed: string, host: string): boolean =>
  allowed.startsWith('*.') ? host.endsWith(allowed.slice(1)) && host.length > allowed.length - 1 : host === allowed;
