import { Aws, CfnOutput, Duration } from 'aws-cdk-lib';
import * as cognito from 'aws-cdk-lib/aws-cognito';
import type { Construct } from 'constructs';
import { CALLBACK_PATH } from '#adapters/oidc/environment.ts';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';
import { removalOf } from '../removal.ts';
import type { Issuer } from '../settings.ts';

/** The groups of the pool; each is a role of the archive (core/access.ts). */
const GROUPS = [
  'admin',
  'viewer',
  'radiologist',
  'technologist',
  'referrer',
  'researcher',
  'finance',
  'auditor',
] as const;

/** Who may sign in, where the deployment names no issuer of its own. Nobody signs up by himself. */
export class IdentityStack extends NephosStack {
  readonly issuer: Issuer;

  constructor(scope: Construct, props: Pick<NephosStackProps, 'settings'>) {
    super(scope, 'Identity', { ...props, description: 'who may sign in', stateful: true });
    const prod = this.settings.kind === 'prod';
    const pool = new cognito.UserPool(this, 'Users', {
      userPoolName: this.names.prefix,
      selfSignUpEnabled: false,
      signInAliases: { email: true },
      signInCaseSensitive: false,
      accountRecovery: cognito.AccountRecovery.EMAIL_ONLY,
      mfa: prod ? cognito.Mfa.REQUIRED : cognito.Mfa.OPTIONAL,
      mfaSecondFactor: { sms: false, otp: true },
      passwordPolicy: {
        minLength: 14,
        requireLowercase: true,
        requireUppercase: true,
        requireDigits: true,
        requireSymbols: true,
        tempPasswordValidity: Duration.days(3),
      },
      featurePlan: prod ? cognito.FeaturePlan.PLUS : cognito.FeaturePlan.ESSENTIALS,
      ...(prod && { standardThreatProtectionMode: cognito.StandardThreatProtectionMode.FULL_FUNCTION }),
      // Whose studies somebody sees, where several tenants are served. Only an administrator of the pool writes it.
      customAttributes: { tenant: new cognito.StringAttribute({ maxLen: 32, mutable: true }) },
      deletionProtection: !this.settings.retention.deletable,
      removalPolicy: removalOf(this.settings),
    });
    for (const name of GROUPS) {
      new cognito.CfnUserPoolGroup(this, `Group-${name}`, { userPoolId: pool.userPoolId, groupName: name });
    }
    const { publicUrl } = this.settings;
    const client = pool.addClient('Console', {
      userPoolClientName: 'console',
      generateSecret: false,
      authFlows: { userSrp: true, userPassword: !prod },
      accessTokenValidity: Duration.minutes(15),
      idTokenValidity: Duration.minutes(15),
      refreshTokenValidity: Duration.hours(12),
      preventUserExistenceErrors: true,
      enableTokenRevocation: true,
      // Without a list Cognito puts no attribute of our own into tokens, and nobody would be of any tenant.
      readAttributes: new cognito.ClientAttributes()
        .withStandardAttributes({ email: true, emailVerified: true, fullname: true, givenName: true, familyName: true })
        .withCustomAttributes('tenant'),
      // Who signs in cannot make himself another tenant's.
      writeAttributes: new cognito.ClientAttributes().withStandardAttributes({ fullname: true, email: true }),
      ...(publicUrl === undefined
        ? { disableOAuth: true }
        : {
            oAuth: {
              flows: { authorizationCodeGrant: true },
              scopes: [cognito.OAuthScope.OPENID, cognito.OAuthScope.PROFILE],
              callbackUrls: [`${publicUrl}${CALLBACK_PATH}`],
              logoutUrls: [`${publicUrl}/`],
            },
          }),
    });
    const url = `https://cognito-idp.${this.region}.amazonaws.com/${pool.userPoolId}`;
    this.issuer = {
      url,
      audience: client.userPoolClientId,
      clientId: publicUrl === undefined ? undefined : client.userPoolClientId,
      clientSecretArn: undefined,
      scopes: undefined,
      logoutUrl: publicUrl === undefined ? undefined : `${this.#signInPages(pool)}/logout`,
      rolesClaim: 'cognito:groups',
      roles: undefined,
      tenantClaim: 'custom:tenant',
    };
    new CfnOutput(this, 'UserPoolId', { value: pool.userPoolId });
    new CfnOutput(this, 'ClientId', { value: client.userPoolClientId });
    new CfnOutput(this, 'Issuer', { value: url });
  }

  /** The pages on which people sign in, under a name that nobody else in the world has. @returns their address */
  #signInPages(pool: cognito.UserPool): string {
    const domain = pool.addDomain('SignIn', {
      cognitoDomain: { domainPrefix: `${this.names.prefix}-${this.settings.account ?? Aws.ACCOUNT_ID}` },
    });
    new CfnOutput(this, 'SignInPages', { value: domain.baseUrl() });
    return domain.baseUrl();
  }
}
