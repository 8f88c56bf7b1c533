import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RemoteEntity } from '#dimse/scu.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { startNephos } from '#test/peers/helpers/nephos.ts';
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
  /** DIMSE; nginx has none */
  readonly dicom: RemoteEntity;
}

/** Where archives send what C-MOVE asks of them; whoever measures that listens there. */
export interface MoveDestination {
  readonly aeTitle: string;
  readonly port: number;
}

/** Fresh servers with empty archives for one suite; all are stopped and their data removed after it. */
export async function withTargets(
  names: readonly TargetName[],
  use: (targets: Target[], destination: MoveDestination) => Promise<void>,
): Promise<void> {
  const destination = { aeTitle: 'BENCHSCP', port: await freePort() };
  const dir = mkdtempSync(join(tmpdir(), 'nephos-bench-'));
  const targets: Target[] = [];
  try {
    for (const name of names) targets.push(await start(name, join(dir, name), destination));
    await use(targets, destination);
  } finally {
    closeConnections();
    for (const { server } of targets) await server.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function start(name: TargetName, dir: string, destination: MoveDestination): Promise<Target> {
  mkdirSync(dir, { recursive: true });
  const dicomPort = await freePort();
  const server = await startNamed(name, dir, dicomPort, destination);
  const { origin, root } = server;
  const dicom = { aeTitle: name === 'nephos' ? 'NEPHOS' : 'ORTHANC', host: '127.0.0.1', port: dicomPort };
  return { name, server, origin, root, path: root.slice(origin.length), dicom };
}

async function startNamed(
  name: TargetName,
  dir: string,
  dicomPort: number,
  { aeTitle, port }: MoveDestination,
): Promise<RunningServer & { origin: string; root: string }> {
  if (name === 'nephos') {
    const env = {
      ...nephosEnv(),
      NEPHOS_DICOM_PORT: String(dicomPort),
      NEPHOS_DICOM_DESTINATIONS: `${aeTitle}@127.0.0.1:${port}`,
    };
    return startNephos({ dataDir: dir, env, nodeArgs: nephosNodeArgs() });
  }
  if (name === 'nginx') return startNginx({ port: await freePort(), dir });
  const version = name === 'orthanc12' ? '1.12' : '1.10';
  // The largest PDU it knows is asked for on both sides; 16 KB is its default.
  const settings = {
    DicomAet: 'ORTHANC',
    DicomModalities: {
      bench: { AET: aeTitle, Host: '127.0.0.1', Port: port },
      client: { AET: CLIENT_AE_TITLE, Host: '127.0.0.1', Port: port },
    },
    DicomAlwaysAllowFind: true,
    DicomAlwaysAllowGet: true,
    DicomAlwaysAllowMove: true,
    MaximumPduLength: 131_072,
  };
  return startOrthanc({ version, httpPort: await freePort(), dicomPort, dir, settings });
}

/** what the measuring client calls itself */
export const CLIENT_AE_TITLE = 'BENCH';

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

/**
 * One after the other, another one first each round, so that none always runs on a warm or a tired machine. Whoever's turn it is has the machine for
 * himself: the others stand still, whatever they still have to do with what they were given.
 */
export function* turns<T extends { readonly server?: Pick<RunningServer, 'pids'> }>(
  all: readonly T[],
  round: number,
): Generator<T> {
  for (const one of rotated(all, round)) {
    // Who stood still closes connections that he takes for idle when he wakes.
    closeConnections();
    const others = all.filter((other) => other !== one).flatMap(({ server }) => server?.pids() ?? []);
    for (const pid of others) process.kill(pid, 'SIGSTOP');
    try {
      yield one;
    } finally {
      for (const pid of others) process.kill(pid, 'SIGCONT');
    }
  }
}

function rotated<T>(items: readonly T[], round: number): T[] {
  const shift = round % items.length;
  return [...items.slice(shift), ...items.slice(0, shift)];
}
