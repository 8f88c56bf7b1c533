import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { IndexDoor } from '#adapters/local/index-door.ts';
import { copyIndex } from '#adapters/local/lmdb-copy.ts';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';

/** The other processes of index-door.test.ts. */
const [job, path, name = '', count = '0'] = process.argv.slice(2) as [string, string, string?, string?];
/** LMDB's two pages that tell of the last two transactions. */
const firstPages = (): Buffer => {
  const file = openSync(path, 'r');
  const bytes = Buffer.alloc(8192);
  readSync(file, bytes, 0, bytes.length, 0);
  closeSync(file);
  return bytes;
};
const say = (text: string): void => void writeSync(1, `${text}\n`);

const JOBS: Record<string, () => Promise<void>> = {
  /** Writes one record after another until it is killed, and says each. */
  async write() {
    const index = await LmdbIndexTable.open(path);
    for (let n = 0; ; n++) {
      const sort = `${name}|${n}`;
      await index.write([{ kind: 'put', key: { partition: 'all', sort }, item: { n } }]);
      say(sort);
      if (n % 3 === 0) await sleep(1);
    }
  },

  /** Comes in and goes out again. */
  async visit() {
    for (let n = 0; n < Number(count); n++) {
      const index = await LmdbIndexTable.open(path);
      await index.close();
    }
  },

  /** Is long in the door, as a process that is short of time; says whether anything was committed meanwhile. */
  async slow() {
    await new IndexDoor(path).enter(() => {
      const before = firstPages();
      say('opening');
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(count));
      say(before.equals(firstPages()) ? 'quiet' : 'somebody committed');
    });
  },

  /** Copies all of it, again and again. */
  async copy() {
    for (let n = 0; n < Number(count); n++)
      say(`${await copyIndex(path, `${path}-copy-${n}`, { keeps: () => true, countsOn: () => true })}`);
  },

  /** Comes in and stays, idle. */
  async stay() {
    await LmdbIndexTable.open(path);
    say('in');
    await sleep(10 * 60_000);
  },
};

await JOBS[job]?.();
