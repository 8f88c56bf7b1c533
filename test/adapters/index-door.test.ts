import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { IndexDoor } from '#adapters/local/index-door.ts';
import { isAlive, thisProcess } from '#adapters/local/living-process.ts';
import { copyIndex } from '#adapters/local/lmdb-copy.ts';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';

const CHILD = join(import.meta.dirname, 'index-door-child.ts');
let folder = '';
let path = '';
let killers: (() => Promise<unknown>)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nephos-door-'));
  path = join(folder, 'index');
});
afterEach(async () => {
  await Promise.all(killers.map((kill) => kill()));
  killers = [];
  rmSync(folder, { recursive: true });
});

function start(job: string, ...rest: readonly string[]) {
  const child = spawn(process.execPath, [CHILD, job, path, ...rest], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  let saidOne = (): void => undefined;
  const first = new Promise<void>((resolve) => {
    saidOne = resolve;
  });
  const reader = createInterface({ input: child.stdout });
  reader.on('line', (line) => {
    lines.push(line);
    saidOne();
  });
  const read = new Promise<void>((resolve) => reader.once('close', () => resolve()));
  const done = new Promise<number | NodeJS.Signals | null>((resolve) =>
    child.once('exit', (code, signal) => resolve(signal ?? code)),
  ).then(async (ended) => {
    await read;
    return ended;
  });
  const kill = async (signal: NodeJS.Signals = 'SIGKILL') => {
    child.kill(signal);
    return done;
  };
  killers.push(kill);
  return { lines, first, done, kill, pid: child.pid };
}

/** The system stops a process when it comes to that, thread by thread: until then it may still answer. */
const stopped = async (pid: number): Promise<void> => {
  process.kill(pid, 'SIGSTOP');
  const isStopped = (thread: string): boolean => {
    try {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
    } catch {
      return false; // it has just ended
    }
  };
  if (existsSync('/proc/self/task')) await until(() => readdirSync(`/proc/${pid}/task`).every(isStopped));
};

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
};

const sorts = async (index: LmdbIndexTable): Promise<Set<string>> => {
  const all = new Set<string>();
  for (let after: string | undefined, more = true; more; ) {
    const page = await index.query({ partition: 'all', limit: 10_000, keysOnly: true, ...(after && { after }) });
    for (const { sort } of page.records) all.add(sort);
    after = page.records.at(-1)?.sort;
    more = page.more;
  }
  return all;
};

const notes = (): string[] => readdirSync(`${path}-door`);

describe('processes that open the index while others commit', { timeout: 300_000 }, () => {
  // LMDB's open sets back the number of the last transaction without its write lock: what was committed meanwhile was overwritten by the
  // next one, and nobody heard of it (ITS#9496).
  test('find nobody who commits, however long it takes them', async () => {
    const writers = ['a', 'b', 'c'].map((name) => start('write', name));
    await Promise.all(writers.map(({ first }) => first));
    const slow = start('slow', 'd', '300');
    expect(await slow.done).toBe(0);
    expect(slow.lines).toEqual(['opening', 'quiet']);
    // and then the writers go on
    const said = writers.map(({ lines }) => lines.length);
    await until(() => writers.every(({ lines }, i) => lines.length > said[i]! + 5));
  });

  test('take nothing away that was acknowledged', async () => {
    const writers = ['a', 'b', 'c'].map((name) => start('write', name));
    await Promise.all(writers.map(({ first }) => first));
    const visitors = [start('visit', 'd', '60'), start('visit', 'e', '60'), start('copy', 'f', '5')];
    for (const visitor of visitors) expect(await visitor.done).toBe(0);
    // While somebody comes in all the time, nobody may have come to write.
    await until(() => writers.reduce((sum, { lines }) => sum + lines.length, 0) > 50);
    await Promise.all(writers.map(({ kill }) => kill()));
    const acknowledged = writers.flatMap(({ lines }) => lines);
    expect(acknowledged.length).toBeGreaterThan(50);
    const index = await LmdbIndexTable.open(path);
    const stored = await sorts(index);
    await index.close();
    expect(acknowledged.filter((sort) => !stored.has(sort))).toEqual([]);
    expect(notes()).toEqual([]);
  });

  test('come in one after the other when all come at once', async () => {
    const children = ['a', 'b', 'c', 'd', 'e'].map((name) => start('write', name));
    await Promise.all(children.map(({ first }) => first));
    expect(notes().filter((name) => name.endsWith('.inside'))).toHaveLength(5);
  });

  test('are let in by one that is idle', async () => {
    const idle = start('stay');
    await idle.first;
    const index = await LmdbIndexTable.open(path);
    expect((await index.write([{ kind: 'put', key: { partition: 'all', sort: '1' }, item: {} }])).committed).toBe(true);
    await index.close();
  });

  test('and are killed in the door hold nobody up, nor those who were killed inside', async () => {
    const writer = start('write', 'a');
    await writer.first;
    const slow = start('slow', 'b', '60000');
    await slow.first;
    await slow.kill();
    const said = writer.lines.length;
    await until(() => writer.lines.length > said + 5);
    await writer.kill();
    expect(notes().length).toBeGreaterThan(1);
    const index = await LmdbIndexTable.open(path);
    expect(notes().filter((name) => !name.includes(`-${process.pid}-`))).toEqual([]);
    expect((await sorts(index)).size).toBeGreaterThanOrEqual(writer.lines.length);
    await index.close();
  });

  test('do not wait for ever for one that does not answer', async () => {
    const idle = start('stay');
    await idle.first;
    await stopped(idle.pid!);
    await expect(LmdbIndexTable.open(path, { patienceMs: 100 })).rejects.toMatchObject({ code: 'BUSY' });
    process.kill(idle.pid!, 'SIGCONT');
    await (await LmdbIndexTable.open(path)).close();
  });

  test('hold writers up for a time that has an end: what they wanted to write fails, and nothing is written', async () => {
    const index = await LmdbIndexTable.open(path, { holdMs: 100 });
    const put = (sort: string) => index.write([{ kind: 'put', key: { partition: 'all', sort }, item: {} }]);
    await put('before');
    const slow = start('slow', 'b', '60000');
    await slow.first;
    await expect(put('meanwhile')).rejects.toMatchObject({ code: 'BUSY' });
    await slow.kill();
    await put('after');
    expect([...(await sorts(index))]).toEqual(['after', 'before']);
    await index.close();
  });

  test('only to read keep nobody waiting', async () => {
    await (await LmdbIndexTable.open(path)).close();
    const door = new IndexDoor(path, { readOnly: true });
    await door.enter(() => undefined);
    const writer = start('write', 'a');
    await writer.first;
    await door.leave(async () => undefined);
  });

  test('are not brought down by a folder that has been removed under them', async () => {
    const door = new IndexDoor(path);
    rmSync(`${path}-door`, { recursive: true });
    // It looks at once, and then whenever its timer says.
    expect(() => door.listen(() => expect.unreachable())).not.toThrow();
    await door.leave(async () => undefined);
  });

  test('close what has been removed under them', async () => {
    const index = await LmdbIndexTable.open(path);
    rmSync(`${path}-door`, { recursive: true });
    await index.close();
  });

  test('may be one process, twice', async () => {
    const [one, two] = [await LmdbIndexTable.open(path), await LmdbIndexTable.open(path)];
    await Promise.all(
      [one, two].map((index, i) => index.write([{ kind: 'put', key: { partition: 'all', sort: `${i}` }, item: {} }])),
    );
    expect((await sorts(two)).size).toBe(2);
    await one.close();
    await two.write([{ kind: 'put', key: { partition: 'all', sort: 'x' }, item: {} }]);
    await two.close();
  });
});

describe('a process', () => {
  test('is known by when it began, not by its id alone', async () => {
    expect(isAlive(thisProcess())).toBe(true);
    expect(isAlive(`${thisProcess()}0`)).toBe(false);
    expect(isAlive(`0${thisProcess()}`)).toBe(false);
    const idle = start('stay');
    await idle.first;
    const name = notes()[0]!.split('.')[0]!;
    expect(name).toContain(`-${idle.pid}-`);
    expect(isAlive(name)).toBe(true);
    await idle.kill();
    expect(isAlive(name)).toBe(false);
  });
});

describe('a backup that is read', () => {
  const copied = async (name: string): Promise<number> =>
    copyIndex(join(folder, 'backup'), join(folder, name), { keeps: () => true, countsOn: () => true });

  test('has nothing left beside it, but its lock stays when somebody has come in to it meanwhile', async () => {
    const index = await LmdbIndexTable.open(path);
    await index.write([{ kind: 'put', key: { partition: 'all', sort: 'a' }, item: { n: 1 } }]);
    await index.close();
    copyFileSync(path, join(folder, 'backup'));
    expect(await copied('first')).toBe(1);
    expect(readdirSync(folder).filter((name) => name.startsWith('backup'))).toEqual(['backup']);
    // A process that enters makes its door before it opens the file: a lock taken from under it would let a second writer in.
    mkdirSync(join(folder, 'backup-door'));
    expect(await copied('second')).toBe(1);
    expect(readdirSync(folder)).toContain('backup-lock');
  });
});
