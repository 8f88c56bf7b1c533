import { CfnOutput, Duration } from 'aws-cdk-lib';
import * as cognito from 'aws-cdk-lib/aws-cognito';
import type { Construct } from 'constructs';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';
import { removalOf } from '../removal.ts';

/** The groups of the pool; each is a role of the archive (core/access.ts). */
export const GROUPS = ['admin', 'viewer', 'radiologist', 'technologist', 'auditor'] as const;

/** Who may sign in, where the deployment names no issuer of its own. Nobody signs up by himself. */
export class IdentityStack extends NephosStack {
  readonly issuer: string;
  readonly audience: string;

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
      deletionProtection: !this.settings.retention.deletable,
      removalPolicy: removalOf(this.settings),
    });
    for (const name of GROUPS) {
      new cognito.CfnUserPoolGroup(this, `Group-${name}`, { userPoolId: pool.userPoolId, groupName: name });
    }
    const client = pool.addClient('Console', {
      userPoolClientName: 'console',
      generateSecret: false,
      authFlows: { userSrp: true, userPassword: !prod },
      accessTokenValidity: Duration.minutes(15),
      idTokenValidity: Duration.minutes(15),
      refreshTokenValidity: Duration.hours(12),
      preventUserExistenceErrors: true,
      enableTokenRevocation: true,
      disableOAuth: true,
    });
    this.issuer = `https://cognito-idp.${this.region}.amazonaws.com/${pool.userPoolId}`;
    this.audience = client.userPoolClientId;
    new CfnOutput(this, 'UserPoolId', { value: pool.userPoolId });
    new CfnOutput(this, 'ClientId', { value: client.userPoolClientId });
    new CfnOutput(this, 'Issuer', { value: this.issuer });
  }
}
