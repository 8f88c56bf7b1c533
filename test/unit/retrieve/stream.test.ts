import { describe, expect, test } from 'vitest';
import { ByteCache } from '#core/retrieve/byte-cache.ts';
import { coalesce, discard, openStream, releasePayload, startAhead } from '#core/retrieve/stream.ts';
import { writeMultipart } from '#dicomweb/multipart-writer.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('reading ahead', () => {
  test('starts the next while one is in use, and not more', async () => {
    const started: number[] = [];
    const values = startAhead([1, 2, 3, 4], async (n) => started.push(n) && n * 10, { ahead: 1 });
    expect((await values.next()).value).toBe(10);
    await turn();
    expect(started).toEqual([1, 2]);
    expect((await values.next()).value).toBe(20);
    expect(started).toEqual([1, 2, 3]);
    const rest: number[] = [];
    for await (const value of values) rest.push(value);
    expect(rest).toEqual([30, 40]);
  });

  test('hands an error out in its turn', async () => {
    const values = startAhead([1, 2, 3], async (n) => (n === 2 ? Promise.reject(new Error('disk')) : n), { ahead: 2 });
    expect((await values.next()).value).toBe(1);
    await turn();
    await expect(values.next()).rejects.toThrow('disk');
  });

  test('releases what was started for nobody when the client goes away', async () => {
    const open = new Set<number>();
    const stream = (n: number) =>
      openStream(
        (async function* () {
          open.add(n);
          try {
            for (;;) yield Buffer.alloc(100_000);
          } finally {
            open.delete(n);
          }
        })(),
      );
    const opened = startAhead([1, 2, 3, 4], stream, { ahead: 2, release: releasePayload });
    const parts = (async function* () {
      for await (const body of opened) yield { headers: {}, body };
    })();
    let pieces = 0;
    for await (const _piece of writeMultipart(parts, 'b')) if (++pieces === 3) break;
    expect(open.size).toBe(0);
  });
});

test('an answer that nobody reads lets go of what it opened', async () => {
  let open = 0;
  const body = await openStream(
    (async function* () {
      open++;
      try {
        yield Buffer.alloc(100_000);
      } finally {
        open--;
      }
    })(),
  );
  expect(open).toBe(1);
  await discard(writeMultipart([{ headers: {}, body }], 'b'));
  expect(open).toBe(0);
});

test('small chunks are joined, large ones pass as they are', async () => {
  const large = Buffer.alloc(70_000, 1);
  const source = [
    Buffer.from('ab'),
    Buffer.from('c'),
    large,
    Buffer.from('d'),
    ...Array.from({ length: 70 }, () => Buffer.alloc(1_000)),
  ];
  const out: Uint8Array[] = [];
  for await (const chunk of coalesce(source)) out.push(chunk);
  expect(out.map(({ length }) => length)).toEqual([3, 70_000, 66_001, 4_000]);
  expect(out[1]).toBe(large);
  expect(Buffer.concat(out).equals(Buffer.concat(source))).toBe(true);
});

describe('the byte cache', () => {
  test('keeps what was used last, within its bound', () => {
    const cache = new ByteCache(100);
    for (const name of ['a', 'b', 'c', 'd']) cache.set(name, new Uint8Array(25));
    expect(cache.get('a')).toBeDefined();
    cache.set('e', new Uint8Array(20));
    expect(['a', 'b', 'c', 'd', 'e'].filter((name) => cache.get(name))).toEqual(['a', 'c', 'd', 'e']);
    expect(cache.bytes).toBe(95);
    cache.set('a', new Uint8Array(5));
    expect(cache.bytes).toBe(75);
  });

  test('does not take what would drive out everything else', () => {
    const cache = new ByteCache(100);
    cache.set('small', new Uint8Array(10));
    cache.set('large', new Uint8Array(26));
    expect(cache.get('large')).toBeUndefined();
    expect(cache.get('small')).toBeDefined();
  });
});
