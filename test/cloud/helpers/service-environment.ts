import { CreateBucketCommand } from '@aws-sdk/client-s3';
import { CreateQueueCommand } from '@aws-sdk/client-sqs';
import { dynamoClient, s3Client, sqsClient } from '#adapters/aws/clients.ts';
import { DynamoIndexTable } from '#adapters/aws/dynamo-index-table.ts';
import { queueName } from '#adapters/aws/schema.ts';
import { TokenStore } from '#core/tokens.ts';
import { SERVICE } from '#fargate/spec.ts';
import { ENVIRONMENT, queueVariable } from '#lambda/environment.ts';
import { ENGINE_IDENTITY, type Engine } from './engines.ts';
import { createTable, systemClock } from './table.ts';

const TENANT = 'clinic';
let archives = 0;

/** A table, a bucket and queues of its own for the service. @returns what its container is told, and the administrator's token */
export async function prepareService(
  database: Engine,
  stack: Engine,
): Promise<{ readonly env: Readonly<Record<string, string>>; readonly token: string }> {
  const stage = `service${archives++}`;
  const table = dynamoClient({ ...ENGINE_IDENTITY, endpoint: database.endpoint });
  await createTable(table, stage);
  const s3 = s3Client({ ...ENGINE_IDENTITY, endpoint: stack.endpoint, forcePathStyle: true });
  await s3.send(new CreateBucketCommand({ Bucket: `${stage}-archive` }));
  const sqs = sqsClient({ ...ENGINE_IDENTITY, endpoint: stack.endpoint });
  const queues: Record<string, string> = {};
  for (const kind of SERVICE.grants.sends) {
    const { QueueUrl } = await sqs.send(new CreateQueueCommand({ QueueName: queueName(stage, kind) }));
    queues[queueVariable(kind)] = QueueUrl!;
  }
  const index = new DynamoIndexTable({ client: table, tableName: stage, clock: systemClock });
  const token = (await new TokenStore({ index, clock: systemClock }).bootstrap(TENANT))!;
  for (const client of [table, s3, sqs]) client.destroy();
  return {
    token,
    env: {
      AWS_REGION: ENGINE_IDENTITY.region,
      AWS_ACCESS_KEY_ID: ENGINE_IDENTITY.credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: ENGINE_IDENTITY.credentials.secretAccessKey,
      AWS_ENDPOINT_URL: stack.endpoint,
      AWS_ENDPOINT_URL_DYNAMODB: database.endpoint,
      [ENVIRONMENT.tenants]: TENANT,
      [ENVIRONMENT.table]: stage,
      [ENVIRONMENT.archiveBucket]: `${stage}-archive`,
      ...queues,
    },
  };
}
