import { expect, test } from 'vitest';
import { decodeVersion, encodeItem } from '#adapters/item-codec.ts';
import type { Item } from '#core/ports/index-table.ts';

/** A condition on the version must see what reading the whole record would. */
test.each<[string, Item]>([
  ['first', { version: 7, name: 'x' }],
  ['alone', { version: 12 }],
  ['as large as it gets', { version: Number.MAX_SAFE_INTEGER, a: 1 }],
  ['last', { a: { version: 3 }, version: 4 }],
  ['not there', { a: { version: 3 } }],
  ['within another record alone', { versions: [{ version: 9 }] }],
  ['a text', { version: '7' }],
  ['a fraction', { version: 7.5 }],
  ['below zero', { version: -7 }],
  ['written with an exponent', { version: 1e21 }],
  ['beside binary values', { version: 5, json: new Uint8Array([1, 2]) }],
  ['of nothing', {}],
])('the version is found %s', (_, item) => {
  const bytes = encodeItem(item);
  // LMDB hands over a buffer that is longer than the value, with what was in it before.
  const reused = Buffer.concat([bytes, Buffer.from('{"version":99,}')]);
  expect(decodeVersion(reused, bytes.length)).toBe(item.version);
});
