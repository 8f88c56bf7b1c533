import { Aws } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import type { Construct } from 'constructs';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';
import { removalOf } from '../removal.ts';
import { alarmsStatement, type KeysStack, logsStatement } from './keys.ts';

/** The account's own policies decide, as with every key that CDK makes. */
const account = (): iam.PolicyStatement =>
  new iam.PolicyStatement({
    sid: 'Account',
    principals: [new iam.AccountRootPrincipal()],
    actions: ['kms:*'],
    resources: ['*'],
  });

const arnOf = (region: string, id: string): string => `arn:${Aws.PARTITION}:kms:${region}:${Aws.ACCOUNT_ID}:key/${id}`;

/** The key's replica in the second region. It has a policy of its own: key policies are not replicated. */
export class ReplicaKeyStack extends NephosStack {
  readonly key: kms.IKey;
  readonly #id: string;
  /** by tenant, of those that have a key of their own */
  readonly #tenantIds = new Map<string, string>();

  constructor(scope: Construct, props: Pick<NephosStackProps, 'settings' | 'region'> & { readonly keys: KeysStack }) {
    super(scope, 'Keys', { ...props, description: 'the replica of the key in the second region', stateful: true });
    const replica = new kms.CfnReplicaKey(this, 'Key', {
      primaryKeyArn: props.keys.key.keyArn,
      description: 'Nephos: objects, index and logs (replica)',
      keyPolicy: new iam.PolicyDocument({
        statements: [account(), logsStatement(this.region, this.names.prefix), alarmsStatement()],
      }),
    });
    replica.applyRemovalPolicy(removalOf(this.settings));
    new kms.CfnAlias(this, 'Alias', { aliasName: `alias/${this.names.prefix}`, targetKeyId: replica.ref });
    for (const [tenant, { keyArn }] of props.keys.tenantKeys) {
      const own = new kms.CfnReplicaKey(this, `Tenant-${tenant}`, {
        primaryKeyArn: keyArn,
        description: `Nephos: objects of the tenant ${tenant} (replica)`,
        keyPolicy: new iam.PolicyDocument({ statements: [account()] }),
      });
      own.applyRemovalPolicy(removalOf(this.settings));
      const aliasName = `alias/${this.names.prefix}-tenant-${tenant}`;
      new kms.CfnAlias(this, `TenantAlias-${tenant}`, { aliasName, targetKeyId: own.ref });
      this.#tenantIds.set(tenant, own.ref);
    }
    this.#id = replica.ref;
    this.key = kms.Key.fromKeyArn(
      this,
      'Replica',
      `arn:${Aws.PARTITION}:kms:${this.region}:${this.account}:key/${replica.ref}`,
    );
  }

  /**
   * The key's ARN in any region: the second region's stacks know it from here, so that they read nothing of the first one's, which would have to be kept
   * for them when they want it no longer.
   */
  keyArn(region: string): string {
    return arnOf(region, this.#id);
  }

  tenantKeyArns(region: string): ReadonlyMap<string, string> {
    return new Map([...this.#tenantIds].map(([tenant, id]) => [tenant, arnOf(region, id)]));
  }
}
