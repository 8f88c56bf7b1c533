import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as route53 from 'aws-cdk-lib/aws-route53';
import type { Construct } from 'constructs';
import { alarmTopic } from '../constructs/alarm-topic.ts';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';
import { CLOUDFRONT_REGION } from './firewall.ts';
import type { ApiOrigin } from './front.ts';
import { alarmsStatement } from './keys.ts';

/** Whether each region answers, asked from outside every half minute. Route 53 reports to CloudWatch in us-east-1. */
export class HealthChecksStack extends NephosStack {
  constructor(
    scope: Construct,
    { apis, ...props }: Pick<NephosStackProps, 'settings'> & { readonly apis: readonly ApiOrigin[] },
  ) {
    super(scope, 'HealthChecks', { ...props, region: CLOUDFRONT_REGION, description: 'whether each region answers' });
    const key = new kms.Key(this, 'Key', {
      description: 'Nephos: alarms of health checks',
      enableKeyRotation: true,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    key.addToResourcePolicy(alarmsStatement());
    const topic = alarmTopic(this, key, 'health-checks');
    for (const { region, restApiId, stageName } of apis) {
      const check = new route53.CfnHealthCheck(this, `Check-${region}`, {
        healthCheckConfig: {
          type: 'HTTPS',
          fullyQualifiedDomainName: `${restApiId}.execute-api.${region}.amazonaws.com`,
          resourcePath: `/${stageName}/healthz`,
          port: 443,
          enableSni: true,
          requestInterval: 30,
          failureThreshold: 3,
        },
        healthCheckTags: [{ key: 'Name', value: `${this.names.prefix} ${region}` }],
      });
      const down = new cloudwatch.Alarm(this, `Down-${region}`, {
        alarmName: `${this.names.prefix}-${region}-down`,
        alarmDescription: `The API in ${region} does not answer. Reading fails over; docs/regions.md tells what a person does.`,
        metric: new cloudwatch.Metric({
          namespace: 'AWS/Route53',
          metricName: 'HealthCheckStatus',
          dimensionsMap: { HealthCheckId: check.attrHealthCheckId },
          statistic: 'Minimum',
          period: Duration.minutes(1),
          region: CLOUDFRONT_REGION,
        }),
        threshold: 1,
        evaluationPeriods: 3,
        comparisonOperator: cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
        treatMissingData: cloudwatch.TreatMissingData.BREACHING,
      });
      down.addAlarmAction(new SnsAction(topic));
    }
  }
}
