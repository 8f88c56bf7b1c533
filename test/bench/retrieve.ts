import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { get, inParallel, median, percentile, post, STOW_TYPE, stowPieces, type WrkResult, wrk } from './client.ts';
import { type CtStudy, ctStudy } from './data.ts';
import type { Goal, Metric, Results } from './results.ts';
import { isNginx, QUIET_MS, type Target, turns } from './targets.ts';

const DICOM_MULTIPART = 'multipart/related; type="application/dicom"';
const OCTETS_MULTIPART = 'multipart/related; type="application/octet-stream"';
const JSON_TYPE = 'application/dicom+json';
const ONE_CT_SLICE = 'an instance (527 KB)';

const time = (key: string, label: string, goal?: Goal): Metric => ({
  key,
  label,
  unit: 'ms',
  better: 'lower',
  ...(goal ? { goal } : {}),
});
const speed = (key: string, label: string, unit: string, goal?: Goal): Metric => ({
  key,
  label,
  unit,
  better: 'higher',
  ...(goal ? { goal } : {}),
});

const METRICS = {
  instanceP50: time('instance-p50', `WADO of ${ONE_CT_SLICE}, p50`),
  instanceP95: time('instance-p95', `WADO of ${ONE_CT_SLICE}, p95`),
  instanceRate: speed('instance-rate', `WADO of ${ONE_CT_SLICE}, 4 clients (wrk)`, 'req/s', {
    of: 'orthanc12',
    factor: 2.5,
  }),
  instanceRateOfLimit: speed('instance-rate-limit', `the same against the limit`, 'req/s', {
    of: 'nginx',
    factor: 0.5,
  }),
  instanceCpu: time('instance-cpu', `server CPU of ${ONE_CT_SLICE}`),
  frameP50: time('frame-p50', 'one frame (524 KB), p50'),
  frameP95: time('frame-p95', 'one frame (524 KB), p95'),
  frameRate: speed('frame-rate', 'one frame (524 KB), 4 clients (wrk)', 'req/s', { of: 'orthanc12', factor: 2.5 }),
  frameRateOfLimit: speed('frame-rate-limit', 'the same against the limit', 'req/s', { of: 'nginx', factor: 0.5 }),
  frameCpu: time('frame-cpu', 'server CPU of one frame'),
  frameFirstCpu: time('frame-first-cpu', 'server CPU of one frame, the first seconds after the start'),
  metadataFirst: time('metadata-first', 'metadata of 200, the first after the start'),
  study: speed('study', 'WADO of a study (105 MB)', 'MB/s', { of: 'orthanc12', factor: 1.5 }),
  studyCpu: time('study-cpu', 'server CPU of a GB of study'),
  studyFirstByte: time('study-first-byte', 'WADO of a study, first byte'),
  series: speed('series', 'WADO of a series (105 MB)', 'MB/s', { of: 'orthanc12', factor: 1.5 }),
  rendered: time('rendered', 'rendered JPEG, 512²'),
  thumbnail: time('thumbnail', 'thumbnail'),
  firstImage: time('first-image', 'first image: search, series, metadata of 200, frame', { of: 'nginx', factor: 1.5 }),
  firstImageByInstances: time('first-image-qido', 'first image, instance QIDO in place of metadata', {
    of: 'nginx',
    factor: 1.5,
  }),
  stack: time('stack', 'all 200 frames over 6 connections'),
} satisfies Record<string, Metric>;

const metadata = (count: number, state: 'stored just now' | 'again' | 'when quiet', coding: 'plain' | 'gzip'): Metric =>
  time(`metadata-${count}-${state.replaceAll(' ', '-')}-${coding}`, `metadata of ${count}, ${state}, ${coding}`, {
    of: 'nginx',
    factor: 2,
  });

export interface RetrieveOptions {
  readonly rounds: number;
  readonly slices: number;
  readonly wrkSeconds: number;
  /** instances and frames, each, before anything is measured of them */
  readonly warmUpSeconds: number;
  /** series of 200, each stored and asked for once, before metadata of new series are measured */
  readonly warmUpSeries: number;
  readonly repeats: number;
}

/** One CT study in every server, read in all ways; everything is warm except where it says `stored just now`. */
export async function measureRetrieve(
  targets: readonly Target[],
  results: Results,
  options: RetrieveOptions,
): Promise<void> {
  const study = ctStudy(7, options.slices);
  const archives = targets.filter((target) => !isNginx(target));
  for (const target of archives) await store(target, study);
  for (const nginx of targets.filter(isNginx)) await mirror(archives[0]!, nginx, study);
  for (const target of archives) await warmUpMetadata(target, results, options);
  for (const count of [200, 1000]) await measureMetadata(targets, results, count, options);
  await warmUp(targets, study, results, options);
  for (let round = 0; round < options.rounds; round++) {
    for (const target of turns(targets, round)) await measureInstances(target, study, results, options);
    for (const target of turns(targets, round)) await measureStudy(target, study, results);
    for (const target of turns(targets, round)) await measureFirstImage(target, study, results, options.repeats);
  }
}

/** As in ingest.ts: an archive at work is measured, and all are warmed alike; the first seconds have a row of their own. */
async function warmUp(
  targets: readonly Target[],
  study: CtStudy,
  results: Results,
  { wrkSeconds, warmUpSeconds }: RetrieveOptions,
): Promise<void> {
  for (const target of targets) {
    const { cpuMsEach } = await load(target, study, FRAME, wrkSeconds);
    results.add(METRICS.frameFirstCpu, target.name, cpuMsEach);
    for (const what of [INSTANCE, FRAME]) await load(target, study, what, warmUpSeconds);
  }
}

/** The same for series that were stored just now: the first one after the start has a row of its own. */
async function warmUpMetadata(target: Target, results: Results, { warmUpSeries }: RetrieveOptions): Promise<void> {
  for (let i = 0; i < warmUpSeries; i++) {
    const study = ctStudy(nextSeed++, 200, 64);
    await store(target, study);
    const { totalMs } = await get(`${target.root}/${seriesPath(study)}/metadata`, {
      accept: JSON_TYPE,
      keepBody: true,
    });
    if (i === 0) results.add(METRICS.metadataFirst, target.name, totalMs);
  }
}

interface Wanted {
  readonly suffix: string;
  readonly accept: string;
}
const INSTANCE: Wanted = { suffix: '', accept: DICOM_MULTIPART };
const FRAME: Wanted = { suffix: '/frames/1', accept: OCTETS_MULTIPART };

/** wrk going round all slices of the study. */
async function load(
  { origin, path, server }: Target,
  study: CtStudy,
  { suffix, accept }: Wanted,
  seconds: number,
): Promise<WrkResult & { readonly cpuMsEach: number }> {
  const paths = study.slices.map((_, i) => `${path}/${instancePath(study, i)}${suffix}`);
  const before = server.cpuMs();
  const result = await wrk(origin, paths, accept, { seconds });
  return { ...result, cpuMsEach: (server.cpuMs() - before) / result.requests };
}

async function store(target: Target, study: CtStudy): Promise<void> {
  for (let i = 0; i < study.slices.length; i += 100) {
    const files = study.slices.slice(i, i + 100).map(({ header, pixels }) => [header, pixels]);
    await post(`${target.root}/studies`, STOW_TYPE, stowPieces(files));
  }
}

const studyPath = (study: CtStudy): string => `studies/${study.StudyInstanceUID}`;
const seriesPath = (study: CtStudy): string => `${studyPath(study)}/series/${study.SeriesInstanceUID}`;
const instancePath = (study: CtStudy, index: number): string =>
  `${seriesPath(study)}/instances/${study.slices[index % study.slices.length]!.SOPInstanceUID}`;

/** nginx gets what the first archive answers. */
async function mirror(
  archive: Target,
  nginx: Extract<Target, { server: unknown }> & {
    server: { put: (path: string, body: Uint8Array, options?: { gzip?: boolean }) => void };
  },
  study: CtStudy,
): Promise<void> {
  const copy = async (path: string, accept: string, query = '', gzip = false): Promise<void> => {
    const answer = await get(`${archive.root}/${path}${query}`, { accept, keepBody: true });
    nginx.server.put(path, answer.body!, { gzip });
  };
  await copy('studies', JSON_TYPE, `?PatientID=${study.PatientID}`);
  await copy(`${studyPath(study)}/series`, JSON_TYPE);
  await copy(`${seriesPath(study)}/instances`, JSON_TYPE, '?includefield=00280010&includefield=00280011');
  await copy(`${seriesPath(study)}/metadata`, JSON_TYPE, '', true);
  await copy(studyPath(study), DICOM_MULTIPART);
  await copy(seriesPath(study), DICOM_MULTIPART);
  for (let i = 0; i < study.slices.length; i++) {
    await copy(instancePath(study, i), DICOM_MULTIPART);
    await copy(`${instancePath(study, i)}/frames/1`, OCTETS_MULTIPART);
  }
}

let nextSeed = 50_000;
/** A slow server is asked less often. */
const PATIENCE_MS = 2000;

/** Instances of the series that are asked for just after they were stored, in one round: five series of 200, one of 1,000. */
const FRESH_INSTANCES = 1000;

/** New series each round: the first answer of each has nothing prepared, the later ones may have. */
async function measureMetadata(
  targets: readonly Target[],
  results: Results,
  count: number,
  options: RetrieveOptions,
): Promise<void> {
  for (let round = 0; round < options.rounds; round++) {
    const study = ctStudy(nextSeed++, count, 64);
    const plainFirst = round % 2 === 0;
    const path = `${seriesPath(study)}/metadata`;
    const archives = targets.filter((target) => !isNginx(target));
    for (const target of turns(archives, round)) await store(target, study);
    for (const nginx of targets.filter(isNginx)) {
      const answer = await get(`${archives[0]!.root}/${path}`, { accept: JSON_TYPE, keepBody: true });
      nginx.server.put(path, answer.body!, { gzip: true });
    }
    // The archive that nginx's copy came from has seen a request already: its own first ones have to be of other series.
    const fresh = Array.from({ length: FRESH_INSTANCES / count }, () => ctStudy(nextSeed++, count, 64));
    for (const target of turns(targets, round)) {
      const url = `${target.root}/${path}`;
      const coding = plainFirst ? 'plain' : 'gzip';
      const times: number[] = [];
      for (const one of fresh) {
        // Each is asked for at once: a second later it may have been prepared.
        if (!isNginx(target)) await store(target, one);
        const freshUrl = `${target.root}/${seriesPath(one)}/metadata`;
        const first = await get(isNginx(target) ? url : freshUrl, {
          accept: JSON_TYPE,
          headers: acceptEncoding(coding),
          keepBody: true,
        });
        checkMetadata(target, first.body!, first.headers['content-encoding'], count, results);
        times.push(first.totalMs);
      }
      results.add(metadata(count, 'stored just now', coding), target.name, median(times));
      await measureAgain(target, url, metadata(count, 'again', coding), coding, options, results);
    }
    // A study that gets no more instances has its metadata prepared (Nephos; see QUIET_MS).
    await sleep(QUIET_MS * 3);
    for (const target of turns(targets, round)) {
      for (const coding of ['plain', 'gzip'] as const) {
        await measureAgain(
          target,
          `${target.root}/${path}`,
          metadata(count, 'when quiet', coding),
          coding,
          options,
          results,
        );
      }
    }
  }
}

async function measureAgain(
  target: Target,
  url: string,
  metric: Metric,
  coding: 'plain' | 'gzip',
  options: RetrieveOptions,
  results: Results,
): Promise<void> {
  const times: number[] = [];
  const started = performance.now();
  for (let i = 0; i < options.repeats && (i < 5 || performance.now() - started < PATIENCE_MS); i++) {
    times.push((await get(url, { accept: JSON_TYPE, headers: acceptEncoding(coding) })).totalMs);
  }
  results.add(metric, target.name, median(times));
}

const acceptEncoding = (coding: 'plain' | 'gzip'): Record<string, string> => ({
  'accept-encoding': coding === 'gzip' ? 'gzip' : 'identity',
});

function checkMetadata(
  target: Target,
  body: Buffer,
  coding: string | undefined,
  count: number,
  results: Results,
): void {
  const found = (JSON.parse((coding === 'gzip' ? gunzipSync(body) : body).toString()) as unknown[]).length;
  if (found !== count) results.note(`${target.name}: metadata of ${count} instances has ${found}`);
}

async function measureInstances(
  target: Target,
  study: CtStudy,
  results: Results,
  options: RetrieveOptions,
): Promise<void> {
  const series = async (path: (index: number) => string, accept: string): Promise<number[]> => {
    const times: number[] = [];
    for (let i = 0; i < options.repeats; i++) {
      const { totalMs, bytes } = await get(`${target.root}/${path(i * 37)}`, { accept });
      if (bytes < 512 * 512 * 2 && accept.startsWith('multipart'))
        results.note(`${target.name}: ${path(i * 37)} is short, ${bytes} bytes`);
      times.push(totalMs);
    }
    return times;
  };
  const instances = await series((i) => instancePath(study, i), DICOM_MULTIPART);
  results.add(METRICS.instanceP50, target.name, median(instances));
  results.add(METRICS.instanceP95, target.name, percentile(instances, 95));
  const frames = await series((i) => `${instancePath(study, i)}/frames/1`, OCTETS_MULTIPART);
  results.add(METRICS.frameP50, target.name, median(frames));
  results.add(METRICS.frameP95, target.name, percentile(frames, 95));

  const measure = async (what: Wanted, rates: readonly Metric[], cpu: Metric): Promise<void> => {
    const { requestsPerSecond, requests, failures, cpuMsEach } = await load(target, study, what, options.wrkSeconds);
    if (failures > 0)
      results.note(
        `${target.name}: ${failures} of ${requests} requests failed under wrk (${what.suffix || 'instance'})`,
      );
    for (const rate of rates) results.add(rate, target.name, requestsPerSecond);
    results.add(cpu, target.name, cpuMsEach);
  };
  await measure(INSTANCE, [METRICS.instanceRate, METRICS.instanceRateOfLimit], METRICS.instanceCpu);
  await measure(FRAME, [METRICS.frameRate, METRICS.frameRateOfLimit], METRICS.frameCpu);
  if (isNginx(target)) return;
  results.add(
    METRICS.rendered,
    target.name,
    median(await series((i) => `${instancePath(study, i)}/rendered`, 'image/jpeg')),
  );
  if (target.name !== 'orthanc10') {
    results.add(
      METRICS.thumbnail,
      target.name,
      median(await series((i) => `${instancePath(study, i)}/thumbnail`, 'image/jpeg')),
    );
  }
}

async function measureStudy(target: Target, study: CtStudy, results: Results): Promise<void> {
  for (const [path, metric] of [
    [studyPath(study), METRICS.study],
    [seriesPath(study), METRICS.series],
  ] as const) {
    const before = target.server.cpuMs();
    const times: number[] = [];
    const firstBytes: number[] = [];
    let bytes = 0;
    for (let i = 0; i < 5; i++) {
      const answer = await get(`${target.root}/${path}`, { accept: DICOM_MULTIPART });
      bytes += answer.bytes;
      times.push(answer.totalMs);
      firstBytes.push(answer.firstByteMs);
    }
    if (bytes < 5 * study.sizeBytes) results.note(`${target.name}: ${path} is short`);
    results.add(metric, target.name, bytes / 5 / 1e6 / (median(times) / 1000));
    if (metric === METRICS.study) {
      results.add(METRICS.studyCpu, target.name, (target.server.cpuMs() - before) / (bytes / 1e9));
      results.add(METRICS.studyFirstByte, target.name, median(firstBytes));
    }
  }
}

type DicomJson = Record<string, { Value?: unknown[] }>;

/** What a viewer does when a row of the study list is opened, one request after the other, parsing each answer. */
async function measureFirstImage(target: Target, study: CtStudy, results: Results, repeats: number): Promise<void> {
  const json = async (path: string): Promise<DicomJson[]> =>
    JSON.parse((await get(`${target.root}/${path}`, { accept: JSON_TYPE, keepBody: true })).body!.toString());
  const uid = (item: DicomJson | undefined, tag: string): string => String(item?.[tag]?.Value?.[0]);
  const openBy = async (instances: (series: string) => Promise<DicomJson[]>): Promise<number> => {
    const started = performance.now();
    const [found] = await json(`studies?PatientID=${study.PatientID}`);
    const studyRoot = `studies/${uid(found, '0020000D')}`;
    const [first] = await json(`${studyRoot}/series`);
    const series = `${studyRoot}/series/${uid(first, '0020000E')}`;
    const slices = await instances(series);
    const middle = slices[Math.floor(slices.length / 2)];
    await get(`${target.root}/${series}/instances/${uid(middle, '00080018')}/frames/1`, { accept: OCTETS_MULTIPART });
    return performance.now() - started;
  };
  const times: number[] = [];
  const byInstances: number[] = [];
  for (let i = 0; i < repeats; i++) times.push(await openBy((series) => json(`${series}/metadata`)));
  for (let i = 0; i < Math.min(repeats, 10); i++) {
    byInstances.push(await openBy((series) => json(`${series}/instances?includefield=00280010&includefield=00280011`)));
  }
  results.add(METRICS.firstImage, target.name, median(times));
  results.add(METRICS.firstImageByInstances, target.name, median(byInstances));
  const stackMs = await inParallel(study.slices.length, 6, async (i) => {
    await get(`${target.root}/${instancePath(study, i)}/frames/1`, { accept: OCTETS_MULTIPART });
  });
  results.add(METRICS.stack, target.name, stackMs);
}
