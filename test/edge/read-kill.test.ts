import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { finishEvictions } from '#core/archive/evict.ts';
import { readFeed } from '#core/archive/feed.ts';
import { type ArchiveEvent, type InstanceRecord, keys, type SopClaim } from '#core/archive/records.ts';
import { sweep } from '#core/archive/sweep.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import { asRecord } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import { openArchive } from '#embedded/archive.ts';
import { bareEnvironment } from '#test/fixtures/bare-environment.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { randomFrom } from '#test/fixtures/study-corpus.ts';
import {
  cGet,
  cStore,
  dataSetOf,
  eventually,
  key,
  putUpstream,
  reportIn,
  requestCommitment,
  startUpstream,
  startWorkstation,
  TENANT,
  type UpstreamSite,
} from './read-site.ts';

/** NEPHOS_KILLS has it killed more often. */
const KILLS = Number(process.env.NEPHOS_KILLS ?? 6);
const SLICES = 40;
const ROOT = join(import.meta.dirname, '../..');

const slices = (study: number): Uint8Array[] =>
  Array.from({ length: SLICES }, (_, i) =>
    buildDicom({
      StudyInstanceUID: uid(study),
      SeriesInstanceUID: uid(study * 10),
      SOPInstanceUID: uid(study * 1000 + i),
      InstanceNumber: i,
    }),
  );

async function eventsOf({ index }: Services): Promise<ArchiveEvent[]> {
  const all: ArchiveEvent[] = [];
  for (let cursor = ''; ; ) {
    const { events, next } = await readFeed(index, TENANT, cursor, 1_000);
    if (events.length === 0) return all;
    all.push(...events);
    cursor = next;
  }
}

/** The data set that the archive holds of an instance, as it lies there. */
async function dataSetUpstream({ archive }: UpstreamSite, sop: string): Promise<Buffer | undefined> {
  const { index, blobs } = archive.services;
  const claim = await index.get(keys.sop(TENANT, sop));
  if (claim === undefined) return undefined;
  const { StudyInstanceUID, SeriesInstanceUID } = asRecord<SopClaim>(claim);
  const item = await index.get(keys.instance(TENANT, StudyInstanceUID, SeriesInstanceUID, sop));
  return item && dataSetOf(await blobs.readBytes(asRecord<InstanceRecord>(item).blobKey));
}

/** Nobody is left behind, not even when the test fails or is given up. */
const running = new Set<ChildProcess>();
const killAll = (): void => {
  for (const child of running) child.kill('SIGKILL');
};
process.once('exit', killAll);
afterAll(killAll);

/** `npm run edge` with a cache that keeps nothing: what is confirmed is evicted at every start. */
async function startEdge(config: string): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(process.execPath, ['edge-gateway/main.ts'], {
    cwd: ROOT,
    env: { ...bareEnvironment, NEPHOS_EDGE_CONFIG: config },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const portIn = () => Number(/DICOM +\S+@\S+:(\d+)/.exec(said)?.[1] ?? 0);
  await eventually(`the gateway runs ${said}`, () => portIn() > 0 || child.exitCode !== null, 120_000);
  if (portIn() === 0) throw new Error(`no gateway: ${said}`);
  return { child, port: portIn() };
}

test(
  `killed ${KILLS} times while it fetches, evicts and forwards: nothing is lost, doubled or left behind, and no promise untrue`,
  async () => {
    const dir = await mkdtemp(join(tmpdir(), 'nephos-edge-read-kill-'));
    const upstream = await startUpstream(join(dir, 'upstream'));
    const random = randomFrom(41);
    const config = join(dir, 'edge.json');
    const sent = new Map<string, Uint8Array>();
    let promised = 0;
    const untrue: string[] = [];
    // What a report says is held against the archive the moment that it comes.
    const workstation = await startWorkstation({
      onReport: async ({ committed }) => {
        for (const sop of committed) {
          const object = sent.get(sop);
          const held = await dataSetUpstream(upstream, sop);
          if (object === undefined || held === undefined || !held.equals(dataSetOf(object))) untrue.push(sop);
          promised++;
        }
      },
    });
    try {
      await writeFile(
        config,
        JSON.stringify({
          aeTitle: 'EDGE',
          dataDir: join(dir, 'edge'),
          log: 'error',
          dicom: { port: 0 },
          http: { port: 0 },
          moveDestinations: [{ aeTitle: 'WS', host: '127.0.0.1', port: workstation.port }],
          commitment: { limitHours: 1, unknownSeconds: 1 },
          disk: { reserveBytes: 0 },
          cache: { maxBytes: 0, maxAgeHours: 1e-6 },
          upstreams: [{ url: `http://127.0.0.1:${upstream.port}/dicomweb` }],
        }),
      );
      const acknowledged = new Map<string, Uint8Array>();
      const studies: number[] = [];
      for (let round = 0; round < KILLS; round++) {
        const [archived, modality] = [2_000 + 2 * round, 2_001 + 2 * round];
        await putUpstream({ upstream }, slices(archived));
        studies.push(archived, modality);
        const { child, port } = await startEdge(config);
        const site = { remote: { aeTitle: 'EDGE', host: '127.0.0.1', port } };
        const working = [
          cGet(site, { '0020000D': key('UI', uid(archived)) }),
          // What the kill before last has left in half is fetched as well, while it is being evicted.
          cGet(site, { '0020000D': key('UI', uid(Math.max(2_000, archived - 2))) }),
          ...slices(modality).map(async (object, i) => {
            const sop = uid(modality * 1000 + i);
            sent.set(sop, object);
            const [status] = await cStore(site, [object]);
            if (status === 0) acknowledged.set(sop, object);
          }),
          // Of some that are perhaps not even here yet, and of those of the round before.
          requestCommitment(site, uid(90_000 + round), [...sent.keys()].slice(-SLICES)),
        ];
        const done = Promise.allSettled(working);
        await sleep(random() * 900);
        const exited = once(child, 'exit');
        child.kill('SIGKILL');
        await exited;
        await done;
      }

      const { child, port } = await startEdge(config);
      const site = { remote: { aeTitle: 'EDGE', host: '127.0.0.1', port } };
      const { services } = upstream.archive;
      await eventually(
        'everything acknowledged is upstream',
        async () => {
          const stored = new Set((await eventsOf(services)).map(({ SOPInstanceUID }) => SOPInstanceUID));
          return [...acknowledged.keys()].every((sop) => stored.has(sop));
        },
        60_000,
      );
      for (const study of studies) {
        const { report, taken } = await cGet(site, { '0020000D': key('UI', uid(study)) });
        expect(report).toMatchObject({ status: 0, completed: taken.size });
        for (const [i, object] of slices(study).entries()) {
          const sop = uid(study * 1000 + i);
          const came = taken.get(sop);
          if (study % 2 === 0 || acknowledged.has(sop)) expect(came, sop).toBeDefined();
          if (came !== undefined) expect(came.equals(dataSetOf(object))).toBe(true);
        }
      }
      expect(await requestCommitment(site, uid(99_999), [...acknowledged.keys()])).toBe(0);
      await eventually('the last request is answered', () =>
        workstation.reports.some((report) => reportIn(report).TransactionUID === uid(99_999)),
      );
      const last = workstation.reports.map(reportIn).find((one) => one.TransactionUID === uid(99_999))!;
      expect(last.failed).toEqual([]);
      await eventually('its promises have been held against the archive', () => promised >= acknowledged.size);
      expect(untrue).toEqual([]);
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
      await workstation.close();

      const events = await eventsOf(services);
      const stored = events.flatMap(({ type, SOPInstanceUID }) => (type === 'InstanceStored' ? [SOPInstanceUID] : []));
      expect(new Set(stored).size).toBe(stored.length);
      expect(events.filter(({ type }) => type === 'Deleted' || type === 'Conflict')).toEqual([]);

      const edge = await openArchive({ dataDir: join(dir, 'edge'), limits: {}, policy: {} });
      await edge.blobs.sweep(0, Date.now());
      await sweep(edge.services, TENANT, 0);
      expect(await finishEvictions(edge.services, TENANT)).toBe(0);
      expect(await verifyArchive(edge.services, TENANT)).toMatchObject({ damaged: [], orphans: [], miscounted: [] });
      await edge.close();
    } finally {
      // Where it has failed, one runs still.
      for (const child of running) {
        const exited = once(child, 'exit');
        child.kill('SIGKILL');
        await exited;
      }
      await workstation.close();
      await upstream.close();
      await rm(dir, { recursive: true, force: true });
    }
  },
  300_000 + KILLS * 60_000,
);
