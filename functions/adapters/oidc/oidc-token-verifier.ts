import {
  createRemoteJWKSet,
  customFetch,
  errors,
  type FetchImplementation,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import { isRole, type Principal } from '#core/access.ts';
import { PacsError } from '#core/errors.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { TokenVerifier } from '#core/ports/token-verifier.ts';
import type { OidcSettings } from './settings.ts';

/** Signatures by keys that are not secret to us; `none` and HMAC with a public key as its secret are no signatures. */
const ALGORITHMS = ['RS', 'PS', 'ES']
  .flatMap((family) => [256, 384, 512].map((bits) => `${family}${bits}`))
  .concat('EdDSA');
/** how far the issuer's clock may be from ours (s) */
const CLOCK_TOLERANCE_SECONDS = 30;
/** how long keys are used without asking again (ms); a key id that is not known asks at once, but at most so often */
const KEYS_MAX_AGE_MS = 10 * 60_000;
const KEYS_COOL_DOWN_MS = 30_000;
const TIMEOUT_MS = 5_000;
/** values of claims that come along with whom a token stands for; who is in more groups has grants made to some of them */
const KEPT_CLAIMS = 100;

/** JSON Web Tokens of an OIDC issuer (RFC 7519, RFC 8725): who they stand for, by the claims that the settings name. */
export class OidcTokenVerifier implements TokenVerifier {
  readonly #settings: OidcSettings;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #fetch: FetchImplementation;
  readonly #coolDownMs: number;
  #keys: Promise<JWTVerifyGetKey> | undefined;

  /**
   * @param fetch how the issuer is asked; absent: over the network
   * @param coolDownMs a key id that is not known asks the issuer anew no sooner than this after the last time
   */
  constructor(
    settings: OidcSettings,
    clock: Pick<Clock, 'now'>,
    fetch: FetchImplementation = globalThis.fetch,
    coolDownMs: number = KEYS_COOL_DOWN_MS,
  ) {
    this.#coolDownMs = coolDownMs;
    this.#settings = settings;
    this.#clock = clock;
    this.#fetch = fetch;
  }

  async verify(token: string): Promise<Principal | undefined> {
    const { issuer, audiences } = this.#settings;
    let claims: JWTPayload;
    try {
      const verified = await jwtVerify(token, await this.#issuersKeys(), {
        issuer,
        algorithms: ALGORITHMS,
        requiredClaims: ['exp', 'sub'],
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        currentDate: new Date(this.#clock.now()),
      });
      claims = verified.payload;
    } catch (error) {
      if (isRefusal(error)) return undefined;
      throw new PacsError('BUSY', 'the issuer of the tokens cannot be reached', { cause: error });
    }
    // An access token of Cognito has no audience; it names the client it was made for.
    const audience = claims.aud ?? claims.client_id;
    if (!listed(audience).some((one) => audiences.includes(one))) return undefined;
    return this.#principal(claims);
  }

  #principal(claims: JWTPayload): Principal | undefined {
    const { tenantClaim, tenants, rolesClaim, roles: mapping, grantClaims } = this.#settings;
    const tenant = tenantClaim === undefined ? tenants[0] : claimAt(claims, tenantClaim);
    if (typeof tenant !== 'string' || !tenants.includes(tenant)) return undefined;
    const names = rolesClaim.split(',').flatMap((name) => listed(claimAt(claims, name.trim())));
    const roles = mapping ? names.flatMap((name) => mapping.get(name) ?? []) : names.filter(isRole);
    const kept = (grantClaims ?? []).flatMap((name) => valuesOf(claimAt(claims, name)).map((one) => `${name}=${one}`));
    return {
      tenant,
      subject: claims.sub!,
      roles: [...new Set(roles)],
      ...(kept.length > 0 && { claims: kept.slice(0, KEPT_CLAIMS) }),
    };
  }

  #issuersKeys(): Promise<JWTVerifyGetKey> {
    this.#keys ??= this.#discover();
    // What could not be found is looked for again with the next token.
    this.#keys.catch(() => {
      this.#keys = undefined;
    });
    return this.#keys;
  }

  /** OpenID Connect Discovery 1.0 §4 */
  async #discover(): Promise<JWTVerifyGetKey> {
    const { issuer, jwksUrl } = this.#settings;
    const url = jwksUrl ?? (await this.#jwksUrl(issuer));
    return createRemoteJWKSet(new URL(url), {
      cacheMaxAge: KEYS_MAX_AGE_MS,
      cooldownDuration: this.#coolDownMs,
      timeoutDuration: TIMEOUT_MS,
      [customFetch]: this.#fetch,
    });
  }

  async #jwksUrl(issuer: string): Promise<string> {
    const response = await this.#fetch(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, {
      method: 'GET',
      headers: new Headers({ accept: 'application/json' }),
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (response.status !== 200) throw new Error(`discovery was answered ${response.status}`);
    const document = (await response.json()) as { issuer?: unknown; jwks_uri?: unknown };
    if (document.issuer !== issuer || typeof document.jwks_uri !== 'string')
      throw new Error('the discovery document is of another issuer');
    return document.jwks_uri;
  }
}

/** The token is at fault, and not the way to the issuer. */
const isRefusal = (error: unknown): boolean =>
  error instanceof errors.JOSEError &&
  !(error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid || error.code === 'ERR_JOSE_GENERIC');

/** A claim by its whole name (`https://clinic.example/roles`), else by a path (`realm_access.roles`). */
function claimAt(claims: JWTPayload, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  let value: unknown = claims;
  for (const step of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string, unknown>)[step];
  }
  return value;
}

/** A text as it is, however many words it has; the texts and numbers of a list. */
const valuesOf = (value: unknown): string[] =>
  [value].flat().flatMap((one) => (typeof one === 'string' || typeof one === 'number' ? [String(one)] : []));

const listed = (value: unknown): string[] =>
  typeof value === 'string'
    ? value.split(' ')
    : Array.isArray(value)
      ? value.filter((one): one is string => typeof one === 'string')
      : [];
