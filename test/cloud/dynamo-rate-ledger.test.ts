import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { dynamoClient } from '#adapters/aws/clients.ts';
import { DynamoIndexTable } from '#adapters/aws/dynamo-index-table.ts';
import { DynamoRateLedger } from '#adapters/aws/dynamo-rate-ledger.ts';
import { DEFAULT_RATES } from '#api/default-rates.ts';
import { Throttle } from '#api/throttle.ts';
import type { Principal } from '#core/access.ts';
import { principalAccount } from '#core/rate-accounts.ts';
import type { HttpRequest } from '#dicomweb/http.ts';
import { rateLedgerContract } from '#test/contract/rate-ledger.ts';
import { chunked } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';
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
    new DynamoRateLedger({ client, tableName, clock: systemClock, region, timeoutMs: 60_000 });
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

interface Use {
  readonly times: number;
  readonly requests: number;
  readonly functions: number;
}
/** Requests of one principal that come together, a millisecond apart, each at the next function; once or again and again. @returns what the table was asked */
async function callsOf({ times, requests, functions }: Use, betweenMs: number): Promise<number> {
  const { ledger } = await open();
  let now = Date.UTC(2026, 0, 1);
  const clock = { ...systemClock, now: () => now };
  const rates = { ...DEFAULT_RATES, addressRequestsPerSecond: undefined };
  const throttles = Array.from({ length: functions }, () => {
    const onFailure = (error: unknown) => expect.fail(String(error));
    return new Throttle(rates, clock, { ledger: ledger(), slows: false, onFailure });
  });
  const request = standIn<HttpRequest>({ body: chunked(Buffer.alloc(0)) });
  counts.reset();
  for (let time = 0; time < times; time++, now += betweenMs)
    for (let i = 0; i < requests; i++, now++)
      await throttles[i % functions]!.admit(request, { tenant: 'clinic', subject: 'reader', roles: ['viewer'] });
  client.destroy();
  return counts.total();
}

test('a principal whose requests meet at many functions at once has one burst in all of them, and no other is touched', async () => {
  const { ledger } = await open();
  const now = Date.UTC(2026, 0, 1);
  const functions = Array.from({ length: 12 }, () => {
    const onFailure = (error: unknown) => expect.fail(String(error));
    return new Throttle({ requestsPerSecond: 20 }, { ...systemClock, now: () => now }, { ledger: ledger(), onFailure });
  });
  const request = standIn<HttpRequest>({ body: chunked(Buffer.alloc(0)) });
  const passed = async (principal: Principal, times: number): Promise<number> => {
    const asked = Array.from({ length: times }, (_, i) => functions[i % functions.length]!.admit(request, principal));
    return (await Promise.allSettled(asked)).filter(({ status }) => status === 'fulfilled').length;
  };
  const reader: Principal = { tenant: 'clinic', subject: 'reader', roles: ['viewer'] };
  const ofReader = await passed(reader, 240);
  expect(ofReader).toBeLessThanOrEqual(100);
  expect(ofReader).toBeGreaterThan(80);
  for (const other of [
    { ...reader, subject: 'colleague' },
    { ...reader, tenant: 'north' },
  ])
    expect(await passed(other, 60)).toBe(60);
  client.destroy();
});

/** Calls for one request, as docs/dynamodb.md has it. */
function documented(pattern: string): number {
  const page = readFileSync(join(import.meta.dirname, '../../docs/dynamodb.md'), 'utf8');
  return Number(new RegExp(`\\| ${pattern} \\| ([\\d.]+) \\|`).exec(page)?.[1]);
}

describe('what the rates of a principal cost: calls for one of his requests, amortised', () => {
  test.each([
    ['a study of 600 frames, by one function', { times: 1, requests: 600, functions: 1 }, 0],
    ['a study of 600 frames, by 50 functions', { times: 1, requests: 600, functions: 50 }, 0],
    ['40 frames every minute, by 10 functions', { times: 5, requests: 40, functions: 10 }, 60_000],
    ['one page of a search every ten seconds', { times: 20, requests: 1, functions: 1 }, 10_000],
  ])('%s', async (pattern, use, betweenMs) => {
    const calls = (await callsOf(use, betweenMs)) / (use.times * use.requests);
    expect(documented(pattern)).toBeCloseTo(calls, 2);
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
