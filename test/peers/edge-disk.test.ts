import { mkdirSync, mkdtempSync, statfsSync } from 'node:fs';
import { readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { type CtStudy, ctStudy } from '#test/bench/data.ts';
import { cStore, dataSetHash, until } from '#test/edge/clinic.ts';
import { FaultyLine } from '#test/edge/faulty-line.ts';
import { Promises } from '#test/edge/promises.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { first, getInstance, getJson } from './helpers/dicomweb.ts';
import { type Edge, startEdge } from './helpers/edge.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';
import { run, runOk } from './helpers/programs.ts';

/** The gateway's data folder on a disk of its own that is small, full or read-only. Only root may mount one. */

const MB = 2 ** 20;
const A700 = 0xa700;

let dir: string;
let dataDir: string;
let nephos: Nephos;
let line: FaultyLine;
let edge: Edge | undefined;
let promises: Promises;
let mounted: string[] = [];

const mount = async (...args: string[]): Promise<void> => {
  await runOk('mount', args);
  mounted.unshift(args.at(-1)!);
};
const umount = async (folder: string): Promise<void> => {
  // Whoever was killed a moment ago may still have a file open.
  await until(
    () => run('umount', [folder]),
    ({ code }) => code === 0,
  );
  mounted = mounted.filter((one) => one !== folder);
};
const freeBytes = (): number => {
  const { bsize, bavail } = statfsSync(dataDir);
  return bsize * bavail;
};
/** The process that was started, and it answers. */
const lives = async (): Promise<boolean> =>
  edge!.child.exitCode === null && edge!.child.signalCode === null && (await destination()) !== undefined;

interface Destination {
  /** stored, and in no queue yet: a full disk lets intake wait too */
  readonly untaken: number;
  readonly pending: number;
  readonly held: number;
  readonly confirmed: number;
}
const destination = async (): Promise<Destination | undefined> => {
  const response = await fetch(`http://127.0.0.1:${edge!.httpPort}/status.json`);
  if (!response.ok) return undefined;
  const { untaken, destinations } = (await response.json()) as Pick<Destination, 'untaken'> & {
    readonly destinations: readonly Destination[];
  };
  return destinations[0] && { ...destinations[0], untaken };
};
const drained = (): Promise<unknown> => until(destination, isIdle, 60_000);
const isIdle = (one: Destination | undefined): boolean => one?.untaken === 0 && one.pending === 0 && one.held === 0;

const startGateway = async (reserveBytes: number): Promise<void> => {
  edge = await startEdge(dir, {
    dataDir,
    dicomPort: await freePort(),
    httpPort: await freePort(),
    disk: { reserveBytes },
    moveDestinations: [promises.destination],
    commitment: { unknownSeconds: 2 },
    upstreams: [
      {
        name: 'cloud',
        url: `http://127.0.0.1:${line.port}/dicomweb`,
        retry: { firstMs: 20, mostMs: 500 },
        timeoutMs: 30_000,
      },
    ],
  });
};

const objectsOf = ({ slices }: CtStudy): Buffer[] =>
  slices.map(({ header, pixels }) => Buffer.concat([header, pixels]));
/** One object after the other over one association; who is told of each answer may do something to the disk. */
const send = async (objects: readonly Buffer[], answered?: (statuses: readonly number[]) => Promise<void>) => {
  const statuses: number[] = [];
  const remote = { aeTitle: 'NEPHOS', host: '127.0.0.1', port: edge!.dicomPort };
  const AT_A_TIME = 5;
  for (let i = 0; i < objects.length; i += AT_A_TIME) {
    await cStore(remote, objects.slice(i, i + AT_A_TIME), 'CT1', statuses);
    await answered?.(statuses);
  }
  return statuses;
};
/** As a modality does: what was not taken is sent again, until all is. */
const sendAgain = async (objects: readonly Buffer[]): Promise<void> => {
  let left = [...objects];
  await until(
    async () => {
      const statuses = await send(left);
      left = left.filter((_, i) => statuses[i] !== 0);
      if (left.length > 0) await sleep(500);
      return left.length;
    },
    (count) => count === 0,
    90_000,
  );
};

const arrived = async (study: CtStudy, which: (i: number) => boolean = () => true): Promise<void> => {
  let count = 0;
  for (const [i, { SOPInstanceUID, header, pixels }] of study.slices.entries()) {
    if (!which(i)) continue;
    const bytes = await getInstance(nephos.root, { ...study, SOPInstanceUID });
    expect(dataSetHash(bytes), SOPInstanceUID).toBe(dataSetHash(Buffer.concat([header, pixels])));
    count++;
  }
  const [found] = await getJson(`${nephos.root}/studies?StudyInstanceUID=${study.StudyInstanceUID}`);
  expect(Number(first(found, '00201208'))).toBeGreaterThanOrEqual(count);
};

const ask = (slices: CtStudy['slices']): Promise<string | undefined> =>
  promises.ask(
    { aeTitle: 'NEPHOS', host: '127.0.0.1', port: edge!.dicomPort },
    slices.map(({ SOPInstanceUID }) => SOPInstanceUID),
  );

/** Nothing of it is in the archive: nothing may be promised, and nothing denied that is on its way. */
const owes = async (slices: CtStudy['slices']): Promise<string> => {
  const transaction = await ask(slices);
  expect(transaction).toBeDefined();
  await sleep(1_500);
  expect(promises.reports).toEqual([]);
  return transaction!;
};
const keeps = async (transaction: string): Promise<void> => {
  const { committed, failed } = await promises.answer(transaction);
  expect(failed).toEqual([]);
  expect(committed.length).toBeGreaterThan(0);
};

/** All of it, each instance once; and the gateway vouches for each, and for none that it has not got. */
const arrivedOnce = async (study: CtStudy): Promise<void> => {
  await arrived(study);
  const [found] = await getJson(`${nephos.root}/studies?StudyInstanceUID=${study.StudyInstanceUID}`);
  expect(first(found, '00201208')).toBe(study.slices.length);
  const listed = await getJson(`${nephos.root}/instances?StudyInstanceUID=${study.StudyInstanceUID}&limit=1000`);
  expect(listed).toHaveLength(study.slices.length);
  const never = { ...study.slices[0]!, SOPInstanceUID: '2.25.404' };
  const { committed, failed } = await promises.answer((await ask([...study.slices, never]))!);
  expect(committed.toSorted()).toEqual(study.slices.map(({ SOPInstanceUID }) => SOPInstanceUID).toSorted());
  expect(failed).toEqual([[never.SOPInstanceUID, 0x0112]]);
};

describe.runIf(process.getuid?.() === 0)('the gateway on a disk', () => {
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'nephos-edge-disk-'));
    dataDir = join(dir, 'disk');
    mkdirSync(dataDir);
    nephos = await startNephos();
    line = await FaultyLine.open(() => nephos.port);
    promises = await Promises.listen();
  });
  afterEach(async () => {
    try {
      await edge?.kill9();
      edge = undefined;
      await promises?.close();
      await line?.close();
      await nephos?.stop();
    } finally {
      for (const folder of [...mounted]) await umount(folder);
      await rm(dir, { recursive: true, force: true });
    }
  });

  test('that is small: A700 before it is full; when the archive is back, all goes on by itself', async () => {
    const reserveBytes = 16 * MB;
    await mount('-t', 'tmpfs', '-o', 'size=80m', 'nephos', dataDir);
    await startGateway(reserveBytes);
    await line.set({ kind: 'refused' });
    const study = ctStudy(8_700, 160);
    const objects = objectsOf(study);
    const statuses = await send(objects);
    expect(new Set(statuses)).toEqual(new Set([0, A700]));
    const taken = statuses.filter((one) => one === 0).length;
    expect(taken).toBeGreaterThan(60);
    // Once it refuses it goes on refusing: nothing that waits may give way.
    expect(statuses.indexOf(A700)).toBe(taken);
    // What was in flight was finished, and the index grew by what it noted of it: the rest of the reserve is there.
    expect(freeBytes()).toBeGreaterThan(reserveBytes / 4);
    expect(await lives()).toBe(true);
    // What was stored is taken in from the feed a moment later.
    await until(destination, (one) => one?.pending === taken);

    const owed = await owes(study.slices.slice(0, taken));
    await line.set({ kind: 'none' });
    await until(destination, (one) => one!.confirmed >= taken, 60_000);
    await arrived(study, (i) => statuses[i] === 0);
    await sendAgain(objects.filter((_, i) => statuses[i] !== 0));
    await drained();
    await keeps(owed);
    await arrivedOnce(study);
  });

  test('that others fill: what was acknowledged is kept, and when there is room all goes on by itself', async () => {
    await mount('-t', 'tmpfs', '-o', 'size=80m', 'nephos', dataDir);
    await startGateway(4 * MB);
    await line.set({ kind: 'refused' });
    const study = ctStudy(8_701, 60);
    const objects = objectsOf(study);
    let owed = '';
    const ballast = join(dataDir, 'somebody-else');
    const statuses = await send(objects, async ({ length }) => {
      if (length !== 20) return;
      owed = await owes(study.slices.slice(0, 20));
      await writeFile(ballast, Buffer.alloc(80 * MB)).catch((error: NodeJS.ErrnoException) =>
        expect(error.code).toBe('ENOSPC'),
      );
      expect(freeBytes()).toBe(0);
    });
    expect(statuses.slice(0, 20)).toEqual(Array(20).fill(0));
    expect(statuses.slice(20)).toEqual(Array(40).fill(A700));
    // What waits is carried away all the same, or waits for room: it is not lost.
    await line.set({ kind: 'none' });
    await sleep(2_000);
    expect(edge!.child.exitCode ?? edge!.child.signalCode).toBe(null);
    await rm(ballast);
    await sendAgain(objects.slice(20));
    await drained();
    expect(await lives()).toBe(true);
    await keeps(owed);
    await arrivedOnce(study);
  });

  test('that has no byte left below the reserve: an object that finds none is refused, nothing acknowledged is lost', async () => {
    // Without a reserve the objects themselves meet the end of the disk.
    await mount('-t', 'tmpfs', '-o', 'size=48m', 'nephos', dataDir);
    await startGateway(0);
    await line.set({ kind: 'refused' });
    const study = ctStudy(8_702, 120);
    const objects = objectsOf(study);
    const statuses = await send(objects);
    expect(statuses).toContain(0);
    expect(statuses.filter((one) => one !== 0 && one !== A700)).toEqual([]);
    expect(statuses).toContain(A700);
    expect(edge!.child.exitCode ?? edge!.child.signalCode).toBe(null);
    await line.set({ kind: 'none' });
    // What little more room the index needs is made from outside, as a person would.
    await runOk('mount', ['-o', 'remount,size=160m', dataDir]);
    await until(destination, isIdle, 60_000);
    await arrived(study, (i) => statuses[i] === 0);
    await sendAgain(objects.filter((_, i) => statuses[i] !== 0));
    await drained();
    expect(await lives()).toBe(true);
    await arrivedOnce(study);
  });

  test('whose objects become read-only in a stream, and writable again: failures are no success', async () => {
    await mount('-t', 'tmpfs', '-o', 'size=96m', 'nephos', dataDir);
    // The index stays open for writing, and a disk with such a file cannot be made read-only: it lies on another one.
    for (const name of ['index', 'index-lock']) {
      for (const folder of [dir, dataDir]) await writeFile(join(folder, name), '');
      await mount('--bind', join(dir, name), join(dataDir, name));
    }
    await startGateway(4 * MB);
    const study = ctStudy(8_703, 60);
    const objects = objectsOf(study);
    // Not while somebody writes there: so says the kernel, and is asked again.
    const remount = (how: 'ro' | 'rw') =>
      until(
        () => run('mount', ['-o', `remount,${how}`, dataDir]),
        ({ code }) => code === 0,
      );
    const statuses = await send(objects, async ({ length }) => {
      if (length === 20) await remount('ro');
      if (length === 40) await remount('rw');
    });
    expect(statuses.slice(0, 20)).toEqual(Array(20).fill(0));
    for (const status of statuses.slice(20, 40)) expect([A700, 0xc000, 0x0110]).toContain(status);
    expect(statuses.slice(40)).toEqual(Array(20).fill(0));
    await sendAgain(objects.slice(20, 40));
    await drained();
    expect(await lives()).toBe(true);
    await arrivedOnce(study);
  });

  // It tried for ever, within one turn of the event loop: node says ENOENT of a directory that a read-only file system does not make.
  test('that takes no new directory: a put fails, and does not try for ever', async () => {
    await mount('-t', 'tmpfs', '-o', 'size=8m', 'nephos', dataDir);
    const store = await FsBlobStore.open(dataDir);
    await store.put('main/a/b/c.dcm', Buffer.from('before'));
    const blobs = join(dataDir, 'blobs');
    await mount('--bind', blobs, blobs);
    await runOk('mount', ['-o', 'remount,bind,ro', blobs]);
    await expect(store.put('main/another/b/c.dcm', Buffer.from('x'))).rejects.toThrow();
    expect(await readdir(join(dataDir, 'incoming'))).toEqual([]);
    await store.close();
  });

  test('that fails and becomes read-only under everything: nothing more is acknowledged; put right, all goes on', async () => {
    const image = join(dir, 'image');
    await writeFile(image, '');
    await truncate(image, 160 * MB);
    await runOk('mkfs.ext4', ['-q', '-F', image]);
    await mount('-o', 'loop', image, dataDir);
    await startGateway(4 * MB);
    await line.set({ kind: 'refused' });
    const study = ctStudy(8_704, 40);
    let owed = '';
    const objects = objectsOf(study);
    const statuses = await send(objects, async ({ length }) => {
      // ext4(5): as after an error of the disk, whoever has files open.
      if (length !== 20) return;
      owed = await owes(study.slices.slice(0, 20));
      await runOk('mount', ['-o', 'remount,abort', dataDir]);
    });
    expect(statuses.slice(0, 20)).toEqual(Array(20).fill(0));
    expect(statuses).toHaveLength(40);
    for (const status of statuses.slice(20)) expect([A700, 0xc000, 0x0110]).toContain(status);
    expect(edge!.child.exitCode ?? edge!.child.signalCode).toBe(null);
    await edge!.kill9();
    await umount(dataDir);
    await mount('-o', 'loop', image, dataDir);
    await line.set({ kind: 'none' });
    await startGateway(4 * MB);
    await sendAgain(objects.slice(20));
    await drained();
    await keeps(owed);
    await arrivedOnce(study);
  });
});
