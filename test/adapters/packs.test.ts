import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { giveBackHoles } from '#adapters/local/pack-holes.ts';
import { PACK_LIMITS } from '#adapters/local/packs.ts';
import { MemoryBlobStore } from '#adapters/memory/memory-blob-store.ts';
import { alignedBytes, packedBlobsContract } from '#test/contract/packed-blobs.ts';

describe('FsBlobStore', () =>
  packedBlobsContract(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nephos-packs-'));
    const store = await FsBlobStore.open(folder);
    const close = async (): Promise<void> => {
      await store.close();
      rmSync(folder, { recursive: true });
    };
    return { store, close };
  }));
describe('MemoryBlobStore', () =>
  packedBlobsContract(async () => ({ store: new MemoryBlobStore({ packedAt: Date }), close: async () => {} })));

describe('packs on disk', { timeout: 300_000 }, () => {
  let folder: string;
  let store: FsBlobStore;
  const STUDY = 'clinic/1.2.3';
  const HOUR_MS = 60 * 60 * 1000;
  /** A pack is closed when a test says so, not when a machine takes long. */
  const LIMITS = { ...PACK_LIMITS, idleMs: HOUR_MS };
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'nephos-packs-'));
    store = await FsBlobStore.open(folder, { limits: LIMITS });
  });
  afterEach(async () => {
    await store.close();
    rmSync(folder, { recursive: true });
  });
  const packs = (study = STUDY): string[] => {
    const path = join(folder, 'blobs', study);
    return existsSync(path)
      ? readdirSync(path)
          .filter((name) => name.endsWith('.tar'))
          .map((name) => join(path, name))
      : [];
  };
  const append = async (n: number, bytes: Uint8Array = alignedBytes(20_000), study = STUDY): Promise<string> =>
    (await store.packed!.append(`${study}/1.9/1.4.${n}.V.dcm`, bytes)).key;
  const unsettled = async (of: FsBlobStore, olderThanMs = 0): Promise<string[]> => {
    const keys: string[] = [];
    for await (const key of of.packed!.unsettled(olderThanMs, Date.now() + 1)) keys.push(key);
    return keys;
  };
  const all = async (): Promise<string[]> => {
    const keys: string[] = [];
    for await (const { key } of store.list('')) keys.push(key);
    return keys;
  };
  /** As another process finds it after this one was killed. */
  const reopen = async (limits = LIMITS): Promise<void> => {
    store = await FsBlobStore.open(folder, { limits });
  };

  test('the objects of many small studies at once share little memory, and are the bytes that were sent', async () => {
    const made = vi.spyOn(WebAssembly, 'Memory');
    onTestFinished(() => made.mockRestore());
    const objects = Array.from({ length: 200 }, (_, n) => randomBytes(1000 + n));
    const keys = await Promise.all(objects.map((bytes, n) => append(n, bytes, `clinic/1.7.${n}`)));
    const pages = made.mock.calls.reduce((sum, [{ initial }]) => sum + initial, 0);
    expect(pages * 65_536).toBeLessThan(8 * 2 ** 20); // not 2.5 MB a study
    for (const [n, key] of keys.entries())
      expect(Buffer.from(await store.readBytes(key)).equals(objects[n]!)).toBe(true);
  });

  test('a study has one pack, however many objects come one after the other or at once', async () => {
    for (let n = 0; n < 5; n++) await append(n);
    await Promise.all(Array.from({ length: 50 }, (_, n) => append(10 + n)));
    expect(packs()).toHaveLength(1);
    await append(99, alignedBytes(10), 'clinic/1.2.4');
    expect(packs('clinic/1.2.4')).toHaveLength(1);
  });

  test('a pack that is full, idle, or one too many is closed, and the next object begins another', async () => {
    await store.close();
    await reopen({ ...LIMITS, packBytes: 50_000, openPacks: 2 });
    for (let n = 0; n < 4; n++) store.packed!.settled(await append(n));
    expect(packs()).toHaveLength(2);
    for (const study of ['clinic/1.2.5', 'clinic/1.2.6', 'clinic/1.2.7', 'clinic/1.2.5'])
      store.packed!.settled(await append(1 + packs(study).length, alignedBytes(10), study));
    expect(packs('clinic/1.2.5')).toHaveLength(2);
    await store.close();
    await reopen({ ...LIMITS, idleMs: 30 });
    store.packed!.settled(await append(8));
    await new Promise((resolve) => setTimeout(resolve, 120));
    store.packed!.settled(await append(9));
    expect(packs()).toHaveLength(4);
  });

  test('what is settled is nobody else’s concern; what a dead process has not settled is found', async () => {
    const [settled, left] = [await append(1), await append(2)];
    store.packed!.settled(settled);
    expect(await unsettled(store)).toStrictEqual([]);
    const other = await FsBlobStore.open(folder);
    // the other process does not know which of them are settled: it is told of both
    expect((await unsettled(other)).toSorted()).toStrictEqual([settled, left].toSorted());
    expect(await unsettled(other)).toStrictEqual([]);
    await other.close();
  });

  test('a pack written to a moment ago is not taken for a dead one’s', async () => {
    await append(1);
    const other = await FsBlobStore.open(folder);
    expect(await unsettled(other, HOUR_MS)).toStrictEqual([]);
    await other.close();
  });

  test.runIf(existsSync('/proc/self/stat'))(
    'a pack of another process that lives is left alone, however old; one whose id another program has now is not',
    async () => {
      const key = await append(1);
      const incoming = join(folder, 'incoming');
      const [note] = readdirSync(incoming).filter((name) => name.endsWith('.packs'));
      const text = readFileSync(join(incoming, note!), 'utf8').replace(/^=.*\n/, '');
      const other = await FsBlobStore.open(folder);
      rmSync(join(incoming, note!));
      const startOfParent = readFileSync(`/proc/${process.ppid}/stat`, 'utf8').split(') ')[1]!.split(' ')[19];
      writeFileSync(join(incoming, `${process.ppid}-abc.packs`), `=${startOfParent}\n${text}`);
      expect(await unsettled(other)).toStrictEqual([]);
      writeFileSync(join(incoming, `${process.ppid}-abc.packs`), `=1\n${text}`);
      expect(await unsettled(other)).toStrictEqual([key]);
      expect(readdirSync(incoming)).toStrictEqual([]);
      await other.close();
    },
  );

  test('everything settled and closed leaves no note', async () => {
    for (let n = 0; n < 3; n++) store.packed!.settled(await append(n));
    await store.close();
    expect(readdirSync(join(folder, 'incoming'))).toStrictEqual([]);
    await reopen();
    expect(await unsettled(store)).toStrictEqual([]);
    expect(await all()).toHaveLength(3);
  });

  test('a pack that is still written to is not removed, though all in it has been deleted', async () => {
    const first = await append(1);
    await store.delete(first);
    store.packed!.settled(first);
    const bytes = alignedBytes(30_000);
    const second = await append(2, bytes);
    expect(packs()).toHaveLength(1);
    expect(Buffer.compare(await store.readBytes(second), bytes)).toBe(0);
    await store.delete(second);
    store.packed!.settled(second);
    await store.close();
    await reopen();
    await unsettled(store);
    expect(packs()).toStrictEqual([]);
    expect(readdirSync(join(folder, 'incoming')).filter((name) => name.endsWith('.doubt'))).toStrictEqual([]);
  });

  test('another process may delete while this one adds', async () => {
    const other = await FsBlobStore.open(folder);
    const kept: [string, Buffer][] = [];
    for (let n = 0; n < 40; n++) {
      const bytes = alignedBytes(3_000 + n);
      const key = await append(n, bytes);
      store.packed!.settled(key);
      if (n % 3 === 0) kept.push([key, bytes]);
      else await other.delete(key);
    }
    await other.close();
    expect((await all()).toSorted()).toStrictEqual(kept.map(([key]) => key).toSorted());
    for (const [key, bytes] of kept) expect(Buffer.compare(await store.readBytes(key), bytes)).toBe(0);
  });

  describe('space', () => {
    const onDisk = (): number => packs().reduce((sum, path) => sum + statSync(path).blocks * 512, 0);

    test('of deleted objects is given back once the pack is closed; what is left keeps its key and its bytes', async () => {
      const objects = await Promise.all(
        Array.from({ length: 40 }, async (_, n) => {
          const bytes = alignedBytes(100_000 + n);
          return [await append(n, bytes), bytes] as const;
        }),
      );
      for (const [key] of objects) store.packed!.settled(key);
      const full = onDisk();
      for (const [n, [key]] of objects.entries()) if (n % 2 === 1) await store.delete(key);
      await store.close();
      await reopen();
      await unsettled(store);
      expect(onDisk()).toBeLessThan(full * 0.6);
      for (const [n, [key, bytes]] of objects.entries()) {
        if (n % 2 === 1) expect(await store.head(key)).toBeUndefined();
        else expect(Buffer.compare(await store.readBytes(key), bytes)).toBe(0);
      }
      for (const [n, [key]] of objects.entries()) if (n % 2 === 0) await store.delete(key);
      expect(packs()).toStrictEqual([]);
    });

    test('little of it is not worth a copy, until a day has passed', async () => {
      const keys = await Promise.all(Array.from({ length: 40 }, (_, n) => append(n, alignedBytes(100_000))));
      for (const key of keys) store.packed!.settled(key);
      await store.close();
      await reopen();
      const full = onDisk();
      await store.delete(keys[5]!);
      await unsettled(store);
      expect(onDisk()).toBeGreaterThan(full * 0.99);
      for await (const _ of store.packed!.unsettled(0, Date.now() + 25 * 60 * 60 * 1000)) expect.unreachable();
      expect(onDisk()).toBeLessThan(full * 0.99);
      expect(await all()).toHaveLength(39);
    });

    test('of two processes that write a pack anew at once, one does', async () => {
      const keys = await Promise.all(Array.from({ length: 6 }, (_, n) => append(n, alignedBytes(50_000))));
      for (const key of keys) store.packed!.settled(key);
      await store.close();
      await reopen();
      await store.delete(keys[0]!);
      const [path] = packs();
      const temporary = join(folder, 'incoming', 'anew');
      await Promise.all([giveBackHoles(path!, temporary), giveBackHoles(path!, temporary), store.delete(keys[1]!)]);
      expect((await all()).toSorted()).toStrictEqual(keys.slice(2).toSorted());
      expect(existsSync(temporary)).toBe(false);
    });

    test('a delete while the pack is written anew is not forgotten', async () => {
      const objects = await Promise.all(
        Array.from({ length: 60 }, async (_, n) => {
          const bytes = alignedBytes(50_000 + n);
          return [await append(n, bytes), bytes] as const;
        }),
      );
      for (const [key] of objects) store.packed!.settled(key);
      await store.close();
      await reopen();
      const [path] = packs();
      const gone = new Set<string>();
      for (let round = 0; round < 5; round++) {
        const writing = giveBackHoles(path!, join(folder, 'incoming', 'anew'));
        for (const [n, [key]] of objects.entries()) {
          if (n % 6 !== round) continue;
          await store.delete(key);
          gone.add(key);
        }
        await writing;
        for (const [key, bytes] of objects) {
          if (gone.has(key)) expect(await store.head(key)).toBeUndefined();
          else expect(Buffer.compare(await store.readBytes(key), bytes)).toBe(0);
        }
      }
    });
  });

  describe('damage', () => {
    const offsetOf = (key: string): number => Number.parseInt(/-([0-9a-z]+)\.dcm$/.exec(key)![1]!, 36) * 4096;
    const overwrite = (path: string, offset: number, bytes: Uint8Array): void => {
      const fd = openSync(path, 'r+');
      writeSync(fd, bytes, 0, bytes.length, offset);
      closeSync(fd);
    };

    test('a write that a crash cut short: nothing of it is listed, and its rest is cut off', async () => {
      const [first, second] = [await append(1), await append(2)];
      const [path] = packs();
      truncateSync(path!, offsetOf(second) + 4096 + 10_000);
      const other = await FsBlobStore.open(folder);
      expect(await unsettled(other)).toStrictEqual([first]);
      expect(await other.head(second)).toBeUndefined();
      expect(statSync(path!).size).toBe(offsetOf(second));
      await other.close();
    });

    test('a header page that cannot be read hides its object alone, and keeps the pack from being removed', async () => {
      const keys = [await append(1), await append(2), await append(3)];
      for (const key of keys) store.packed!.settled(key);
      await store.close();
      const [path] = packs();
      overwrite(path!, offsetOf(keys[1]!), randomBytes(4096));
      await reopen();
      expect(await all()).toStrictEqual([keys[0], keys[2]]);
      await store.delete(keys[0]!);
      await store.delete(keys[2]!);
      await unsettled(store);
      expect(packs()).toHaveLength(1);
    });

    test('a header page that is another object’s is not read as this one’s', async () => {
      const keys = [await append(1), await append(2)];
      const [path] = packs();
      const fd = openSync(path!, 'r');
      const page = Buffer.alloc(4096);
      readSync(fd, page, 0, 4096, offsetOf(keys[0]!));
      closeSync(fd);
      overwrite(path!, offsetOf(keys[1]!), page);
      await expect(store.readBytes(keys[1]!)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });
  });

  test('random appends, deletes, sweeps and restarts keep what was kept', async () => {
    let seed = 20_261_122;
    const random = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((seed / 2_147_483_648) * below);
    };
    const model = new Map<string, Buffer>();
    let n = 0;
    for (let step = 0; step < 200; step++) {
      const what = random(100);
      if (what < 55) {
        const batch = Array.from({ length: 1 + random(6) }, () => alignedBytes(random(30_000)));
        const study = `clinic/1.2.${random(3)}`;
        const keys = await Promise.all(batch.map((bytes) => append(n++, bytes, study)));
        for (const [i, key] of keys.entries()) {
          model.set(key, batch[i]!);
          store.packed!.settled(key);
        }
      } else if (what < 90 && model.size > 0) {
        const key = [...model.keys()][random(model.size)]!;
        await store.delete(key);
        model.delete(key);
      } else if (what < 96) {
        for await (const key of store.packed!.unsettled(0, Date.now() + random(2) * 48 * 3_600_000))
          expect(model.has(key)).toBe(true);
      } else {
        if (random(2) === 0) await store.close();
        await reopen({ ...LIMITS, packBytes: 40_000 + random(400_000) });
      }
    }
    expect((await all()).toSorted()).toStrictEqual([...model.keys()].toSorted());
    for (const [key, bytes] of model) expect(Buffer.compare(await store.readBytes(key), bytes)).toBe(0);
    for (const key of model.keys()) await store.delete(key);
    await store.close();
    await reopen();
    await unsettled(store);
    expect(
      readdirSync(join(folder, 'blobs'), { recursive: true }).filter((name) => String(name).endsWith('.tar')),
    ).toStrictEqual([]);
  });
});
