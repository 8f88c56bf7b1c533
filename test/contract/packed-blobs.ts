import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pageAligned } from '#core/page-aligned.ts';
import type { BlobStore, PackedBlobs } from '#core/ports/blob-store.ts';
import type { OpenBlobStore } from './blob-store.ts';

const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Random bytes that begin at a page, as the archive gathers objects. */
export function alignedBytes(size: number): Buffer {
  const buffer = pageAligned(Math.max(1, size)).subarray(0, size);
  buffer.set(randomBytes(size));
  return buffer;
}

/** Every sentence of PackedBlobs in core/ports/blob-store.ts. */
export function packedBlobsContract(open: () => Promise<OpenBlobStore>): void {
  let opened: OpenBlobStore;
  let store: BlobStore;
  let packed: PackedBlobs;
  let studies = 0;
  const newStudy = (): string => `t1/1.2.${Date.now()}.${studies++}`;
  const keysUnder = async (prefix: string, after?: string): Promise<string[]> => {
    const keys: string[] = [];
    for await (const { key } of store.list(prefix, after)) keys.push(key);
    return keys;
  };

  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    expect(store.packed).toBeDefined();
    packed = store.packed!;
  });
  afterAll(() => opened.close());

  describe('packed', () => {
    const sizes = [0, 1, 511, 512, 513, 4095, 4096, 4097, 65_535, 65_536, 262_144, 527_000, 2 * 1024 * 1024];
    test.each(sizes)('an object of %d bytes is there whole, under the key that append gave', async (size) => {
      const study = newStudy();
      for (const bytes of [new Uint8Array(randomBytes(size)), alignedBytes(size)]) {
        const key = `${study}/1.3/1.4.${bytes.byteOffset}${Buffer.isBuffer(bytes) ? 1 : 2}.V.dcm`;
        const info = await packed.append(key, bytes);
        expect(info).toMatchObject({ size, sha256: sha256Of(bytes) });
        expect(info.key.startsWith(key.slice(0, -'.dcm'.length))).toBe(true);
        expect(info.key.endsWith('.dcm')).toBe(true);
        expect(Buffer.compare(await store.readBytes(info.key), bytes)).toBe(0);
        expect(await store.head(info.key)).toStrictEqual({ key: info.key, size });
        expect(await store.availability(info.key)).toBe('ONLINE');
        packed.settled(info.key);
      }
    });

    test('objects that come at the same time, each with its own bytes', async () => {
      const study = newStudy();
      const objects = Array.from({ length: 300 }, (_, n) => alignedBytes(1 + ((n * 7919) % 90_000)));
      const infos = await Promise.all(objects.map((bytes, n) => packed.append(`${study}/${n % 4}/${n}.V.dcm`, bytes)));
      for (const [n, bytes] of objects.entries())
        expect(Buffer.compare(await store.readBytes(infos[n]!.key), bytes)).toBe(0);
      expect(new Set(infos.map(({ key }) => key)).size).toBe(objects.length);
      for (const { key } of infos) packed.settled(key);
    });

    test('ranges are those of the object, and do not reach its neighbours', async () => {
      const study = newStudy();
      const bytes = alignedBytes(10_000);
      const [, { key }] = await Promise.all([
        packed.append(`${study}/a/1.V.dcm`, alignedBytes(3_000)),
        packed.append(`${study}/a/2.V.dcm`, bytes),
        packed.append(`${study}/a/3.V.dcm`, alignedBytes(3_000)),
      ]);
      expect(Buffer.compare(await store.readBytes(key, { offset: 9_990 }), bytes.subarray(9_990))).toBe(0);
      expect(await store.readBytes(key, { offset: 0, length: 0 })).toHaveLength(0);
      await expect(store.readBytes(key, { offset: 9_999, length: 2 })).rejects.toMatchObject({
        code: 'RANGE_NOT_SATISFIABLE',
      });
    });

    test('the list has them in the order of keys, among the blobs beside them', async () => {
      const study = newStudy();
      const appended = await Promise.all(
        ['b/2', 'a/1', 'b/1', 'c/9'].map((name) => packed.append(`${study}/${name}.V.dcm`, new Uint8Array(10))),
      );
      await store.put(`${study}/b/1.json`, new Uint8Array(3));
      await store.put(`${study}/z.json`, new Uint8Array(3));
      const all = [...appended.map(({ key }) => key), `${study}/b/1.json`, `${study}/z.json`].sort();
      expect(await keysUnder(`${study}/`)).toStrictEqual(all);
      expect(await keysUnder(`${study}/b/`)).toStrictEqual(all.filter((key) => key.startsWith(`${study}/b/`)));
      expect(await keysUnder(`${study}/`, all[2])).toStrictEqual(all.slice(3));
    });

    test('what does not have the SHA-256 that was announced is not kept', async () => {
      const study = newStudy();
      const refused = packed.append(`${study}/a/1.V.dcm`, new Uint8Array(100), {
        sha256: sha256Of(new Uint8Array(99)),
      });
      await expect(refused).rejects.toMatchObject({ code: 'DATASET_MISMATCH' });
      expect(await keysUnder(`${study}/`)).toStrictEqual([]);
    });

    test('a delete takes that object alone, may be repeated, and the last one leaves nothing', async () => {
      const study = newStudy();
      const bytes = alignedBytes(5_000);
      const [one, other] = await Promise.all([
        packed.append(`${study}/a/1.V.dcm`, bytes),
        packed.append(`${study}/a/2.V.dcm`, bytes),
      ]);
      await store.delete(one.key);
      await store.delete(one.key);
      packed.settled(one.key);
      expect(await store.head(one.key)).toBeUndefined();
      await expect(store.readBytes(one.key)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      expect(await keysUnder(`${study}/`)).toStrictEqual([other.key]);
      expect(Buffer.compare(await store.readBytes(other.key), bytes)).toBe(0);
      await store.delete(other.key);
      packed.settled(other.key);
      expect(await keysUnder(`${study}/`)).toStrictEqual([]);
      // and there is room for the next
      const next = await packed.append(`${study}/a/3.V.dcm`, bytes);
      expect(Buffer.compare(await store.readBytes(next.key), bytes)).toBe(0);
    });

    test('blobs that are named after an object stand beside it', async () => {
      const study = newStudy();
      const { key } = await packed.append(`${study}/a/1.V.dcm`, alignedBytes(1_000));
      packed.settled(key);
      const beside = [`${key.slice(0, -'.dcm'.length)}.json`, `${key.slice(0, -'.dcm'.length)}.frames`];
      for (const name of beside) await store.put(name, Buffer.from(name));
      for (const name of beside) expect(Buffer.from(await store.readBytes(name)).toString()).toBe(name);
      expect(await keysUnder(`${study}/`)).toStrictEqual([key, ...beside].sort());
      for (const name of [...beside, key]) await store.delete(name);
      expect(await keysUnder(`${study}/`)).toStrictEqual([]);
    });

    test('a key that no append gave leads nowhere', async () => {
      const { key } = await packed.append(`${newStudy()}/a/1.V.dcm`, new Uint8Array(10));
      const swapped = key.replace('/a/1.V', '/a/2.V');
      expect(await store.head(swapped)).toBeUndefined();
      await expect(store.readBytes(swapped)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await store.delete(swapped);
      expect(await store.head(key)).toBeDefined();
    });
  });
}
