import { Aws } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type * as s3 from 'aws-cdk-lib/aws-s3';
import type { NephosStack } from '../nephos-stack.ts';

export interface ReplicationTarget {
  readonly key: IKey;
  readonly otherRegion: string;
  readonly otherKeyArn: string;
  /** of tenants that have keys of their own: in this region and in the other one */
  readonly tenantKeys: readonly { readonly tenant: string; readonly keyArn: string; readonly otherKeyArn: string }[];
}

/**
 * Replicates every new object to the archive bucket of the other region, which must be there before. Delete markers are not
 * replicated, so that what is deleted in one region by mistake or malice stays in the other. Written by hand: the other bucket is in
 * another region and known by its name alone, and CDK's own way grants `s3:*` of it.
 */
export function replicateTo(
  stack: NephosStack,
  bucket: s3.Bucket,
  { key, otherRegion, otherKeyArn, tenantKeys }: ReplicationTarget,
): void {
  // By name: the bucket waits for this role.
  const sourceArn = `arn:${Aws.PARTITION}:s3:::${stack.names.bucket('archive', stack.region)}`;
  const destinationArn = `arn:${Aws.PARTITION}:s3:::${stack.names.bucket('archive', otherRegion)}`;
  const role = new iam.Role(stack, 'ReplicationRole', {
    assumedBy: new iam.ServicePrincipal('s3.amazonaws.com', {
      conditions: { StringEquals: { 'aws:SourceAccount': stack.account } },
    }),
    description: 'copies objects of the archive to the other region',
  });
  const allow = (actions: string[], resources: string[], conditions?: Record<string, unknown>) =>
    role.addToPolicy(new iam.PolicyStatement({ actions, resources, ...(conditions && { conditions }) }));
  allow(['s3:GetReplicationConfiguration', 's3:ListBucket'], [sourceArn]);
  allow(
    [
      's3:GetObjectVersionForReplication',
      's3:GetObjectVersionAcl',
      's3:GetObjectVersionTagging',
      's3:GetObjectRetention',
      's3:GetObjectLegalHold',
    ],
    [`${sourceArn}/*`],
  );
  allow(['s3:ReplicateObject', 's3:ReplicateTags'], [`${destinationArn}/*`]);
  allow(['kms:Decrypt'], [key.keyArn, ...tenantKeys.map((one) => one.keyArn)], {
    StringLike: { 'kms:ViaService': `s3.${stack.region}.amazonaws.com` },
  });
  const otherKeyArns = [otherKeyArn, ...tenantKeys.map((one) => one.otherKeyArn)];
  allow(['kms:Encrypt', 'kms:GenerateDataKey'], otherKeyArns, {
    StringLike: { 'kms:ViaService': `s3.${otherRegion}.amazonaws.com` },
  });
  const policy = role.node.findChild('DefaultPolicy');
  const timeControl = stack.settings.replicationTimeControl;
  const resource = bucket.node.defaultChild as s3.CfnBucket;
  const rule = (id: string, priority: number, prefix: string, replicaKmsKeyId: string) => ({
    id,
    status: 'Enabled',
    priority,
    filter: { prefix },
    deleteMarkerReplication: { status: 'Disabled' },
    sourceSelectionCriteria: { sseKmsEncryptedObjects: { status: 'Enabled' } },
    destination: {
      bucket: destinationArn,
      encryptionConfiguration: { replicaKmsKeyId },
      // Metrics tell how far behind the copy is; with time control S3 also promises the 15 minutes.
      metrics: { status: 'Enabled', eventThreshold: { minutes: 15 } },
      ...(timeControl && { replicationTime: { status: 'Enabled', time: { minutes: 15 } } }),
    },
  });
  resource.replicationConfiguration = {
    role: role.roleArn,
    rules: [
      rule('all', 1, '', otherKeyArn),
      // What a tenant's own key opens here, its replica and nothing else opens there.
      ...tenantKeys.map((one, i) => rule(`tenant-${one.tenant}`, i + 2, `${one.tenant}/`, one.otherKeyArn)),
    ],
  };
  resource.node.addDependency(policy);
}
