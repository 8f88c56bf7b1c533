import type { AttributeValue } from '@aws-sdk/client-dynamodb';
import type { Condition, Item, Key } from '#core/ports/index-table.ts';
import { increased } from '../index-rules.ts';
import { decodeItem, encodeItem } from '../item-codec.ts';
import { deflated, inflated } from './dynamo-deflate.ts';
import { ITEM, PARTITION_SEPARATOR, SCATTERED, type Scattered, TABLE } from './schema.ts';

/**
 * Records as DynamoDB items: keys, the record as bytes (deflated, for a write is paid by the kilobyte), `version` as a number of its own
 * for conditions, and sums as attributes of their own, which `add` changes without reading.
 */
export type Attributes = Record<string, AttributeValue>;

export const keyOf = (partition: string, sort: string): Attributes => ({
  [TABLE.partitionKey]: { S: partition },
  [TABLE.sortKey]: { S: sort },
});

/** Where a record lies. */
export function physicalKey({ partition, sort }: Key): Attributes {
  const { shards, prefix = '' } = scatteredAs(partition);
  return keyOf(shards === 1 || !sort.startsWith(prefix) ? partition : shardOf(partition, hash(sort) % shards), sort);
}

/** The partitions in which the records of a partition lie whose sort keys begin with `range`. */
export function physicalPartitions(partition: string, range = ''): readonly string[] {
  const { shards, prefix = '' } = scatteredAs(partition);
  const scattered = shards > 1 && (range.startsWith(prefix) || prefix.startsWith(range));
  const together = !scattered || !range.startsWith(prefix);
  return [
    ...(together ? [partition] : []),
    ...(scattered ? Array.from({ length: shards }, (_, shard) => shardOf(partition, shard)) : []),
  ];
}

const TOGETHER: Pick<Scattered, 'shards' | 'prefix'> = { shards: 1 };
const scatteredAs = (partition: string): Pick<Scattered, 'shards' | 'prefix'> =>
  SCATTERED.find((scattered) => scattered.partition.test(partition)) ?? TOGETHER;

const shardOf = (partition: string, shard: number): string => `${partition}${PARTITION_SEPARATOR}${shard}`;

/** FNV-1a of the characters, 32 bits */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return value;
}

/** Bytes that do not belong to one key. @throws PacsError TOO_LARGE */
export const encodeData = (item: Item): Uint8Array => deflated(encodeItem(item));

/** @throws PacsError TOO_LARGE */
export function encodeRecord(
  key: Key,
  item: Item,
): { readonly data: Uint8Array; readonly version: number | undefined } {
  const { version } = item;
  const alone = typeof version === 'number' && Number.isFinite(version) && Math.abs(version) < 1e100;
  const bytes = encodeItem(alone ? { ...item, version: undefined } : item);
  return { data: deflated(bytes, placeOf(physicalKey(key))), version: alone ? version : undefined };
}

/** The item's own key, which its bytes need not repeat. */
const placeOf = (attributes: Attributes): string =>
  `${attributes[TABLE.partitionKey]?.S ?? ''}|${attributes[TABLE.sortKey]?.S ?? ''}`;

export function attributesOf(
  key: Key,
  { data, version }: ReturnType<typeof encodeRecord>,
  writer: string | undefined,
): Attributes {
  return {
    ...physicalKey(key),
    [ITEM.data]: { B: data },
    ...(version !== undefined && { [ITEM.version]: { N: String(version) } }),
    ...(writer !== undefined && { [ITEM.writer]: { S: writer } }),
  };
}

/** @param data as `encodeData` made it */
export const decodeData = (data: Uint8Array): Item => decode(inflated(data));

const decode = (bytes: Buffer): Item => decodeItem(bytes, bytes.length);

export function decodeRecord(attributes: Attributes): Item {
  const data = attributes[ITEM.data]?.B;
  const item = data ? decode(inflated(data, placeOf(attributes))) : {};
  const sums: Record<string, number> = {};
  for (const name in attributes)
    if (name.startsWith(ITEM.sumPrefix)) sums[name.slice(ITEM.sumPrefix.length)] = Number(attributes[name]?.N);
  const version = attributes[ITEM.version]?.N;
  return { ...increased(item, sums), ...(version !== undefined && { version: Number(version) }) };
}

/** bytes of a record as it lies there, without keys */
export function recordBytes(attributes: Attributes): number {
  let bytes = 0;
  for (const name in attributes) {
    const { B, N } = attributes[name]!;
    bytes += B?.length ?? N?.length ?? 0;
  }
  return bytes;
}

export interface Expression {
  readonly ConditionExpression: string;
  readonly ExpressionAttributeNames: Record<string, string>;
  readonly ExpressionAttributeValues?: Attributes;
}

export function conditionExpression(condition: Condition): Expression {
  if (typeof condition === 'object')
    return {
      ConditionExpression: '#v = :v',
      ExpressionAttributeNames: { '#v': ITEM.version },
      ExpressionAttributeValues: { ':v': { N: String(condition.version) } },
    };
  const ConditionExpression = condition === 'absent' ? 'attribute_not_exists(#p)' : 'attribute_exists(#p)';
  return { ConditionExpression, ExpressionAttributeNames: { '#p': TABLE.partitionKey } };
}

/** Adds to numbers that stand as attributes of their own; `version` does anyway. */
export function addExpression(increments: Readonly<Record<string, number>>) {
  const ExpressionAttributeNames: Record<string, string> = {};
  const ExpressionAttributeValues: Attributes = {};
  const terms = Object.entries(increments).map(([name, number], i) => {
    ExpressionAttributeNames[`#n${i}`] = name === 'version' ? ITEM.version : `${ITEM.sumPrefix}${name}`;
    ExpressionAttributeValues[`:n${i}`] = { N: String(number) };
    return `#n${i} :n${i}`;
  });
  // An `add` of nothing still makes the record.
  if (terms.length === 0) return {};
  return { UpdateExpression: `ADD ${terms.join(', ')}`, ExpressionAttributeNames, ExpressionAttributeValues };
}
