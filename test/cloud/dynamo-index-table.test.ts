import { afterAll, beforeAll, describe } from 'vitest';
import { dynamoClient } from '#adapters/aws/clients.ts';
import { DynamoIndexTable } from '#adapters/aws/dynamo-index-table.ts';
import { indexTableContract } from '#test/contract/index-table.ts';
import { ENGINE_IDENTITY, type Engine, startDynamoDb } from './helpers/engines.ts';
import { createTable, systemClock } from './helpers/table.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await startDynamoDb();
});
afterAll(() => engine.stop());

describe('DynamoIndexTable on DynamoDB Local', () =>
  indexTableContract(async () => {
    const client = dynamoClient({ ...ENGINE_IDENTITY, endpoint: engine.endpoint });
    await createTable(client, 'contract');
    return {
      table: new DynamoIndexTable({ client, tableName: 'contract', clock: systemClock }),
      differences: {
        tornReads:
          'BatchGetItem and Query read each item by itself: DynamoDB isolates them from writes of one item only',
      },
      close: async () => client.destroy(),
    };
  }));
