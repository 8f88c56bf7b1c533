import type * as fs from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';

/** What the store asks of the operating system, in order: a power cut cannot be had in a test, but its promise can be read here. */
const log: string[] = [];
const paths = new Map<number, string>();

vi.mock('node:fs', async (importOriginal) => {
  const real = await importOriginal<typeof fs>();
  const openSync = (path: string, ...rest: [string?, number?]): number => {
    const fd = real.openSync(path, ...(rest as [string]));
    paths.set(fd, path);
    return fd;
  };
  const logged =
    (name: string, call: typeof real.fsync) =>
    (fd: number, done: (error: NodeJS.ErrnoException | null) => void): void => {
      const path = paths.get(fd);
      log.push(`${name} begins ${path}`);
      call(fd, (error) => {
        log.push(`${name} ends ${path}`);
        done(error);
      });
    };
  const linkSync = (from: string, to: string): void => {
    real.linkSync(from, to);
    log.push(`link ${from} ${to}`);
  };
  return {
    ...real,
    openSync,
    linkSync,
    fsync: logged('fsync', real.fsync),
    fdatasync: logged('fdatasync', real.fdatasync),
  };
});

let root = '';
let store: FsBlobStore;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'nephos-durability-'));
  store = await FsBlobStore.open(root);
  log.length = 0;
});
afterEach(async () => {
  await store.close();
  rmSync(root, { recursive: true });
});

const blob = (key: string): string => join(root, 'blobs', key);
const beginnings = (path: string): number => log.filter((line) => line === `fsync begins ${path}`).length;

async function* source(): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < 5; i++) yield Buffer.alloc(300_000, i);
}

describe('before a put is acknowledged', () => {
  test.each([
    ['a small array', Buffer.alloc(10)],
    ['a large array', Buffer.alloc(5_000_000)],
    ['a stream', source()],
  ])('%s: its bytes are synced, then linked, then the directories are synced', async (_, body) => {
    await store.put('t/study/series/a', body);
    const link = log.findIndex((line) => line.startsWith('link '));
    const incoming = log[link]?.split(' ')[1];
    expect(log.slice(0, link)).toContain(`fdatasync ends ${incoming}`);
    for (const directory of ['t/study/series', 't/study', 't', '']) {
      const path = join(root, 'blobs', directory);
      expect(log.slice(link)).toContain(`fsync begins ${path}`);
      expect(log.slice(link)).toContain(`fsync ends ${path}`);
    }
  });

  test('its own directory is synced anew, those above it no more', async () => {
    await store.put('t/study/series/a', Buffer.alloc(10));
    log.length = 0;
    await store.put('t/study/series/b', Buffer.alloc(10));
    expect(beginnings(blob('t/study/series'))).toBe(1);
    expect(beginnings(blob('t/study'))).toBe(0);
  });

  test('a directory that was removed and made anew is synced with all above it', async () => {
    await store.put('t/study/series/a', Buffer.alloc(10));
    rmSync(blob('t/study'), { recursive: true }); // as another process would by deleting its last blob
    log.length = 0;
    await store.put('t/study/series/b', Buffer.alloc(10));
    expect(log.filter((line) => line === `fsync ends ${blob('t/study/series')}`).length).toBeGreaterThan(0);
    expect(log).toContain(`fsync ends ${blob('t/study')}`);
    expect(log).toContain(`fsync ends ${blob('t')}`);
  });

  test('many at once share the syncs of their directory, and each has one that began after its link', async () => {
    await store.put('t/s/first', Buffer.alloc(10));
    log.length = 0;
    await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        await store.put(`t/s/${i}`, Buffer.alloc(2048, i));
        const link = log.findIndex((line) => line.endsWith(blob(`t/s/${i}`)));
        const begin = log.indexOf(`fsync begins ${blob('t/s')}`, link);
        expect(link).toBeGreaterThanOrEqual(0);
        expect(begin).toBeGreaterThan(link);
        expect(log.indexOf(`fsync ends ${blob('t/s')}`, begin)).toBeGreaterThan(begin);
      }),
    );
    expect(beginnings(blob('t/s'))).toBeLessThan(40);
  });

  test('a delete is synced before it is acknowledged', async () => {
    await store.put('t/s/a', Buffer.alloc(10));
    await store.put('t/s/b', Buffer.alloc(10));
    log.length = 0;
    await store.delete('t/s/a');
    expect(log).toStrictEqual([`fsync begins ${blob('t/s')}`, `fsync ends ${blob('t/s')}`]);
  });
});
