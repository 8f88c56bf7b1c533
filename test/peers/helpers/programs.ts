import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { projectRoot } from './nephos.ts';
import { peersDir } from './orthanc.ts';

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A little less than a test has: what stands still is told of by its own name. */
const PATIENCE_MS = 280_000;

/** Run a program to its end. Its exit code is part of the answer, not an error. */
export function run(
  command: string,
  args: readonly string[],
  options: { cwd?: string; timeoutMs?: number; env?: Readonly<Record<string, string>> } = {},
): Promise<Output> {
  return new Promise((resolve, reject) => {
    execFile(
      command,
      args,
      {
        cwd: options.cwd,
        env: { ...process.env, ...options.env },
        timeout: options.timeoutMs ?? PATIENCE_MS,
        maxBuffer: 256 * 2 ** 20,
        encoding: 'utf8',
      },
      (error, stdout, stderr) => {
        if (error !== null && typeof error.code !== 'number') reject(error);
        else resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      },
    );
  });
}

/** Like `run`. @throws Error with what the program said unless it exits with 0 */
export async function runOk(
  command: string,
  args: readonly string[],
  options: { cwd?: string; timeoutMs?: number; env?: Readonly<Record<string, string>> } = {},
): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, options);
  if (code !== 0)
    throw new Error(`${command} ${args.join(' ')} exited with ${code}:\n${stderr.slice(-2000)}${stdout.slice(-500)}`);
  return stdout;
}

/** A script of scripts/peers in the Python environment of scripts/install-peers; it prints JSON. */
export async function python<T>(
  script: string,
  args: readonly string[],
  options: { timeoutMs?: number; env?: Readonly<Record<string, string>> } = {},
): Promise<T> {
  return JSON.parse(await runOk(PYTHON, [peerScript(script), ...args], options)) as T;
}

export const PYTHON = join(peersDir, 'python/bin/python');
/** the path of a script of scripts/peers */
export const peerScript = (script: string): string =>
  fileURLToPath(new URL(`../../../scripts/peers/${script}`, import.meta.url));

/** The shared corpus beside the project; suites that need it are skipped where it is not. */
export const corpusDir = join(projectRoot, '../shared/testdata');
export const hasCorpus = existsSync(join(corpusDir, 'MANIFEST.tsv'));
