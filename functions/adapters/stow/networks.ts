import type { LookupAddress } from 'node:dns';
import { lookup } from 'node:dns/promises';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { ConfigError } from '#core/configuration.ts';
import { PacsError } from '#core/errors.ts';

/** What is not of the public internet (RFC 6890 and the registries that it began), IPv4 in its forms within IPv6 included. */
const NOT_PUBLIC = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '::/96',
  '::ffff:0:0:0/96',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '3fff::/20',
  // Of what lies beyond 2000::/3 nothing is anybody's on the internet.
  '4000::/2',
  '8000::/1',
];

/** @throws ConfigError when one is neither an address nor a network */
function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const text of networks) {
    const [address = '', bits] = text.split('/');
    const family = isIP(address);
    const most = family === 6 ? 128 : 32;
    if (family === 0 || (bits !== undefined && !(Number(bits) <= most)))
      throw new ConfigError(`${text} is neither an address nor a network`);
    list.addSubnet(address, bits === undefined ? most : Number(bits), family === 6 ? 'ipv6' : 'ipv4');
  }
  return list;
}

/** Which addresses may be connected to: those of the public internet, and what the configuration adds. */
export class Networks {
  readonly #notPublic = blockList(NOT_PUBLIC);
  readonly #added: BlockList;

  /** @throws ConfigError */
  constructor(added: readonly string[]) {
    this.#added = blockList(added);
  }

  permits(address: string): boolean {
    const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
    const plain = mapped ?? address;
    const family = isIP(plain) === 6 ? 'ipv6' : 'ipv4';
    if (isIP(plain) === 0) return false;
    return this.#added.check(plain, family) || !this.#notPublic.check(plain, family);
  }

  /** @throws PacsError FORBIDDEN when the host of a URL is an address that may not be connected to */
  checkHost(hostname: string): void {
    const address = hostname.replace(/^\[|\]$/g, '');
    if (isIP(address) !== 0 && !this.permits(address)) throw forbidden();
  }

  /**
   * Resolves names for connections: what is connected to is what was looked at, so that a name which is made to lead elsewhere in between leads
   * nowhere. All that a name leads to must be permitted.
   */
  readonly lookup: LookupFunction = (hostname, options, callback) => {
    this.#resolve(hostname, options.family).then(
      (found) => {
        if (options.all) callback(null, found);
        else callback(null, found[0]!.address, found[0]!.family);
      },
      (error: NodeJS.ErrnoException) => callback(error, ''),
    );
  };

  async #resolve(hostname: string, family: number | string | undefined): Promise<LookupAddress[]> {
    const found = await lookup(hostname, { all: true, ...(family === 4 || family === 6 ? { family } : {}) });
    if (found.length === 0 || !found.every(({ address }) => this.permits(address))) throw forbidden();
    return found;
  }
}

const forbidden = (): PacsError =>
  new PacsError('FORBIDDEN', 'it is an address of a network that this archive may not send to');
