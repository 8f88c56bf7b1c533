import Provider, { type Context, type Grant, interactionPolicy } from 'oidc-provider';
import type { IssuerKeys } from '#adapters/local/issuer-keys.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { IndexTable } from '#core/ports/index-table.ts';
import { ClientAdapter, IssuerAdapter } from './adapter.ts';
import { CONSOLE_CLIENT_ID, consoleClient, type MachineClients } from './clients.ts';

/** Where the issuer stands on the archive's own origin. */
export const ISSUER_PATH = '/oidc';
/** Longest that somebody stays signed in without showing who he is (s). */
export const ISSUER_SESSION_SECONDS = 12 * 60 * 60;
/** How long a browser may stand at the sign-in page (s). */
const INTERACTION_SECONDS = 60 * 60;
const ACCESS_TOKEN_SECONDS = 10 * 60;
const CODE_SECONDS = 60;

/** A person who may sign in, as the issuer tells clients. */
export interface Account {
  readonly name: string;
  readonly displayName: string;
  readonly roles: readonly string[];
  readonly tenant: string;
}

export interface ProviderOptions {
  readonly index: IndexTable;
  readonly clock: Clock;
  readonly keys: IssuerKeys;
  readonly machines: MachineClients;
  /** undefined: there is no such person, or he may not sign in (any more) */
  readonly account: (name: string) => Promise<Account | undefined>;
  /** false: people sign in elsewhere, machines here */
  readonly hasPeople: boolean;
  /** shows what went wrong: code and description of RFC 6749 §4.1.2.1, no more */
  readonly renderError: (error: { readonly error: string; readonly error_description?: string }) => {
    readonly headers: Record<string, string>;
    readonly body: string;
  };
  readonly onDefect: (error: unknown) => void;
}

/**
 * The issuer for one origin: authorization code with PKCE for the console, client credentials for machines, nothing else. All that it
 * keeps is in the index.
 */
export function createProvider(origin: string, options: ProviderOptions): Provider {
  const { keys, machines, hasPeople } = options;
  const policy = interactionPolicy.base();
  // The console is the archive's own: who signs in is not asked whether it may know him.
  policy.remove('consent');
  const findClient = async (id: string) =>
    id === CONSOLE_CLIENT_ID ? (hasPeople ? consoleClient(origin) : undefined) : machines.find(id);

  const provider = new Provider(origin + ISSUER_PATH, {
    adapter: (model: string) =>
      model === 'Client' ? new ClientAdapter(findClient) : new IssuerAdapter(model, options),
    jwks: { keys: keys.jwks },
    cookies: {
      keys: [...keys.cookieKeys],
      names: { session: 'nephos_issuer', interaction: 'nephos_interaction', resume: 'nephos_resume' },
      long: { httpOnly: true, sameSite: 'lax', path: ISSUER_PATH },
      short: { httpOnly: true, sameSite: 'lax' },
    },
    responseTypes: ['code'],
    clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    enabledJWA: {
      idTokenSigningAlgValues: ['ES256'],
      clientAuthSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'],
    },
    pkce: { required: () => true },
    scopes: ['openid', 'profile'],
    claims: { openid: ['sub'], profile: ['name', 'preferred_username', 'roles', 'tenant'] },
    conformIdTokenClaims: false,
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      dPoP: { enabled: false },
      pushedAuthorizationRequests: { enabled: false },
      resourceIndicators: { enabled: false },
      revocation: { enabled: true },
      userinfo: { enabled: false },
      rpInitiatedLogout: {
        enabled: hasPeople,
        logoutSource,
        postLogoutSuccessSource: (ctx: Context) => ctx.redirect('/'),
      },
    },
    ttl: {
      AccessToken: ACCESS_TOKEN_SECONDS,
      AuthorizationCode: CODE_SECONDS,
      ClientCredentials: ACCESS_TOKEN_SECONDS,
      Grant: ISSUER_SESSION_SECONDS,
      IdToken: ACCESS_TOKEN_SECONDS,
      Interaction: INTERACTION_SECONDS,
      RefreshToken: ISSUER_SESSION_SECONDS,
      Session: ISSUER_SESSION_SECONDS,
    },
    // Tokens of people end with their session here; they are renewed without `offline_access`, which outlives it.
    issueRefreshToken: async (_: Context, client: { grantTypeAllowed(type: string): boolean }) =>
      client.grantTypeAllowed('refresh_token'),
    expiresWithSession: async () => true,
    // The archive keeps them itself and never shows them to a browser; one that was renewed and lost with its process must still serve.
    rotateRefreshToken: false,
    interactions: {
      policy,
      url: (_: Context, { uid }: { readonly uid: string }) => `${ISSUER_PATH}/interaction/${uid}`,
    },
    findAccount: async (_: Context, name: string) => {
      const account = await options.account(name);
      return account && { accountId: account.name, claims: async () => claimsOf(account) };
    },
    loadExistingGrant: (ctx: Context) => grantOf(provider, ctx),
    renderError: async (ctx: Context, out: { readonly error: string; readonly error_description?: string }) => {
      const { headers, body } = options.renderError(out);
      ctx.set(headers);
      ctx.body = body;
    },
  });
  // The origin is the one by which the host was asked; the inner request says it as a proxy would.
  provider.proxy = true;
  provider.Client.prototype.compareClientSecret = function (actual) {
    return machines.holdsSecret(this.clientId, actual);
  };
  provider.on('server_error', (_: never, error: unknown) => options.onDefect(error));
  return provider;
}

const claimsOf = ({ name, displayName, roles, tenant }: Account) => ({
  sub: name,
  preferred_username: name,
  name: displayName,
  roles,
  tenant,
});

/** The console may have what it asks for: a grant is made where there is none yet. */
async function grantOf(provider: Provider, { oidc }: Context): Promise<Grant | undefined> {
  const { client, session } = oidc;
  if (client?.clientId !== CONSOLE_CLIENT_ID || !session?.accountId) return undefined;
  const before = session.grantIdFor(client.clientId);
  const existing = before === undefined ? undefined : await provider.Grant.find(before);
  if (existing) return existing;
  const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope('openid profile');
  await grant.save();
  return grant;
}

/**
 * Whoever shows the ID token of the very person who is signed in here has asked for the end of it: nobody is asked again. Without one, the
 * page asks, as it may be another site that sent the browser.
 */
async function logoutSource(ctx: Context, form: string): Promise<void> {
  const { session, entities, client, provider } = ctx.oidc;
  const hint = entities.IdTokenHint as { readonly payload: { readonly sub?: string } } | undefined;
  if (session && client && hint?.payload.sub === session.accountId) {
    const grantId = session.grantIdFor(client.clientId);
    const grant = grantId === undefined ? undefined : await provider.Grant.find(grantId);
    const target = session.state?.postLogoutRedirectUri;
    await grant?.destroy();
    await session.destroy();
    ctx.cookies.set('nephos_issuer', null, { path: ISSUER_PATH });
    ctx.status = 303;
    ctx.redirect(target ?? '/');
    return;
  }
  ctx.type = 'html';
  ctx.body = form;
}
