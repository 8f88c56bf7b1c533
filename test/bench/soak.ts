import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { EXPLICIT_VR_LITTLE_ENDIAN } from '#core/dicom/transfer-syntaxes.ts';
import { associate, contextOf, proposing, type RemoteEntity, sendFind, sendObject } from '#dimse/scu.ts';
import { STUDY_ROOT_FIND } from '#dimse/sop-classes.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { startEdge } from '#test/peers/helpers/edge.ts';
import { startNephos } from '#test/peers/helpers/nephos.ts';
import { get, median } from './client.ts';
import { type CtStudy, ctStudy } from './data.ts';
import { CT_IMAGE_STORAGE } from './encode.ts';

/**
 * A steady load on the embedded archive for as long as is wanted: studies come by C-STORE, are searched for by C-FIND and QIDO, read by
 * WADO, and deleted, so that the disk stays bounded. Memory, open files and connections must not grow once the archive is warm. With
 * `--gateway` modalities talk to an edge gateway, which forwards to the archive and keeps a small cache; what it has forwarded is read
 * from the archive, and both must stay flat.
 */
const USAGE = `npm run soak -- [options]
  --minutes N       length (60)
  --per-second N    slices of half a megabyte that come each second (4); every fifth study is of small ones
  --gateway         through an edge gateway
  --sample N        seconds from one sample to the next (10)
  --json FILE       all samples`;

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    'per-second': { type: 'string', default: '4' },
    sample: { type: 'string', default: '10' },
    gateway: { type: 'boolean', default: false },
    json: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log(USAGE);
  process.exit(0);
}

const SLICES = 20;
/** studies that stay; older ones are deleted */
const KEPT_STUDIES = 25;
/** the part of the run in which caches fill and code is compiled */
const WARM_UP = 0.3;
/** What may lie between the first and the last quarter of the samples after that, before it counts as growth. */
const ALLOWED = {
  rssMB: { factor: 1.1, more: 25 },
  gatewayMB: { factor: 1.1, more: 25 },
  // without the pages of the index that the kernel has mapped, which grow with it and can be taken back
  anonMB: { factor: 1.1, more: 25 },
  gatewayAnonMB: { factor: 1.1, more: 15 },
  heapMB: { factor: 1.15, more: 15 },
  // each process keeps up to 64 directories of series open; a file for each object or association would be many more
  files: { factor: 1, more: 140 },
  connections: { factor: 1, more: 8 },
} as const;
type Measure = keyof typeof ALLOWED;

interface Sample extends Record<Measure, number> {
  readonly seconds: number;
  readonly objects: number;
  readonly diskMB: number;
}

const minutes = Number(options.minutes);
const perSecond = Number(options['per-second']);
const dicomPort = await freePort();
const dataDir = mkdtempSync(join(tmpdir(), 'nephos-soak-'));
const nephos = await startNephos({
  dataDir,
  env: {
    NODE_ENV: 'production',
    NEPHOS_DICOM_PORT: String(dicomPort),
    NEPHOS_LIMIT_STUDY_QUIET_MS: '3000',
    // what is deleted goes with the next sweep
    NEPHOS_LIMIT_TRASH_MS: '1000',
  },
});
/** a cache of about ten studies: eviction has to keep up */
const CACHE_BYTES = 100e6;
const edge = options.gateway
  ? await startEdge(join(dataDir, 'edge'), {
      dicomPort: await freePort(),
      httpPort: await freePort(),
      upstreams: [{ name: 'archive', url: nephos.root }],
      cache: { maxBytes: CACHE_BYTES },
    })
  : undefined;
const dicom: RemoteEntity = { aeTitle: 'NEPHOS', host: '127.0.0.1', port: edge?.dicomPort ?? dicomPort };
/** Nobody waits longer for a study to get through the gateway (ms): the machine may have other things to do. */
const FORWARD_MS = 300_000;
const started = performance.now();
const over = (): boolean => performance.now() - started > minutes * 60_000;
const samples: Sample[] = [];
let objects = 0;
let failed = false;

try {
  await Promise.all([takeSamples(), load()]);
  report();
} finally {
  await edge?.stop();
  await nephos.stop();
  rmSync(dataDir, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);

async function load(): Promise<void> {
  const kept: CtStudy[] = [];
  for (let seed = 700_000; !over(); seed++) {
    const due = performance.now() + (SLICES / perSecond) * 1000;
    const study = ctStudy(seed, SLICES, seed % 5 === 0 ? 64 : 512);
    await store(study, dicom);
    objects += SLICES;
    kept.push(study);
    if (edge) await forwarded(study);
    const read = kept[Math.floor(kept.length / 2)]!;
    await Promise.all([find(study, dicom), readByWeb(read)]);
    if (kept.length > KEPT_STUDIES) await remove(kept.shift()!);
    await sleep(Math.max(0, due - performance.now()));
  }
}

/** Half of a study over each of two associations that are opened for it, as modalities do. */
async function store(study: CtStudy, remote: RemoteEntity): Promise<void> {
  const half = async (first: number): Promise<void> => {
    const contexts = proposing([CT_IMAGE_STORAGE, [EXPLICIT_VR_LITTLE_ENDIAN]]);
    const session = await associate(remote, { callingAETitle: 'SOAK', contexts });
    for (let i = first; i < SLICES; i += 2) {
      const { header, pixels, SOPInstanceUID } = study.slices[i]!;
      const dataSet = Buffer.concat([header.subarray(144 + header.readUInt32LE(140)), pixels]);
      const { status } = await sendObject(session, contextOf(session, CT_IMAGE_STORAGE), SOPInstanceUID, dataSet);
      if (status !== 0) throw new Error(`C-STORE was answered with ${status}`);
    }
    await session.release();
  };
  await Promise.all([half(0), half(1)]);
}

/** Resolves when the archive has all of the study. */
async function forwarded({ StudyInstanceUID }: CtStudy): Promise<void> {
  const url = `${nephos.root}/studies?StudyInstanceUID=${StudyInstanceUID}&includefield=00201208`;
  for (const deadline = performance.now() + FORWARD_MS; ; await sleep(200)) {
    const response = await fetch(url, { headers: { accept: 'application/dicom+json' } });
    const [found] = response.status === 204 ? [] : ((await response.json()) as { '00201208'?: { Value?: [number] } }[]);
    if (found?.['00201208']?.Value?.[0] === SLICES) return;
    if (performance.now() > deadline) throw new Error('a study did not get through the gateway');
  }
}

async function find(study: CtStudy, remote: RemoteEntity): Promise<void> {
  const contexts = proposing([STUDY_ROOT_FIND, [EXPLICIT_VR_LITTLE_ENDIAN]]);
  const session = await associate(remote, { callingAETitle: 'SOAK', contexts });
  for (let i = 0; i < 10; i++) {
    let found = 0;
    const status = await sendFind(
      session,
      STUDY_ROOT_FIND,
      {
        '00080052': { vr: 'CS', Value: ['STUDY'] },
        '00100020': { vr: 'LO', Value: [study.PatientID] },
        '00201208': { vr: 'IS' },
        '0020000D': { vr: 'UI' },
      },
      () => {
        found++;
      },
    );
    if (status !== 0 || found !== 1) throw new Error(`C-FIND found ${found}, status ${status}`);
  }
  await session.release();
}

async function readByWeb(study: CtStudy): Promise<void> {
  const at = `${nephos.root}/studies/${study.StudyInstanceUID}`;
  const series = `${at}/series/${study.SeriesInstanceUID}`;
  await get(`${nephos.root}/studies?PatientID=${study.PatientID}`, { accept: 'application/dicom+json' });
  await get(`${series}/metadata`, { accept: 'application/dicom+json' });
  await get(at, { accept: 'multipart/related; type="application/dicom"; transfer-syntax=*' });
  for (const { SOPInstanceUID } of study.slices.slice(0, 8)) {
    const instance = `${series}/instances/${SOPInstanceUID}`;
    await get(`${instance}/frames/1`, {
      accept: 'multipart/related; type="application/octet-stream"; transfer-syntax=*',
    });
    await get(`${instance}/rendered`, { accept: 'image/jpeg' });
  }
}

async function remove(study: CtStudy): Promise<void> {
  const response = await fetch(`${nephos.root}/studies/${study.StudyInstanceUID}`, { method: 'DELETE' });
  await response.arrayBuffer();
  if (!response.ok) throw new Error(`DELETE was answered with ${response.status}`);
}

async function takeSamples(): Promise<void> {
  while (!over()) {
    await sleep(Number(options.sample) * 1000);
    const pids = [...nephos.pids(), ...(edge?.pids() ?? [])];
    const metrics = await (await fetch(`${nephos.origin}/metrics`)).text();
    const sample: Sample = {
      seconds: Math.round((performance.now() - started) / 1000),
      objects,
      rssMB: sum(nephos.pids(), rssBytesOf) / 1e6,
      gatewayMB: sum(edge?.pids() ?? [], rssBytesOf) / 1e6,
      anonMB: sum(nephos.pids(), anonymousBytesOf) / 1e6,
      gatewayAnonMB: sum(edge?.pids() ?? [], anonymousBytesOf) / 1e6,
      heapMB: metricOf(metrics, 'nodejs_heap_size_used_bytes') / 1e6,
      files: sum(pids, filesOf),
      connections: connections(),
      diskMB: bytesIn(dataDir) / 1e6,
    };
    samples.push(sample);
    const figures = Object.entries(sample).map(([name, value]) => `${name} ${value.toFixed(0)}`);
    console.log(figures.join('  '));
  }
}

function report(): void {
  const warm = samples.slice(Math.floor(samples.length * WARM_UP));
  const quarter = Math.max(1, Math.floor(warm.length / 4));
  for (const [measure, { factor, more }] of Object.entries(ALLOWED) as [Measure, { factor: number; more: number }][]) {
    const early = median(warm.slice(0, quarter).map((sample) => sample[measure]));
    const late = median(warm.slice(-quarter).map((sample) => sample[measure]));
    const grown = late > early * factor + more;
    failed ||= grown;
    console.log(`${measure}: ${early.toFixed(1)} → ${late.toFixed(1)}${grown ? '  GROWS' : ''}`);
  }
  // Figures that could not be read must not pass for flat ones.
  if (warm.length < 4 || warm.some(({ rssMB, heapMB, files }) => !(rssMB > 0 && heapMB > 0 && files > 0))) {
    failed = true;
    console.log('too few samples, or figures that could not be read');
  }
  console.log(`${objects} objects in ${minutes} minutes: ${failed ? 'FAILED' : 'flat'}`);
}

function sum(pids: readonly number[], of: (pid: number) => number): number {
  return pids.reduce((total, pid) => total + of(pid), 0);
}

/** The sum over all server processes; the exposition of /metrics adds them up. */
function metricOf(text: string, name: string): number {
  return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? ([0-9.e+]+)`, 'm').exec(text)?.[1] ?? 0);
}

function rssBytesOf(pid: number): number {
  return statusBytes(pid, 'VmRSS');
}

function anonymousBytesOf(pid: number): number {
  return statusBytes(pid, 'RssAnon');
}

function statusBytes(pid: number, name: string): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0; // ended meanwhile
  }
}

function filesOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fdinfo`).length;
  } catch {
    return 0; // ended meanwhile
  }
}

/** established ones, each of which the table of the loopback shows from both ends */
function connections(): number {
  const ports = [dicomPort, nephos.port].map((port) => `:${port.toString(16).toUpperCase().padStart(4, '0')} `);
  const lines = readFileSync('/proc/net/tcp', 'latin1').split('\n');
  return lines.filter((line) => line.includes(' 01 ') && ports.some((port) => line.includes(port))).length / 2;
}

/** Folders and files come and go meanwhile. */
function bytesIn(path: string): number {
  try {
    const stat = statSync(path);
    const blocks = stat.blocks;
    if (!stat.isDirectory()) return blocks * 512;
    return readdirSync(path).reduce((sum, name) => sum + bytesIn(join(path, name)), blocks * 512);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}
