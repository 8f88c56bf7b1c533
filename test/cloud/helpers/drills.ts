import {
  DeleteMessageCommand,
  GetQueueUrlCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  type SQSClient,
} from '@aws-sdk/client-sqs';
import { type Deployed, STAGE } from './deployment.ts';

/** Calls of services whose clients would be a package for one call. @throws Error with what the engine answered */
async function call(
  deployed: Deployed,
  service: string,
  path: string,
  { method = 'POST', headers = {}, body }: { method?: string; headers?: Record<string, string>; body?: object },
): Promise<Record<string, never>> {
  const answer = await fetch(`${deployed.engine.endpoint}${path}`, {
    method,
    headers: {
      'content-type': 'application/json',
      authorization: `AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/${service}/aws4_request, SignedHeaders=host, Signature=0`,
      ...headers,
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${service} ${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as Record<string, never>;
}

/** Deploys a function with other variables, as by mistake. @returns what puts it right */
export async function misconfigure(
  deployed: Deployed,
  name: string,
  change: Record<string, string>,
): Promise<() => Promise<void>> {
  const path = `/2015-03-31/functions/nephos-${STAGE}-${name}/configuration`;
  const { Environment } = await call(deployed, 'lambda', path, { method: 'GET' });
  const { Variables } = Environment as unknown as { Variables: Record<string, string> };
  const put = async (variables: Record<string, string>): Promise<void> => {
    await call(deployed, 'lambda', path, { method: 'PUT', body: { Environment: { Variables: variables } } });
  };
  await put({ ...Variables, ...change });
  return () => put(Variables);
}

/** SQS's "Start DLQ redrive", which the engine lacks: what lies among the dead letters goes back to where it came from. @returns how many */
export async function redrive(sqs: SQSClient, queue: string): Promise<number> {
  const urlOf = async (QueueName: string) => (await sqs.send(new GetQueueUrlCommand({ QueueName }))).QueueUrl!;
  const [dead, alive] = [await urlOf(`nephos-${STAGE}-${queue}-dead`), await urlOf(`nephos-${STAGE}-${queue}`)];
  for (let moved = 0; ; ) {
    const { Messages = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl: dead, MaxNumberOfMessages: 10 }));
    if (Messages.length === 0) return moved;
    for (const { Body, ReceiptHandle } of Messages) {
      await sqs.send(new SendMessageCommand({ QueueUrl: alive, MessageBody: Body }));
      await sqs.send(new DeleteMessageCommand({ QueueUrl: dead, ReceiptHandle }));
      moved++;
    }
  }
}

export interface StreamRecord {
  readonly eventName: string;
  readonly dynamodb: Readonly<Record<string, unknown>>;
}

/** The first page of the stream of the index. */
export async function streamOfIndex(deployed: Deployed): Promise<{ view: string; records: StreamRecord[] }> {
  const ask = (operation: string, body: object) =>
    call(deployed, 'dynamodb', '/', {
      headers: {
        'content-type': 'application/x-amz-json-1.0',
        'x-amz-target': `DynamoDBStreams_20120810.${operation}`,
      },
      body,
    });
  const { Streams } = await ask('ListStreams', { TableName: `nephos-${STAGE}-index` });
  const [{ StreamArn }] = Streams as unknown as [{ StreamArn: string }];
  const { StreamDescription } = await ask('DescribeStream', { StreamArn });
  const { Shards, StreamViewType } = StreamDescription as unknown as {
    Shards: [{ ShardId: string }];
    StreamViewType: string;
  };
  const { ShardIterator } = await ask('GetShardIterator', {
    StreamArn,
    ShardId: Shards[0].ShardId,
    ShardIteratorType: 'TRIM_HORIZON',
  });
  const { Records } = await ask('GetRecords', { ShardIterator });
  return { view: StreamViewType, records: Records as unknown as StreamRecord[] };
}
