import Provider, { type Context, type Grant, interactionPolicy } from 'oidc-provider';
import type { IssuerKeys } from '#adapters/local/issuer-keys.ts';
import { Html } from '#core/markup.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { IndexTable } from '#core/ports/index-table.ts';
import { IssuerAdapter } from './adapter.ts';
import { CONSOLE_CLIENT_ID, consoleClient } from './clients.ts';
import type { Page } from './page.ts';
import { problemPage, signOutPage } from './pages.ts';
import { ISSUER_PATH } from './path.ts';

/** Longest that somebody stays signed in without showing who he is (s). */
const ISSUER_SESSION_SECONDS = 12 * 60 * 60;
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
  /**
   * undefined: there is no such person, or he may not be signed in (any more)
   * @param signedInAt when he showed who he is in this browser (s since 1970); undefined: tokens are renewed, for a session that is checked
   */
  readonly account: (name: string, signedInAt: number | undefined) => Promise<Account | undefined>;
  readonly onDefect: (error: unknown) => void;
}

/**
 * The issuer for one origin: authorization code with PKCE for the console, nothing else. All that it keeps is in the index.
 */
export function createProvider(origin: string, options: ProviderOptions): Provider {
  const { keys } = options;
  const policy = interactionPolicy.base();
  // The console is the archive's own: who signs in is not asked whether it may know him.
  policy.remove('consent');

  const provider = new Provider(origin + ISSUER_PATH, {
    adapter: (model: string) => new IssuerAdapter(model, options),
    clients: [consoleClient(origin)],
    jwks: { keys: keys.jwks },
    cookies: {
      keys: [...keys.cookieKeys],
      names: { session: 'nephos_issuer', interaction: 'nephos_interaction', resume: 'nephos_resume' },
      long: { httpOnly: true, sameSite: 'lax', path: ISSUER_PATH },
      short: { httpOnly: true, sameSite: 'lax' },
    },
    responseTypes: ['code'],
    clientAuthMethods: ['none'],
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
    pkce: { required: () => true },
    // No page but our own has anything to ask here.
    clientBasedCORS: () => false,
    scopes: ['openid', 'profile'],
    claims: { openid: ['sub'], profile: ['name', 'preferred_username', 'roles', 'tenant'] },
    conformIdTokenClaims: false,
    features: {
      devInteractions: { enabled: false },
      dPoP: { enabled: false },
      pushedAuthorizationRequests: { enabled: false },
      resourceIndicators: { enabled: false },
      revocation: {
        enabled: true,
        allowedPolicy: async (_: Context, client: { clientId: string }, token: { clientId: string }) =>
          token.clientId === client.clientId,
      },
      userinfo: { enabled: false },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource,
        postLogoutSuccessSource: (ctx: Context) => ctx.redirect('/'),
      },
    },
    ttl: {
      AccessToken: ACCESS_TOKEN_SECONDS,
      AuthorizationCode: CODE_SECONDS,
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
    findAccount: async (ctx: Context, name: string) => {
      const { session } = ctx.oidc;
      const account = await options.account(name, session?.loginTs);
      // The browser's session is nobody's then: whoever sits there is asked who he is.
      if (account === undefined && session?.accountId === name) {
        delete session.accountId;
        session.resetIdentifier();
      }
      return account && { accountId: account.name, claims: async () => claimsOf(account) };
    },
    loadExistingGrant: (ctx: Context) => grantOf(provider, ctx),
    renderError: async (
      ctx: Context,
      { error, error_description: why }: { error: string; error_description?: string },
    ) => show(ctx, problemPage(ctx.status, `The sign-in cannot go on: ${why ?? error}.`)),
  });
  // The origin is the one by which the host was asked; the inner request says it as a proxy would.
  provider.proxy = true;
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
  if (existing?.accountId === session.accountId) return existing;
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
  show(ctx, signOutPage(new Html(form)));
}

function show(ctx: Context, { headers, body }: Page): void {
  ctx.set(headers);
  ctx.body = body;
}
