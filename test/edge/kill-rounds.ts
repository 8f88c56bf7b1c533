import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';
import { DestinationQueue } from '#edge/forward/queue.ts';
import type { ForwardCounts } from '#edge/forward/records.ts';
import { openArchive, systemClock } from '#embedded/archive.ts';
import { bareEnvironment } from '#test/fixtures/bare-environment.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { type RunningArchive, startArchive } from '#test/hosts/process.ts';
import { cStore, dataSetHash, dataSetsIn, IMPATIENT, TENANT, until } from './clinic.ts';
import { FaultyLine } from './faulty-line.ts';
import { Promises } from './promises.ts';

const ROOT = join(import.meta.dirname, '../..');
const START_MS = 120_000;
const SENDERS = 3;
/** instances of one association */
const ASSOCIATION = 12;
/** of an instance that nobody sends */
const NEVER_SENT = uid(9_999_999);

export interface KillReport {
  readonly kills: number;
  /** instances that the gateway said Success of */
  readonly acknowledged: number;
  /** of those, what it has promised in answers to storage commitment */
  readonly promised: number;
  /** what is wrong with them in the archive, or with what was promised: SOPInstanceUIDs and why */
  readonly faults: readonly string[];
  /** what the gateway still holds or waits to send */
  readonly left: { readonly pending: number; readonly held: number };
}

/** `npm run edge` as a process; its DICOM port is its own choice each time. */
class EdgeProcess {
  readonly #config: string;
  #child: ChildProcess | undefined;
  port = 0;

  constructor(config: string) {
    this.#config = config;
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, ['edge-gateway/main.ts'], {
      cwd: ROOT,
      env: { ...bareEnvironment, NEPHOS_EDGE_CONFIG: this.#config },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    let said = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const deadline = performance.now() + START_MS;
    for (;;) {
      const port = /DICOM +\S+@\S+:(\d+)/.exec(said)?.[1];
      if (port !== undefined) {
        this.port = Number(port);
        return;
      }
      if (child.exitCode !== null || child.signalCode !== null || performance.now() > deadline)
        throw new Error(`no gateway: ${said}`);
      await sleep(10);
    }
  }

  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
}

/**
 * Modalities store without a pause while gateway, archive, or both are killed, and the line between them is cut and loses answers. A
 * modality sends again what it got no Success for, and asks for storage commitment of what it did; nobody else does anything.
 */
export async function killRounds(rounds: number, random: () => number): Promise<KillReport> {
  const root = await mkdtemp(join(tmpdir(), 'nephos-edge-kill-'));
  const archiveDir = join(root, 'archive');
  let archive: RunningArchive = await startArchive(archiveDir);
  const line = await FaultyLine.open(() => Number(new URL(archive.origin).port));
  const file = join(root, 'edge.json');
  const dataDir = join(root, 'edge');
  const upstream = {
    name: 'cloud',
    url: `http://127.0.0.1:${line.port}/dicomweb`,
    ...IMPATIENT,
    batch: { instances: 7 },
  };
  const promises = await Promises.listen();
  const document = {
    dataDir,
    dicom: { port: 0 },
    http: { port: 0 },
    disk: { reserveBytes: 0 },
    moveDestinations: [promises.destination],
    commitment: { unknownSeconds: 2 },
    upstreams: [upstream],
  };
  await writeFile(file, JSON.stringify(document));
  const gateway = new EdgeProcess(file);
  await gateway.start();

  const acknowledged = new Map<string, string>();
  let next = 0;
  let stopping = false;
  const numbered = (n: number): Uint8Array => {
    const study = Math.floor(n / 20);
    const ids = { StudyInstanceUID: uid(1_000_000 + study), SeriesInstanceUID: uid(2_000_000 + Math.floor(n / 10)) };
    return buildDicom({ ...ids, SOPInstanceUID: uid(3_000_000 + n), InstanceNumber: n, PatientID: `P-${study}` });
  };
  const modality = async (): Promise<void> => {
    let unsure: number[] = [];
    while (!stopping || unsure.length > 0) {
      const numbers = [...unsure, ...Array.from({ length: stopping ? 0 : ASSOCIATION - unsure.length }, () => next++)];
      const objects = numbers.map(numbered);
      const statuses: number[] = [];
      const remote = { aeTitle: 'NEPHOS', host: '127.0.0.1', port: gateway.port };
      await cStore(remote, objects, 'CT1', statuses).catch(() => sleep(20));
      const stored: string[] = [];
      for (const [i, status] of statuses.entries()) {
        if (status !== 0) continue;
        stored.push(uid(3_000_000 + numbers[i]!));
        acknowledged.set(stored.at(-1)!, dataSetHash(objects[i]!));
      }
      // It may be killed before it has taken the request.
      if (stored.length > 0) await promises.ask(remote, stored).catch(() => undefined);
      unsure = numbers.filter((_, i) => statuses[i] !== 0);
    }
  };
  try {
    const modalities = Array.from({ length: SENDERS }, modality);
    for (let round = 0; round < rounds; round++) {
      await sleep(random() * 400);
      const fault = random();
      if (fault < 0.2) await line.set({ kind: 'losingAnswers' });
      else if (fault < 0.4) await line.set({ kind: 'cutting', afterBytes: Math.floor(random() * 20_000) });
      else await line.set({ kind: 'none' });
      const victim = round % 3;
      const restarts: Promise<void>[] = [];
      if (victim !== 1) restarts.push(gateway.end('SIGKILL').then(() => gateway.start()));
      if (victim !== 0)
        restarts.push(
          archive.kill9().then(async () => {
            archive = await startArchive(archiveDir);
          }),
        );
      await Promise.all(restarts);
    }
    stopping = true;
    await line.set({ kind: 'none' });
    await Promise.all(modalities);
    const index = await LmdbIndexTable.open(join(dataDir, 'index'));
    const queue = new DestinationQueue({ index, clock: systemClock }, TENANT, 'cloud');
    const done = ({ pending, confirmed, held }: ForwardCounts): boolean =>
      pending === 0 && confirmed + held >= acknowledged.size;
    await until(() => queue.counts(), done, 120_000);
    await index.close();
    await promises.allAnswered(120_000);
    // Those of the requests that a kill took away; and one that is not to be promised.
    const remote = { aeTitle: 'NEPHOS', host: '127.0.0.1', port: gateway.port };
    const last = await promises.ask(remote, [...acknowledged.keys(), NEVER_SENT]);
    await promises.answer(last ?? 'it took no request');
  } finally {
    await gateway.end('SIGTERM');
    await promises.close();
    await line.close();
    await archive.stop();
  }
  const report = {
    kills: rounds,
    acknowledged: acknowledged.size,
    ...(await judge(archiveDir, dataDir, acknowledged, promises)),
  };
  await rm(root, { recursive: true });
  return report;
}

async function judge(
  archiveDir: string,
  edgeDir: string,
  acknowledged: ReadonlyMap<string, string>,
  { reports }: Promises,
) {
  const archive = await openArchive({ dataDir: archiveDir, limits: {}, policy: {} });
  const faults: string[] = [];
  // Nobody works on it any more: what is wrong with it stays so.
  const found = await dataSetsIn(archive, 0).catch((error: Error) => {
    faults.push(error.message);
    return new Map<string, string>();
  });
  for (const [sop, sha256] of acknowledged) {
    if (!found.has(sop)) faults.push(`${sop} is missing`);
    else if (found.get(sop) !== sha256) faults.push(`${sop} has other bytes`);
  }
  const promised = new Set(reports.flatMap(({ committed }) => committed));
  for (const sop of promised)
    if (found.get(sop) === undefined || found.get(sop) !== acknowledged.get(sop)) faults.push(`${sop} was promised`);
  const denied = reports.flatMap(({ failed }) => failed);
  for (const [sop, reason] of denied) if (sop !== NEVER_SENT) faults.push(`${sop} was denied: ${reason}`);
  if (denied.length === 0) faults.push('what nobody has sent was not denied');
  const conflicts = await archive.services.index.query({ partition: `${TENANT}|held`, limit: 10 });
  for (const { item } of conflicts.records) faults.push(`${item.SOPInstanceUID as string} is in quarantine`);
  await archive.close();
  const edge = await openArchive({ dataDir: edgeDir, limits: {}, policy: {} });
  const { pending, held } = await new DestinationQueue(edge.services, TENANT, 'cloud').counts();
  await edge.close();
  return { faults, promised: promised.size, left: { pending, held } };
}
