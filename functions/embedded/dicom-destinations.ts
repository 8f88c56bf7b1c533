import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { ConfigError } from '#core/configuration.ts';
import type { RemoteEntity } from '#dimse/scu.ts';

/** An application entity that the archive calls: to send objects to, to notify. */
export interface DicomDestination {
  readonly aeTitle: string;
  readonly host: string;
  readonly port: number;
  /** over TLS, as the archive's own port has it */
  readonly secure?: true;
}

/** The archive's own certificate, and who signs those of the peers; paths of PEM files. */
export interface OwnTlsFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

/** PS3.5 §6.2: 1 to 16 characters without backslash and control characters. @throws ConfigError */
export function aeTitle(name: string, text: string): string {
  if (!/^[!-[\]-~](?:[ -[\]-~]{0,14}[!-[\]-~])?$/.test(text))
    throw new ConfigError(`${name}: ${JSON.stringify(text)} is no AE title`);
  return text;
}

/** `AET@host:port`, `AET@host:port/tls`. @throws ConfigError that names the variable */
export const readDestination =
  (name: string) =>
  (text: string): DicomDestination => {
    const match = /^([^@]+)@(\[[0-9A-Fa-f:.]+\]|[^@:/\s]+):(\d{1,5})(\/tls)?$/.exec(text);
    const port = Number(match?.[3] ?? 0);
    if (match === null || port < 1 || port > 65_535)
      throw new ConfigError(`${name}: ${JSON.stringify(text)} is not AET@host:port or AET@host:port/tls`);
    const [, title = '', host = '', , secure] = match;
    return {
      aeTitle: aeTitle(name, title),
      host: host.replace(/^\[|\]$/g, ''),
      port,
      ...(secure !== undefined && { secure: true }),
    };
  };

/**
 * How a destination is reached now. The certificates are read each time, since they are renewed while the archive runs; without an
 * authority of one's own, those that Node knows count.
 * @throws ConfigError where a file cannot be read
 */
export function remoteOf({ secure, ...entity }: DicomDestination, own: OwnTlsFiles | undefined): RemoteEntity {
  return secure ? { ...entity, tls: clientTls(own) } : entity;
}

function clientTls(own: OwnTlsFiles | undefined): ConnectionOptions {
  return {
    ...BCP_195,
    ...(own !== undefined && { cert: pem(own.cert), key: pem(own.key) }),
    ...(own?.ca !== undefined && { ca: pem(own.ca) }),
  };
}

/** @throws ConfigError where it cannot be read */
export function pem(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new ConfigError(`${path} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}

/** The BCP 195 TLS Secure Transport Connection Profile (PS3.15 B.9): 1.2 or later, forward secrecy, authenticated encryption. */
export const BCP_195_CIPHERS = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'DHE-RSA-AES256-GCM-SHA384',
  'DHE-RSA-AES128-GCM-SHA256',
].join(':');

export const BCP_195 = { minVersion: 'TLSv1.2', ciphers: BCP_195_CIPHERS } as const;
