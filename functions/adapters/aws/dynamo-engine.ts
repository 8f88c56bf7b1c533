import {
  type AttributeValue,
  BatchGetItemCommand,
  BatchWriteItemCommand,
  type DynamoDBClient,
  GetItemCommand,
  QueryCommand,
  type QueryCommandInput,
} from '@aws-sdk/client-dynamodb';
import { doubledMs } from '#core/backoff.ts';
import { PacsError } from '#core/errors.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { ReadMeter } from '#core/ports/index-table.ts';
import type { Attributes } from './dynamo-items.ts';
import { DEFAULT_RETRY, jitter, type RetryPolicy, retrying } from './retry.ts';
import { TABLE } from './schema.ts';

const BATCH_WRITE_ITEMS = 25;

export interface DynamoOptions {
  readonly client: DynamoDBClient;
  readonly tableName: string;
  readonly clock: Clock;
  readonly retry?: RetryPolicy;
}

/** The reads of one table, strongly consistent, repeated while throttled; and deletes in batches. */
export class DynamoEngine {
  readonly client: DynamoDBClient;
  readonly tableName: string;
  readonly clock: Clock;
  readonly policy: RetryPolicy;

  constructor({ client, tableName, clock, retry = DEFAULT_RETRY }: DynamoOptions) {
    this.client = client;
    this.tableName = tableName;
    this.clock = clock;
    this.policy = retry;
  }

  /** @throws PacsError BUSY */
  async getItem(key: Attributes, meter: ReadMeter): Promise<Attributes | undefined> {
    const command = { TableName: this.tableName, Key: key, ConsistentRead: true };
    meter.calls++;
    const { Item } = await this.#read(() => this.client.send(new GetItemCommand(command)));
    return Item;
  }

  /** Any order; what is absent is left out. @param keys distinct, at most 100 */
  async getItems(keys: readonly Attributes[], meter: ReadMeter): Promise<Attributes[]> {
    const found: Attributes[] = [];
    let left: Attributes[] = [...keys];
    for (let round = 0; left.length > 0; round++) {
      // What a batch leaves is throttling of single keys, or an answer that was full.
      if (round >= this.policy.attempts) throw busy();
      if (round > 0) await this.#pause(round);
      const RequestItems = { [this.tableName]: { Keys: left, ConsistentRead: true } };
      meter.calls++;
      const answer = await this.#read(() => this.client.send(new BatchGetItemCommand({ RequestItems })));
      const items = answer.Responses?.[this.tableName] ?? [];
      found.push(...items);
      left = answer.UnprocessedKeys?.[this.tableName]?.Keys ?? [];
      if (items.length > 0) round = 0;
    }
    return found;
  }

  /** The items of one partition in order, until `enough` says so or the range ends; pages of at most 1 MB. */
  async *queryItems(
    input: Omit<QueryCommandInput, 'TableName' | 'ConsistentRead'>,
    meter: ReadMeter,
  ): AsyncGenerator<Attributes, void, undefined> {
    let start: Record<string, AttributeValue> | undefined;
    do {
      const command = new QueryCommand({
        ...input,
        TableName: this.tableName,
        ConsistentRead: true,
        ExclusiveStartKey: start,
      });
      meter.calls++;
      const page = await this.#read(() => this.client.send(command));
      yield* page.Items ?? [];
      start = page.LastEvaluatedKey;
    } while (start !== undefined);
  }

  /** Deletes, which may be repeated: only for items that nobody writes again. @throws PacsError BUSY */
  async deleteItems(keys: readonly Attributes[]): Promise<void> {
    const batches: Attributes[][] = [];
    for (let at = 0; at < keys.length; at += BATCH_WRITE_ITEMS) batches.push(keys.slice(at, at + BATCH_WRITE_ITEMS));
    await Promise.all(batches.map((batch) => this.#deleteBatch(batch)));
  }

  async #deleteBatch(batch: readonly Attributes[]): Promise<void> {
    let left = batch.map((Key) => ({ DeleteRequest: { Key } }));
    for (let round = 0; left.length > 0; round++) {
      if (round >= this.policy.attempts) throw busy();
      if (round > 0) await this.#pause(round);
      const RequestItems = { [this.tableName]: left };
      const answer = await this.#read(() => this.client.send(new BatchWriteItemCommand({ RequestItems })));
      left = (answer.UnprocessedItems?.[this.tableName] ?? []) as typeof left;
    }
  }

  /** For calls that may be repeated without harm. */
  #read<T>(call: () => Promise<T>): Promise<T> {
    return retrying({ clock: this.clock, policy: this.policy, changes: false }, call);
  }

  #pause(round: number): Promise<void> {
    return this.clock.sleep(jitter(this.clock, doubledMs(round + 1, this.policy)));
  }
}

const busy = (): PacsError => new PacsError('BUSY', 'the index is throttled');

export const partitionOf = (attributes: Attributes): string => attributes[TABLE.partitionKey]?.S ?? '';
export const sortOf = (attributes: Attributes): string => attributes[TABLE.sortKey]?.S ?? '';
