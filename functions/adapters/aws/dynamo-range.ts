import type { RangeQuery } from '#core/ports/index-table.ts';
import { compareUtf8, SORT_LIMIT_BYTES } from '../index-rules.ts';
import type { Attributes } from './dynamo-items.ts';
import { TABLE } from './schema.ts';

/** What a range query asks of DynamoDB; `drop`: a sort key that the conditions take in and the range does not. */
export interface KeyCondition {
  readonly expression: string;
  readonly values: Attributes;
  readonly drop: string | undefined;
}

/** Directly behind a key: U+0000 stands in no key, and before everything else. */
const BEHIND = '\u0000';

/**
 * The intersection of prefix, from, to and after as the one condition that DynamoDB allows on a sort key. Undefined when it is empty.
 * Its two-sided condition includes both ends, ours excludes the upper: a record that stands exactly there is dropped.
 */
export function keyCondition(query: RangeQuery): KeyCondition | undefined {
  const { prefix = '', from = '', to, after, descending = false } = query;
  let low = later(prefix, from);
  let high = earlier(behindPrefix(prefix), to);
  if (after !== undefined && descending) high = earlier(high, after);
  else if (after !== undefined) low = later(low, after + BEHIND);
  if (high !== undefined && (high === '' || compareUtf8(low, high) >= 0)) return undefined;
  low = bounded(low);
  high = high === undefined ? undefined : bounded(high);
  const lowValue = low === '' ? undefined : { ':low': { S: low } };
  if (high === undefined) {
    return lowValue
      ? { expression: '#p = :p AND #s >= :low', values: lowValue, drop: undefined }
      : { expression: '#p = :p', values: {}, drop: undefined };
  }
  const highValue = { ':high': { S: high } };
  if (!lowValue) return { expression: '#p = :p AND #s < :high', values: highValue, drop: undefined };
  return { expression: '#p = :p AND #s BETWEEN :low AND :high', values: { ...lowValue, ...highValue }, drop: high };
}

export const KEY_NAMES = { '#p': TABLE.partitionKey, '#s': TABLE.sortKey } as const;

const later = (a: string, b: string): string => (compareUtf8(a, b) >= 0 ? a : b);
const earlier = (a: string | undefined, b: string | undefined): string | undefined =>
  a === undefined ? b : b === undefined ? a : compareUtf8(a, b) <= 0 ? a : b;

/** The least text above all that begin with the prefix; undefined when there is none. */
function behindPrefix(prefix: string): string | undefined {
  const characters = [...prefix];
  for (let last = characters.pop(); last !== undefined; last = characters.pop()) {
    const code = last.codePointAt(0)!;
    if (code === 0x10ffff) continue;
    // surrogates are no characters
    return characters.join('') + String.fromCodePoint(code === 0xd7ff ? 0xe000 : code + 1);
  }
  return undefined;
}

/** A bound longer than any key is as good as its beginning, and DynamoDB refuses what is longer than a sort key of its own. */
function bounded(text: string): string {
  if (text.length * 3 <= SORT_LIMIT_BYTES || Buffer.byteLength(text) <= SORT_LIMIT_BYTES + 1) return text;
  let bytes = 0;
  let end = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    end += character.length;
    if (bytes > SORT_LIMIT_BYTES) break;
  }
  return text.slice(0, end);
}
