import { setTimeout as sleep } from 'node:timers/promises';
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { dynamoClient } from '#adapters/aws/clients.ts';
import { DynamoIndexTable } from '#adapters/aws/dynamo-index-table.ts';
import { ENGINE_IDENTITY, type Engine, startDynamoDb } from './helpers/engines.ts';
import { dieAfter, seeded, watch } from './helpers/faults.ts';
import { createTable, systemClock } from './helpers/table.ts';

const TABLE_NAME = 'logs';
const RETRY = { attempts: 30, firstMs: 2, mostMs: 50 };
let engine: Engine;
const clients: DynamoDBClient[] = [];

/** A process of its own; `dieAfter`: the calls after which nothing it sends arrives any more. */
function openProcess(options: { faults?: { rate: number; seed: number }; dieAfter?: number } = {}): DynamoIndexTable {
  const client = dynamoClient({ ...ENGINE_IDENTITY, endpoint: engine.endpoint });
  clients.push(client);
  if (options.faults) watch(client, { rate: options.faults.rate, random: seeded(options.faults.seed) });
  if (options.dieAfter !== undefined) dieAfter([client], options.dieAfter);
  return new DynamoIndexTable({ client, tableName: TABLE_NAME, clock: systemClock, retry: RETRY });
}

const append = (table: DynamoIndexTable, log: string, ...values: number[]) =>
  table.write(values.map((n) => ({ kind: 'append', partition: log, item: { n } })));

/** so long a reader waits for the next value (ms) */
const PATIENCE_MS = 120_000;

/** Reads on behind the last key seen until `total` values are there, or none has come for so long. */
async function follow(
  table: DynamoIndexTable,
  log: string,
  total: number,
  { limit, patienceMs = PATIENCE_MS }: { limit: number; patienceMs?: number },
): Promise<number[]> {
  const seen: number[] = [];
  let giveUpAt = Date.now() + patienceMs;
  for (let after: string | undefined; seen.length < total && Date.now() < giveUpAt; ) {
    const page = await table.query({ partition: log, log: true, limit, ...(after !== undefined && { after }) });
    seen.push(...page.records.map(({ item }) => item.n as number));
    after = page.records.at(-1)?.sort ?? after;
    if (page.records.length > 0) giveUpAt = Date.now() + patienceMs;
    if (!page.more) await sleep(3);
  }
  return seen;
}

beforeAll(async () => {
  engine = await startDynamoDb();
  const client = dynamoClient({ ...ENGINE_IDENTITY, endpoint: engine.endpoint });
  await createTable(client, TABLE_NAME);
  client.destroy();
});
afterAll(async () => {
  for (const client of clients) client.destroy();
  await engine.stop();
});

describe('a log', () => {
  test.each([
    ['as it is', 0],
    ['with a tenth of all calls failing', 0.1],
  ])('of many writers and readers at once, %s: every reader sees everything once, in one order', async (_, rate) => {
    const log = `busy|${rate}`;
    const total = 400;
    const writers = Array.from({ length: 8 }, (_, n) => openProcess({ faults: { rate, seed: n + 1 } }));
    const readers = Array.from({ length: 4 }, (_, n) => openProcess({ faults: { rate, seed: n + 100 } }));
    const following = readers.map((reader, n) => follow(reader, log, total, { limit: [3, 10, 50, 1_000][n]! }));
    await Promise.all(
      writers.map(async (writer, w) => {
        for (let n = w; n < total; n += 16) await append(writer, log, n, n + 8); // two in one write
      }),
    );
    const [first, ...others] = await Promise.all(following);
    expect(first!.toSorted((a, b) => a - b)).toStrictEqual(Array.from({ length: total }, (_, n) => n));
    for (const other of others) expect(other).toStrictEqual(first);
    for (const n of first!) if (n % 16 < 8) expect(first!.indexOf(n)).toBeLessThan(first!.indexOf(n + 8));
    // One more would be one twice.
    expect(await follow(openProcess(), log, total + 1, { limit: 100, patienceMs: 1_000 })).toStrictEqual(first);
  });

  test('whose reader dies between any two of its calls loses nothing and doubles nothing', async () => {
    const calls = 40; // more than a reader makes to bring the inboxes in order
    for (let dieAfter = 0; dieAfter <= calls; dieAfter++) {
      const log = `dying|${dieAfter}`;
      const writer = openProcess();
      await append(writer, log, 1, 2, 3);
      const reader = openProcess({ dieAfter });
      await reader.query({ partition: log, log: true, limit: 10 }).catch(() => undefined);
      await append(writer, log, 4);
      expect(await follow(openProcess(), log, 4, { limit: 10 }), `dead after ${dieAfter} calls`).toStrictEqual([
        1, 2, 3, 4,
      ]);
      expect((await openProcess().query({ partition: log, log: true, limit: 10 })).records).toHaveLength(4);
    }
  });
});
