import { Duration } from 'aws-cdk-lib';
import type * as apigateway from 'aws-cdk-lib/aws-apigateway';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type * as s3 from 'aws-cdk-lib/aws-s3';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import type { FunctionName, QueueName } from '#lambda/functions.ts';
import { alarmTopic } from '../constructs/alarm-topic.ts';
import type { ArchiveFunction } from '../constructs/archive-function.ts';
import { operationsDashboard } from '../constructs/dashboard.ts';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';

export interface OperationsProps extends Pick<NephosStackProps, 'settings' | 'region'> {
  readonly key: IKey;
  readonly api: apigateway.RestApi;
  readonly functions: Readonly<Partial<Record<FunctionName, ArchiveFunction>>>;
  readonly queues: Readonly<Record<QueueName, sqs.Queue>>;
  readonly deadLetters: Readonly<Record<QueueName, sqs.Queue>>;
  readonly missed: sqs.Queue;
  readonly archive: s3.IBucket;
  /** replication of objects starts here */
  readonly replicatesTo: string | undefined;
}

const ROUTING_OLD_SECONDS = 6 * 60 * 60;
const FIVE_MINUTES = Duration.minutes(5);
/** Without these nobody reads, or nothing is stored; all others can wait for the morning. */
const READING: readonly FunctionName[] = ['search', 'retrieve', 'authorizer'];
const STORING: readonly FunctionName[] = ['store', 'transactions', 'ingest'];

/** What somebody looks at, and what wakes somebody: a dashboard, alarms, and above them the one that says that patients are affected. */
export class OperationsStack extends NephosStack {
  constructor(scope: Construct, { key, ...props }: OperationsProps) {
    super(scope, 'Operations', { ...props, description: 'dashboard and alarms' });
    const topic = alarmTopic(this, key);
    const reading = [...this.#apiAlarms(props), ...this.#functionAlarms(props, READING)];
    const storing = [...this.#functionAlarms(props, STORING), ...this.#backlogAlarms(props)];
    const index = this.#indexAlarms();
    const background = [
      ...this.#functionAlarms(
        props,
        (Object.keys(props.functions) as FunctionName[]).filter((name) => ![...READING, ...STORING].includes(name)),
      ),
      ...this.#reconciliationAlarms(),
      ...this.#routingAlarms(),
      ...this.#deadLetterAlarms(props),
      ...this.#ownAlarms(),
      ...(props.replicatesTo === undefined ? [] : this.#replicationAlarms(props, props.replicatesTo)),
    ];
    const patients = new cloudwatch.CompositeAlarm(this, 'PatientsAffected', {
      compositeAlarmName: `${this.names.prefix}-patients-affected`,
      alarmDescription:
        'Images cannot be read or stored: somebody is waiting for them. See docs/deploy-aws.md, "When an alarm rings".',
      alarmRule: cloudwatch.AlarmRule.anyOf(...reading, ...storing, ...index),
    });
    patients.addAlarmAction(new SnsAction(topic));
    for (const alarm of background) alarm.addAlarmAction(new SnsAction(topic));
    operationsDashboard(this, {
      ...props,
      tableName: this.names.table,
      patients,
      alarms: [...reading, ...storing, ...index, ...background],
    });
  }

  #alarm(
    id: string,
    metric: cloudwatch.IMetric,
    threshold: number,
    description: string,
    periods = 2,
  ): cloudwatch.Alarm {
    return new cloudwatch.Alarm(this, id, {
      alarmName: `${this.names.prefix}-${id}`,
      alarmDescription: description,
      metric,
      threshold,
      evaluationPeriods: periods,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
    });
  }

  #apiAlarms({ api }: Pick<OperationsProps, 'api'>): cloudwatch.Alarm[] {
    const stage = api.deploymentStage;
    const failing = new cloudwatch.MathExpression({
      expression: '100 * failed / MAX([calls, 20])',
      usingMetrics: {
        failed: stage.metricServerError({ period: FIVE_MINUTES, statistic: 'Sum' }),
        calls: stage.metricCount({ period: FIVE_MINUTES, statistic: 'Sum' }),
      },
      label: 'calls answered 5xx (%)',
      period: FIVE_MINUTES,
    });
    return [
      this.#alarm('api-failing', failing, 5, 'One call in twenty fails.'),
      this.#alarm(
        'api-slow',
        stage.metricLatency({ period: FIVE_MINUTES, statistic: 'p95' }),
        10_000,
        'One call in twenty takes longer than ten seconds.',
        3,
      ),
    ];
  }

  #functionAlarms(
    { functions }: Pick<OperationsProps, 'functions'>,
    names: readonly FunctionName[],
  ): cloudwatch.Alarm[] {
    return names.flatMap((name) => {
      const fn = functions[name];
      if (fn === undefined) return [];
      const options = { period: FIVE_MINUTES, statistic: 'Sum' };
      return [
        this.#alarm(`${name}-errors`, fn.metricErrors(options), 5, `The function ${name} fails.`),
        this.#alarm(
          `${name}-throttled`,
          fn.metricThrottles(options),
          5,
          `The function ${name} gets no room to run in.`,
        ),
      ];
    });
  }

  #backlogAlarms({ queues }: Pick<OperationsProps, 'queues'>): cloudwatch.Alarm[] {
    return (['store-uploaded', 'ingest'] as const).map((name) =>
      this.#alarm(
        `${name}-old`,
        queues[name].metricApproximateAgeOfOldestMessage({ period: FIVE_MINUTES, statistic: 'Maximum' }),
        1_800,
        `Objects have been waiting in ${name} for half an hour.`,
      ),
    );
  }

  #deadLetterAlarms({ deadLetters, missed }: Pick<OperationsProps, 'deadLetters' | 'missed'>): cloudwatch.Alarm[] {
    const options = { period: FIVE_MINUTES, statistic: 'Maximum' };
    return [
      ...Object.entries(deadLetters).map(([name, queue]) =>
        this.#alarm(
          `${name}-dead`,
          queue.metricApproximateNumberOfMessagesVisible(options),
          1,
          `Work of ${name} was given up; docs/deploy-aws.md tells how to put it back.`,
          1,
        ),
      ),
      this.#alarm(
        'schedule-missed',
        missed.metricApproximateNumberOfMessagesVisible(options),
        1,
        'A scheduled run failed for good.',
        1,
      ),
    ];
  }

  /** What the nightly comparison of bucket and index found, tenant by tenant (functions/lambda/observe.ts). */
  #reconciliationAlarms(): cloudwatch.Alarm[] {
    return this.settings.tenants.flatMap((tenant, index) => {
      const found = (metricName: string) =>
        new cloudwatch.Metric({
          namespace: 'Nephos',
          metricName,
          dimensionsMap: { service: 'nephos', tenant },
          statistic: 'Maximum',
          period: Duration.days(1),
        });
      const of = index === 0 ? '' : `-${tenant}`;
      return [
        this.#alarm(
          `objects-missing${of}`,
          found('objectsMissing'),
          1,
          'Records speak of objects that are not in the bucket, or have another size: docs/deploy-aws.md, "When an alarm rings".',
          1,
        ),
        this.#alarm(
          `objects-unknown${of}`,
          found('objectsUnknown'),
          1,
          'Objects lie in the bucket that no record speaks of: docs/deploy-aws.md, "When an alarm rings".',
          1,
        ),
      ];
    });
  }

  /** What functions count of themselves (functions/lambda/observe.ts). */
  #ownAlarms(): cloudwatch.Alarm[] {
    const counted = (metricName: string) =>
      new cloudwatch.Metric({
        namespace: 'Nephos',
        metricName,
        dimensionsMap: { service: 'nephos' },
        statistic: 'Sum',
        period: FIVE_MINUTES,
      });
    const emergency = this.#alarm(
      'emergency-access',
      counted('emergencyAccess'),
      1,
      "Somebody took emergency access: the console's page Audit says who, and to whose studies.",
      1,
    );
    if (this.settings.rates === undefined) return [emergency];
    // A function that starts cold may miss the table once; one after another is another thing.
    const lonely = this.#alarm(
      'rates-not-shared',
      counted('ratesNotShared'),
      5,
      'Functions cannot share what principals have used of their rates, and each keeps them by itself: more is let through than the settings say.',
    );
    return [emergency, lonely];
  }

  /** What the sweeper counts of studies that are sent on (functions/lambda/observe.ts). */
  #routingAlarms(): cloudwatch.Alarm[] {
    const { routing, tenants } = this.settings;
    if (routing === undefined) return [];
    return tenants.flatMap((tenant) => {
      const counted = (metricName: string) =>
        new cloudwatch.Metric({
          namespace: 'Nephos',
          metricName,
          dimensionsMap: { service: 'nephos', tenant },
          statistic: 'Maximum',
          period: Duration.minutes(15),
        });
      return [
        this.#alarm(
          `routing-stopped-${tenant}`,
          counted('routingStopped'),
          1,
          'Studies could not be sent on, and wait for a person: the page Routing of the console says why.',
          1,
        ),
        this.#alarm(
          `routing-old-${tenant}`,
          counted('routingOldest'),
          ROUTING_OLD_SECONDS,
          'Studies have been waiting to be sent on for six hours: a destination does not take them.',
        ),
      ];
    });
  }

  #indexAlarms(): cloudwatch.Alarm[] {
    const metric = (metricName: string, operation: string) =>
      new cloudwatch.Metric({
        namespace: 'AWS/DynamoDB',
        metricName,
        dimensionsMap: { TableName: this.names.table, Operation: operation },
        statistic: 'Sum',
        period: FIVE_MINUTES,
      });
    const sum = (metricName: string, label: string) =>
      new cloudwatch.MathExpression({
        expression: 'SUM(METRICS())',
        usingMetrics: Object.fromEntries(
          ['GetItem', 'BatchGetItem', 'Query', 'TransactWriteItems', 'UpdateItem'].map((operation, index) => [
            `m${index}`,
            metric(metricName, operation),
          ]),
        ),
        label,
        period: FIVE_MINUTES,
      });
    return [
      this.#alarm(
        'index-throttled',
        sum('ThrottledRequests', 'throttled'),
        100,
        'The index refuses calls: a partition is too hot, or traffic grew faster than the table.',
      ),
      this.#alarm('index-failing', sum('SystemErrors', 'failed'), 10, 'The index fails.'),
    ];
  }

  /** One for each rule of constructs/replication.ts: S3 counts by rule. */
  #replicationAlarms({ archive }: Pick<OperationsProps, 'archive'>, destination: string): cloudwatch.Alarm[] {
    const { tenantKeys } = this.settings;
    return ['all', ...tenantKeys.map((tenant) => `tenant-${tenant}`)].map((RuleId) => {
      const latency = new cloudwatch.Metric({
        namespace: 'AWS/S3',
        metricName: 'ReplicationLatency',
        dimensionsMap: {
          SourceBucket: archive.bucketName,
          DestinationBucket: this.names.bucket('archive', destination),
          RuleId,
        },
        statistic: 'Maximum',
        period: FIVE_MINUTES,
      });
      const id = RuleId === 'all' ? 'replication-late' : `replication-late-${RuleId}`;
      return this.#alarm(id, latency, 1_800, 'The second region is half an hour behind.', 3);
    });
  }
}
