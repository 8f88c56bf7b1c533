import {
  type IndexTable,
  type Item,
  type Key,
  newReadMeter,
  type Page,
  type RangeQuery,
  type ReadMeter,
  type WriteOperation,
  type WriteOutcome,
} from '#core/ports/index-table.ts';
import { checkKey, checkKeys, checkOperations, checkQuery, compareUtf8, holds, textAlone } from '../index-rules.ts';
import { DynamoEngine, type DynamoOptions, partitionOf, sortOf } from './dynamo-engine.ts';
import { type Attributes, decodeRecord, physicalKey, physicalPartitions, recordBytes } from './dynamo-items.ts';
import { readLog } from './dynamo-log.ts';
import { KEY_NAMES, type KeyCondition, keyCondition } from './dynamo-range.ts';
import { writeAlone, writeTogether } from './dynamo-write.ts';

/**
 * IndexTable on one DynamoDB table (schema.ts, docs/dynamodb.md). All reads are strongly consistent. A write of several records is a
 * transaction; who reads several records may see it half done for a moment. Deferred writes are durable ones.
 * @throws PacsError BUSY when the table is throttled or cannot be reached, after bounded retries; OUTCOME_UNKNOWN from `write` when
 *   DynamoDB fell silent
 */
export class DynamoIndexTable implements IndexTable {
  readonly #engine: DynamoEngine;

  constructor(options: DynamoOptions) {
    this.#engine = new DynamoEngine(options);
  }

  async get(key: Key, meter: ReadMeter = newReadMeter()): Promise<Item | undefined> {
    checkKey(key);
    const attributes = await this.#engine.getItem(physicalKey(key), meter);
    meter.records++;
    if (attributes === undefined) return undefined;
    meter.bytes += recordBytes(attributes);
    return decodeRecord(attributes);
  }

  async getMany(keys: readonly Key[], meter: ReadMeter = newReadMeter()): Promise<(Item | undefined)[]> {
    checkKeys(keys);
    if (keys.length === 0) return [];
    const wanted = keys.map(physicalKey);
    const nameOf = (attributes: (typeof wanted)[number]): string => `${partitionOf(attributes)}\n${sortOf(attributes)}`;
    // A batch may not name a key twice.
    const distinct = [...new Map(wanted.map((key) => [nameOf(key), key])).values()];
    const found = new Map((await this.#engine.getItems(distinct, meter)).map((item) => [nameOf(item), item]));
    meter.records += keys.length;
    return wanted.map((key) => {
      const attributes = found.get(nameOf(key));
      if (attributes === undefined) return undefined;
      meter.bytes += recordBytes(attributes);
      return decodeRecord(attributes);
    });
  }

  async query(query: RangeQuery, meter: ReadMeter = newReadMeter()): Promise<Page> {
    checkQuery(query);
    if (query.log) return readLog(this.#engine, query, meter);
    const { limit, descending = false, keysOnly = false, only } = query;
    const condition = keyCondition(query);
    if (condition === undefined) return { records: [], more: false };
    const shards = physicalPartitions(query.partition, query.prefix);
    // A hash shares records out evenly: each shard is asked for its share and a margin, so that one round is seldom too few.
    const ahead = shards.length === 1 ? limit + 1 : Math.ceil(((limit + 1) / shards.length) * 1.25) + 4;
    const ranges = shards.map((partition) => this.#range(partition, query, condition, ahead, meter));
    const records: Found[] = [];
    let more = false;
    for await (const found of merged(ranges, descending)) {
      if (records.length === limit) {
        more = true;
        break;
      }
      records.push(found);
    }
    meter.records += records.length;
    meter.bytes += records.reduce((sum, { attributes }) => sum + recordBytes(attributes), 0);
    const itemOf = ({ attributes }: Found): Item => {
      if (keysOnly) return {};
      const item = decodeRecord(attributes);
      return only === undefined ? item : textAlone(only, item[only]);
    };
    return { records: records.map((found) => ({ sort: found.sort, item: itemOf(found) })), more };
  }

  /** The records of one partition of the table, `ahead` of them a call. */
  async *#range(
    partition: string,
    { descending = false, keysOnly = false }: RangeQuery,
    { expression, values, drop }: KeyCondition,
    ahead: number,
    meter: ReadMeter,
  ): AsyncGenerator<Found, void, undefined> {
    const items = this.#engine.queryItems(
      {
        KeyConditionExpression: expression,
        ExpressionAttributeNames: expression.includes('#s') || keysOnly ? KEY_NAMES : { '#p': KEY_NAMES['#p'] },
        ExpressionAttributeValues: { ':p': { S: partition }, ...values },
        ScanIndexForward: !descending,
        Limit: ahead + (drop === undefined ? 0 : 1),
        ...(keysOnly && { ProjectionExpression: '#p, #s' }),
      },
      meter,
    );
    for await (const attributes of items) {
      const sort = sortOf(attributes);
      if (sort !== drop) yield { sort, attributes };
    }
  }

  async write(operations: readonly WriteOperation[]): Promise<WriteOutcome> {
    checkOperations(operations);
    const [only] = operations;
    if (operations.length === 1 && only !== undefined) {
      // Nothing to be written: a strongly consistent read tells.
      if (only.kind === 'check')
        return holds(only.if, await this.get(only.key)) ? { committed: true } : { committed: false, failed: [0] };
      const outcome = await writeAlone(this.#engine, only);
      if (outcome !== undefined) return outcome;
    }
    return writeTogether(this.#engine, operations);
  }
}

interface Found {
  readonly sort: string;
  readonly attributes: Attributes;
}

/** Ordered ranges as one; the first record of each is asked for at the same time. */
async function* merged(
  ranges: readonly AsyncGenerator<Found, void, undefined>[],
  descending: boolean,
): AsyncGenerator<Found, void, undefined> {
  const [only] = ranges;
  if (ranges.length === 1 && only !== undefined) return yield* only;
  const direction = descending ? -1 : 1;
  const heads = await Promise.all(
    ranges.map(async (range) => ({ range, found: (await range.next()).value ?? undefined })),
  );
  for (;;) {
    let first: (typeof heads)[number] | undefined;
    for (const head of heads) {
      if (head.found === undefined) continue;
      if (first?.found === undefined || direction * compareUtf8(head.found.sort, first.found.sort) < 0) first = head;
    }
    if (first?.found === undefined) return;
    yield first.found;
    first.found = (await first.range.next()).value ?? undefined;
  }
}
