import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { IndexJobQueue } from '#adapters/local/index-job-queue.ts';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';
import type { Item } from '#core/ports/index-table.ts';
import { blobBody, systemClock } from './local-fixtures.ts';

type Line = Record<string, string | number>;

const CHILD = join(import.meta.dirname, 'local-child.ts');
/** A limit that stands for a full disk. The signal that would kill the process is ignored, so that write(2) fails. */
const FILES_OF_1_MIB = 'trap "" XFSZ; ulimit -f 2048';
let folder = '';
/** Saves three quarters of the time that a child needs to start. */
const compiled = mkdtempSync(join(tmpdir(), 'nephos-compiled-'));

beforeAll(async () => {
  folder = compiled;
  await start('nothing').done; // a process that ends by itself fills the cache
});
afterAll(() => rmSync(compiled, { recursive: true }));
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nephos-crash-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Starts a child on the shared folder. `lines` has what it says; `done` resolves when it has ended and all was read. */
function start(job: string, name = 'child', shell?: string, stderr: 'inherit' | 'ignore' = 'inherit') {
  const childArguments = [CHILD, job, folder, name];
  const [command, ...rest] =
    shell === undefined
      ? [process.execPath, ...childArguments]
      : ['sh', '-c', `${shell}; exec "$0" "$@"`, process.execPath, ...childArguments];
  const child: ChildProcess = spawn(command as string, rest, {
    stdio: ['ignore', 'pipe', stderr],
    env: { ...process.env, NODE_COMPILE_CACHE: compiled },
  });
  const lines: Line[] = [];
  const listeners: ((line: Line) => void)[] = [];
  const reader = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  reader.on('line', (text) => {
    if (!text.endsWith('}')) return; // the kill cut it: it was not said
    const line: Line = JSON.parse(text);
    lines.push(line);
    for (const listener of listeners) listener(line);
  });
  const read = new Promise<void>((resolve) => reader.once('close', resolve));
  const ended = new Promise<NodeJS.Signals | number | null>((resolve) =>
    child.once('exit', (code, signal) => resolve(signal ?? code)),
  );
  return {
    lines,
    /** resolves when it has said so many */
    saying: (count: number) => new Promise<void>((resolve) => listeners.push(() => lines.length >= count && resolve())),
    listen: (listener: (line: Line) => void) => void listeners.push(listener),
    kill: () => child.kill('SIGKILL'),
    done: read.then(() => ended),
  };
}

async function allOf(index: LmdbIndexTable, partition: string): Promise<Map<string, Item>> {
  const all = new Map<string, Item>();
  for (let after: string | undefined, more = true; more; ) {
    const page = await index.query({ partition, limit: 1000, ...(after === undefined ? {} : { after }) });
    for (const { sort, item } of page.records) all.set(sort, item);
    after = page.records.at(-1)?.sort;
    more = page.more;
  }
  return all;
}

describe('after kill -9', { timeout: 300_000 }, () => {
  test('of 52 processes at random moments, all that was acknowledged is there and whole, and nothing is half there', async () => {
    const acknowledged: Line[] = [];
    for (let round = 0; round < 13; round++) {
      const children = Array.from({ length: 4 }, (_, i) => start('store', `p${round}-${i}`));
      await Promise.all(
        children.map(async (child, i) => {
          // some die in their first moments, the others while they store, when there is enough to tell of
          if (i > 0) await Promise.race([child.saying(14), child.done]);
          await new Promise((resolve) => setTimeout(resolve, Math.random() * (i > 0 ? 120 : 250)));
          child.kill();
          expect(await child.done).toBe('SIGKILL');
          acknowledged.push(...child.lines);
        }),
      );
    }
    expect(acknowledged.length).toBeGreaterThan(500);

    const index = await LmdbIndexTable.open(join(folder, 'index.lmdb'));
    const blobs = await FsBlobStore.open(folder);
    const [left, right, feed] = [await allOf(index, 'left'), await allOf(index, 'right'), await allOf(index, 'feed')];
    for (const { sort, key, sha256 } of acknowledged) {
      expect(left.get(sort as string)).toMatchObject({ key, sha256 });
      const bytes = await blobs.readBytes(key as string);
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256);
    }
    // each write was one: its records, its sum and its event are all there or none of them
    expect([...right.keys()]).toStrictEqual([...left.keys()]);
    expect([...feed.values()].map(({ sort }) => sort).toSorted()).toStrictEqual([...left.keys()].toSorted());
    expect(await index.get({ partition: 'sums', sort: 'all' })).toStrictEqual({ instances: left.size });
    // every blob that is visible, acknowledged or not, is whole
    let visible = 0;
    for await (const { key, size } of blobs.list('')) {
      visible++;
      expect(size).toBe(Number(key.slice(key.lastIndexOf('-') + 1)));
      expect(Buffer.compare(await blobs.readBytes(key), blobBody(key, size))).toBe(0);
    }
    expect(visible).toBeGreaterThanOrEqual(left.size);

    const leftovers = readdirSync(join(folder, 'incoming')).length;
    expect(await blobs.sweep(60 * 60 * 1000, Date.now())).toBe(0);
    expect(await blobs.sweep(0, Date.now() + 1000)).toBe(leftovers);
    expect(readdirSync(join(folder, 'incoming'))).toStrictEqual([]);

    // and the store goes on working
    await blobs.put('after', Buffer.from('x'));
    expect((await index.write([{ kind: 'put', key: { partition: 'left', sort: 'after' }, item: {} }])).committed).toBe(
      true,
    );
    await blobs.close();
    await index.close();
  });
});

describe('several processes on one store', { timeout: 300_000 }, () => {
  test('fifty-two rivals in four of them: each key has one winner, and every add is counted', async () => {
    const children = ['a', 'b', 'c', 'd'].map((name) => start('rival', name));
    for (const child of children) expect(await child.done).toBe(0);
    const lines = children.flatMap((child) => child.lines);
    const index = await LmdbIndexTable.open(join(folder, 'index.lmdb'));
    const blobs = await FsBlobStore.open(folder);
    for (let n = 0; n < 20; n++) {
      const winners = lines.filter((line) => line.prize === n);
      expect(winners).toHaveLength(1);
      expect(await index.get({ partition: 'prize', sort: `${n}` })).toStrictEqual({ me: winners[0]?.me });
      const writers = lines.filter((line) => line.blob === n);
      expect(writers).toHaveLength(1);
      expect(Buffer.from(await blobs.readBytes(`prize/${n}`)).toString()).toBe(writers[0]?.me);
    }
    expect(await index.get({ partition: 'sums', sort: 'prizes' })).toStrictEqual({ n: 20 });
    expect(await index.get({ partition: 'sums', sort: 'tries' })).toStrictEqual({ n: 52 * 20 });
    await blobs.close();
    await index.close();
  });

  test('no job goes to two workers', async () => {
    const index = await LmdbIndexTable.open(join(folder, 'index.lmdb'));
    const jobs = new IndexJobQueue(index, systemClock);
    await Promise.all(Array.from({ length: 200 }, (_, n) => jobs.enqueue('shared', { n })));
    const children = ['a', 'b', 'c'].map((name) => start('work', name));
    for (const child of children) expect(await child.done).toBe(0);
    const received = children.flatMap((child) => child.lines.map(({ n }) => n as number));
    expect(received.toSorted((a, b) => a - b)).toStrictEqual(Array.from({ length: 200 }, (_, n) => n));
    expect(await jobs.depth('shared')).toStrictEqual({ waiting: 0, inFlight: 0, dead: 0 });
    await index.close();
  });

  test('what another process said it has written is seen by the very next read', async () => {
    const index = await LmdbIndexTable.open(join(folder, 'index.lmdb'));
    const child = start('count');
    const missed: unknown[] = [];
    let checks = Promise.resolve();
    const seen = async (n: unknown): Promise<void> => {
      const item = await index.get({ partition: 'count', sort: `${n}` });
      const page = await index.query({ partition: 'count', from: `${n}`, limit: 1 });
      if (item === undefined || page.records[0]?.sort !== `${n}`) missed.push(n);
    };
    child.listen(({ n }) => {
      checks = Promise.all([checks, seen(n)]).then(() => undefined);
    });
    expect(await child.done).toBe(0);
    await checks;
    expect(child.lines).toHaveLength(300);
    expect(missed).toStrictEqual([]);
    await index.close();
  });
});

describe('the limits of the machine', { timeout: 300_000 }, () => {
  test('a stream of 512 MiB goes in and out in constant memory', async () => {
    const child = start('stream');
    expect(await child.done).toBe(0);
    const [line] = child.lines as [Line];
    expect(line.size).toBe(line.expected);
    expect(line.read).toBe(line.expected);
    expect(line.grownBytes).toBeLessThan(96 * 1024 * 1024);
  });

  test('no space left: the put fails with OUT_OF_SPACE and leaves nothing behind; smaller ones still work', async () => {
    const child = start('full', 'child', FILES_OF_1_MIB);
    expect(await child.done).toBe(0);
    const refused = { code: 'OUT_OF_SPACE' };
    expect(child.lines).toStrictEqual([
      ...[refused, refused, refused, { stored: 1000 }],
      ...[refused, refused, { key: 'full/b', size: 1000 }],
    ]);
    expect(readdirSync(join(folder, 'incoming'))).toStrictEqual([]);
  });

  test('no file handles left: what is asked for fails with BUSY, and works when there are some again', async () => {
    const blobs = await FsBlobStore.open(folder);
    await blobs.put('seed', Buffer.from('x'));
    await blobs.close();
    const child = start('handles', 'child', 'ulimit -n 200');
    expect(await child.done).toBe(0);
    const busy = { code: 'BUSY' };
    expect(child.lines).toStrictEqual([
      ...[{ alive: 'true' }, busy, busy, busy, busy, busy],
      ...[{ stored: 10 }, { stored: 20 }, { committed: 'true' }],
    ]);
  });

  test('no space left for the index: it takes no more, says so, and keeps what it has', async () => {
    // lmdb-js writes its errors to stderr besides throwing them
    const child = start('fullIndex', 'child', FILES_OF_1_MIB, 'ignore');
    expect(await child.done).toBe(0);
    const stored = child.lines.flatMap((line) => (line.stored === undefined ? [] : [String(line.stored)])).toSorted();
    expect(stored.length).toBeGreaterThan(20);
    expect(child.lines.filter((line) => line.stored === undefined)).toStrictEqual(
      [1, 2, 3, 4, 5].map((refused) => ({ code: 'OUT_OF_SPACE', refused })),
    );
    const index = await LmdbIndexTable.open(join(folder, 'index.lmdb'));
    expect([...(await allOf(index, 'left')).keys()]).toStrictEqual(stored);
    expect([...(await allOf(index, 'right')).keys()]).toStrictEqual(stored);
    expect((await index.write([{ kind: 'put', key: { partition: 'left', sort: 'more' }, item: {} }])).committed).toBe(
      true,
    );
    await index.close();
  });
});
