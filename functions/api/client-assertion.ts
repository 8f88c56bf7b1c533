import {
  decodeJwt,
  decodeProtectedHeader,
  errors,
  importJWK,
  type JWTPayload,
  type JWTVerifyOptions,
  jwtVerify,
} from 'jose';
import type { PublicJwk } from '#core/client-proof.ts';
import { findClient, type KnownClient, useAssertion } from '#core/clients.ts';
import type { Services } from '#core/services.ts';

export const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
/** Signatures by keys that are not secret to us. */
const ALGORITHMS = ['ES256', 'ES384', 'EdDSA', 'RS256', 'PS256'];
const CLOCK_TOLERANCE_SECONDS = 30;
const JTI_CHARACTERS = 256;

/** An audience that is this client's alone, whatever name the archive is reached under: a gateway names it, behind any proxy. */
export const clientAudience = (id: string): string => `urn:nephos:client:${id}`;

/**
 * Who has signed an assertion (RFC 7523 §3): `iss` and `sub` name the client, one of its keys has signed, for us, for a short time, and
 * it is used once.
 * @param endpoint URL of the token endpoint as the client sees it
 * @returns undefined for whatever is wrong with it
 */
export async function clientByAssertion(
  services: Services,
  assertion: string,
  endpoint: string,
): Promise<KnownClient | undefined> {
  const { clock, limits } = services;
  try {
    const { sub = '' } = decodeJwt(assertion);
    const known = await findClient(services, sub);
    if (known?.client.method !== 'private_key_jwt') return undefined;
    const payload = await verified(assertion, known.client.keys, {
      issuer: sub,
      subject: sub,
      audience: [endpoint, new URL(endpoint).origin, clientAudience(sub)],
      algorithms: ALGORITHMS,
      requiredClaims: ['exp', 'jti'],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      currentDate: new Date(clock.now()),
    });
    if (payload === undefined) return undefined;
    const { jti, exp } = payload as JWTPayload & { jti: string; exp: number };
    const expiresAt = (exp + CLOCK_TOLERANCE_SECONDS) * 1000;
    const isShort = expiresAt - clock.now() <= limits.clientAssertionMs + 2 * CLOCK_TOLERANCE_SECONDS * 1000;
    if (!isShort || typeof jti !== 'string' || jti === '' || jti.length > JTI_CHARACTERS) return undefined;
    return (await useAssertion(services, known, { jti, expiresAt })) ? known : undefined;
  } catch (error) {
    // jose names what is wrong with a token by errors of its own; a key that cannot verify is a TypeError.
    if (error instanceof errors.JOSEError || error instanceof TypeError) return undefined;
    throw error;
  }
}

/** By the key that the assertion names, or, where it names none, by whichever of the few it is. */
async function verified(
  assertion: string,
  keys: readonly PublicJwk[],
  options: JWTVerifyOptions,
): Promise<JWTPayload | undefined> {
  const { kid, alg } = decodeProtectedHeader(assertion);
  for (const jwk of keys) {
    if (kid !== undefined && jwk.kid !== undefined && kid !== jwk.kid) continue;
    try {
      return (await jwtVerify(assertion, await importJWK(jwk, alg), options)).payload;
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed) && !(error instanceof TypeError)) throw error;
    }
  }
  return undefined;
}
