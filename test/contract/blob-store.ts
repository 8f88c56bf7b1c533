import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BlobStore } from '#core/ports/blob-store.ts';

export interface OpenBlobStore {
  readonly store: BlobStore;
  /** moves a blob to slow media, where the store can */
  archive?(key: string): Promise<void>;
  /** ends the restores that are under way */
  finishRestores?(): Promise<void>;
  close(): Promise<void>;
}

const MEBIBYTE = 1024 * 1024;
const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

async function* inChunks(bytes: Uint8Array, chunkBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
}

/** Every sentence of core/ports/blob-store.ts, for whatever `open` gives. Each test uses keys of its own. */
export function blobStoreContract(open: () => Promise<OpenBlobStore>): void {
  let opened: OpenBlobStore;
  let store: BlobStore;
  let folders = 0;
  const newFolder = (): string => `t1/${Date.now()}.${folders++}`;
  const readAll = async (key: string, range?: { offset: number; length?: number }): Promise<Buffer> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of store.read(key, range)) {
      expect(chunk.length).toBeLessThanOrEqual(MEBIBYTE);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  };
  const keysUnder = async (prefix: string, after?: string): Promise<string[]> => {
    const keys: string[] = [];
    for await (const { key } of store.list(prefix, after)) keys.push(key);
    return keys;
  };

  beforeAll(async () => {
    opened = await open();
    store = opened.store;
  });
  afterAll(() => opened.close());

  describe('put', () => {
    test('that waits is not visible before, and not at all when what it waits for fails', async () => {
      const folder = newFolder();
      let allow = (): void => {};
      const permission = new Promise<void>((resolve) => {
        allow = resolve;
      });
      const put = store.put(`${folder}/waits`, new Uint8Array(10), { visibleAfter: permission });
      await new Promise((resolve) => setTimeout(resolve, 30));
      expect(await store.head(`${folder}/waits`)).toBeUndefined();
      allow();
      await put;
      expect(await store.head(`${folder}/waits`)).toStrictEqual({ key: `${folder}/waits`, size: 10 });
      const refused = Promise.reject(new Error('no note'));
      const source = inChunks(new Uint8Array(100_000), 1_000);
      await expect(store.put(`${folder}/never`, source, { visibleAfter: refused })).rejects.toThrow('no note');
      expect(await keysUnder(folder)).toStrictEqual([`${folder}/waits`]);
    });

    const sizes = [0, 1, 2048, 262_144, 527_000, MEBIBYTE, MEBIBYTE + 1, 3 * MEBIBYTE + 17];
    test.each(sizes)('of a whole array of %d bytes keeps every byte and says its SHA-256', async (size) => {
      const key = `${newFolder()}/whole`;
      const bytes = new Uint8Array(randomBytes(size));
      expect(await store.put(key, bytes)).toStrictEqual({ key, size, sha256: sha256Of(bytes) });
      expect(Buffer.compare(await readAll(key), bytes)).toBe(0);
      expect(await store.head(key)).toStrictEqual({ key, size });
    });

    test.each([
      [0, 1000],
      [1, 1000],
      [10_000, 7],
      [527_000, 65_536],
      [3 * MEBIBYTE + 17, 65_536],
      [3 * MEBIBYTE + 17, 300_000],
      [5 * MEBIBYTE, 2 * MEBIBYTE],
    ])('of a stream of %d bytes in chunks of %d keeps every byte and says its SHA-256', async (size, chunkBytes) => {
      const key = `${newFolder()}/stream`;
      const bytes = randomBytes(size);
      const info = await store.put(key, inChunks(bytes, chunkBytes));
      expect(info).toStrictEqual({ key, size, sha256: sha256Of(bytes) });
      expect(Buffer.compare(await readAll(key), bytes)).toBe(0);
    });

    test('of a stream takes chunks of changing size, empty ones too, and lets the source use its memory again', async () => {
      const key = `${newFolder()}/stream`;
      const parts = [1, 0, 300_000, 5, 900_000, 200_000, 1_500_000, 0, 3].map((size) => randomBytes(size));
      async function* source(): AsyncGenerator<Uint8Array> {
        const memory = new Uint8Array(2 * MEBIBYTE);
        for (const part of parts) {
          memory.set(part);
          yield memory.subarray(0, part.length);
          memory.fill(0xee);
        }
      }
      const info = await store.put(key, source());
      expect(info.sha256).toBe(sha256Of(Buffer.concat(parts)));
      expect(Buffer.compare(await readAll(key), Buffer.concat(parts))).toBe(0);
    });

    test('never writes over a blob', async () => {
      const key = `${newFolder()}/a`;
      await store.put(key, Buffer.from('first'));
      await expect(store.put(key, Buffer.from('second'))).rejects.toMatchObject({ code: 'CONFLICT' });
      await expect(store.put(key, inChunks(Buffer.from('third'), 2))).rejects.toMatchObject({ code: 'CONFLICT' });
      expect((await readAll(key)).toString()).toBe('first');
    });

    test('of fifty rivals to one key lets one win, whose bytes are then there', async () => {
      const key = `${newFolder()}/deep/er/a`;
      const outcomes = await Promise.allSettled(
        Array.from({ length: 50 }, (_, i) => {
          const bytes = Buffer.alloc(1000 + i, i);
          return store.put(key, i % 2 === 0 ? bytes : inChunks(bytes, 100));
        }),
      );
      const won = outcomes.filter((outcome) => outcome.status === 'fulfilled');
      expect(won).toHaveLength(1);
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'CONFLICT' });
      expect(sha256Of(await readAll(key))).toBe(won[0]?.value.sha256);
    });

    test('takes the announced SHA-256, in either case of letters', async () => {
      const bytes = randomBytes(100);
      const folder = newFolder();
      await store.put(`${folder}/a`, bytes, { sha256: sha256Of(bytes) });
      await store.put(`${folder}/b`, inChunks(bytes, 10), { sha256: sha256Of(bytes).toUpperCase() });
      expect(await keysUnder(folder)).toHaveLength(2);
    });

    test('of bytes with another SHA-256 than announced leaves nothing', async () => {
      const folder = newFolder();
      const sha256 = sha256Of(Buffer.from('other'));
      await expect(store.put(`${folder}/a`, Buffer.from('bytes'), { sha256 })).rejects.toMatchObject({
        code: 'DATASET_MISMATCH',
      });
      const large = inChunks(randomBytes(2 * MEBIBYTE), 400_000);
      await expect(store.put(`${folder}/b`, large, { sha256 })).rejects.toMatchObject({ code: 'DATASET_MISMATCH' });
      expect(await keysUnder(folder)).toStrictEqual([]);
      await store.put(`${folder}/a`, Buffer.from('bytes')); // the key is still free
    });

    test.each([10, 2 * MEBIBYTE])(
      'of a source that fails after %d bytes throws its error and leaves nothing',
      async (size) => {
        const folder = newFolder();
        async function* source(): AsyncGenerator<Uint8Array> {
          yield randomBytes(size);
          throw new Error('the association was aborted');
        }
        await expect(store.put(`${folder}/a`, source())).rejects.toThrow('the association was aborted');
        expect(await store.head(`${folder}/a`)).toBeUndefined();
        expect(await keysUnder(folder)).toStrictEqual([]);
      },
    );

    test('asks the source for more only when what it gave is taken', async () => {
      const key = `${newFolder()}/a`;
      let inside = 0;
      async function* source(): AsyncGenerator<Uint8Array> {
        for (let i = 0; i < 20; i++) {
          expect(++inside).toBe(1);
          yield randomBytes(100_000);
          inside--;
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      }
      expect((await store.put(key, source())).size).toBe(2_000_000);
    });

    test('shows nothing of a blob until it is whole', async () => {
      const folder = newFolder();
      const key = `${folder}/a`;
      let release = (): void => undefined;
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      async function* source(): AsyncGenerator<Uint8Array> {
        yield randomBytes(2 * MEBIBYTE);
        await held;
        yield randomBytes(10);
      }
      const put = store.put(key, source());
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(await store.head(key)).toBeUndefined();
      expect(await keysUnder(folder)).toStrictEqual([]);
      await expect(store.readBytes(key)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      release();
      await put;
      expect(await store.head(key)).toStrictEqual({ key, size: 2 * MEBIBYTE + 10 });
    });
  });

  test.each([
    '',
    '/a',
    'a/',
    'a//b',
    '.',
    '..',
    'a/../b',
    '../a',
    'a/./b',
    'a b',
    'ä',
    'a\\b',
    'a\0',
    `${'a'.repeat(256)}`,
  ])('the key %j is refused by every call', async (key) => {
    const bad = { code: 'BAD_REQUEST' };
    await expect(store.put(key, Buffer.from('x'))).rejects.toMatchObject(bad);
    await expect(store.readBytes(key)).rejects.toMatchObject(bad);
    await expect(readAll(key)).rejects.toMatchObject(bad);
    await expect(store.head(key)).rejects.toMatchObject(bad);
    await expect(store.delete(key)).rejects.toMatchObject(bad);
    await expect(store.availability(key)).rejects.toMatchObject(bad);
    await expect(store.restore(key)).rejects.toMatchObject(bad);
  });

  describe('reading', () => {
    const bytes = new Uint8Array(randomBytes(2 * MEBIBYTE + 100));
    let key = '';
    beforeAll(async () => {
      key = `${newFolder()}/blob`;
      await store.put(key, bytes);
    });

    test.each([
      { offset: 0 },
      { offset: 0, length: 0 },
      { offset: 5, length: 1 },
      { offset: 100, length: MEBIBYTE },
      { offset: 1, length: 2 * MEBIBYTE + 99 },
      { offset: 2 * MEBIBYTE },
      { offset: 2 * MEBIBYTE + 100 },
      { offset: 2 * MEBIBYTE + 100, length: 0 },
    ])('gives the range %j', async (range) => {
      const expected = bytes.subarray(
        range.offset,
        range.length === undefined ? undefined : range.offset + range.length,
      );
      expect(Buffer.compare(await readAll(key, range), expected)).toBe(0);
      expect(Buffer.compare(await store.readBytes(key, range), expected)).toBe(0);
    });

    test.each([
      { offset: 2 * MEBIBYTE + 101 },
      { offset: 0, length: 2 * MEBIBYTE + 101 },
      { offset: -1, length: 1 },
      { offset: 1, length: -1 },
      { offset: 0.5 },
    ])('refuses the range %j before the first chunk', async (range) => {
      await expect(readAll(key, range)).rejects.toMatchObject({ code: 'RANGE_NOT_SATISFIABLE' });
      await expect(store.readBytes(key, range)).rejects.toMatchObject({ code: 'RANGE_NOT_SATISFIABLE' });
    });

    test('of what is not there says so', async () => {
      for (const absent of [`${key}x`, `${key}/below`, key.slice(0, key.lastIndexOf('/'))]) {
        await expect(store.readBytes(absent)).rejects.toMatchObject({ code: 'NOT_FOUND' });
        await expect(readAll(absent)).rejects.toMatchObject({ code: 'NOT_FOUND' });
        expect(await store.head(absent)).toBeUndefined();
      }
    });

    test('gives arrays that the reader may change', async () => {
      (await store.readBytes(key, { offset: 0, length: 10 })).fill(0);
      for await (const chunk of store.read(key)) chunk.fill(0);
      expect(Buffer.compare(await store.readBytes(key), bytes)).toBe(0);
    });

    test('may stop early', async () => {
      for (let i = 0; i < 20; i++)
        for await (const chunk of store.read(key)) {
          expect(chunk.length).toBeGreaterThan(0);
          break;
        }
    });

    test('waits for a slow consumer', async () => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of store.read(key)) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        chunks.push(chunk);
      }
      expect(Buffer.compare(Buffer.concat(chunks), bytes)).toBe(0);
    });
  });

  describe('list', () => {
    test('gives keys in ascending order of bytes, with sizes, behind `after`', async () => {
      const folder = newFolder();
      const names = ['a-b', 'a.b', 'a/b/c', 'a/b-c', 'a/b.c/d', 'a0', 'B', 'b/1', 'b/10', 'b/2', '_', 'c.d/e', 'c/d'];
      await Promise.all(names.map((name) => store.put(`${folder}/${name}`, Buffer.from(name))));
      const ordered = names.map((name) => `${folder}/${name}`).toSorted();
      const listed: unknown[] = [];
      for await (const entry of store.list(`${folder}/`)) listed.push(entry);
      expect(listed).toStrictEqual(ordered.map((key) => ({ key, size: key.length - folder.length - 1 })));
      for (const [i, key] of ordered.entries()) {
        expect(await keysUnder(`${folder}/`, key)).toStrictEqual(ordered.slice(i + 1));
        expect(await keysUnder(`${folder}/`, `${key}!`)).toStrictEqual(ordered.slice(i + 1));
      }
    });

    test('takes a prefix that ends anywhere in a key', async () => {
      const folder = newFolder();
      for (const name of ['ab/1', 'ab/12', 'ab/2', 'abc', 'b']) await store.put(`${folder}/${name}`, Buffer.from('x'));
      const under = async (prefix: string): Promise<string> =>
        (await keysUnder(folder + prefix)).map((key) => key.slice(folder.length + 1)).join(' ');
      expect(await under('/ab/1')).toBe('ab/1 ab/12');
      expect(await under('/ab')).toBe('ab/1 ab/12 ab/2 abc');
      expect(await under('/ab/')).toBe('ab/1 ab/12 ab/2');
      expect(await under('/abc')).toBe('abc');
      expect(await under('/c')).toBe('');
    });
  });

  describe('delete', () => {
    test('removes the blob, may be repeated, and frees the key', async () => {
      const folder = newFolder();
      const key = `${folder}/a/b`;
      await store.put(key, Buffer.from('first'));
      await store.delete(key);
      await store.delete(key);
      expect(await store.head(key)).toBeUndefined();
      expect(await keysUnder(folder)).toStrictEqual([]);
      await expect(store.readBytes(key)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await store.put(key, Buffer.from('second'));
      expect(Buffer.from(await store.readBytes(key)).toString()).toBe('second');
    });

    test('leaves the neighbours, and what a key is only the beginning of', async () => {
      const folder = newFolder();
      await store.put(`${folder}/a/b`, Buffer.from('b'));
      await store.put(`${folder}/a/c`, Buffer.from('c'));
      await store.delete(`${folder}/a/b`);
      await store.delete(`${folder}/a`);
      await store.delete(`${folder}/a/c/d`);
      expect(await keysUnder(folder)).toStrictEqual([`${folder}/a/c`]);
    });

    test('of the last blobs of a folder does not disturb puts into it', async () => {
      const folder = newFolder();
      for (let round = 0; round < 30; round++) {
        await Promise.all([
          store.put(`${folder}/x/y/${round}`, Buffer.from('x')).then(() => store.delete(`${folder}/x/y/${round}`)),
          store
            .put(`${folder}/x/y/kept-${round}`, Buffer.from('y'))
            .then(() => store.delete(`${folder}/x/y/kept-${round - 1}`)),
        ]);
      }
      expect(await keysUnder(folder)).toStrictEqual([`${folder}/x/y/kept-29`]);
    });
  });

  describe('availability', () => {
    test('of what can be read is ONLINE, restored or not, and of what is not there undefined', async () => {
      const key = `${newFolder()}/a`;
      expect(await store.availability(key)).toBeUndefined();
      await expect(store.restore(key)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await store.put(key, Buffer.from('bytes'));
      expect(await store.availability(key)).toBe('ONLINE');
      expect(await store.restore(key)).toBe('ONLINE');
    });

    test('of what lies on slow media is OFFLINE; a restore, which may be asked for twice, brings it back', async ({
      skip,
    }) => {
      if (!opened.archive || !opened.finishRestores) return skip('the store keeps everything at hand');
      const folder = newFolder();
      const key = `${folder}/a`;
      await store.put(key, Buffer.from('bytes'));
      await opened.archive(key);
      expect(await store.availability(key)).toBe('OFFLINE');
      expect(await store.head(key)).toStrictEqual({ key, size: 5 });
      expect(await keysUnder(folder)).toStrictEqual([key]);
      await expect(store.readBytes(key)).rejects.toMatchObject({ code: 'ARCHIVED', details: { key } });
      await expect(readAll(key)).rejects.toMatchObject({ code: 'ARCHIVED' });
      expect(await store.restore(key)).toBe('NEARLINE');
      expect(await store.restore(key)).toBe('NEARLINE');
      expect(await store.availability(key)).toBe('NEARLINE');
      await expect(store.readBytes(key)).rejects.toMatchObject({ code: 'ARCHIVED' });
      await opened.finishRestores();
      expect(await store.availability(key)).toBe('ONLINE');
      expect((await readAll(key)).toString()).toBe('bytes');
    });
  });
}
