import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, startNephos } from '#test/peers/helpers/nephos.ts';
import { type Nginx, startNginx } from '#test/peers/helpers/nginx.ts';
import { startOrthanc } from '#test/peers/helpers/orthanc.ts';
import type { RunningServer } from '#test/peers/helpers/processes.ts';
import { closeConnections } from './client.ts';

/** What is measured side by side. nginx stands for the limit: the same answers as files. */
export type TargetName = 'nephos' | 'orthanc12' | 'orthanc10' | 'nginx';

export interface Target {
  readonly name: TargetName;
  readonly server: RunningServer;
  /** DICOMweb root */
  readonly root: string;
  /** scheme, host and port */
  readonly origin: string;
  /** the part of the root after the origin */
  readonly path: string;
}

/** Fresh servers with empty archives for one suite; all are stopped and their data removed after it. */
export async function withTargets(
  names: readonly TargetName[],
  use: (targets: Target[]) => Promise<void>,
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'nephos-bench-'));
  const targets: Target[] = [];
  try {
    for (const name of names) targets.push(await start(name, join(dir, name)));
    await use(targets);
  } finally {
    closeConnections();
    for (const { server } of targets) await server.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function start(name: TargetName, dir: string): Promise<Target> {
  mkdirSync(dir, { recursive: true });
  const server = await startNamed(name, dir);
  const { origin, root } = server;
  return { name, server, origin, root, path: root.slice(origin.length) };
}

async function startNamed(name: TargetName, dir: string): Promise<RunningServer & { origin: string; root: string }> {
  if (name === 'nephos') return startNephos({ dataDir: dir, env: nephosEnv(), nodeArgs: nephosNodeArgs() });
  if (name === 'nginx') return startNginx({ port: await freePort(), dir });
  const version = name === 'orthanc12' ? '1.12' : '1.10';
  return startOrthanc({ version, httpPort: await freePort(), dicomPort: await freePort(), dir });
}

/** For a profile: NEPHOS_BENCH_NODE_ARGS="--cpu-prof --cpu-prof-dir=/tmp/profiles". */
const nephosNodeArgs = (): string[] =>
  (process.env.NEPHOS_BENCH_NODE_ARGS ?? '').split(' ').filter((arg) => arg !== '');
const nephosEnv = (): NodeJS.ProcessEnv => ({
  NODE_ENV: 'production',
  NEPHOS_LIMIT_STUDY_QUIET_MS: String(QUIET_MS),
});

/** Time without new instances after which a study is quiet; half a minute by default, shorter here so as not to wait for it. */
export const QUIET_MS = 1000;

export const isNginx = (target: Target): target is Target & { server: Nginx } => target.name === 'nginx';

/** The order of round `round`: another target is first each time, so that none always runs on a warm or a tired machine. */
export function rotated<T>(items: readonly T[], round: number): T[] {
  const shift = round % items.length;
  return [...items.slice(shift), ...items.slice(0, shift)];
}
