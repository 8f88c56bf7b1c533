import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
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
  /** SIGTERM, and the exit code */
  stop(): Promise<number | null>;
  /** SIGKILL to every process of it, at once */
  kill9(): Promise<void>;
}

const environment = (dataDir: string, env: Record<string, string>): NodeJS.ProcessEnv => ({
  ...bareEnvironment,
  NEPHOS_DATA_DIR: dataDir,
  NEPHOS_WORKERS: '2',
  NEPHOS_AUTH: 'off',
  ...env,
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
  const exited = once(child, 'exit');
  const deadline = Date.now() + START_MS;
  let origin: string | undefined;
  while (origin === undefined) {
    origin = /Open (https?:\/\/\S+)\//.exec(said)?.[1];
    if (child.exitCode !== null) throw new Error(`exit code ${child.exitCode}: ${said}`);
    if (Date.now() > deadline) {
      // Nobody else knows of it: left alone, it would try to start for ever.
      process.kill(-child.pid!, 'SIGKILL');
      throw new Error(`not up in time: ${said}`);
    }
    await sleep(20);
  }
  return {
    origin,
    said: () => said,
    process: child,
    async stop() {
      child.kill('SIGTERM');
      await exited;
      return child.exitCode;
    },
    async kill9() {
      process.kill(-child.pid!, 'SIGKILL');
      await exited;
    },
  };
}

/** `nephos …` on a data folder. */
export const nephos = (dataDir: string, ...args: string[]): Promise<{ code: number; output: string }> =>
  new Promise((resolve) => {
    const options = { cwd: ROOT, env: environment(dataDir, {}) };
    execFile(process.execPath, ['functions/embedded/cli.ts', ...args], options, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? 1 : 0, output: stdout + stderr });
    });
  });
