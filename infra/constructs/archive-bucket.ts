import { Duration } from 'aws-cdk-lib';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import * as s3 from 'aws-cdk-lib/aws-s3';
import { ARCHIVE_BUCKET, LIFECYCLE_TAG } from '#adapters/aws/schema.ts';
import type { NephosStack } from '../nephos-stack.ts';
import type { Retention, StorageClassName, Tier } from '../settings.ts';
import { SecureBucket } from './secure-bucket.ts';

const STORAGE_CLASSES: Readonly<Record<StorageClassName, s3.StorageClass>> = {
  STANDARD_IA: s3.StorageClass.INFREQUENT_ACCESS,
  INTELLIGENT_TIERING: s3.StorageClass.INTELLIGENT_TIERING,
  GLACIER_IR: s3.StorageClass.GLACIER_INSTANT_RETRIEVAL,
  DEEP_ARCHIVE: s3.StorageClass.DEEP_ARCHIVE,
};

/** The received objects: versioned, locked by the settings, tiered by age and tag. The same in both regions. */
export function archiveBucket(
  stack: NephosStack,
  props: { readonly key: IKey; readonly logs: s3.IBucket } & Pick<
    s3.BucketProps,
    'replicationRules' | 'replicationRole' | 'inventories'
  >,
): SecureBucket {
  const { settings } = stack;
  const { key, logs, ...more } = props;
  const locked = settings.retention.objectLock !== 'none';
  const archive = new SecureBucket(stack, 'Archive', {
    kind: 'archive',
    key,
    versioned: ARCHIVE_BUCKET.versioned,
    ...(locked && { objectLockEnabled: true, objectLockDefaultRetention: lockOf(settings.retention) }),
    serverAccessLogsBucket: logs,
    serverAccessLogsPrefix: 'archive/',
    lifecycleRules: [...settings.tiers.map(tierRule), oldVersions(settings.retention)],
    transitionDefaultMinimumObjectSize: s3.TransitionDefaultMinimumObjectSize.ALL_STORAGE_CLASSES_128_K,
    // Viewers and clients read objects by signed URLs.
    cors: [corsRule(settings.corsOrigins, settings.domain?.name, [s3.HttpMethods.GET, s3.HttpMethods.HEAD])],
    ...more,
  });
  // Events go to EventBridge, where the rule of the queue `moved` chooses. CDK's own way would deploy a function to set this.
  (archive.node.defaultChild as s3.CfnBucket).notificationConfiguration = {
    eventBridgeConfiguration: { eventBridgeEnabled: true },
  };
  return archive;
}

function lockOf({ objectLock, objectLockDays }: Retention): s3.ObjectLockRetention {
  const duration = Duration.days(objectLockDays);
  return objectLock === 'compliance'
    ? s3.ObjectLockRetention.compliance(duration)
    : s3.ObjectLockRetention.governance(duration);
}

const tierRule = ({ policy, steps }: Tier): s3.LifecycleRule => ({
  id: `tier-${policy}`,
  ...(policy !== 'default' && { tagFilters: { [LIFECYCLE_TAG.key]: policy } }),
  transitions: steps.map(({ storageClass, afterDays }) => ({
    storageClass: STORAGE_CLASSES[storageClass],
    transitionAfter: Duration.days(afterDays),
  })),
});

/** What was deleted in the archive for good stays as an old version until then; uploads that nobody ended are ended. */
const oldVersions = ({ noncurrentDays }: Retention): s3.LifecycleRule => ({
  id: 'old-versions',
  noncurrentVersionExpiration: Duration.days(noncurrentDays),
  expiredObjectDeleteMarker: true,
  abortIncompleteMultipartUploadAfter: Duration.days(7),
});

/** `domain`: the deployment's own; without one its address is not known before it is deployed, and no secret depends on the origin. */
export function corsRule(
  origins: readonly string[],
  domain: string | undefined,
  methods: s3.HttpMethods[],
): s3.CorsRule {
  const allowedOrigins = domain === undefined ? ['*'] : [`https://${domain}`, ...origins];
  return {
    allowedMethods: methods,
    allowedOrigins,
    allowedHeaders: ['*'],
    exposedHeaders: ['ETag', 'Content-Range', 'Accept-Ranges', 'x-amz-checksum-sha256', 'x-amz-checksum-crc64nvme'],
    maxAge: 3_600,
  };
}
