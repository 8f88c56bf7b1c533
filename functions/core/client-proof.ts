import { createPublicKey, type JsonWebKey } from 'node:crypto';
import { PacsError } from './errors.ts';

/** A public key that signs assertions: EC P-256 or P-384, Ed25519, RSA from 2048 bits on. */
export type PublicJwk = Readonly<Record<string, string>>;

/** @throws PacsError BAD_REQUEST for what is no public key that may sign, or holds a private one */
export function readPublicJwk(value: unknown): PublicJwk {
  const refuse = (): never => {
    throw new PacsError('BAD_REQUEST', 'a key must be a public JWK: EC P-256 or P-384, Ed25519, RSA from 2048 bits on');
  };
  if (typeof value !== 'object' || value === null) return refuse();
  const { kty, crv, x, y, n, e, kid } = value as Record<string, unknown>;
  if ('d' in value || 'k' in value)
    throw new PacsError('BAD_REQUEST', 'this is a private key: keep it, and register its public half');
  const members = Object.entries({ kty, crv, x, y, n, e, kid }).filter(([, member]) => member !== undefined);
  if (!members.every(([, member]) => typeof member === 'string' && member.length <= 2_048)) return refuse();
  const isCurve = (kty === 'EC' && (crv === 'P-256' || crv === 'P-384')) || (kty === 'OKP' && crv === 'Ed25519');
  if (!isCurve && kty !== 'RSA') return refuse();
  const jwk = Object.fromEntries(members) as PublicJwk;
  try {
    const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' });
    if (kty === 'RSA' && (key.asymmetricKeyDetails?.modulusLength ?? 0) < 2_048) return refuse();
  } catch {
    return refuse();
  }
  return jwk;
}

const CERTIFICATE_NAME = /^(SHA256:[0-9a-f]{64}|(DNS|URI|IP Address|email):[!-~]{1,253})$/;

/** @throws PacsError BAD_REQUEST */
export function readCertificateName(value: unknown): string {
  const text = typeof value === 'string' ? value.replace(/^sha-?256:/i, 'SHA256:') : '';
  const name = text.startsWith('SHA256:') ? `SHA256:${text.slice(7).replaceAll(':', '').toLowerCase()}` : text;
  if (!CERTIFICATE_NAME.test(name))
    throw new PacsError(
      'BAD_REQUEST',
      'a certificate is SHA256:<fingerprint>, or a name in it: DNS:…, URI:…, IP Address:…, email:…',
    );
  return name;
}
