import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { bareEnvironment } from '#test/fixtures/bare-environment.ts';

const ROOT = join(import.meta.dirname, '../..');
const START_MS = 120_000;

export interface RunningArchive {
  readonly origin: string;
  /** what the process has written for people */
  readonly said: () => string;
  readonly process: ChildProcess;
  /** SIGTERM; the exit code, when no process of it is left */
  stop(): Promise<number | null>;
  /** SIGKILL to every process of it, at once; resolves when none is left, of whoever has killed it */
  kill9(): Promise<void>;
  /** resolves when no process of it is left */
  readonly ended: Promise<void>;
}

const environment = (dataDir: string, env: Record<string, string>): NodeJS.ProcessEnv => ({
  ...bareEnvironment,
  NEPHOS_DATA_DIR: dataDir,
  NEPHOS_WORKERS: '2',
  NEPHOS_AUTH: 'off',
  ...env,
});

/** Whether somebody takes connections there. */
export const isListening = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket
      .once('error', () => resolve(false))
      .once('connect', () => {
        socket.destroy();
        resolve(true);
      });
  });

/** The archive as `npm start` runs it, on a free port. Rejects with what it said when it does not come up. */
export async function startArchive(dataDir: string, env: Record<string, string> = {}): Promise<RunningArchive> {
  const child = spawn(process.execPath, ['functions/embedded/main.ts'], {
    cwd: ROOT,
    env: environment(dataDir, { NEPHOS_HTTP_PORT: '0', NEPHOS_DICOM_PORT: '0', ...env }),
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  // Of every process of it: servers have what the primary writes to as well, and what was written has been read.
  let isOver = false;
  const ended = once(child, 'close').then(() => {
    isOver = true;
  });
  const deadline = Date.now() + START_MS;
  let origin: string | undefined;
  while (origin === undefined) {
    origin = /Open (https?:\/\/\S+)\//.exec(said)?.[1];
    if (child.exitCode !== null || child.signalCode !== null) {
      await ended;
      throw new Error(`exit code ${child.exitCode ?? child.signalCode}: ${said}`);
    }
    if (Date.now() > deadline) {
      // Nobody else knows of it: left alone, it would try to start for ever.
      process.kill(-child.pid!, 'SIGKILL');
      await ended;
      throw new Error(`not up in time: ${said}`);
    }
    await sleep(20);
  }
  return {
    origin,
    said: () => said,
    process: child,
    ended,
    async stop() {
      child.kill('SIGTERM');
      await ended;
      return child.exitCode;
    },
    async kill9() {
      try {
        // The number of a group that is gone may be another's.
        if (!isOver) process.kill(-child.pid!, 'SIGKILL');
      } catch {
        // The last of them has ended by itself meanwhile.
      }
      await ended;
    },
  };
}

/** What runs `nephos …` on a data folder. */
export const commandOf = (dataDir: string, args: readonly string[]) => ({
  file: process.execPath,
  argv: ['functions/embedded/cli.ts', ...args],
  options: { cwd: ROOT, env: environment(dataDir, {}) },
});

/** `nephos …` on a data folder. */
export const nephos = (dataDir: string, ...args: string[]): Promise<{ code: number; output: string }> =>
  new Promise((resolve) => {
    const { file, argv, options } = commandOf(dataDir, args);
    execFile(file, argv, options, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? 1 : 0, output: stdout + stderr });
    });
  });
