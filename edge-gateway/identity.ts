import { OidcTokenVerifier } from '#adapters/oidc/oidc-token-verifier.ts';
import type { TokenVerifier } from '#core/ports/token-verifier.ts';
import type { IdentityPolicy } from '#dimse/identity.ts';
import { identityPolicy } from '#embedded/dicom-users.ts';
import type { EdgeContext } from './context.ts';

/**
 * Who verifies user identities here, as configured now: names and passcodes of a file, JSON Web Tokens of an issuer. Kerberos and SAML are
 * verified by nobody; without an issuer no token is good.
 * @throws ConfigError where the file of users cannot be read
 */
export function identityPolicyOf({ config, tenant, clock }: EdgeContext): IdentityPolicy | undefined {
  const { identity } = config.dicom;
  if (identity === undefined) return undefined;
  const { issuer, required, users } = identity;
  const tokens: TokenVerifier =
    issuer === undefined
      ? { verify: async () => undefined }
      : new OidcTokenVerifier(
          {
            issuer: issuer.url,
            audiences: [issuer.audience],
            jwksUrl: issuer.jwksUrl,
            tenantClaim: undefined,
            tenants: [tenant],
            rolesClaim: issuer.rolesClaim,
            roles: undefined,
          },
          clock,
        );
  return identityPolicy({ identity: required ? 'required' : 'optional', users }, tokens, tenant);
}
