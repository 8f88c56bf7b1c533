import { Duration } from 'aws-cdk-lib';
import type * as apigateway from 'aws-cdk-lib/aws-apigateway';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import type * as s3 from 'aws-cdk-lib/aws-s3';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import type { FunctionName, QueueName } from '#lambda/functions.ts';
import type { NephosStack } from '../nephos-stack.ts';
import type { ArchiveFunction } from './archive-function.ts';

export interface Watched {
  readonly api: apigateway.RestApi;
  readonly functions: Readonly<Partial<Record<FunctionName, ArchiveFunction>>>;
  readonly queues: Readonly<Record<QueueName, sqs.Queue>>;
  readonly deadLetters: Readonly<Record<QueueName, sqs.Queue>>;
  readonly archive: s3.IBucket;
  readonly tableName: string;
  readonly patients: cloudwatch.IAlarm;
  readonly alarms: readonly cloudwatch.IAlarm[];
}

const period = Duration.minutes(5);
const DAY = Duration.days(1);
/** as CloudWatch names what S3 holds, from dear to cheap */
const STORAGE_TYPES = [
  'StandardStorage',
  'IntelligentTieringFAStorage',
  'IntelligentTieringIAStorage',
  'IntelligentTieringAIAStorage',
  'StandardIAStorage',
  'GlacierInstantRetrievalStorage',
  'DeepArchiveStorage',
];

/** One page: traffic, latency, backlog, errors, storage by tier, and the counts that the bill follows from. */
export function operationsDashboard(stack: NephosStack, watched: Watched): cloudwatch.Dashboard {
  const { api, functions, queues, deadLetters } = watched;
  const stage = api.deploymentStage;
  const all = Object.values(functions);
  const graph = (title: string, left: cloudwatch.IMetric[], more: Partial<cloudwatch.GraphWidgetProps> = {}) =>
    new cloudwatch.GraphWidget({ title, left, width: 12, height: 6, ...more });
  return new cloudwatch.Dashboard(stack, 'Dashboard', {
    // Dashboards are one namespace in all regions.
    dashboardName: stack.isSecond ? `${stack.names.prefix}-${stack.region}` : stack.names.prefix,
    defaultInterval: Duration.hours(24),
    widgets: [
      [
        new cloudwatch.AlarmStatusWidget({
          title: 'Alarms',
          alarms: [watched.patients, ...watched.alarms],
          width: 24,
          height: 4,
        }),
      ],
      [
        graph('Calls', [
          stage.metricCount({ period }),
          stage.metricClientError({ period }),
          stage.metricServerError({ period }),
        ]),
        graph(
          'Latency (ms)',
          ['p50', 'p95', 'p99'].map((statistic) => stage.metricLatency({ period, statistic, label: statistic })),
        ),
      ],
      [
        graph(
          'Waiting',
          Object.entries(queues).map(([label, queue]) =>
            queue.metricApproximateNumberOfMessagesVisible({ period, label, statistic: 'Maximum' }),
          ),
        ),
        graph(
          'Given up',
          Object.entries(deadLetters).map(([label, queue]) =>
            queue.metricApproximateNumberOfMessagesVisible({ period, label, statistic: 'Maximum' }),
          ),
        ),
      ],
      [
        graph(
          'Errors of functions',
          all.map((fn) => fn.metricErrors({ period })),
        ),
        graph(
          'Duration of functions, p95 (ms)',
          all.map((fn) => fn.metricDuration({ period, statistic: 'p95' })),
        ),
      ],
      [
        graph(
          'Storage by tier (bytes)',
          STORAGE_TYPES.map((type) => storage(watched.archive, type)),
          { stacked: true },
        ),
        graph('Objects', [objects(watched.archive)]),
      ],
      [
        graph(
          'Cost: invocations',
          all.map((fn) => fn.metricInvocations({ period: Duration.hours(1) })),
          { stacked: true },
        ),
        graph('Cost: request units of the index', [
          consumed(watched.tableName, 'ConsumedReadCapacityUnits'),
          consumed(watched.tableName, 'ConsumedWriteCapacityUnits'),
        ]),
      ],
    ],
  });
}

const storage = (bucket: s3.IBucket, type: string): cloudwatch.Metric =>
  new cloudwatch.Metric({
    namespace: 'AWS/S3',
    metricName: 'BucketSizeBytes',
    dimensionsMap: { BucketName: bucket.bucketName, StorageType: type },
    statistic: 'Average',
    period: DAY,
    label: type,
  });

const objects = (bucket: s3.IBucket): cloudwatch.Metric =>
  new cloudwatch.Metric({
    namespace: 'AWS/S3',
    metricName: 'NumberOfObjects',
    dimensionsMap: { BucketName: bucket.bucketName, StorageType: 'AllStorageTypes' },
    statistic: 'Average',
    period: DAY,
  });

const consumed = (TableName: string, metricName: string): cloudwatch.Metric =>
  new cloudwatch.Metric({
    namespace: 'AWS/DynamoDB',
    metricName,
    dimensionsMap: { TableName },
    statistic: 'Sum',
    period: Duration.hours(1),
  });
