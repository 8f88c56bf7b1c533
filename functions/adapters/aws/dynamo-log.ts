import { type AttributeValue, PutItemCommand } from '@aws-sdk/client-dynamodb';
import { PacsError } from '#core/errors.ts';
import { newVersion } from '#core/ids.ts';
import type { Item, Page, RangeQuery, ReadMeter } from '#core/ports/index-table.ts';
import { type DynamoEngine, partitionOf, sortOf } from './dynamo-engine.ts';
import { type Attributes, decodeData, encodeData, keyOf } from './dynamo-items.ts';
import { jitter, retrying } from './retry.ts';
import { ITEM, LOG, TABLE } from './schema.ts';

/**
 * Logs on DynamoDB (docs/decisions/0081-a-log-without-a-hot-key.md).
 *
 * Writers put what they append into one of the log's inboxes, under keys nobody else uses, in their own transaction. Readers give it its
 * place: whoever wants to read behind the last page makes the next page of what lies in the inboxes. A page is made under the condition
 * that there is none of its number, so there is one order; and only when all that the page before it holds has left the inboxes, so
 * nothing is in two pages.
 *
 *   writer          transaction { …, put inbox/e7 }
 *   reader A        head: 4 clean, page 4 last ── inboxes: e6 e7 ── put page 5 [e6 e7] if absent ── won: delete e6 e7, head: 5 clean
 *   reader B        head: 4 clean, page 4 last ── inboxes: e6 e7 ──── put page 5 [e6 e7] if absent ── lost: reads page 5
 *   reader C (A died)  head: 4 clean, page 5 last ── delete e6 e7, head: 5 clean ── inboxes: …
 */

/** sorts behind all pages */
const HEAD = '~';
const HEAD_CLEAN = 'c';
const ENTRIES = 'e';
const PAGE_DIGITS = 12;
const ENTRY_DIGITS = 4;
/** of one inbox, read at a time */
const INBOX_RECORDS = 128;
/** of one page; DynamoDB's items hold 400 KB */
const PAGE_BYTES = 300_000;
const ENTRY_OVERHEAD_BYTES = 60;
const LOST_RACES = 60;

interface Entry {
  readonly id: string;
  readonly data: Uint8Array;
  /** where it lies in the inboxes */
  readonly key: Attributes;
}

/** The items that hold appended records of one write, each under a key of its own in one inbox. */
export function inboxItems(engine: DynamoEngine, appends: readonly { partition: string; item: Item }[]): Attributes[] {
  const id = newVersion(engine.clock);
  const shard = (engine.clock.randomBytes(1)[0] ?? 0) % LOG.shards;
  return appends.map(({ partition, item }, i) => ({
    // The number of the operation keeps those of one write apart, and in order.
    ...keyOf(LOG.inbox(partition, shard), `${id}.${String(i).padStart(3, '0')}`),
    [ITEM.data]: { B: encodeData(item) },
  }));
}

export async function readLog(engine: DynamoEngine, query: RangeQuery, meter: ReadMeter): Promise<Page> {
  const { partition: log, descending = false, limit } = query;
  if (!descending) {
    // Who reads what is long in pages leaves the inboxes alone.
    const records = await readPages(engine, query, meter);
    if (records.length > limit) return pageOf(records, limit);
  }
  await makePages(engine, log, descending ? Number.POSITIVE_INFINITY : limit + 1, meter);
  return pageOf(await readPages(engine, query, meter), limit);
}

type Records = Page['records'][number][];
const pageOf = (records: Records, limit: number): Page => ({
  records: records.slice(0, limit),
  more: records.length > limit,
});

/** At most `limit` + 1 records. */
async function readPages(engine: DynamoEngine, query: RangeQuery, meter: ReadMeter): Promise<Records> {
  const { partition: log, after, descending = false, limit, keysOnly = false } = query;
  const page = after?.slice(0, PAGE_DIGITS);
  const condition = page === undefined ? '#s < :end' : descending ? '#s <= :page' : '#s BETWEEN :page AND :end';
  const items = engine.queryItems(
    {
      KeyConditionExpression: `#p = :p AND ${condition}`,
      ExpressionAttributeNames: { '#p': TABLE.partitionKey, '#s': TABLE.sortKey },
      ExpressionAttributeValues: {
        ':p': { S: LOG.pages(log) },
        ...(!(descending && page !== undefined) && { ':end': { S: ':' } }),
        ...(page !== undefined && { ':page': { S: page } }),
      },
      ScanIndexForward: !descending,
    },
    meter,
  );
  const records: Records = [];
  for await (const attributes of items) {
    const number = sortOf(attributes);
    const entries = entriesOf(attributes).map(({ M }, i) => ({
      sort: `${number}.${String(i).padStart(ENTRY_DIGITS, '0')}`,
      data: M?.d?.B ?? new Uint8Array(),
    }));
    if (descending) entries.reverse();
    for (const { sort, data } of entries) {
      if (after !== undefined && (descending ? sort >= after : sort <= after)) continue;
      if (records.length < limit) {
        meter.records++;
        meter.bytes += data.length;
      }
      records.push({ sort, item: keysOnly ? {} : decodeData(data) });
      if (records.length > limit) return records;
    }
  }
  return records;
}

/** Makes pages of what lies in the inboxes now, until that is done or about `enough` records are. */
async function makePages(engine: DynamoEngine, log: string, enough: number, meter: ReadMeter): Promise<void> {
  let made = 0;
  let lost = 0;
  if ((await readInboxes(engine, log, meter)).entries.length === 0) return;
  while (made < enough) {
    const last = await lastPage(engine, log, meter);
    if (last.number > last.clean) await clean(engine, log, last.number, last.keys);
    // Only now: what an earlier look saw may stand in that page.
    const { entries, complete } = await readInboxes(engine, log, meter);
    if (entries.length === 0) return;
    const chosen = fitting(entries);
    if (await putPage(engine, log, last.number + 1, chosen)) {
      await clean(
        engine,
        log,
        last.number + 1,
        chosen.map(({ key }) => key),
      );
      made += chosen.length;
      lost = 0;
      if (complete && chosen.length === entries.length) return;
    } else {
      if (++lost > LOST_RACES) throw new PacsError('BUSY', 'the log is being read by too many');
      await engine.clock.sleep(jitter(engine.clock, engine.policy.firstMs));
    }
  }
}

/** What lies in the inboxes, oldest first as far as the writers' clocks agree; `complete`: nothing was left behind. */
async function readInboxes(
  engine: DynamoEngine,
  log: string,
  meter: ReadMeter,
): Promise<{ entries: Entry[]; complete: boolean }> {
  let complete = true;
  const shards = await Promise.all(
    Array.from({ length: LOG.shards }, async (_, shard) => {
      const entries: Entry[] = [];
      const items = engine.queryItems(
        {
          KeyConditionExpression: '#p = :p',
          ExpressionAttributeNames: { '#p': TABLE.partitionKey },
          ExpressionAttributeValues: { ':p': { S: LOG.inbox(log, shard) } },
          Limit: INBOX_RECORDS,
        },
        meter,
      );
      for await (const item of items) {
        if (entries.length === INBOX_RECORDS) {
          complete = false;
          break;
        }
        const id = sortOf(item);
        entries.push({ id, data: item[ITEM.data]?.B ?? new Uint8Array(), key: keyOf(partitionOf(item), id) });
      }
      return entries;
    }),
  );
  const entries = shards.flat().sort((a, b) => (a.id < b.id ? -1 : 1));
  return { entries, complete };
}

function fitting(entries: readonly Entry[]): Entry[] {
  let bytes = 0;
  const end = entries.findIndex(({ data }, i) => {
    bytes += data.length + ENTRY_OVERHEAD_BYTES;
    return i > 0 && bytes > PAGE_BYTES;
  });
  return entries.slice(0, end < 0 ? undefined : end);
}

/** The last page's number and what it took from the inboxes, and up to which page the inboxes are known to be clean. */
async function lastPage(
  engine: DynamoEngine,
  log: string,
  meter: ReadMeter,
): Promise<{ number: number; clean: number; keys: Attributes[] }> {
  let clean = 0;
  const items = engine.queryItems(
    {
      KeyConditionExpression: '#p = :p',
      ExpressionAttributeNames: { '#p': TABLE.partitionKey },
      ExpressionAttributeValues: { ':p': { S: LOG.pages(log) } },
      ScanIndexForward: false,
      Limit: 2,
    },
    meter,
  );
  for await (const item of items) {
    if (sortOf(item) === HEAD) clean = Number(item[HEAD_CLEAN]?.N);
    else {
      const keys = entriesOf(item).map(({ M }) => keyOf(LOG.inbox(log, Number(M?.s?.N)), M?.i?.S ?? ''));
      return { number: Number(sortOf(item)), clean, keys };
    }
  }
  return { number: 0, clean, keys: [] };
}

/** True when this call made the page; false when somebody else did. */
async function putPage(engine: DynamoEngine, log: string, number: number, entries: readonly Entry[]): Promise<boolean> {
  const writer = newVersion(engine.clock);
  const command = new PutItemCommand({
    TableName: engine.tableName,
    Item: {
      ...keyOf(LOG.pages(log), String(number).padStart(PAGE_DIGITS, '0')),
      [ITEM.writer]: { S: writer },
      [ENTRIES]: {
        L: entries.map(({ id, data, key }) => ({
          M: { i: { S: id }, s: { N: String(shardOf(key)) }, d: { B: data } },
        })),
      },
    },
    ConditionExpression: 'attribute_not_exists(#p)',
    ExpressionAttributeNames: { '#p': TABLE.partitionKey },
    ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
  });
  return retrying({ clock: engine.clock, policy: engine.policy, changes: false }, async () => {
    try {
      await engine.client.send(command);
      return true;
    } catch (error) {
      if ((error as Error).name !== 'ConditionalCheckFailedException') throw error;
      // A page is never changed: that it is ours tells of an answer that was lost.
      return (error as { Item?: Attributes }).Item?.[ITEM.writer]?.S === writer;
    }
  });
}

const shardOf = (key: Attributes): number => Number(partitionOf(key).slice(partitionOf(key).lastIndexOf('\u0000') + 1));
const entriesOf = (page: Attributes): AttributeValue[] => page[ENTRIES]?.L ?? [];

/** Takes what a page holds out of the inboxes, and notes that it is done. May be repeated, by several at once. */
async function clean(engine: DynamoEngine, log: string, number: number, keys: readonly Attributes[]): Promise<void> {
  await engine.deleteItems(keys);
  const command = new PutItemCommand({
    TableName: engine.tableName,
    Item: { ...keyOf(LOG.pages(log), HEAD), [HEAD_CLEAN]: { N: String(number) } },
    ConditionExpression: 'attribute_not_exists(#c) OR #c < :c',
    ExpressionAttributeNames: { '#c': HEAD_CLEAN },
    ExpressionAttributeValues: { ':c': { N: String(number) } },
  });
  await retrying({ clock: engine.clock, policy: engine.policy, changes: false }, async () => {
    try {
      await engine.client.send(command);
    } catch (error) {
      // Somebody is further already.
      if ((error as Error).name !== 'ConditionalCheckFailedException') throw error;
    }
  });
}
