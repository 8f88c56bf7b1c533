import { Aws, CfnOutput } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import type { Construct } from 'constructs';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';
import { removalOf } from '../removal.ts';

/** Lets CloudWatch Logs encrypt the deployment's log groups, and nothing else, with the key. */
export function logsStatement(region: string, prefix: string): iam.PolicyStatement {
  return new iam.PolicyStatement({
    sid: 'LogGroups',
    principals: [new iam.ServicePrincipal(`logs.${region}.amazonaws.com`)],
    actions: ['kms:Encrypt', 'kms:Decrypt', 'kms:ReEncrypt*', 'kms:GenerateDataKey*', 'kms:DescribeKey'],
    resources: ['*'],
    conditions: {
      ArnLike: {
        'kms:EncryptionContext:aws:logs:arn': [`/${prefix}/*`, `aws-waf-logs-${prefix}*`].map(
          (name) => `arn:${Aws.PARTITION}:logs:${region}:${Aws.ACCOUNT_ID}:log-group:${name}`,
        ),
      },
    },
  });
}

/** Lets CloudWatch publish alarms to the encrypted topic. */
export const alarmsStatement = (): iam.PolicyStatement =>
  new iam.PolicyStatement({
    sid: 'Alarms',
    principals: [new iam.ServicePrincipal('cloudwatch.amazonaws.com')],
    actions: ['kms:Decrypt', 'kms:GenerateDataKey'],
    resources: ['*'],
    conditions: { StringEquals: { 'aws:SourceAccount': Aws.ACCOUNT_ID } },
  });

/** Lets the trail of changes (stacks/audit.ts) write its files. */
const trailStatement = (region: string): iam.PolicyStatement =>
  new iam.PolicyStatement({
    sid: 'Trail',
    principals: [new iam.ServicePrincipal('cloudtrail.amazonaws.com')],
    actions: ['kms:GenerateDataKey', 'kms:DescribeKey'],
    resources: ['*'],
    conditions: {
      ArnLike: { 'aws:SourceArn': `arn:${Aws.PARTITION}:cloudtrail:${region}:${Aws.ACCOUNT_ID}:trail/*` },
    },
  });

/** One key for all that holds patient data: multi-region, so that a replica in the second region opens what was encrypted here. */
export class KeysStack extends NephosStack {
  readonly key: kms.Key;
  /** of tenants that have one of their own, for their objects alone */
  readonly tenantKeys: ReadonlyMap<string, kms.Key>;

  constructor(scope: Construct, props: Omit<NephosStackProps, 'description' | 'stateful'>) {
    super(scope, 'Keys', { ...props, description: 'the key of objects, index and logs', stateful: true });
    this.key = new kms.Key(this, 'Key', {
      alias: `alias/${this.names.prefix}`,
      description: 'Nephos: objects, index and logs',
      enableKeyRotation: true,
      multiRegion: true,
      removalPolicy: removalOf(this.settings),
    });
    this.key.addToResourcePolicy(logsStatement(this.region, this.names.prefix));
    this.key.addToResourcePolicy(alarmsStatement());
    this.key.addToResourcePolicy(trailStatement(this.region));
    new CfnOutput(this, 'KeyArn', { value: this.key.keyArn });
    // Whether or not there is a second region that needs it: an export cannot go while another stack has not yet let go of it.
    this.exportValue(this.key.keyId);
    this.exportValue(this.key.keyArn);
    this.tenantKeys = new Map(this.settings.tenantKeys.map((tenant) => [tenant, this.#tenantKey(tenant)]));
  }

  /** Scheduled for deletion, it takes all objects of the tenant along, replicas and old versions included. */
  #tenantKey(tenant: string): kms.Key {
    const key = new kms.Key(this, `Tenant-${tenant}`, {
      alias: `alias/${this.names.prefix}-tenant-${tenant}`,
      description: `Nephos: objects of the tenant ${tenant}`,
      enableKeyRotation: true,
      multiRegion: true,
      removalPolicy: removalOf(this.settings),
    });
    new CfnOutput(this, `TenantKeyArn-${tenant}`, { value: key.keyArn });
    return key;
  }

  /** The replica has the same id in the other region. */
  replicaArn(region: string, key: kms.IKey = this.key): string {
    return `arn:${Aws.PARTITION}:kms:${region}:${Aws.ACCOUNT_ID}:key/${key.keyId}`;
  }

  /** ARNs of the tenants' keys, or of their replicas, by tenant. */
  tenantKeyArns(region: string): ReadonlyMap<string, string> {
    return new Map([...this.tenantKeys].map(([tenant, key]) => [tenant, this.replicaArn(region, key)]));
  }
}
