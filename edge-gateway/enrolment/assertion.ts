import { createPrivateKey, type KeyObject, randomUUID } from 'node:crypto';
import { type JWK, SignJWT } from 'jose';
import { PacsError } from '#core/errors.ts';

/** How long an assertion holds: time enough to be brought (s). */
const LIFE_SECONDS = 60;
/** The archive's clock may be behind ours (s). */
const BEFORE_SECONDS = 5;

export const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

export interface Signer {
  readonly clientId: string;
  readonly audience: string;
  /** PEM (PKCS #8), or a JWK as an object or in JSON */
  readonly privateKey: string | JWK;
  /** `kid`: which of the client's keys it is, where the issuer asks for that */
  readonly keyId?: string | undefined;
}

/** A signed statement of who asks for a token (RFC 7523 §3); `now` in ms. @throws PacsError UNAUTHENTICATED for a key that cannot sign */
export function signAssertion({ clientId, audience, privateKey, keyId }: Signer, now: number): Promise<string> {
  const key = keyOf(privateKey);
  const seconds = Math.floor(now / 1000);
  return new SignJWT({ jti: randomUUID() })
    .setProtectedHeader({ alg: algorithmOf(key), ...(keyId !== undefined && { kid: keyId }) })
    .setIssuer(clientId)
    .setSubject(clientId)
    .setAudience(audience)
    .setIssuedAt(seconds - BEFORE_SECONDS)
    .setExpirationTime(seconds + LIFE_SECONDS)
    .sign(key);
}

function keyOf(privateKey: string | JWK): KeyObject {
  try {
    if (typeof privateKey === 'string' && privateKey.includes('-----BEGIN')) return createPrivateKey(privateKey);
    const key = typeof privateKey === 'string' ? JSON.parse(privateKey) : privateKey;
    return createPrivateKey({ key, format: 'jwk' });
  } catch (cause) {
    throw new PacsError('UNAUTHENTICATED', 'the private key cannot be read', { cause });
  }
}

function algorithmOf(key: KeyObject): string {
  if (key.asymmetricKeyType === 'ed25519') return 'EdDSA';
  if (key.asymmetricKeyType === 'rsa') return 'RS256';
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (curve === 'prime256v1') return 'ES256';
  if (curve === 'secp384r1') return 'ES384';
  throw new PacsError('UNAUTHENTICATED', 'the private key is of no kind that signs assertions');
}
