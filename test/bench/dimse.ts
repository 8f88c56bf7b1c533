import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EXPLICIT_VR_LITTLE_ENDIAN } from '#core/dicom/transfer-syntaxes.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { COMMAND } from '#dimse/command-set.ts';
import { associate, contextOf, proposing, type RemoteEntity, sendFind, sendObject, sendRetrieve } from '#dimse/scu.ts';
import type { Session } from '#dimse/session.ts';
import { STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE } from '#dimse/sop-classes.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { inParallel, median, percentile, post, STOW_TYPE, stowPieces } from './client.ts';
import { type CtStudy, ctStudy, randomFrom, tinyObject, tinyStudy } from './data.ts';
import { CT_IMAGE_STORAGE } from './encode.ts';
import type { Metric, Results } from './results.ts';
import { CLIENT_AE_TITLE, type MoveDestination, type Target, turns } from './targets.ts';

/**
 * DIMSE, with our own SCU for all: it sends the bytes of data sets as they are and asks for nothing twice, so what it costs is the same
 * everywhere. The limit is DCMTK's storescp, a process an association, that writes files and syncs none of them.
 */

/** DCMTK, and with it Orthanc, waits for acknowledgements otherwise (Nagle). */
process.env.TCP_NODELAY = '1';

const ASSOCIATIONS = [1, 4, 8] as const;
const TINY_STUDIES = 1000;
const MAX_PDU_BYTES = 131_072;

interface Effort {
  readonly rounds: number;
  readonly slices: number;
  readonly smallObjects: number;
  readonly warmUpObjects: number;
  readonly queries: number;
  /** measure storescp too */
  readonly limit: boolean;
}

/** Something that takes C-STORE. */
export interface Taker {
  readonly name: Target['name'];
  readonly dicom: RemoteEntity;
  readonly server?: Target['server'];
  cpuMs(): number;
}

export async function measureDimse(
  targets: readonly Target[],
  destination: MoveDestination,
  results: Results,
  effort: Effort,
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'nephos-bench-dimse-'));
  const children: ChildProcess[] = [];
  try {
    const archives = targets.map(({ name, dicom, server }): Taker => ({ name, dicom, server, cpuMs: server.cpuMs }));
    const takers = [...archives];
    if (effort.limit) {
      const port = await freePort();
      children.push(await startStorescp('STORESCP', port, ['--fork', '-od', folderIn(dir, 'limit')]));
      const dicom = { aeTitle: 'STORESCP', host: '127.0.0.1', port };
      takers.push({ name: 'nginx', dicom, cpuMs: () => Number.NaN });
    }
    children.push(await startStorescp(destination.aeTitle, destination.port, ['--fork', '--ignore']));
    await measureStores(takers, results, effort);
    await measureQueries(targets, results, effort);
    await measureRetrieval(targets, destination, results, effort);
  } finally {
    for (const child of children) child.kill();
    rmSync(dir, { recursive: true, force: true });
  }
}

const storing = (key: string, label: string, unit: string, goal?: Metric['goal']): Metric => ({
  key: `dimse-store-${key}`,
  label: `C-STORE of ${label}`,
  unit,
  better: unit === 'ms' ? 'lower' : 'higher',
  ...(goal !== undefined && { goal }),
});

async function measureStores(takers: readonly Taker[], results: Results, effort: Effort): Promise<void> {
  let seed = 20_000;
  // As in ingest.ts: a busy archive is measured, and all are warmed alike; by small objects, for what is not synced is written to the disk beside what is measured.
  for (const taker of takers) {
    for (let stored = 0; stored < effort.warmUpObjects; stored += effort.slices)
      await storeStudy(taker, ctStudy(seed++, effort.slices, 96), 4);
    for (let i = 0; i < 2; i++) await storeStudy(taker, ctStudy(seed++, effort.slices), 4);
  }
  for (let round = 0; round < effort.rounds; round++) {
    for (const size of ['ct', 'small'] as const) {
      // Five thousand objects take Orthanc half a minute; what is told apart by it shows in the first round.
      if (size === 'small' && round > 0) continue;
      const count = size === 'ct' ? effort.slices : effort.smallObjects;
      for (const associations of ASSOCIATIONS) {
        for (const taker of turns(takers, round)) {
          const study = ctStudy(seed++, count, size === 'ct' ? 512 : 96);
          const { elapsedMs, cpuMsEach, objectMs } = await storeStudy(taker, study, associations);
          const what = size === 'ct' ? 'CT slices (527 KB)' : 'objects of 21 KB';
          const label = `${what}, ${associations} association${associations === 1 ? '' : 's'}`;
          const key = `${size}-${associations}`;
          const perSecond = (count / elapsedMs) * 1000;
          results.add(storing(key, label, 'objects/s', { of: 'orthanc12', factor: 1.5 }), taker.name, perSecond);
          const limit = storing(`${key}-limit`, `${label}, against storescp`, 'objects/s', {
            of: 'nginx',
            factor: 0.6,
          });
          results.add(limit, taker.name, perSecond);
          if (!Number.isNaN(cpuMsEach)) {
            results.add(storing(`${key}-cpu`, `${label}: server CPU an object`, 'ms'), taker.name, cpuMsEach);
          }
          if (associations === 1) {
            results.add(storing(`${key}-p95`, `${what}, p95`, 'ms'), taker.name, percentile(objectMs, 95));
          }
        }
      }
    }
  }
}

/** The data set of a slice, without File Meta Information. */
function dataSetOf({ header, pixels }: CtStudy['slices'][number]): Buffer {
  const groupLengthEnd = 132 + 12;
  return Buffer.concat([header.subarray(groupLengthEnd + header.readUInt32LE(groupLengthEnd - 4)), pixels]);
}

/** Sends the study, each object over the association that is free next. @returns the time from the first to the last, and of each (ms) */
export async function storeStudy(
  { dicom, cpuMs }: Taker,
  study: CtStudy,
  associations: number,
): Promise<{ elapsedMs: number; cpuMsEach: number; objectMs: number[] }> {
  const objects = study.slices.map((slice) => ({ uid: slice.SOPInstanceUID, bytes: dataSetOf(slice) }));
  const contexts = proposing([CT_IMAGE_STORAGE, [EXPLICIT_VR_LITTLE_ENDIAN]]);
  const sessions = await Promise.all(Array.from({ length: associations }, () => open(dicom, contexts)));
  const free = [...sessions];
  const objectMs: number[] = [];
  const cpuBefore = cpuMs();
  const elapsedMs = await inParallel(objects.length, associations, async (i) => {
    const session = free.pop()!;
    const started = performance.now();
    const { status } = await sendObject(
      session,
      contextOf(session, CT_IMAGE_STORAGE),
      objects[i]!.uid,
      objects[i]!.bytes,
    );
    objectMs.push(performance.now() - started);
    if (status !== 0) throw new Error(`${dicom.aeTitle} answered C-STORE with ${status.toString(16)}`);
    free.push(session);
  });
  const cpuMsEach = (cpuMs() - cpuBefore) / objects.length;
  await Promise.all(sessions.map((session) => session.release()));
  return { elapsedMs, cpuMsEach, objectMs };
}

type Options = Omit<Parameters<typeof associate>[1], 'callingAETitle' | 'contexts'>;
const open = (dicom: RemoteEntity, contexts: ReturnType<typeof proposing>, options: Options = {}): Promise<Session> =>
  associate(dicom, {
    callingAETitle: CLIENT_AE_TITLE,
    contexts,
    ...options,
    user: { maxPduBytes: MAX_PDU_BYTES, ...options.user },
  });

const text = (vr: string, ...Value: string[]): DataSet[string] => (Value.length === 0 ? { vr } : { vr, Value });

/** A query of each kind that workstations send, over the tiny studies. */
const QUERIES: readonly ((study: ReturnType<typeof tinyStudy>) => {
  keys: DataSet;
  level?: string;
  matches?: number;
})[] = [
  (s) => ({ keys: { '00100020': text('LO', s.PatientID) }, matches: 1 }),
  (s) => ({ keys: { '00080050': text('SH', s.AccessionNumber) } }),
  (s) => ({ keys: { '0020000D': text('UI', s.StudyInstanceUID) }, matches: 1 }),
  (s) => ({ keys: { '00100010': text('PN', `${s.PatientName.slice(0, 4)}*`) } }),
  (s) => ({ keys: { '00080020': text('DA', s.StudyDate) } }),
  (s) => ({ keys: { '00080061': text('CS', s.Modality), '00080020': text('DA', `${s.StudyDate}-${s.StudyDate}`) } }),
  (s) => ({ keys: { '0020000D': text('UI', s.StudyInstanceUID) }, level: 'SERIES', matches: 1 }),
  (s) => ({
    keys: {
      '0020000D': text('UI', s.StudyInstanceUID),
      '0020000E': text('UI', s.SeriesInstanceUID),
      '00080018': text('UI'),
    },
    level: 'IMAGE',
    matches: 1,
  }),
];

/** what is asked to come back at each level */
const RETURNED: Readonly<Record<string, DataSet>> = {
  STUDY: {
    '00080020': text('DA'),
    '00080030': text('TM'),
    '00080050': text('SH'),
    '00080061': text('CS'),
    '00081030': text('LO'),
    '00100010': text('PN'),
    '00100020': text('LO'),
    '0020000D': text('UI'),
    '00201208': text('IS'),
  },
  SERIES: { '00080060': text('CS'), '0008103E': text('LO'), '0020000E': text('UI'), '00200011': text('IS') },
  IMAGE: { '00080016': text('UI'), '00080018': text('UI'), '00200013': text('IS') },
};

async function measureQueries(targets: readonly Target[], results: Results, effort: Effort): Promise<void> {
  const metric = (percent: number, goal?: Metric['goal']): Metric => ({
    key: `dimse-find-p${percent}`,
    label: `C-FIND, the mix at 1k studies, p${percent}`,
    unit: 'ms',
    better: 'lower',
    ...(goal !== undefined && { goal }),
  });
  for (const target of targets) {
    const bodies = Array.from({ length: TINY_STUDIES / 50 }, (_, i) =>
      stowPieces(Array.from({ length: 50 }, (_, j) => [tinyObject(tinyStudy(i * 50 + j))])),
    );
    await inParallel(bodies.length, 2, async (i) => {
      await post(`${target.root}/studies`, STOW_TYPE, bodies[i]!);
    });
  }
  for (let round = 0; round < effort.rounds; round++) {
    for (const { name, dicom } of turns(targets, round)) {
      const random = randomFrom(500 + round);
      const session = await open(dicom, proposing([STUDY_ROOT_FIND, [EXPLICIT_VR_LITTLE_ENDIAN]]));
      const times: number[] = [];
      for (let i = 0; i < effort.queries; i++) {
        const study = tinyStudy(Math.floor(random() * TINY_STUDIES));
        const { keys, level = 'STUDY', matches } = QUERIES[i % QUERIES.length]!(study);
        let found = 0;
        const started = performance.now();
        const status = await sendFind(
          session,
          STUDY_ROOT_FIND,
          { '00080052': text('CS', level), ...RETURNED[level], ...keys },
          () => {
            found++;
          },
        );
        times.push(performance.now() - started);
        if (status !== 0 || (matches === undefined ? found < 1 : found !== matches))
          results.note(
            `${name}: C-FIND ${i % QUERIES.length} found ${found} of ${matches ?? 'some'}, status ${status}`,
          );
      }
      await session.release();
      results.add(metric(50), name, median(times));
      results.add(metric(95, { of: 'orthanc12', factor: 1 }), name, percentile(times, 95));
    }
  }
}

async function measureRetrieval(
  targets: readonly Target[],
  destination: MoveDestination,
  results: Results,
  effort: Effort,
): Promise<void> {
  const study = ctStudy(29_999, effort.slices);
  const identifier: DataSet = {
    '00080052': text('CS', 'STUDY'),
    '0020000D': text('UI', study.StudyInstanceUID),
  };
  const metric = (key: string, label: string): Metric => ({
    key: `dimse-${key}`,
    label: `${label} of a study of ${effort.slices} slices`,
    unit: 'MB/s',
    better: 'higher',
    goal: { of: 'orthanc12', factor: 1.5 },
  });
  for (const { name, dicom, server } of targets) await storeStudy({ name, dicom, cpuMs: server.cpuMs }, study, 4);
  // The first retrieval is not measured: it finds the objects of one archive in memory and those of another on the disk.
  for (let round = -1; round < effort.rounds; round++) {
    for (const { name, dicom } of turns(targets, Math.max(0, round))) {
      for (const way of ['move', 'get'] as const) {
        const model = way === 'move' ? STUDY_ROOT_MOVE : STUDY_ROOT_GET;
        const got = { bytes: 0 };
        const session = await open(
          dicom,
          proposing([model, [EXPLICIT_VR_LITTLE_ENDIAN]], [CT_IMAGE_STORAGE, [EXPLICIT_VR_LITTLE_ENDIAN]]),
          way === 'get' ? receiving(got) : {},
        );
        const started = performance.now();
        const report = await sendRetrieve(
          session,
          model,
          identifier,
          way === 'move' ? { destination: destination.aeTitle } : {},
        );
        const seconds = (performance.now() - started) / 1000;
        await session.release();
        const complete = way === 'move' || got.bytes > study.sizeBytes * 0.99;
        if (report.status !== 0 || report.completed !== effort.slices || !complete)
          results.note(`${name}: C-${way.toUpperCase()} ended with ${report.status}, ${report.completed} completed`);
        if (round >= 0) results.add(metric(way, `C-${way.toUpperCase()}`), name, study.sizeBytes / 1e6 / seconds);
      }
    }
  }
}

/** A session that takes what C-GET sends, and forgets it. */
const receiving = (got: { bytes: number }): Options => ({
  user: { roles: [{ SOPClassUID: CT_IMAGE_STORAGE, scu: false, scp: true }] },
  services: new Map([
    [
      COMMAND.cStore,
      async ({ dataSet, respond }) => {
        for await (const chunk of dataSet!) got.bytes += chunk.length;
        await respond({ Status: 0 });
      },
    ],
  ]),
});

function folderIn(dir: string, name: string): string {
  const folder = join(dir, name);
  mkdirSync(folder);
  return folder;
}

export async function startStorescp(aeTitle: string, port: number, args: readonly string[]): Promise<ChildProcess> {
  const child = spawn('storescp', [...args, '-pdu', String(MAX_PDU_BYTES), '-aet', aeTitle, String(port)], {
    stdio: 'ignore',
  });
  for (let i = 0; i < 200; i++) {
    if (await listens(port)) return child;
    await sleep(25);
  }
  child.kill();
  throw new Error('storescp does not listen');
}

const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
