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
import { checkKey, checkKeys, checkOperations, checkQuery, compareUtf8, holds } from '../index-rules.ts';
import { DynamoEngine, type DynamoOptions, partitionOf, sortOf } from './dynamo-engine.ts';
import { decodeRecord, physicalKey, physicalPartitions, recordBytes } from './dynamo-items.ts';
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
    const { limit, descending = false, keysOnly = false } = query;
    const condition = keyCondition(query);
    if (condition === undefined) return { records: [], more: false };
    const shards = await Promise.all(
      physicalPartitions(query.partition).map((partition) => this.#range(partition, query, condition, meter)),
    );
    let records = shards[0] ?? [];
    if (shards.length > 1) {
      const direction = descending ? -1 : 1;
      records = shards.flat().sort((a, b) => direction * compareUtf8(a.sort, b.sort));
    }
    const page = records.slice(0, limit);
    meter.records += page.length;
    meter.bytes += page.reduce((sum, { bytes }) => sum + bytes, 0);
    return {
      records: page.map(({ sort, read }) => ({ sort, item: keysOnly ? {} : read() })),
      more: records.length > limit,
    };
  }

  /** Up to `limit` + 1 records of one partition of the table. */
  async #range(
    partition: string,
    { limit, descending = false, keysOnly = false }: RangeQuery,
    { expression, values, drop }: KeyCondition,
    meter: ReadMeter,
  ) {
    const records: { sort: string; bytes: number; read: () => Item }[] = [];
    const items = this.#engine.queryItems(
      {
        KeyConditionExpression: expression,
        ExpressionAttributeNames: expression.includes('#s') || keysOnly ? KEY_NAMES : { '#p': KEY_NAMES['#p'] },
        ExpressionAttributeValues: { ':p': { S: partition }, ...values },
        ScanIndexForward: !descending,
        Limit: limit + (drop === undefined ? 1 : 2),
        ...(keysOnly && { ProjectionExpression: '#p, #s' }),
      },
      meter,
    );
    for await (const attributes of items) {
      const sort = sortOf(attributes);
      if (sort === drop) continue;
      records.push({ sort, bytes: recordBytes(attributes), read: () => decodeRecord(attributes) });
      if (records.length > limit) break;
    }
    return records;
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
