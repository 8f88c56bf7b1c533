import { Aws, Duration } from 'aws-cdk-lib';
import * as cloudtrail from 'aws-cdk-lib/aws-cloudtrail';
import * as iam from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type * as s3 from 'aws-cdk-lib/aws-s3';
import type { Construct } from 'constructs';
import { SecureBucket } from '../constructs/secure-bucket.ts';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';

/** Six years, as HIPAA asks for (45 CFR 164.316), then gone. */
const KEPT = Duration.days(6 * 366);

/**
 * Who changed objects of the archive, told by AWS itself: CloudTrail's data events of writes and deletions. Reads are in the archive's
 * own audit trail: at a cent for ten thousand, events for each frame would cost more than the frames.
 */
export class AuditStack extends NephosStack {
  constructor(
    scope: Construct,
    props: Pick<NephosStackProps, 'settings'> & {
      readonly key: IKey;
      readonly archive: s3.IBucket;
      readonly logs: s3.IBucket;
    },
  ) {
    super(scope, 'Audit', { ...props, description: 'who changed what', stateful: true });
    const name = `${this.names.prefix}-objects`;
    const trailArn = `arn:${Aws.PARTITION}:cloudtrail:${this.region}:${this.account}:trail/${name}`;
    const bucket = new SecureBucket(this, 'Trail', {
      kind: 'trail',
      key: props.key,
      versioned: true,
      serverAccessLogsBucket: props.logs,
      serverAccessLogsPrefix: 'trail/',
      lifecycleRules: [{ id: 'expire', expiration: KEPT, noncurrentVersionExpiration: Duration.days(30) }],
    });
    const service = new iam.ServicePrincipal('cloudtrail.amazonaws.com');
    const allow = (action: string, resource: string, more: Record<string, string> = {}) =>
      bucket.addToResourcePolicy(
        new iam.PolicyStatement({
          principals: [service],
          actions: [action],
          resources: [resource],
          conditions: { StringEquals: { 'aws:SourceArn': trailArn, ...more } },
        }),
      );
    allow('s3:GetBucketAcl', bucket.bucketArn);
    allow('s3:PutObject', bucket.arnForObjects(`AWSLogs/${this.account}/*`), {
      's3:x-amz-acl': 'bucket-owner-full-control',
    });
    const trail = new cloudtrail.CfnTrail(this, 'ObjectTrail', {
      trailName: name,
      s3BucketName: bucket.bucketName,
      kmsKeyId: props.key.keyArn,
      isLogging: true,
      enableLogFileValidation: true,
      isMultiRegionTrail: false,
      includeGlobalServiceEvents: false,
      advancedEventSelectors: [
        {
          name: 'changes of objects',
          fieldSelectors: [
            { field: 'eventCategory', equalTo: ['Data'] },
            { field: 'resources.type', equalTo: ['AWS::S3::Object'] },
            { field: 'readOnly', equalTo: ['false'] },
            { field: 'resources.ARN', startsWith: [props.archive.arnForObjects('')] },
          ],
        },
      ],
    });
    if (bucket.policy) trail.node.addDependency(bucket.policy);
  }
}
