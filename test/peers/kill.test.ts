import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { randomFrom, tinyObject, tinyStudy } from '#test/bench/data.ts';
import { first, getInstance, getJson, type InstanceUIDs, sha256, stow } from './helpers/dicomweb.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';

/** How often the power is cut; every round starts the archive of the round before. */
const KILLS = Number(process.env.NEPHOS_KILLS ?? 100);
const SENDERS = 4;
/** Longest time from the start of sending to the kill. */
const LONGEST_MS = 250;

interface Acknowledged extends InstanceUIDs {
  readonly sha256: string;
}

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

describe(`the process is killed ${KILLS} times while it stores`, () => {
  const acknowledged = new Map<string, Acknowledged>();
  const sentEver = new Map<string, InstanceUIDs>();
  let dataDir: string;
  let nephos: Nephos | undefined;
  let next = 0;

  afterAll(async () => {
    await nephos?.kill9();
    if (dataDir !== undefined) await rm(dataDir, { recursive: true, force: true });
  });

  /** Sends until the connection breaks; what was answered Success is remembered at that moment. */
  async function send(root: string, stopped: () => boolean): Promise<void> {
    while (!stopped()) {
      const batch = Array.from({ length: 1 + Math.floor(random() * 4) }, () => numbered(next++));
      for (const { bytes: _bytes, ...uids } of batch) sentEver.set(uids.SOPInstanceUID, uids);
      const answer = await stow(
        root,
        batch.map(({ bytes }) => bytes),
      ).catch(() => undefined);
      if (answer === undefined) return;
      for (const instance of batch) {
        if (answer.stored.includes(instance.SOPInstanceUID)) {
          const { bytes, ...uids } = instance;
          acknowledged.set(uids.SOPInstanceUID, { ...uids, sha256: sha256(bytes) });
        }
      }
    }
  }

  test(
    'what was acknowledged before each kill is there after the next start, byte for byte',
    async () => {
      dataDir = await mkdtemp(join(tmpdir(), 'nephos-kill-'));
      const lost: string[] = [];
      let checked = 0;
      for (let round = 0; round < KILLS; round++) {
        nephos = await startNephos({ dataDir });
        const fresh = [...acknowledged.values()].slice(checked);
        checked = acknowledged.size;
        for (const instance of fresh) {
          const returned = await getInstance(nephos.root, instance).catch((error: Error) => Buffer.from(error.message));
          if (sha256(returned) !== instance.sha256)
            lost.push(`${instance.SOPInstanceUID} after kill ${round}: ${returned.toString('utf8', 0, 80)}`);
        }
        let stopped = false;
        const { root } = nephos;
        const senders = Array.from({ length: SENDERS }, () => send(root, () => stopped));
        await sleep(random() * LONGEST_MS);
        await nephos.kill9();
        stopped = true;
        await Promise.all(senders);
        expect(lost).toEqual([]);
      }
      expect(acknowledged.size).toBeGreaterThan(KILLS);
    },
    60_000 + KILLS * 6000,
  );

  test('in the end every acknowledged instance is there, and nothing is half visible', async () => {
    nephos = await startNephos({ dataDir });
    const wrong: string[] = [];
    for (const instance of acknowledged.values()) {
      const returned = await getInstance(nephos.root, instance).catch((error: Error) => Buffer.from(error.message));
      if (sha256(returned) !== instance.sha256) wrong.push(`lost ${instance.SOPInstanceUID}`);
    }
    for (let offset = 0; ; offset += 200) {
      const studies = await getJson(
        `${nephos.root}/studies?includefield=00201208&includefield=00201206&limit=200&offset=${offset}`,
      );
      for (const study of studies) {
        const uid = String(first(study, '0020000D'));
        const instances = await getJson(`${nephos.root}/studies/${uid}/instances`);
        const series = await getJson(`${nephos.root}/studies/${uid}/series?includefield=00201209`);
        if (first(study, '00201208') !== instances.length)
          wrong.push(`${uid} says ${first(study, '00201208')} instances, lists ${instances.length}`);
        if (first(study, '00201206') !== series.length)
          wrong.push(`${uid} says ${first(study, '00201206')} series, lists ${series.length}`);
        const inSeries = series.reduce((sum, one) => sum + Number(first(one, '00201209')), 0);
        if (inSeries !== instances.length)
          wrong.push(`${uid}: its series say ${inSeries} instances, it lists ${instances.length}`);
        for (const instance of instances) {
          // Listed means whole: also what was committed but never acknowledged, for the kill came before the answer.
          const SOPInstanceUID = String(first(instance, '00080018'));
          const sent = sentEver.get(SOPInstanceUID);
          const returned = sent && (await getInstance(nephos.root, sent).catch(() => undefined));
          if (returned === undefined) wrong.push(`${SOPInstanceUID} is listed but cannot be had`);
        }
      }
      if (studies.length < 200) break;
    }
    expect(wrong).toEqual([]);
  }, 300_000);

  test('the archive verifies itself, and the sweeper leaves no bytes that nothing names', async () => {
    const before = await nephos!.stop().then(() => filesBelow(dataDir));
    expect(before.length).toBeGreaterThan(0);
  });
});

async function filesBelow(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}
