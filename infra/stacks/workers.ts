import { Duration } from 'aws-cdk-lib';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import * as scheduler from 'aws-cdk-lib/aws-scheduler';
import { LambdaInvoke } from 'aws-cdk-lib/aws-scheduler-targets';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { FUNCTIONS, type FunctionName, type FunctionSpec, type QueueName } from '#lambda/functions.ts';
import { ArchiveFunction } from '../constructs/archive-function.ts';
import { environmentOf } from '../environment.ts';
import { NephosStack } from '../nephos-stack.ts';
import { type ComputeProps, startedBy } from './api.ts';

export interface WorkersProps extends ComputeProps {
  readonly queues: Readonly<Record<QueueName, sqs.Queue>>;
  /** schedules run in the region that takes changes; the other one's wait */
  readonly active: boolean;
}

/** What Lambda asks of a queue in the name of the function behind it; the grants of CDK's own event source are wider. */
const EVENT_SOURCE_ACTIONS = ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes'];

/** What works in the background: functions on queues and on schedules. */
export class WorkersStack extends NephosStack {
  readonly functions: Readonly<Partial<Record<FunctionName, ArchiveFunction>>>;
  /** events of schedules that could not be delivered, or that a function failed at three times */
  readonly missed: sqs.Queue;

  constructor(scope: Construct, { deployed, resources, queues, active, ...props }: WorkersProps) {
    super(scope, 'Workers', { ...props, description: 'work in the background' });
    this.missed = new sqs.Queue(this, 'Missed', {
      queueName: `${this.names.prefix}-missed`,
      encryption: sqs.QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      retentionPeriod: Duration.days(14),
    });
    const names = [...new Set([...startedBy('queue'), ...startedBy('schedule')])];
    this.functions = Object.fromEntries(
      names.map((name) => {
        const worker = new ArchiveFunction(this, {
          name,
          resources,
          missed: startedBy('schedule').includes(name) ? (this.missed as sqs.IQueue) : undefined,
          environment: environmentOf(FUNCTIONS[name], deployed),
        });
        this.#start(name, worker, queues, active);
        return [name, worker];
      }),
    );
  }

  #start(name: FunctionName, worker: ArchiveFunction, queues: WorkersProps['queues'], active: boolean): void {
    const spec: FunctionSpec = FUNCTIONS[name];
    const worked = spec.triggers.flatMap((trigger) =>
      trigger.kind === 'queue' ? [queues[trigger.queue].queueArn] : [],
    );
    if (worked.length > 0)
      worker.addToRolePolicy(new PolicyStatement({ sid: 'Work', actions: EVENT_SOURCE_ACTIONS, resources: worked }));
    for (const trigger of spec.triggers) {
      if (trigger.kind === 'queue') {
        const maxConcurrency = Math.min(trigger.maxConcurrency, this.settings.ingestConcurrency);
        worker.addEventSourceMapping(trigger.queue, {
          eventSourceArn: queues[trigger.queue].queueArn,
          batchSize: trigger.batchSize,
          reportBatchItemFailures: true,
          maxConcurrency: Math.max(2, maxConcurrency),
        });
      }
      if (trigger.kind === 'schedule') {
        new scheduler.Schedule(this, `${name}-schedule`, {
          schedule: scheduler.ScheduleExpression.expression(trigger.schedule),
          description: spec.purpose,
          enabled: active,
          timeWindow: scheduler.TimeWindow.flexible(Duration.minutes(5)),
          target: new LambdaInvoke(worker, {
            retryAttempts: 2,
            maxEventAge: Duration.hours(1),
            deadLetterQueue: this.missed,
          }),
        });
      }
    }
  }
}
