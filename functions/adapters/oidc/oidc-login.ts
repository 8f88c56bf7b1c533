import { readFile } from 'node:fs/promises';
import * as client from 'openid-client';
import { PacsError } from '#core/errors.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { LoginIssuer, LoginProof, LoginTokens } from '#core/ports/login-issuer.ts';
import { ClientCredentials } from './client-credentials.ts';
import { CALLBACK_PATH } from './environment.ts';
import { OidcTokenVerifier } from './oidc-token-verifier.ts';
import type { OidcLoginSettings, OidcSettings } from './settings.ts';

/** What is known of an issuer is asked for again after this time (ms). */
const DISCOVERY_MS = 10 * 60_000;
const TIMEOUT_SECONDS = 10;
/** Origins by which the archive is asked whose issuer is known; the one not asked for longest goes. */
const KEPT = 8;

export interface OidcLoginOptions extends OidcLoginSettings {
  /** the issuer's settings, by the origin at which the archive is asked */
  readonly settings: (origin: string) => OidcSettings;
  /** how the issuer is asked; absent: over the network */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** what the archive shows there of itself, as it is now; absent: the file of the settings, or nothing (a public client) */
  readonly readSecret?: (() => Promise<string>) | undefined;
}

interface Known {
  readonly configuration: client.Configuration;
  readonly verifier: OidcTokenVerifier;
  readonly at: number;
}

/** Authorization code with PKCE at any OpenID Connect issuer: the archive's own, Cognito, Entra, Okta, Keycloak. */
export class OidcLogin implements LoginIssuer {
  readonly #options: OidcLoginOptions;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #credentials: ClientCredentials | undefined;
  readonly #known = new Map<string, Promise<Known>>();

  constructor(options: OidcLoginOptions, clock: Pick<Clock, 'now'>) {
    this.#options = options;
    this.#clock = clock;
    const { clientSecretFile: file, readSecret = file === undefined ? undefined : () => readFile(file, 'utf8') } =
      options;
    this.#credentials = readSecret && new ClientCredentials(readSecret, clock);
  }

  /** At the issuer of the settings; undefined where they do not say how people sign in. @param readSecret where the host keeps it in no file */
  static of(
    settings: OidcSettings | undefined,
    clock: Pick<Clock, 'now'>,
    readSecret?: OidcLoginOptions['readSecret'],
  ): OidcLogin | undefined {
    return settings?.login && new OidcLogin({ ...settings.login, settings: () => settings, readSecret }, clock);
  }

  async authorizationUrl(origin: string, { state, nonce, verifier }: LoginProof): Promise<string> {
    const { configuration } = await this.#at(origin);
    const url = client.buildAuthorizationUrl(configuration, {
      redirect_uri: origin + CALLBACK_PATH,
      scope: this.#scopes(configuration),
      state,
      nonce,
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    });
    return url.href;
  }

  async exchange(origin: string, callback: URL, { state, nonce, verifier }: LoginProof): Promise<LoginTokens> {
    const known = await this.#at(origin);
    const tokens = await this.#shown(() =>
      client.authorizationCodeGrant(known.configuration, callback, {
        expectedState: state,
        expectedNonce: nonce,
        pkceCodeVerifier: verifier,
        idTokenExpected: true,
      }),
    );
    return told(known, tokens);
  }

  async renew(origin: string, refreshToken: string): Promise<LoginTokens | undefined> {
    const known = await this.#at(origin);
    try {
      return await told(known, await this.#shown(() => client.refreshTokenGrant(known.configuration, refreshToken)));
    } catch (error) {
      if (error instanceof PacsError && error.code === 'UNAUTHENTICATED') return undefined;
      throw error;
    }
  }

  async logoutUrl(origin: string, idToken: string | undefined): Promise<string | undefined> {
    const { configuration } = await this.#at(origin);
    const { end_session_endpoint: discovered } = configuration.serverMetadata();
    const { logoutUrl, clientId } = this.#options;
    if (logoutUrl === undefined && discovered === undefined) return undefined;
    const url = new URL(logoutUrl ?? discovered!);
    url.searchParams.set('client_id', clientId);
    url.searchParams.set('post_logout_redirect_uri', `${origin}/`);
    // Cognito's name for it.
    url.searchParams.set('logout_uri', `${origin}/`);
    // Only where the standard's address was found: an ID token is for nobody else.
    if (idToken !== undefined && logoutUrl === undefined) url.searchParams.set('id_token_hint', idToken);
    return url.href;
  }

  async revoke(origin: string, refreshToken: string): Promise<void> {
    const { configuration } = await this.#at(origin);
    if (configuration.serverMetadata().revocation_endpoint === undefined) return;
    await this.#shown(() => client.tokenRevocation(configuration, refreshToken, { token_type_hint: 'refresh_token' }));
  }

  /** An issuer looks at who asks before it looks at what is asked: a code that came with an old secret is still good with the new one. */
  async #shown<T>(ask: () => Promise<T>): Promise<T> {
    return asked(async () => {
      try {
        return await ask();
      } catch (error) {
        if (!isClientRefused(error) || !(await this.#credentials?.replaced())) throw error;
        return ask();
      }
    });
  }

  #scopes(configuration: client.Configuration): string {
    if (this.#options.scopes !== undefined) return this.#options.scopes;
    const offline = configuration.serverMetadata().scopes_supported?.includes('offline_access');
    return offline ? 'openid profile offline_access' : 'openid profile';
  }

  async #at(origin: string): Promise<Known> {
    const before = await this.#known.get(origin)?.catch(() => undefined);
    if (before && this.#clock.now() - before.at < DISCOVERY_MS) return before;
    const discovered = this.#discover(origin);
    this.#known.delete(origin);
    this.#known.set(origin, discovered);
    if (this.#known.size > KEPT) this.#known.delete(this.#known.keys().next().value!);
    discovered.catch(() => this.#known.delete(origin));
    return discovered;
  }

  async #discover(origin: string): Promise<Known> {
    const { clientId, fetch } = this.#options;
    const settings = this.#options.settings(origin);
    const issuer = new URL(settings.issuer);
    const authentication = this.#credentials?.authenticate ?? client.None();
    const configuration = await asked(() =>
      client.discovery(issuer, clientId, undefined, authentication, {
        timeout: TIMEOUT_SECONDS,
        // Settings let http through for loopback alone.
        execute: issuer.protocol === 'http:' ? [client.allowInsecureRequests] : [],
        ...(fetch && { [client.customFetch]: fetch as client.CustomFetch }),
      }),
    );
    configuration.timeout = TIMEOUT_SECONDS;
    // These tokens come from the issuer itself, not from strangers: keys that it has just renewed are fetched at once.
    const verifier = new OidcTokenVerifier({ ...settings, audiences: [clientId] }, this.#clock, fetch, 0);
    return { configuration, verifier, at: this.#clock.now() };
  }
}

/** The ID token is checked once more by the rules for every token: signature, issuer, audience, and what its claims are worth here. */
async function told(
  { verifier }: Known,
  tokens: client.TokenEndpointResponse & client.TokenEndpointResponseHelpers,
): Promise<LoginTokens> {
  const { id_token: idToken, refresh_token: refreshToken } = tokens;
  const principal = idToken === undefined ? undefined : await verifier.verify(idToken);
  if (idToken !== undefined && principal === undefined)
    throw new PacsError('UNAUTHENTICATED', 'what the issuer says of the person does not hold');
  return { principal, idToken, refreshToken, expiresInSeconds: tokens.expires_in ?? 3_600 };
}

/** @throws PacsError UNAUTHENTICATED for what the issuer refuses or says wrongly, BUSY where it does not answer, or not to this archive */
async function asked<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof PacsError) throw error;
    // No fault of the person, whose session may go on while somebody sees to it.
    if (isClientRefused(error))
      throw new PacsError('BUSY', 'the issuer does not take what the archive shows of itself', { cause: error });
    if (isRefusal(error)) throw new PacsError('UNAUTHENTICATED', 'the issuer refuses', { cause: error });
    throw new PacsError('BUSY', 'the issuer cannot be reached', { cause: error });
  }
}

/** Keycloak says `unauthorized_client` of a wrong secret; a challenge is the answer to a header that does not hold. */
const isClientRefused = (error: unknown): boolean =>
  error instanceof client.WWWAuthenticateChallengeError ||
  (error instanceof client.ResponseBodyError && ['invalid_client', 'unauthorized_client'].includes(error.error));

const isRefusal = (error: unknown): boolean =>
  (error instanceof client.ResponseBodyError && error.status < 500) ||
  error instanceof client.AuthorizationResponseError ||
  (error instanceof client.ClientError && REFUSALS.has(error.code ?? ''));

/** What an answer that came is wrong by; the other codes are of requests that failed. */
const REFUSALS: ReadonlySet<string> = new Set([
  'OAUTH_INVALID_RESPONSE',
  'OAUTH_JWT_CLAIM_COMPARISON_FAILED',
  'OAUTH_JWT_TIMESTAMP_CHECK_FAILED',
  'OAUTH_PARSE_ERROR',
  'OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED',
]);
