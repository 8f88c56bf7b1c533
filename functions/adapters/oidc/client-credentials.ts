import { createPrivateKey } from 'node:crypto';
import { importJWK, type JWK } from 'jose';
import * as client from 'openid-client';
import { PacsError } from '#core/errors.ts';
import type { Clock } from '#core/ports/clock.ts';

/** What the issuer has refused is read anew, but not more often than this: any failing sign-in would be a call (ms). */
const REREAD_MS = 5_000;

interface Kept {
  readonly text: string;
  readonly authenticate: client.ClientAuth;
  readonly at: number;
}

/**
 * What the archive shows to an issuer to be known as its confidential client, read when it is first needed and again when the issuer
 * does not take it any more: it is replaced without a new start. The text is a client secret; or a private key, PEM or JWK, for
 * assertions (private_key_jwt, RFC 7523 §2.2).
 */
export class ClientCredentials {
  readonly #read: () => Promise<string>;
  readonly #clock: Pick<Clock, 'now'>;
  #kept: Promise<Kept> | undefined;

  constructor(read: () => Promise<string>, clock: Pick<Clock, 'now'>) {
    this.#read = read;
    this.#clock = clock;
  }

  /** @throws PacsError BUSY while they cannot be read */
  readonly authenticate: client.ClientAuth = async (...request) => {
    const { authenticate } = await this.#current();
    await authenticate(...request);
  };

  /** The issuer has refused them. @returns whether there are others by now */
  async replaced(): Promise<boolean> {
    const before = await this.#current();
    if (this.#clock.now() - before.at < REREAD_MS) return false;
    this.#kept = undefined;
    return (await this.#current()).text !== before.text;
  }

  #current(): Promise<Kept> {
    if (this.#kept === undefined) {
      const reading = this.#open();
      this.#kept = reading;
      reading.catch(() => {
        if (this.#kept === reading) this.#kept = undefined;
      });
    }
    return this.#kept;
  }

  async #open(): Promise<Kept> {
    const at = this.#clock.now();
    const text = (await this.#read()).trim();
    if (text === '') throw new PacsError('BUSY', 'the secret of the archive at the issuer is empty');
    return { text, at, authenticate: isKey(text) ? await byAssertion(text) : bySecret(text) };
  }
}

const isKey = (text: string): boolean => text.startsWith('{') || text.startsWith('-----BEGIN ');

/** In the body, or, at issuers that do not take it there, in a header (RFC 6749 §2.3.1). */
function bySecret(secret: string): client.ClientAuth {
  const [post, basic] = [client.ClientSecretPost(secret), client.ClientSecretBasic(secret)];
  return (server, ...request) => {
    const taken = server.token_endpoint_auth_methods_supported;
    // An issuer that names none takes the header alone (OpenID Connect Discovery §3); many that do, take both.
    const inBody = taken === undefined ? false : taken.includes('client_secret_post');
    return (inBody ? post : basic)(server, ...request);
  };
}

async function byAssertion(text: string): Promise<client.ClientAuth> {
  let jwk: JWK;
  try {
    jwk = text.startsWith('{') ? (JSON.parse(text) as JWK) : createPrivateKey(text).export({ format: 'jwk' });
    const key = (await importJWK(jwk, jwk.alg ?? algorithmOf(jwk))) as client.CryptoKey;
    if (key.type !== 'private') throw new TypeError('not a private key');
    // By thumbprints of a certificate the key is known at Entra, by its name elsewhere.
    const known = Object.fromEntries(Object.entries(jwk).filter(([name]) => name === 'x5t' || name === 'x5t#S256'));
    return client.PrivateKeyJwt(
      { key, ...(jwk.kid !== undefined && { kid: jwk.kid }) },
      { [client.modifyAssertion]: (header) => void Object.assign(header, known) },
    );
  } catch {
    // What was thrown may hold a part of the text.
    throw new PacsError('BUSY', 'the key of the archive at the issuer is none that can be used');
  }
}

/** @throws TypeError */
function algorithmOf({ kty, crv = '' }: JWK): string {
  if (kty === 'RSA') return 'RS256';
  const found = { 'P-256': 'ES256', 'P-384': 'ES384', 'P-521': 'ES512', Ed25519: 'Ed25519' }[crv];
  if (found === undefined) throw new TypeError('no algorithm for keys of this kind');
  return found;
}
