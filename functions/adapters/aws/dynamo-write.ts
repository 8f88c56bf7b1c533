import { randomUUID } from 'node:crypto';
import {
  DeleteItemCommand,
  PutItemCommand,
  type TransactWriteItem,
  TransactWriteItemsCommand,
} from '@aws-sdk/client-dynamodb';
import { PacsError } from '#core/errors.ts';
import { newVersion } from '#core/ids.ts';
import type { Condition, Item, Key, WriteOperation, WriteOutcome } from '#core/ports/index-table.ts';
import { checkWriteBytes } from '../index-rules.ts';
import type { DynamoEngine } from './dynamo-engine.ts';
import {
  type Attributes,
  addExpression,
  attributesOf,
  conditionExpression,
  encodeRecord,
  physicalKey,
} from './dynamo-items.ts';
import { inboxItems } from './dynamo-log.ts';
import { retrying } from './retry.ts';
import { ITEM } from './schema.ts';

/**
 * Writes of one table. What may be repeated without harm, or tells by itself that it is our own, is one plain request; everything
 * else is a transaction whose token lets DynamoDB carry out a repeated request once.
 */
export async function writeAlone(engine: DynamoEngine, operation: WriteOperation): Promise<WriteOutcome | undefined> {
  if (operation.kind === 'put') return putAlone(engine, operation.key, operation.item, operation.if);
  if (operation.kind === 'delete' && operation.if === undefined) {
    const command = new DeleteItemCommand({ TableName: engine.tableName, Key: physicalKey(operation.key) });
    await retrying({ ...repeated(engine), changes: true }, () => engine.client.send(command));
    return { committed: true };
  }
  return undefined;
}

/**
 * Each write signs the item. The race that the signature decides, the answer to the first request being lost:
 *
 *   we       put if absent ──✗ (done)   put if absent ── refused, and the item that stands there is signed by us: done
 *   another  put if absent ── (done)    put if absent ── refused, signed by another: it won
 *
 * Refused after a lost answer and signed by another may also mean that ours stood there in between. Then nobody can tell.
 * @throws PacsError OUTCOME_UNKNOWN in that last case
 */
async function putAlone(
  engine: DynamoEngine,
  key: Key,
  item: Item,
  condition: Condition | undefined,
): Promise<WriteOutcome> {
  const writer = condition === undefined ? undefined : newVersion(engine.clock);
  const command = new PutItemCommand({
    TableName: engine.tableName,
    Item: attributesOf(key, encodeRecord(key, item), writer),
    ...(condition !== undefined && {
      ...conditionExpression(condition),
      ReturnValuesOnConditionCheckFailure: 'ALL_OLD' as const,
    }),
  });
  return retrying({ ...repeated(engine), changes: true }, async ({ maybeDone }) => {
    try {
      await engine.client.send(command);
      return { committed: true };
    } catch (error) {
      if ((error as Error).name !== 'ConditionalCheckFailedException') throw error;
      const refusal = error as { Item?: Attributes; $metadata?: { attempts?: number } };
      // A client that a host configured may have repeated by itself.
      if (!maybeDone && (refusal.$metadata?.attempts ?? 1) <= 1) return { committed: false, failed: [0] };
      if (refusal.Item?.[ITEM.writer]?.S === writer) return { committed: true };
      throw new PacsError('OUTCOME_UNKNOWN', 'the index did not answer, and has changed since', { cause: error });
    }
  });
}

/**
 * All operations in one transaction. A conflict with another transaction on the same item, and throttling, are tried again; the token
 * makes that safe after a lost answer too.
 * @throws PacsError BUSY; OUTCOME_UNKNOWN; TOO_LARGE
 */
export async function writeTogether(
  engine: DynamoEngine,
  operations: readonly WriteOperation[],
): Promise<WriteOutcome> {
  const { tableName: TableName } = engine;
  const appends = operations.filter((operation) => operation.kind === 'append');
  const appended = inboxItems(engine, appends);
  const records = operations.map((operation) =>
    operation.kind === 'put' ? encodeRecord(operation.key, operation.item) : undefined,
  );
  checkWriteBytes([...records.map((record) => record?.data), ...appended.map((item) => item[ITEM.data]?.B)]);
  let nextAppend = 0;
  const TransactItems = operations.map((operation, i): TransactWriteItem => {
    if (operation.kind === 'append') return { Put: { TableName, Item: appended[nextAppend++] } };
    const Key = physicalKey(operation.key);
    if (operation.kind === 'add') {
      // An update without an expression makes the record where there is none.
      return { Update: { TableName, Key, ...addExpression(operation.increments) } as TransactWriteItem['Update'] };
    }
    const condition = operation.if === undefined ? {} : conditionExpression(operation.if);
    if (operation.kind === 'check') return { ConditionCheck: { TableName, Key, ...conditionExpression(operation.if) } };
    if (operation.kind === 'delete') return { Delete: { TableName, Key, ...condition } };
    return { Put: { TableName, Item: attributesOf(operation.key, records[i]!, undefined), ...condition } };
  });
  const command = new TransactWriteItemsCommand({ TransactItems, ClientRequestToken: randomUUID() });
  return retrying({ ...repeated(engine), changes: true }, async (attempts) => {
    try {
      await engine.client.send(command);
      return { committed: true };
    } catch (error) {
      const reasons = cancellation(error);
      if (reasons === undefined) throw error;
      // An answer to this token: had an earlier request been carried out, it would say so.
      attempts.settle();
      const failed = reasons.flatMap((reason, i) => (reason === 'ConditionalCheckFailed' ? [i] : []));
      if (failed.length > 0) return { committed: false, failed };
      if (reasons.some((reason) => COME_AGAIN.has(reason)))
        throw Object.assign(new Error(), { name: 'ThrottlingException', cause: error });
      throw error;
    }
  });
}

const COME_AGAIN = new Set(['TransactionConflict', 'ThrottlingError', 'ProvisionedThroughputExceeded']);

function cancellation(error: unknown): string[] | undefined {
  const { name, CancellationReasons } = error as { name?: string; CancellationReasons?: { Code?: string }[] };
  return name === 'TransactionCanceledException'
    ? (CancellationReasons ?? []).map(({ Code }) => Code ?? 'None')
    : undefined;
}

const repeated = ({ clock, policy }: DynamoEngine) => ({ clock, policy });
