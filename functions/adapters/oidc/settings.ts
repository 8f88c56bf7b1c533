import { isRole, ROLES, type Role } from '#core/access.ts';
import { ConfigError, type Environment, listOf } from '#core/configuration.ts';
import { OIDC_ENVIRONMENT as NAMES } from './environment.ts';

/** How people sign in at the issuer: authorization code with PKCE. */
export interface OidcLoginSettings {
  readonly clientId: string;
  /** file of the client's secret, or of its private key; undefined: a public client, or the host has it from elsewhere */
  readonly clientSecretFile?: string | undefined;
  /** separated by spaces; undefined: what every issuer has */
  readonly scopes?: string | undefined;
  readonly logoutUrl?: string | undefined;
}

export interface OidcSettings {
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly jwksUrl: string | undefined;
  /** undefined: all tokens are of the one tenant */
  readonly tenantClaim: string | undefined;
  readonly tenants: readonly string[];
  readonly rolesClaim: string;
  /** the issuer's name of a role → ours; undefined: the names are ours */
  readonly roles: ReadonlyMap<string, readonly Role[]> | undefined;
  /** claims whose values grants may be made to */
  readonly grantClaims?: readonly string[] | undefined;
  /** undefined: people come with tokens that they have from elsewhere */
  readonly login?: OidcLoginSettings | undefined;
}

/** What the environment says of the issuer; undefined where there is none. @throws ConfigError that names the variable */
export function readOidcSettings(env: Environment, tenants: readonly string[]): OidcSettings | undefined {
  const issuer = env[NAMES.oidcIssuer];
  if (issuer === undefined || issuer === '') return undefined;
  checkUrl(NAMES.oidcIssuer, issuer);
  const audiences = listOf(env[NAMES.oidcAudience]);
  if (audiences.length === 0) throw new ConfigError(`${NAMES.oidcAudience} must name the audience of the tokens`);
  const jwksUrl = env[NAMES.oidcJwksUrl];
  if (jwksUrl !== undefined) checkUrl(NAMES.oidcJwksUrl, jwksUrl);
  const tenantClaim = env[NAMES.oidcTenantClaim];
  if (tenantClaim === undefined && tenants.length > 1)
    throw new ConfigError(`${NAMES.oidcTenantClaim} must name the claim that holds the tenant: several are served`);
  return {
    issuer,
    audiences,
    jwksUrl,
    tenantClaim,
    tenants,
    rolesClaim: env[NAMES.oidcRolesClaim] ?? 'roles',
    roles: readRoles(env[NAMES.oidcRoles]),
    grantClaims: listOf(env[NAMES.oidcGrantClaims]),
    login: readLogin(env),
  };
}

function readLogin(env: Environment): OidcLoginSettings | undefined {
  const clientId = env[NAMES.oidcClientId];
  if (clientId === undefined || clientId === '') return undefined;
  const logoutUrl = env[NAMES.oidcLogoutUrl];
  if (logoutUrl !== undefined) checkUrl(NAMES.oidcLogoutUrl, logoutUrl);
  return { clientId, clientSecretFile: env[NAMES.oidcClientSecretFile], scopes: env[NAMES.oidcScopes], logoutUrl };
}

/** Keys that came in the clear are anybody's: http is for loopback only. */
function checkUrl(name: string, text: string): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const loopback = url?.protocol === 'http:' && ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname);
  if (url?.protocol !== 'https:' && !loopback) throw new ConfigError(`${name} must be an https URL`);
}

function readRoles(text: string | undefined): ReadonlyMap<string, readonly Role[]> | undefined {
  if (text === undefined) return undefined;
  return new Map(
    listOf(text).map((pair) => {
      const at = pair.lastIndexOf('=');
      const roles = pair.slice(at + 1).split('+');
      if (at < 1 || !roles.every(isRole)) {
        throw new ConfigError(
          `${NAMES.oidcRoles} must be a list of name=role, a role being one of ${ROLES.join(', ')}`,
        );
      }
      return [pair.slice(0, at), roles];
    }),
  );
}
