import { openSync, writeSync } from 'node:fs';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { IndexJobQueue } from '#adapters/local/index-job-queue.ts';
import { isAlive, thisProcess } from '#adapters/local/living-process.ts';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';
import { asPacsError } from '#core/errors.ts';
import { collectGarbage } from '#test/fixtures/collect-garbage.ts';
import { blobBody, systemClock } from './local-fixtures.ts';

/** The other process of the tests in local-crash.test.ts: does one job on a shared folder and says each result on one line. */
const [job, folder, name] = process.argv.slice(2) as [string, string, string];

/** Synchronous: what was said before a kill -9 stands in the pipe. */
const say = (line: object): void => void writeSync(1, `${JSON.stringify(line)}\n`);
const openAll = async () => {
  const index = await LmdbIndexTable.open(`${folder}/index.lmdb`);
  return { index, blobs: await FsBlobStore.open(folder), jobs: new IndexJobQueue(index, systemClock) };
};

const JOBS: Record<string, () => Promise<void>> = {
  /** Stores until it is killed: blob, then index; only then says so. */
  async store() {
    const { index, blobs } = await openAll();
    let count = 0;
    const lane = async (): Promise<never> => {
      for (;;) {
        const n = count++;
        const size = [0, 100, 2048, 70_000, 527_000, 1_500_000][n % 6] as number;
        const key = `t/${name}/${n % 3}/${n}-${size}`;
        const body = blobBody(key, size);
        const streamed = async function* () {
          for (let at = 0; at < size; at += 50_000) yield body.subarray(at, at + 50_000);
        };
        const { sha256 } = await blobs.put(key, n % 2 === 0 ? body : streamed());
        const sort = `${name}|${n}`;
        await index.write([
          {
            kind: 'put',
            key: { partition: 'left', sort },
            item: { key, sha256, padding: 'x'.repeat((n % 5) * 1500) },
            if: 'absent',
          },
          { kind: 'put', key: { partition: 'right', sort }, item: { sha256 } },
          { kind: 'add', key: { partition: 'sums', sort: 'all' }, increments: { instances: 1 } },
          { kind: 'append', partition: 'feed', item: { sort } },
        ]);
        say({ sort, key, sha256 });
      }
    };
    await Promise.all(Array.from({ length: 6 }, lane));
  },

  /** Thirteen of the rivals who all want the same twenty names. */
  async rival() {
    const { index, blobs } = await openAll();
    const rival = async (i: number): Promise<void> => {
      for (let n = 0; n < 20; n++) {
        const me = `${name}.${i}`;
        const outcome = await index.write([
          { kind: 'put', key: { partition: 'prize', sort: `${n}` }, item: { me }, if: 'absent' },
          { kind: 'add', key: { partition: 'sums', sort: 'prizes' }, increments: { n: 1 } },
        ]);
        if (outcome.committed) say({ prize: n, me });
        await index.write([{ kind: 'add', key: { partition: 'sums', sort: 'tries' }, increments: { n: 1 } }]);
        const won = await blobs.put(`prize/${n}`, Buffer.from(me)).catch((error: unknown) => {
          if (asPacsError(error).code !== 'CONFLICT') throw error;
        });
        if (won !== undefined) say({ blob: n, me });
      }
    };
    await Promise.all(Array.from({ length: 13 }, (_, i) => rival(i)));
    await index.close();
  },

  /** Receives until nothing is left. */
  async work() {
    const { index, jobs } = await openAll();
    for (let empty = 0; empty < 3; ) {
      const received = await jobs.receive('shared', { max: 5, visibilityMs: 60 * 60_000 });
      empty = received.length === 0 ? empty + 1 : 0;
      for (const received_ of received) {
        say({ n: received_.payload.n });
        await jobs.complete('shared', received_);
      }
    }
    await index.close();
  },

  /** Writes one record after another and says each at once. */
  async count() {
    const { index } = await openAll();
    for (let n = 0; n < 300; n++) {
      await index.write([{ kind: 'put', key: { partition: 'count', sort: `${n}` }, item: { n } }]);
      say({ n });
    }
    await index.close();
  },

  /** A stream of 512 MiB in and out again, to a reader that is slower than the disk. */
  async stream() {
    const { blobs, index } = await openAll();
    let most = 0;
    let passed = 0;
    /** Every 32 MiB: what has been let go of by then is the collector's, whenever it comes to that. */
    const watch = async (bytes: number): Promise<void> => {
      passed += bytes;
      if (passed < 32 * 1024 * 1024) return;
      passed = 0;
      most = Math.max(most, (await collectGarbage()).rss);
    };
    const { rss: before } = await collectGarbage();
    const chunk = Buffer.alloc(100_000, 'chunk');
    const chunks = Math.ceil((512 * 1024 * 1024) / chunk.length);
    const source = async function* () {
      for (let n = 0; n < chunks; n++) {
        await watch(chunk.length);
        yield Buffer.from(chunk);
      }
    };
    const { size, sha256 } = await blobs.put('stream', source());
    let read = 0;
    for await (const part of blobs.read('stream')) {
      read += part.length;
      await watch(part.length);
      await new Promise((resolve) => setImmediate(resolve));
    }
    say({ size, sha256, read, grownBytes: most - before, expected: chunks * chunk.length });
    await index.close();
  },

  /** Under a limit on the size of a file (see the test): writes a blob that is too large for it, then one that is not. */
  async full() {
    const { blobs, index } = await openAll();
    const large = async function* () {
      for (let n = 0; n < 40; n++) yield Buffer.alloc(100_000);
    };
    for (const body of [Buffer.alloc(1_500_000), Buffer.alloc(4_000_000), large()])
      await blobs.put('full/a', body).catch((error: unknown) => say({ code: asPacsError(error).code }));
    say({ stored: (await blobs.put('full/b', Buffer.alloc(1000))).size });
    // In one write, of which the disk takes the first and a part of the second.
    const append = (n: number) => blobs.packed!.append(`full/1.2/1.3/1.${n}.V.dcm`, Buffer.alloc(600_000));
    for (const one of await Promise.allSettled([append(1), append(2)]))
      say({ code: one.status === 'rejected' ? asPacsError(one.reason).code : 'stored' });
    for await (const { key, size } of blobs.list('')) say({ key, size });
    await blobs.close();
    await index.close();
  },

  /** Under a limit on the size of a file (see the test): writes records until nothing more fits, and a little longer. */
  async fullIndex() {
    const { index } = await openAll();
    for (let n = 0, refused = 0; refused < 5; n++) {
      await index
        .write([
          { kind: 'put', key: { partition: 'left', sort: `${n}` }, item: { text: 'x'.repeat(20_000) } },
          { kind: 'put', key: { partition: 'right', sort: `${n}` }, item: {} },
        ])
        .then(
          () => say({ stored: n }),
          (error: unknown) => say({ code: asPacsError(error).code, refused: ++refused }),
        );
      if ((await index.get({ partition: 'left', sort: '0' })) === undefined) say({ lost: 0 });
    }
    await index.close();
  },

  /** Under a limit on open files (see the test): takes them all, for longer than a process goes without looking at its door, then gives them back. */
  async handles() {
    const { blobs, index } = await openAll();
    const me = thisProcess();
    const packed = await blobs.packed!.append('handles/1.1/1.2/1.3.V.dcm', Buffer.alloc(10));
    const taken: number[] = [];
    try {
      for (;;) taken.push(openSync('/dev/null', 'r'));
    } catch {
      // that was the last one
    }
    const { closeSync } = process.getBuiltinModule('node:fs');
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    say({ alive: String(isAlive(me)) });
    const refused = (error: unknown) => say({ code: asPacsError(error).code });
    const append = () => blobs.packed!.append('handles/1.2/1.3/1.4.V.dcm', Buffer.alloc(20));
    const write = () => index.write([{ kind: 'put', key: { partition: 'handles', sort: 'a' }, item: {} }]);
    await blobs.put('handles/a', Buffer.alloc(10)).catch(refused);
    for (const key of ['seed', packed.key]) await blobs.readBytes(key).catch(refused);
    await append().catch(refused);
    await write().catch(refused);
    for (const fd of taken) closeSync(fd);
    say({ stored: (await blobs.put('handles/a', Buffer.alloc(10))).size });
    say({ stored: (await append()).size });
    say({ committed: String((await write()).committed) });
    await index.close();
  },
};

await JOBS[job]?.();
