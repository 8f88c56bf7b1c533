import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../../..');
const NODE = join(ROOT, 'node_modules/node/bin');

/** Runs a program of the project's packages to its end. @throws with the last of what it said when it fails, or takes too long */
export async function run(
  program: string,
  options: readonly string[],
  {
    env = {},
    cwd = ROOT,
    timeoutMs = 1_500_000,
  }: { env?: Readonly<Record<string, string>>; cwd?: string; timeoutMs?: number } = {},
): Promise<string> {
  const child = spawn(join(ROOT, 'node_modules/.bin', program), options, {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    env: { ...process.env, ...env, PATH: `${NODE}:${process.env.PATH}` },
  });
  const said: string[] = [];
  child.stdout.on('data', (chunk: Buffer) => said.push(chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk.toString()));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  const all = said.join('');
  if (code !== 0)
    throw new Error(`${program} ${options.join(' ')} ended with ${code ?? signal}:\n${all.slice(-8_000)}`);
  return all;
}
