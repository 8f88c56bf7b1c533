import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { dynamoClient } from '#adapters/aws/clients.ts';
import { DynamoIndexTable } from '#adapters/aws/dynamo-index-table.ts';
import { DynamoRateLedger } from '#adapters/aws/dynamo-rate-ledger.ts';
import { principalAccount } from '#core/rate-accounts.ts';
import { rateLedgerContract } from '#test/contract/rate-ledger.ts';
import { ENGINE_IDENTITY, type Engine, startDynamoDb } from './helpers/engines.ts';
import { type CallCounts, watch } from './helpers/faults.ts';
import { createTable, systemClock } from './helpers/table.ts';

let engine: Engine;
let tables = 0;
let client: DynamoDBClient;
let counts: CallCounts;
beforeAll(async () => {
  engine = await startDynamoDb();
});
afterAll(() => engine.stop());

async function open() {
  client = dynamoClient({ ...ENGINE_IDENTITY, endpoint: engine.endpoint });
  const tableName = `rates-${tables++}`;
  await createTable(client, tableName);
  counts = watch(client);
  const ledger = (region = 'eu-west-1') =>
    new DynamoRateLedger({ client, tableName, clock: systemClock, region, timeoutMs: 5_000 });
  const index = new DynamoIndexTable({ client, tableName, clock: systemClock });
  return { ledger, index };
}

describe('DynamoRateLedger on DynamoDB Local', () =>
  rateLedgerContract(async () => {
    const { ledger, index } = await open();
    return { ledgers: [ledger(), ledger(), ledger()], index, close: async () => client.destroy() };
  }));

describe('an account in DynamoDB', () => {
  const account = principalAccount({ tenant: 'clinic', subject: 'reader' });
  const NOW = Date.UTC(2026, 0, 1);
  let table: Awaited<ReturnType<typeof open>>;
  beforeEach(async () => {
    table = await open();
    counts.reset();
  });
  afterEach(() => client.destroy());

  test('costs one call an advance, whether it was full, is in use by several, or has no room', async () => {
    const [one, other] = [table.ledger(), table.ledger()];
    await one.advance(account, 'requests', { now: NOW, by: 10, notBeyond: NOW + 100 });
    expect(counts.total()).toBe(1);
    for (let i = 1; i <= 9; i++)
      await [one, other][i % 2]!.advance(account, 'requests', {
        now: NOW,
        by: 10,
        notBeyond: NOW + 100,
        believed: NOW + 10,
      });
    expect(counts.total()).toBe(10);
    const refused = await other.advance(account, 'requests', {
      now: NOW,
      by: 10,
      notBeyond: NOW + 100,
      believed: NOW + 20,
    });
    expect(refused).toEqual({ advanced: false, standing: { requests: NOW + 100 } });
    expect(counts.total()).toBe(11);
  });

  test('is another in each region: what one has used is not lost where the other writes last', async () => {
    await table.ledger('eu-west-1').advance(account, 'requests', { now: NOW, by: 10 });
    expect(await table.ledger('eu-central-1').read(account)).toEqual({});
  });
});

test('a table that cannot be reached is said to be busy, soon', async () => {
  const unreachable = dynamoClient({ ...ENGINE_IDENTITY, endpoint: 'http://127.0.0.1:9' });
  const ledger = new DynamoRateLedger({ client: unreachable, tableName: 't', clock: systemClock, region: 'r' });
  const account = principalAccount({ tenant: 'clinic', subject: 'reader' });
  await expect(ledger.advance(account, 'requests', { now: 1, by: 1 })).rejects.toMatchObject({ code: 'BUSY' });
  await expect(ledger.read(account)).rejects.toMatchObject({ code: 'BUSY' });
  unreachable.destroy();
});
