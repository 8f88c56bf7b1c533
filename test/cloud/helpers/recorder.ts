import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What IAM would be asked before a call: an action, on a resource. */
export interface Asked {
  readonly action: string;
  /** ARN; behind it the prefix of a listing, or the partition of an index */
  readonly resource: string;
}

export interface Recorder {
  /** of whoever calls AWS through `endpoint` */
  readonly caller: string;
  readonly endpoint: string;
  /** what was asked, without repetition */
  readonly asked: ReadonlySet<string>;
  /** calls that this recorder could not read; none may stay */
  readonly unknown: ReadonlySet<string>;
  close(): Promise<void>;
}

/** Stands between one caller, in its region, and the engine: passes everything on, and notes the action and resource of every call. */
export async function record(caller: string, region: string, engine: string): Promise<Recorder> {
  const asked = new Set<string>();
  const unknown = new Set<string>();
  const { hostname, port } = new URL(engine);
  const server: Server = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = [];
    const passed = httpRequest(
      { agent: false, hostname, port, path: incoming.url, method: incoming.method, headers: incoming.headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      },
    );
    passed.on('error', () => outgoing.destroy());
    const isJson = incoming.headers['x-amz-target'] !== undefined;
    incoming.on('data', (chunk: Buffer) => isJson && chunks.push(chunk));
    incoming.on('end', () => {
      const calls = actionsOf(
        `${region}:000000000000`,
        incoming.method ?? 'GET',
        incoming.url ?? '/',
        incoming.headers,
        Buffer.concat(chunks),
      );
      if (calls === undefined) unknown.add(`${incoming.method} ${incoming.headers['x-amz-target'] ?? 'S3'}`);
      for (const { action, resource } of calls ?? []) asked.add(`${action} ${resource}`);
    });
    incoming.pipe(passed);
  });
  // Connections are the caller's to close: over one that ended just then a call would be lost.
  server.keepAliveTimeout = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    caller,
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    unknown,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/** `place`: region and account, as ARNs have them */
function actionsOf(
  place: string,
  method: string,
  url: string,
  headers: IncomingHttpHeaders,
  body: Buffer,
): Asked[] | undefined {
  const target = headers['x-amz-target'];
  if (typeof target !== 'string') return s3Actions(method, url);
  const [service = '', operation = ''] = target.split('.');
  const parameters = JSON.parse(body.toString()) as Parameters;
  if (service === 'DynamoDB_20120810') return dynamoActions(place, operation, parameters);
  if (service === 'AmazonSQS') {
    const name = String(parameters.QueueUrl).split('/').at(-1);
    return [{ action: `sqs:${operation}`, resource: `arn:aws:sqs:${place}:${name}` }];
  }
  // KMS, by the name that its protocol has for it.
  if (service === 'TrentService') return [{ action: `kms:${operation}`, resource: String(parameters.KeyId) }];
  return undefined;
}

/** A transaction asks for each of its operations. */
const TRANSACTION = {
  Put: 'PutItem',
  Update: 'UpdateItem',
  Delete: 'DeleteItem',
  ConditionCheck: 'ConditionCheckItem',
  Get: 'GetItem',
} as const;

type Keyed = { readonly p: { readonly S: string } };
type Parameters = Readonly<Record<string, unknown>>;

/** A policy may grant partitions alone: they are part of what was asked for. */
function dynamoActions(place: string, operation: string, parameters: Parameters): Asked[] {
  const asked = (action: string, { TableName }: Parameters, partition: string | undefined): Asked => ({
    action: `dynamodb:${action}`,
    resource: `arn:aws:dynamodb:${place}:table/${String(TableName)}?partition=${partition}`,
  });
  if (operation === 'TransactWriteItems' || operation === 'TransactGetItems') {
    const items = parameters.TransactItems as Record<keyof typeof TRANSACTION, Parameters>[];
    return items.flatMap((item) =>
      (Object.entries(item) as [keyof typeof TRANSACTION, Parameters][]).map(([kind, one]) =>
        asked(TRANSACTION[kind], one, partitionOf(one)),
      ),
    );
  }
  if (parameters.RequestItems === undefined) return [asked(operation, parameters, partitionOf(parameters))];
  return Object.entries(parameters.RequestItems as object).flatMap(([TableName, of]) => {
    const requests =
      (of as { Keys?: Keyed[] }).Keys?.map((Key) => ({ Key })) ?? (of as BatchWrites).flatMap(Object.values);
    return requests.map((one) => asked(operation, { TableName }, partitionOf(one as Parameters)));
  });
}

type BatchWrites = readonly Readonly<Record<'PutRequest' | 'DeleteRequest', Parameters>>[];

const partitionOf = ({ Item, Key, ExpressionAttributeValues }: Parameters): string | undefined =>
  ((Item ?? Key) as Keyed | undefined)?.p.S ?? (ExpressionAttributeValues as Record<string, { S: string }>)?.[':p']?.S;

/** Path-style S3, by method and parameters (Service Authorization Reference, "Actions for Amazon S3"). */
function s3Actions(method: string, url: string): Asked[] | undefined {
  const { pathname, searchParams: query } = new URL(url, 'http://s3');
  const [, bucket = '', ...rest] = pathname.split('/');
  const key = rest.map(decodeURIComponent).join('/');
  const bucketArn = `arn:aws:s3:::${bucket}`;
  const object = (action: string): Asked[] => [{ action, resource: `${bucketArn}/${key}` }];
  if (key === '')
    // A policy may grant the listing of a prefix alone: it is part of what was asked for.
    return method === 'GET' && query.has('list-type')
      ? [{ action: 's3:ListBucket', resource: `${bucketArn}?prefix=${query.get('prefix') ?? ''}` }]
      : undefined;
  const ofVersion = query.has('versionId') ? 'Version' : '';
  if (method === 'GET' || method === 'HEAD') return object(`s3:GetObject${ofVersion}`);
  if (method === 'PUT') return object(query.has('tagging') ? 's3:PutObjectTagging' : 's3:PutObject');
  if (method === 'POST' && query.has('restore')) return object('s3:RestoreObject');
  if (method === 'POST' && (query.has('uploads') || query.has('uploadId'))) return object('s3:PutObject');
  if (method === 'DELETE')
    return object(query.has('uploadId') ? 's3:AbortMultipartUpload' : `s3:DeleteObject${ofVersion}`);
  return undefined;
}
