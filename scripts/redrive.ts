import { parseArgs } from 'node:util';
import { GetQueueUrlCommand, type SQSClient } from '@aws-sdk/client-sqs';
import { sqsClient } from '#adapters/aws/clients.ts';
import { deadLetterName, QUEUES, queueName } from '#adapters/aws/schema.ts';
import { SqsJobQueue } from '#adapters/aws/sqs-job-queue.ts';
import { systemClock } from '#adapters/system-clock.ts';

const USAGE = `npm run redrive -- --stage STAGE [--region REGION] [QUEUE...]

What the functions of a deployment gave up lies in queues of dead letters. Without QUEUE: how many there are of each kind of work.
With QUEUE (or "all"): puts them back to be done, once their cause is gone. Credentials and region come from where the AWS command
line has them; they need sqs:GetQueueUrl, GetQueueAttributes, ReceiveMessage, SendMessage and DeleteMessage.

QUEUE: ${Object.keys(QUEUES).join(', ')}
`;

const say = (text: string): void => void process.stdout.write(`${text}\n`);

/** The queues of a deployment. @throws Error when the region has no such deployment */
async function queuesOf(client: SQSClient, stage: string, kinds: readonly string[]): Promise<SqsJobQueue> {
  const prefix = `nephos-${stage}`;
  const urls = new Map<string, string>();
  for (const QueueName of kinds.flatMap((kind) => [queueName(prefix, kind), deadLetterName(prefix, kind)])) {
    try {
      urls.set(QueueName, (await client.send(new GetQueueUrlCommand({ QueueName }))).QueueUrl!);
    } catch (error) {
      if (!/NonExistentQueue|QueueDoesNotExist/.test((error as Error).name)) throw error;
      throw new Error(`there is no queue ${QueueName} in ${await client.config.region()}`);
    }
  }
  return new SqsJobQueue({
    client,
    clock: systemClock,
    queueUrl: (kind) => urls.get(queueName(prefix, kind))!,
    deadLetterUrl: (kind) => urls.get(deadLetterName(prefix, kind))!,
    // Asked without waiting, SQS looks at some of its machines only, and may say that there is nothing.
    waitSeconds: 1,
  });
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { stage: { type: 'string' }, region: { type: 'string' }, help: { type: 'boolean' } },
  });
  const all = Object.keys(QUEUES);
  const unknown = positionals.filter((name) => name !== 'all' && !all.includes(name));
  if (values.help || values.stage === undefined || unknown.length > 0) {
    for (const name of unknown) say(`there is no kind of work ${name}`);
    say(USAGE);
    return values.help ? 0 : 2;
  }
  const client = sqsClient({ maxAttempts: 3, ...(values.region !== undefined && { region: values.region }) });
  const kinds = positionals.length === 0 || positionals.includes('all') ? all : positionals;
  const jobs = await queuesOf(client, values.stage, kinds);
  for (const kind of kinds) {
    if (positionals.length > 0) say(`${kind}: ${await jobs.redrive(kind)} put back`);
    else {
      const { waiting, inFlight, dead } = await jobs.depth(kind);
      say(`${kind}: ${dead} given up, ${waiting} waiting, ${inFlight} being done`);
    }
  }
  client.destroy();
  return 0;
}

process.exitCode = await main().catch((error: unknown) => {
  say(error instanceof Error ? error.message : String(error));
  return 1;
});
