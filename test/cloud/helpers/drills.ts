import { run } from './command.ts';
import { type Deployed, STAGE } from './deployment.ts';

/** what a wrong deployment names; no role grants it */
export const WRONG_BUCKET = 'no-such-bucket';
export const WRONG_TABLE = 'no-such-table';

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
  if (!answer.ok || answer.headers.has('x-amz-function-error'))
    throw new Error(`${service} ${path}: ${answer.status} ${await answer.text()}`);
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

/** Starts a function of the clock. @returns what it reports @throws Error with what it failed of */
export async function startNow(
  deployed: Deployed,
  name: string,
): Promise<Readonly<Record<string, Readonly<Record<string, number>>>>> {
  return call(deployed, 'lambda', `/2015-03-31/functions/nephos-${STAGE}-${name}/invocations`, { body: {} });
}

/** Has a function take nothing from a queue: what comes meanwhile waits there. @returns what lets it go on */
export async function holdQueue(deployed: Deployed, queue: string): Promise<() => Promise<void>> {
  const path = '/2015-03-31/event-source-mappings';
  const { EventSourceMappings } = await call(deployed, 'lambda', `${path}/`, { method: 'GET' });
  const mappings = EventSourceMappings as unknown as { UUID: string; EventSourceArn: string }[];
  const found = mappings.find(({ EventSourceArn }) => EventSourceArn.endsWith(`:nephos-${STAGE}-${queue}`));
  if (found === undefined) throw new Error(`nothing takes from ${queue}: ${JSON.stringify(mappings)}`);
  const set = async (Enabled: boolean): Promise<void> => {
    await call(deployed, 'lambda', `${path}/${found.UUID}`, { method: 'PUT', body: { Enabled } });
  };
  await set(false);
  return () => set(true);
}

/** Lets the schedule of a function be due a minute after it was deployed: the same target, by the same role. */
export async function hasten(deployed: Deployed, name: string): Promise<void> {
  const { Schedules } = await call(deployed, 'scheduler', '/schedules', { method: 'GET' });
  const found = (Schedules as unknown as { Name: string }[]).find(
    (one) => one.Name.includes(`-${name}schedule`) || one.Name.includes(`${name}schedule`),
  );
  if (found === undefined) throw new Error(`no schedule of ${name}: ${JSON.stringify(Schedules)}`);
  const path = `/schedules/${found.Name}`;
  const schedule = await call(deployed, 'scheduler', path, { method: 'GET' });
  await call(deployed, 'scheduler', path, {
    method: 'PUT',
    body: { ...(schedule as object), ScheduleExpression: 'rate(1 minute)', FlexibleTimeWindow: { Mode: 'OFF' } },
  });
}

/** As a person does it (docs/deploy-aws.md, "When an alarm rings"). @returns what the command says */
export const redrive = (deployed: Deployed, ...queues: readonly string[]): Promise<string> =>
  run('node', ['scripts/redrive.ts', '--stage', STAGE, ...queues], { env: deployed.environment });

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
