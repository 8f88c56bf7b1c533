import { CfnOutput, Duration } from 'aws-cdk-lib';
import type * as kms from 'aws-cdk-lib/aws-kms';
import * as s3 from 'aws-cdk-lib/aws-s3';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { INVENTORY, LANDING_BUCKET } from '#adapters/aws/schema.ts';
import { archiveBucket, corsRule } from '../constructs/archive-bucket.ts';
import { type ReplicationTarget, replicateTo } from '../constructs/replication.ts';
import { asIBucket, logBucket, SecureBucket } from '../constructs/secure-bucket.ts';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';

export interface StorageProps extends Pick<NephosStackProps, 'settings' | 'region'> {
  readonly key: kms.IKey;
  /** of the key in the region that objects are replicated to */
  readonly otherKeyArn: string | undefined;
  readonly otherRegion: string | undefined;
  readonly tenantKeys: ReplicationTarget['tenantKeys'];
  /** is told of what lands below LANDING_BUCKET.incomingPrefix */
  readonly ingest: sqs.Queue;
  readonly ingestPolicy: sqs.CfnQueuePolicy;
}

/** The buckets of one region: archive (replicated to the other region), landing zone, access logs. */
export class StorageStack extends NephosStack {
  readonly archive: s3.IBucket;
  readonly landing: s3.IBucket;
  readonly logs: s3.IBucket;

  constructor(scope: Construct, props: StorageProps) {
    super(scope, 'Storage', { ...props, description: 'the objects', stateful: true });
    this.logs = logBucket(this);
    const archive = archiveBucket(this, { key: props.key, logs: this.logs, inventories: [inventoryTo(this.logs)] });
    this.archive = asIBucket(archive);
    if (props.otherRegion !== undefined && props.otherKeyArn !== undefined) {
      replicateTo(this, archive, {
        key: props.key,
        otherRegion: props.otherRegion,
        otherKeyArn: props.otherKeyArn,
        tenantKeys: props.tenantKeys,
      });
    }
    this.landing = this.#landingBucket(props);
    // For trail and backups, of which there may be none any more before their stacks are gone.
    this.exportValue(this.archive.bucketArn);
    this.exportValue(this.archive.bucketName);
    this.exportValue(this.logs.bucketName);
    new CfnOutput(this, 'ArchiveBucket', { value: this.archive.bucketName });
    new CfnOutput(this, 'LandingBucket', { value: this.landing.bucketName });
  }

  /** What clients upload until it is stored. The notification is part of the bucket: CDK's own way would deploy a function to set it. */
  #landingBucket({ key, ingest, ingestPolicy }: StorageProps): s3.IBucket {
    const { settings } = this;
    const landing = new SecureBucket(this, 'Landing', {
      kind: 'landing',
      key,
      versioned: true,
      serverAccessLogsBucket: this.logs,
      serverAccessLogsPrefix: 'landing/',
      lifecycleRules: [
        {
          id: 'expire',
          expiration: Duration.days(LANDING_BUCKET.expireDays),
          abortIncompleteMultipartUploadAfter: Duration.days(LANDING_BUCKET.expireDays),
        },
        ...[LANDING_BUCKET.prefix, LANDING_BUCKET.imagingPrefix].map((prefix) => ({
          id: `deleted-${prefix}`,
          prefix,
          noncurrentVersionExpiration: Duration.days(1),
        })),
        {
          // What a sender has overwritten waits to be stored like any other.
          id: 'overwritten',
          prefix: LANDING_BUCKET.incomingPrefix,
          noncurrentVersionExpiration: Duration.days(LANDING_BUCKET.expireDays),
        },
      ],
      cors: [corsRule(settings.corsOrigins, settings.domain?.name, [s3.HttpMethods.PUT])],
    });
    const bucket = landing.node.defaultChild as s3.CfnBucket;
    bucket.notificationConfiguration = {
      queueConfigurations: [
        {
          event: 's3:ObjectCreated:*',
          queue: ingest.queueArn,
          filter: { s3Key: { rules: [{ name: 'prefix', value: LANDING_BUCKET.incomingPrefix }] } },
        },
      ],
    };
    bucket.node.addDependency(ingestPolicy);
    return asIBucket(landing);
  }
}

/** What is in the archive, every day: the nightly reconciliation of large archives reads it instead of listing. */
const inventoryTo = (destination: s3.IBucket): s3.Inventory => ({
  inventoryId: INVENTORY.id,
  destination: { bucket: destination, prefix: INVENTORY.prefix },
  format: s3.InventoryFormat.CSV,
  frequency: s3.InventoryFrequency.DAILY,
  includeObjectVersions: s3.InventoryObjectVersion.CURRENT,
  optionalFields: ['Size', 'StorageClass', 'ReplicationStatus', 'ObjectLockMode', 'ChecksumAlgorithm'],
});
