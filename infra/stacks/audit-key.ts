import { CfnOutput } from 'aws-cdk-lib';
import * as kms from 'aws-cdk-lib/aws-kms';
import type { Construct } from 'constructs';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';
import { removalOf } from '../removal.ts';

/**
 * The key that a region's audit trail is sealed with: no program ever holds it, and what it has signed can be checked with the public key for
 * as long as somebody keeps that. It cannot rotate; a new one is told from it by its id.
 */
export class AuditKeyStack extends NephosStack {
  readonly key: kms.Key;

  constructor(scope: Construct, props: Pick<NephosStackProps, 'settings' | 'region'>) {
    super(scope, 'AuditKey', { ...props, description: 'the key of the audit trail', stateful: true });
    this.key = new kms.Key(this, 'Key', {
      alias: `alias/${this.names.prefix}-audit`,
      description: 'Nephos: seals of the audit trail',
      keySpec: kms.KeySpec.ECC_NIST_P256,
      keyUsage: kms.KeyUsage.SIGN_VERIFY,
      removalPolicy: removalOf(this.settings),
    });
    new CfnOutput(this, 'AuditKeyArn', { value: this.key.keyArn });
  }
}
