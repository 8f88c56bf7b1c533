import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { randomFrom, tinyObject, tinyStudy } from '#test/bench/data.ts';
import { first, getInstance, getJson, type InstanceUIDs, sha256, stow } from './helpers/dicomweb.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';

/** How often something is killed; every round goes on with the archive of the round before. */
const KILLS = Number(process.env.NEPHOS_KILLS ?? 100);
const SENDERS = 4;
/** Longest time from the start of sending to the kill. */
const LONGEST_MS = 250;
/** What is killed, in turn: everything as when the power fails, the first process alone, one of the servers alone. */
const VICTIMS = ['everything', 'everything', 'primary', 'server'] as const;

const random = randomFrom(20_261_122);

/** Instance number n: three to a series, two series to a study, so that the aggregates are at stake as well. */
function numbered(n: number): InstanceUIDs & { bytes: Buffer } {
  const base = tinyStudy(2_000_000 + Math.floor(n / 6));
  const SeriesInstanceUID = `${base.StudyInstanceUID}.${Math.floor(n / 3) % 2}`;
  const uids = {
    StudyInstanceUID: base.StudyInstanceUID,
    SeriesInstanceUID,
    SOPInstanceUID: `${SeriesInstanceUID}.${n % 3}`,
  };
  return { ...uids, bytes: tinyObject({ ...base, ...uids }) };
}

describe(`something is killed ${KILLS} times while the archive stores`, () => {
  /** SHA-256 of what was answered Success, and of all that was ever sent; by SOPInstanceUID */
  const acknowledged = new Map<string, InstanceUIDs & { sha256: string }>();
  const sent = new Map<string, InstanceUIDs & { sha256: string }>();
  const stopped: Nephos[] = [];
  let dataDir: string;
  let nephos: Nephos;
  let next = 0;

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'nephos-kill-'));
    nephos = await startNephos({ dataDir });
  });
  afterAll(async () => {
    for (const server of [...stopped, nephos]) await server?.kill9();
    await rm(dataDir, { recursive: true, force: true });
  });

  /** Sends until the connection breaks; what was answered Success is remembered at that moment. */
  async function send(root: string, enough: () => boolean): Promise<void> {
    while (!enough()) {
      const batch = Array.from({ length: 1 + Math.floor(random() * 4) }, () => numbered(next++)).map(
        ({ bytes, ...uids }) => {
          sent.set(uids.SOPInstanceUID, { ...uids, sha256: sha256(bytes) });
          return { bytes, uids };
        },
      );
      const answer = await stow(
        root,
        batch.map(({ bytes }) => bytes),
      ).catch(() => undefined);
      if (answer === undefined) return;
      for (const uid of answer.stored) acknowledged.set(uid, sent.get(uid)!);
    }
  }

  /** @returns what is missing or not as it was sent */
  async function faultsOf(instances: Iterable<InstanceUIDs & { sha256: string }>): Promise<string[]> {
    const faults: string[] = [];
    for (const instance of instances) {
      const returned = await getInstance(nephos.root, instance).catch((error: Error) => error);
      if (returned instanceof Error) faults.push(`${instance.SOPInstanceUID}: ${returned.message.slice(0, 120)}`);
      else if (sha256(returned) !== instance.sha256) faults.push(`${instance.SOPInstanceUID}: other bytes`);
    }
    return faults;
  }

  async function killAndGoOn(victim: (typeof VICTIMS)[number]): Promise<void> {
    const pids = nephos.pids();
    const [primary, ...servers] = [nephos.child.pid!, ...pids.filter((pid) => pid !== nephos.child.pid)];
    if (victim === 'server') {
      // The archive replaces it by itself; until it is gone it may still take a connection, and not answer.
      const server = servers[Math.floor(random() * servers.length)]!;
      process.kill(server, 'SIGKILL');
      while (existsSync(`/proc/${server}`)) await sleep(5);
      return;
    }
    if (victim === 'primary') {
      // Its orphans may be finishing their requests while the next archive opens the same folder.
      process.kill(primary, 'SIGKILL');
      stopped.push(nephos);
    } else {
      await nephos.kill9();
    }
    nephos = await startNephos({ dataDir });
  }

  test(
    'what was acknowledged before each kill is there after the next start, byte for byte',
    async () => {
      // On a machine that stores next to nothing before a kill it takes some more to say anything.
      for (let round = 0; round < KILLS || acknowledged.size <= KILLS; round++) {
        const victim = VICTIMS[round % VICTIMS.length]!;
        const known = acknowledged.size;
        let enough = false;
        const senders = Promise.all(Array.from({ length: SENDERS }, () => send(nephos.root, () => enough)));
        await sleep(random() * LONGEST_MS);
        const restarted = killAndGoOn(victim);
        if (victim === 'server') {
          await restarted;
          await sleep(50);
        }
        enough = true;
        await Promise.all([senders, restarted]);
        expect(await faultsOf([...acknowledged.values()].slice(known)), `after kill ${round} of ${victim}`).toEqual([]);
      }
      expect(acknowledged.size).toBeGreaterThan(KILLS);
    },
    300_000 + KILLS * 15_000,
  );

  test('in the end every acknowledged instance is there, and nothing is half visible', async () => {
    for (const server of [...stopped, nephos]) await server.kill9();
    nephos = await startNephos({ dataDir });
    const wrong = await faultsOf(acknowledged.values());
    const listed = new Set<string>();
    for (let offset = 0; ; offset += 200) {
      const studies = await getJson(
        `${nephos.root}/studies?includefield=00201208&includefield=00201206&limit=200&offset=${offset}`,
      );
      for (const study of studies) {
        const uid = String(first(study, '0020000D'));
        const instances = await getJson(`${nephos.root}/studies/${uid}/instances`);
        const series = await getJson(`${nephos.root}/studies/${uid}/series?includefield=00201209`);
        const inSeries = series.reduce((sum, one) => sum + Number(first(one, '00201209')), 0);
        const told = [first(study, '00201206'), first(study, '00201208'), inSeries];
        const counted = [series.length, instances.length, instances.length];
        if (told.join() !== counted.join())
          wrong.push(`${uid} says ${told} series, instances, instances by series; lists ${counted}`);
        for (const instance of instances) listed.add(String(first(instance, '00080018')));
      }
      if (studies.length < 200) break;
    }
    // Listed means whole, also for what was committed and never acknowledged, the kill having come before the answer.
    wrong.push(...(await faultsOf([...listed].map((uid) => sent.get(uid)!))));
    for (const uid of acknowledged.keys()) if (!listed.has(uid)) wrong.push(`${uid} is not listed`);
    expect(wrong).toEqual([]);

    // The sweeper ran at the start. Objects that nothing names would be bytes nobody can find, or delete.
    await nephos.stop();
    const objects = await part10Below(join(dataDir, 'blobs'));
    expect(objects.sort()).toEqual([...listed].map((uid) => sent.get(uid)!.sha256).sort());
    // Where a pack has lost something, a note has a later sweep give the space back.
    const notes = await readdir(join(dataDir, 'incoming'));
    // A server that outlived its primary for a moment leaves an empty note for the next sweep.
    const left = notes.filter((name) => !name.endsWith('.doubt') && !name.endsWith('.packs'));
    expect(left).toEqual([]);
  }, 300_000);
});

/** SHA-256 of every Part 10 object below a folder: files, and what tar takes out of packs, but for what is marked as deleted. */
async function part10Below(dir: string): Promise<string[]> {
  const digests: string[] = [];
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name === 'deleted') continue;
    const path = join(entry.parentPath, entry.name);
    if (entry.name.endsWith('.tar')) {
      const taken = await mkdtemp(join(tmpdir(), 'nephos-pack-'));
      await promisify(execFile)('tar', ['-xf', path, '-C', taken]);
      digests.push(...(await part10Below(taken)));
      await rm(taken, { recursive: true });
      continue;
    }
    const bytes = await readFile(path);
    if (bytes.toString('latin1', 128, 132) === 'DICM') digests.push(sha256(bytes));
  }
  return digests;
}
