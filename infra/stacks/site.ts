import { Aws, CfnOutput, Duration } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type * as s3 from 'aws-cdk-lib/aws-s3';
import type { Construct } from 'constructs';
import { asIBucket, SecureBucket } from '../constructs/secure-bucket.ts';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';

/** The bucket of console and viewer: programs that anybody may read, no data. Only CloudFront reads it. */
export class SiteStack extends NephosStack {
  readonly bucket: s3.IBucket;

  constructor(scope: Construct, props: Pick<NephosStackProps, 'settings'> & { readonly logs: s3.IBucket }) {
    super(scope, 'Site', { ...props, description: 'the bucket of console and viewer', stateful: true });
    const site = new SecureBucket(this, 'Site', {
      kind: 'site',
      key: undefined,
      versioned: true,
      serverAccessLogsBucket: props.logs,
      serverAccessLogsPrefix: 'site/',
      lifecycleRules: [{ id: 'old-versions', noncurrentVersionExpiration: Duration.days(30) }],
    });
    site.addToResourcePolicy(
      new iam.PolicyStatement({
        sid: 'CloudFront',
        principals: [new iam.ServicePrincipal('cloudfront.amazonaws.com')],
        actions: ['s3:GetObject'],
        resources: [site.arnForObjects('*')],
        // By account: the distribution is made after the bucket, and may be made anew. CloudFront is known to name its ARN, and nothing else.
        conditions: {
          ArnLike: { 'aws:SourceArn': `arn:${Aws.PARTITION}:cloudfront::${Aws.ACCOUNT_ID}:distribution/*` },
        },
      }),
    );
    this.bucket = asIBucket(site);
    new CfnOutput(this, 'SiteBucket', { value: site.bucketName });
  }
}
