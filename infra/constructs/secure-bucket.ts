import { Duration } from 'aws-cdk-lib';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import * as s3 from 'aws-cdk-lib/aws-s3';
import type { Construct } from 'constructs';
import type { BucketKind } from '../names.ts';
import type { NephosStack } from '../nephos-stack.ts';
import { removalOf } from '../removal.ts';

export interface SecureBucketProps extends Omit<s3.BucketProps, 'bucketName' | 'encryption' | 'encryptionKey'> {
  readonly kind: BucketKind;
  /** undefined: S3's own key, for what holds no patient data or is written by services that know no other */
  readonly key: IKey | undefined;
}

/** What every bucket has: no public access, TLS 1.2 or newer, encryption by default, owner's rights only, no keys of customers (SSE-C). */
export class SecureBucket extends s3.Bucket {
  constructor(stack: NephosStack, id: string, { kind, key, ...props }: SecureBucketProps, scope: Construct = stack) {
    super(scope, id, {
      bucketName: stack.names.bucket(kind, stack.region),
      blockPublicAccess: s3.BlockPublicAccess.BLOCK_ALL,
      objectOwnership: s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
      enforceSSL: true,
      minimumTLSVersion: 1.2,
      // A customer's key would make objects unreadable to everybody but its holder.
      blockedEncryptionTypes: [s3.BlockedEncryptionType.SSE_C],
      ...(key === undefined
        ? { encryption: s3.BucketEncryption.S3_MANAGED }
        : { encryption: s3.BucketEncryption.KMS, encryptionKey: key, bucketKeyEnabled: true }),
      removalPolicy: removalOf(stack.settings),
      // CloudFormation deletes no bucket that holds anything, and every one of these does: CDK's function empties it first.
      autoDeleteObjects: stack.settings.retention.deletable,
      ...props,
    });
  }
}

/** Takes the access logs of the other buckets; S3 delivers them to buckets with S3's own key only. */
export function logBucket(stack: NephosStack): s3.IBucket {
  return asIBucket(
    new SecureBucket(stack, 'Logs', {
      kind: 'logs',
      key: undefined,
      versioned: true,
      lifecycleRules: expireAfter(stack),
    }),
  );
}

const expireAfter = ({ settings }: NephosStack): s3.LifecycleRule[] => [
  {
    id: 'expire',
    expiration: Duration.days(settings.retention.logDays),
    noncurrentVersionExpiration: Duration.days(1),
    abortIncompleteMultipartUploadAfter: Duration.days(1),
  },
];

/** CDK's classes do not fit its own interfaces under exactOptionalPropertyTypes. */
export const asIBucket = (bucket: s3.Bucket): s3.IBucket => bucket as s3.IBucket;
