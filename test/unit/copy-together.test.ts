import { expect, test } from 'vitest';
import { copyTogether, decodeItem, encodeItem } from '#adapters/item-codec.ts';

/** What a reader gets is his own, although values of a page lie in one allocation. */
test('binary values of a page are as they were written, whatever is done to their neighbours', () => {
  const sizes = [0, 6_000, 1, 6_000, 0, 20_000, 16_384, 60_000, ...Array.from({ length: 40 }, (_, i) => 4_000 + i)];
  const written = sizes.map((size, i) => ({ n: i, json: new Uint8Array(size).fill(i + 1) }));
  const reused = Buffer.alloc(64 * 1024);
  const copy = copyTogether();
  const read = written.map((item) => {
    const bytes = encodeItem(item);
    reused.fill(0xee);
    bytes.copy(reused);
    return decodeItem(reused, bytes.length, copy);
  });
  expect(read).toStrictEqual(written);
  for (const [i, item] of read.entries()) if (i % 2 === 0) (item.json as Uint8Array).fill(0xff);
  for (const [i, item] of read.entries()) if (i % 2 === 1) expect(item).toStrictEqual(written[i]);
  const allocations = new Set(read.map(({ json }) => (json as Uint8Array).buffer));
  expect(allocations.size).toBeLessThan(15);
  for (const buffer of allocations) expect(buffer.byteLength).toBeLessThanOrEqual(64 * 1024);
});

test('a binary value alone keeps nothing but itself', () => {
  const bytes = encodeItem({ json: new Uint8Array(100) });
  const { json } = decodeItem(bytes, bytes.length, copyTogether());
  expect((json as Uint8Array).buffer.byteLength).toBe(100);
});
