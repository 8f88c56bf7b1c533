/** The environment variables of an OIDC issuer, the same for every host. Pure constants. */
export const OIDC_ENVIRONMENT = {
  /** issuer of the tokens, an https URL; without it only the archive's own tokens are taken */
  oidcIssuer: 'NEPHOS_OIDC_ISSUER',
  /** audience that tokens must name, several separated by commas (of a token without `aud`, its `client_id`) */
  oidcAudience: 'NEPHOS_OIDC_AUDIENCE',
  /** where the issuer's keys are; found by discovery when absent */
  oidcJwksUrl: 'NEPHOS_OIDC_JWKS_URL',
  /** claim that holds the tenant, needed where several are served; a path into nested claims with dots, or a name as a whole */
  oidcTenantClaim: 'NEPHOS_OIDC_TENANT_CLAIM',
  /** claims that hold roles (`roles`), several separated by commas: lists, or texts separated by spaces; machines have theirs in `scope` as a rule */
  oidcRolesClaim: 'NEPHOS_OIDC_ROLES_CLAIM',
  /** the issuer's names of roles to ours: `pacs-admins=admin,radiology=finder+retriever`; without it they are ours already */
  oidcRoles: 'NEPHOS_OIDC_ROLES',
  /** claims whose values grants may be made to (docs/roles.md), several separated by commas */
  oidcGrantClaims: 'NEPHOS_OIDC_GRANT_CLAIMS',
  /** client by which people sign in there; without it they paste a token of the issuer */
  oidcClientId: 'NEPHOS_OIDC_CLIENT_ID',
  /** file that holds the client's secret, or its private key (PEM or JWK), for issuers that want one beside PKCE */
  oidcClientSecretFile: 'NEPHOS_OIDC_CLIENT_SECRET_FILE',
  /** what is asked for at sign-in (`openid profile`, and `offline_access` where the issuer lists it) */
  oidcScopes: 'NEPHOS_OIDC_SCOPES',
  /** where browsers are sent to sign out; found by discovery when absent */
  oidcLogoutUrl: 'NEPHOS_OIDC_LOGOUT_URL',
} as const;

/** Where the browser comes back to from the issuer, on every host. */
export const CALLBACK_PATH = '/api/session/callback';
