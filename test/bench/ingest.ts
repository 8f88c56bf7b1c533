import { inParallel, median, percentile, post, STOW_TYPE, stowPieces } from './client.ts';
import { ctStudy } from './data.ts';
import type { Metric, Results } from './results.ts';
import { type Target, turns } from './targets.ts';

interface Way {
  readonly key: string;
  readonly label: string;
  readonly clients: number;
  readonly perRequest: number;
}

const WAYS: readonly Way[] = [
  { key: 'one', label: '1 client, 1 a request', clients: 1, perRequest: 1 },
  { key: 'eight', label: '8 clients, 1 a request', clients: 8, perRequest: 1 },
  { key: 'ten', label: '2 clients, 10 a request', clients: 2, perRequest: 10 },
];

const rate = (way: Way): Metric => ({
  key: `stow-${way.key}`,
  label: `STOW of CT slices (527 KB), ${way.label}`,
  unit: 'MB/s',
  better: 'higher',
  goal: { of: 'orthanc12', factor: 2 },
});
const cpu = (way: Way): Metric => ({
  key: `stow-${way.key}-cpu`,
  label: `server CPU a slice, ${way.label}`,
  unit: 'ms',
  better: 'lower',
  goal: { value: 1.5 },
});
const FIRST_CPU: Metric = {
  key: 'stow-first-cpu',
  label: 'server CPU a slice, the first study after the start, 8 clients',
  unit: 'ms',
  better: 'lower',
};
const latency = (percent: number): Metric => ({
  key: `stow-p${percent}`,
  label: `STOW of one slice, p${percent}`,
  unit: 'ms',
  better: 'lower',
});

/** A CT study with new UIDs goes to each server in turn, over and over. */
export async function measureIngest(
  targets: readonly Target[],
  results: Results,
  options: { rounds: number; slices: number; warmUpSlices: number },
): Promise<void> {
  let seed = 1000;
  // The first stores open files and compile code; they have a row of their own. All targets are warmed alike.
  for (const target of targets) {
    const { cpuMsEach } = await storeStudy(target, seed++, options.slices, WAYS[1]!);
    results.add(FIRST_CPU, target.name, cpuMsEach);
    for (let stored = 0; stored < options.warmUpSlices; stored += options.slices)
      await storeStudy(target, seed++, options.slices, WAYS[1]!);
  }
  for (let round = 0; round < options.rounds; round++) {
    for (const way of WAYS) {
      for (const target of turns(targets, round)) {
        const { megabytesPerSecond, cpuMsEach, requestMs } = await storeStudy(target, seed++, options.slices, way);
        results.add(rate(way), target.name, megabytesPerSecond);
        results.add(cpu(way), target.name, cpuMsEach);
        if (way.key === 'one') {
          results.add(latency(50), target.name, median(requestMs));
          results.add(latency(95), target.name, percentile(requestMs, 95));
        }
      }
    }
  }
}

async function storeStudy(
  target: Target,
  seed: number,
  count: number,
  way: Way,
): Promise<{ megabytesPerSecond: number; cpuMsEach: number; requestMs: number[] }> {
  const study = ctStudy(seed, count);
  const files = study.slices.map(({ header, pixels }) => [header, pixels]);
  const bodies: Buffer[][] = [];
  for (let i = 0; i < files.length; i += way.perRequest) bodies.push(stowPieces(files.slice(i, i + way.perRequest)));
  const requestMs: number[] = [];
  const cpuBefore = target.server.cpuMs();
  const elapsedMs = await inParallel(bodies.length, way.clients, async (i) => {
    const { totalMs } = await post(`${target.root}/studies`, STOW_TYPE, bodies[i]!);
    requestMs.push(totalMs);
  });
  const cpuMsEach = (target.server.cpuMs() - cpuBefore) / count;
  return { megabytesPerSecond: study.sizeBytes / 1e6 / (elapsedMs / 1000), cpuMsEach, requestMs };
}
