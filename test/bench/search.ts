import { setTimeout as sleep } from 'node:timers/promises';
import { get, inParallel, median, percentile, post, STOW_TYPE, stowPieces, wrk } from './client.ts';
import { DAYS, day, randomFrom, type TinyStudy, tinyObject, tinyStudy } from './data.ts';
import type { Metric, Results } from './results.ts';
import { type Target, type TargetName, turns } from './targets.ts';

const JSON_TYPE = 'application/dicom+json';
const MIX_SECONDS = 4;

interface Shape {
  readonly key: string;
  readonly label: string;
  /** The query of one drawing, below the DICOMweb root. */
  path(study: TinyStudy, random: () => number, size: number): string;
  /** How many matches that query has among the first `size` studies; undefined: not counted. */
  expected?(path: URLSearchParams, studies: readonly TinyStudy[]): number;
  /** exact lookups have to be flat */
  readonly exact?: boolean;
}

const limited = (parameters: URLSearchParams, count: number): number =>
  Math.min(count, Number(parameters.get('limit') ?? Number.POSITIVE_INFINITY));
const within = (range: string, date: string): boolean => {
  const [from, to = from] = range.split('-');
  return from! <= date && date <= to!;
};
const dates = (random: () => number, length: number): string => {
  const first = Math.floor(random() * (DAYS - length));
  return length === 1 ? day(first) : `${day(first)}-${day(first + length - 1)}`;
};

/** The shapes of the earlier measurement of the peers, OHIF's study list among them. */
const SHAPES: readonly Shape[] = [
  {
    key: 'patient-id',
    label: 'PatientID',
    exact: true,
    path: (s) => `/studies?PatientID=${s.PatientID}`,
    expected: () => 1,
  },
  {
    key: 'accession',
    label: 'AccessionNumber',
    exact: true,
    path: (s) => `/studies?AccessionNumber=${s.AccessionNumber}`,
  },
  {
    key: 'study-uid',
    label: 'StudyInstanceUID',
    exact: true,
    path: (s) => `/studies?StudyInstanceUID=${s.StudyInstanceUID}`,
    expected: () => 1,
  },
  {
    key: 'prefix',
    label: 'PatientName=Abcd*, limit 25',
    path: (s) => `/studies?PatientName=${s.PatientName.slice(0, 4)}*&limit=25`,
    expected: (q, studies) => {
      const prefix = q.get('PatientName')!.slice(0, -1);
      return limited(q, studies.filter((s) => s.PatientName.startsWith(prefix)).length);
    },
  },
  {
    key: 'infix',
    label: 'PatientName=\\*abc\\*, limit 25',
    path: (s) => `/studies?PatientName=*${s.PatientName.slice(1, 4)}*&limit=25`,
    expected: (q, studies) => {
      const infix = q.get('PatientName')!.slice(1, -1).toLowerCase();
      return limited(q, studies.filter((s) => s.PatientName.toLowerCase().includes(infix)).length);
    },
  },
  {
    key: 'day',
    label: 'StudyDate, one day',
    path: (_s, random) => `/studies?StudyDate=${dates(random, 1)}`,
    expected: (q, studies) => studies.filter((s) => s.StudyDate === q.get('StudyDate')).length,
  },
  {
    key: 'week',
    label: 'StudyDate, 7 days, limit 100',
    path: (_s, random) => `/studies?StudyDate=${dates(random, 7)}&limit=100`,
    expected: (q, studies) => limited(q, studies.filter((s) => within(q.get('StudyDate')!, s.StudyDate)).length),
  },
  {
    key: 'modality',
    label: 'ModalitiesInStudy and 14 days',
    path: (s, random) => `/studies?ModalitiesInStudy=${s.Modality}&StudyDate=${dates(random, 14)}`,
    expected: (q, studies) =>
      studies.filter((s) => s.Modality === q.get('ModalitiesInStudy') && within(q.get('StudyDate')!, s.StudyDate))
        .length,
  },
  {
    key: 'page',
    label: 'limit=25&offset=any',
    path: (_s, random, size) => `/studies?limit=25&offset=${Math.floor(random() * (size - 25))}`,
    expected: () => 25,
  },
  {
    key: 'series',
    label: 'series of a study',
    exact: true,
    path: (s) => `/studies/${s.StudyInstanceUID}/series`,
    expected: () => 1,
  },
  {
    key: 'instance',
    label: 'instance by UID',
    exact: true,
    path: (s) => `/instances?SOPInstanceUID=${s.SOPInstanceUID}`,
    expected: () => 1,
  },
];

/** Earlier figures of the peers where a repetition would take an hour: p50 ms by shape and size, machine of the same kind. */
const PUBLISHED: Record<string, Partial<Record<TargetName, Record<string, number>>>> = {
  '100k': {
    orthanc10: {
      'patient-id': 137,
      accession: 114,
      'study-uid': 133,
      prefix: 204,
      infix: 213,
      day: 229,
      week: 434,
      modality: 465,
      page: 1604,
      series: 157,
      instance: 52,
      mix: 4,
    },
  },
};

const EXACT_LIMIT_MS = 1.5;
const sizeName = (size: number): string => (size >= 1000 ? `${size / 1000}k` : String(size));

const queryMetric = (shape: Shape, size: number): Metric => {
  const published = Object.fromEntries(
    Object.entries(PUBLISHED[sizeName(size)] ?? {}).map(([name, figures]) => [name, figures[shape.key]]),
  ) as Partial<Record<TargetName, number>>;
  return {
    key: `qido-${shape.key}-${size}`,
    label: `QIDO at ${sizeName(size)} studies: ${shape.label}, p50`,
    unit: 'ms',
    better: 'lower',
    published,
    ...(shape.exact ? { goal: { value: EXACT_LIMIT_MS } } : {}),
  };
};
const allP95 = (size: number): Metric => ({
  key: `qido-p95-${size}`,
  label: `QIDO at ${sizeName(size)} studies: all shapes, p95`,
  unit: 'ms',
  better: 'lower',
});
const mixMetric = (size: number): Metric => ({
  key: `qido-mix-${size}`,
  label: `QIDO at ${sizeName(size)} studies: the mix, 4 clients (wrk)`,
  unit: 'req/s',
  better: 'higher',
  goal: { value: 1500 },
  published: size === 100_000 ? { orthanc10: 4 } : {},
});
const loadMetric = (size: number, perRequest: number): Metric => ({
  key: `tiny-${perRequest}-${size}`,
  label: `STOW of tiny studies ${size === 0 ? 'into an empty archive' : `at ${sizeName(size)} studies`}, ${perRequest} a request, 8 clients`,
  unit: 'objects/s',
  better: 'higher',
  goal: { value: 2000 },
});

const followUpMetric = (size: number): Metric => ({
  key: `follow-up-${size}`,
  label: `at ${sizeName(size)} studies: from the load to the first two seconds at rest`,
  unit: 's',
  better: 'lower',
});

export interface SearchOptions {
  /** ascending */
  readonly sizes: readonly number[];
  readonly rounds: number;
  /** up to which size the peers are loaded; more takes them from many minutes to an hour */
  readonly peerLimit: number;
  /** how long an archive is waited for that goes on working after a load */
  readonly restMs: number;
}

/** The archive grows from size to size; at each the last stretch of loading is timed, then every query shape. */
export async function measureSearch(
  targets: readonly Target[],
  results: Results,
  options: SearchOptions,
): Promise<void> {
  const loaded = new Map<TargetName, number>(targets.map((target) => [target.name, 0]));
  for (const size of options.sizes) {
    const present = targets.filter((target) => target.name === 'nephos' || size <= options.peerLimit);
    // Orthanc goes on working for minutes on what it was given ("stable" studies): it would slow the one that is measured.
    for (const target of targets) if (!present.includes(target)) await target.server.stop();
    for (const target of turns(present, 0)) {
      console.log(`  loading ${target.name} to ${sizeName(size)}`);
      await load(target, loaded.get(target.name)!, size, results);
      loaded.set(target.name, size);
    }
    for (const target of turns(present, 0))
      results.add(followUpMetric(size), target.name, await rested(target, options.restMs));
    const studies = Array.from({ length: size }, (_, i) => tinyStudy(i));
    for (let round = 0; round < options.rounds; round++) {
      for (const target of turns(present, round)) await query(target, studies, round, results);
    }
    for (let round = 0; round < options.rounds; round++) {
      for (const target of turns(present, round)) await mix(target, studies, round, results);
    }
  }
  for (const target of targets) addGrowth(target.name, options.sizes, results);
}

/** In the first round other queries go before it: V8 compiles what answers them meanwhile. */
async function mix(target: Target, studies: readonly TinyStudy[], round: number, results: Results): Promise<void> {
  const size = studies.length;
  const measure = (seed: number) => {
    const random = randomFrom(seed);
    const path = (_: unknown, i: number) => target.path + draw(SHAPES[i % SHAPES.length]!, studies, random);
    return wrk(target.origin, Array.from({ length: 440 }, path), JSON_TYPE, { connections: 4, seconds: MIX_SECONDS });
  };
  if (round === 0) await measure(size - 1);
  const { requestsPerSecond, failures } = await measure(size + round);
  results.add(mixMetric(size), target.name, requestsPerSecond);
  if (failures > 0) results.note(`${target.name} failed ${failures} requests of the mix at ${size}`);
}

/** How much slower the archive got from its smallest to its largest measured size. */
function addGrowth(name: TargetName, sizes: readonly number[], results: Results): void {
  const measured = sizes.filter((size) => results.valueOf(mixMetric(size).key, name) !== undefined);
  const [first, last] = [measured[0], measured.at(-1)];
  if (first === undefined || last === undefined || first === last) return;
  const growth = (of: (size: number) => string): number =>
    results.valueOf(of(last), name)! / results.valueOf(of(first), name)!;
  const metric = (key: string, label: string, better: Metric['better'], value: number): Metric => ({
    key: `growth-${key}`,
    label: `${label}, ${sizeName(sizes[0]!)} to ${sizeName(sizes.at(-1)!)} (Orthanc: to what it was loaded)`,
    unit: '×',
    better,
    goal: { value },
  });
  const lookups = SHAPES.filter((shape) => shape.exact).map((shape) => growth((size) => queryMetric(shape, size).key));
  results.add(metric('lookup', 'growth of exact lookups (the worst)', 'lower', 1.5), name, Math.max(...lookups));
  results.add(
    metric('load', 'rate of tiny objects kept, 50 a request', 'higher', 0.9),
    name,
    growth((size) => loadMetric(size, BULK_PER_REQUEST).key),
  );
}

const draw = (shape: Shape, studies: readonly TinyStudy[], random: () => number): string =>
  shape.path(studies[Math.floor(random() * studies.length)]!, random, studies.length);

/** The share of one core below which an archive has nothing left to do, over what time (ms). */
const REST = { share: 0.05, overMs: 2_000 };

/** Archives go on working on what they were given: until that is done, it is measured together with what is asked. @returns how long it took (s) */
async function rested({ server }: Target, mostMs: number): Promise<number> {
  const started = performance.now();
  for (;;) {
    const before = server.cpuMs();
    await sleep(REST.overMs);
    const elapsedMs = performance.now() - started;
    if (server.cpuMs() - before < REST.share * REST.overMs || elapsedMs > mostMs) return elapsedMs / 1000;
  }
}

const BULK_PER_REQUEST = 50;

async function load(target: Target, from: number, to: number, results: Results): Promise<void> {
  // Of the last stretch before `to`, half goes one a request, half fifty a request; these are the timed ones.
  const stretch = Math.min(1000, (to - from) / 4);
  if (from === 0) from += await timed(target, 0, stretch, 1, 0, results);
  await timed(target, from, to - from - 2 * stretch, BULK_PER_REQUEST, undefined, results);
  await timed(target, to - 2 * stretch, stretch, BULK_PER_REQUEST, to, results);
  await timed(target, to - stretch, stretch, 1, to, results);
}

async function timed(
  target: Target,
  from: number,
  count: number,
  perRequest: number,
  size: number | undefined,
  results: Results,
): Promise<number> {
  const requests = Math.ceil(count / perRequest);
  const ms = await inParallel(requests, 8, async (i) => {
    const first = from + i * perRequest;
    const last = Math.min(first + perRequest, from + count);
    const files = Array.from({ length: last - first }, (_, k) => [tinyObject(tinyStudy(first + k))]);
    await post(`${target.root}/studies`, STOW_TYPE, stowPieces(files));
  });
  if (size !== undefined) results.add(loadMetric(size, perRequest), target.name, count / (ms / 1000));
  return count;
}

const QUERIES_A_SHAPE = 30;
const PATIENCE_MS = 4000;

async function query(target: Target, studies: readonly TinyStudy[], round: number, results: Results): Promise<void> {
  const random = randomFrom(studies.length + round);
  const all: number[] = [];
  for (const shape of SHAPES) {
    const times: number[] = [];
    const started = performance.now();
    for (let i = 0; i < QUERIES_A_SHAPE && (i < 5 || performance.now() - started < PATIENCE_MS); i++) {
      const path = draw(shape, studies, random);
      const answer = await get(target.root + path, { accept: JSON_TYPE, keepBody: i === 0 });
      if (i === 0) check(target, shape, path, studies, answer.body!, results);
      times.push(answer.totalMs);
    }
    all.push(...times);
    results.add(queryMetric(shape, studies.length), target.name, median(times));
  }
  results.add(allP95(studies.length), target.name, percentile(all, 95));
}

/** A quick wrong answer is worth nothing: the first of each shape is counted. */
function check(
  target: Target,
  shape: Shape,
  path: string,
  studies: readonly TinyStudy[],
  body: Buffer,
  results: Results,
): void {
  const expected = shape.expected?.(new URL(path, 'http://x').searchParams, studies);
  const found = body.length === 0 ? 0 : (JSON.parse(body.toString()) as unknown[]).length;
  if (expected !== undefined && expected !== found) {
    results.note(`${target.name} at ${studies.length}: ${shape.label} found ${found}, there are ${expected}`);
  }
}
