import { Aws, Duration } from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import { SqsQueue } from 'aws-cdk-lib/aws-events-targets';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { deadLetterName, QUEUES, queueName } from '#adapters/aws/schema.ts';
import type { QueueName } from '#lambda/functions.ts';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';
import { removalOf } from '../removal.ts';

/** One queue for each kind of work, each with its dead letters. Messages hold UIDs; SQS encrypts them with its own key. */
export class QueuesStack extends NephosStack {
  readonly queues: Readonly<Record<QueueName, sqs.Queue>>;
  readonly deadLetters: Readonly<Record<QueueName, sqs.Queue>>;
  /** lets S3 tell `ingest` of what lands; the landing bucket waits for it, because S3 tries the queue when it is told of it */
  readonly ingestPolicy: sqs.CfnQueuePolicy;

  constructor(scope: Construct, props: Pick<NephosStackProps, 'settings' | 'region'>) {
    super(scope, 'Queues', { ...props, description: 'the work to be done', stateful: true });
    const { prefix } = this.names;
    const common = {
      encryption: sqs.QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      removalPolicy: removalOf(this.settings),
    };
    const queues = {} as Record<QueueName, sqs.Queue>;
    const deadLetters = {} as Record<QueueName, sqs.Queue>;
    for (const [name, shape] of Object.entries(QUEUES) as [QueueName, (typeof QUEUES)[QueueName]][]) {
      const dead = new sqs.Queue(this, `${name}-dead`, {
        ...common,
        queueName: deadLetterName(prefix, name),
        retentionPeriod: Duration.days(14),
        redriveAllowPolicy: { redrivePermission: sqs.RedrivePermission.ALLOW_ALL },
      });
      deadLetters[name] = dead;
      queues[name] = new sqs.Queue(this, name, {
        ...common,
        queueName: queueName(prefix, name),
        visibilityTimeout: Duration.seconds(shape.visibilitySeconds),
        retentionPeriod: Duration.days(14),
        deadLetterQueue: { queue: dead, maxReceiveCount: shape.maxReceiveCount },
      });
    }
    this.queues = queues;
    this.deadLetters = deadLetters;
    queues.ingest.addToResourcePolicy(
      new iam.PolicyStatement({
        sid: 'ObjectsThatLand',
        principals: [new iam.ServicePrincipal('s3.amazonaws.com')],
        actions: ['sqs:SendMessage'],
        resources: [queues.ingest.queueArn],
        conditions: {
          StringEquals: { 'aws:SourceAccount': this.account },
          ArnEquals: { 'aws:SourceArn': `arn:${Aws.PARTITION}:s3:::${this.names.bucket('landing', this.region)}` },
        },
      }),
    );
    this.#hearOfMoves();
    this.ingestPolicy = queues.ingest.node.findChild('Policy').node.defaultChild as sqs.CfnQueuePolicy;
  }

  /** What S3 does with objects by its lifecycle rules and restores: so records say how soon a series can be had. */
  #hearOfMoves(): void {
    new events.Rule(this, 'Moves', {
      description: 'objects of the archive that were moved to slow media or restored',
      eventPattern: {
        source: ['aws.s3'],
        detailType: [
          'Object Restore Completed',
          'Object Restore Expired',
          'Object Storage Class Changed',
          'Object Access Tier Changed',
        ],
        detail: { bucket: { name: [this.names.bucket('archive', this.region)] } },
      },
      targets: [
        new SqsQueue(this.queues.moved, { deadLetterQueue: this.deadLetters.moved, maxEventAge: Duration.hours(24) }),
      ],
    });
  }
}
