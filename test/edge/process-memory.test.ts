import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, expect, test } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'nephos-memory-'));
afterAll(() => rmSync(folder, { recursive: true }));
const program = join(folder, 'program.mjs');
const module = join(import.meta.dirname, '../../edge-gateway/process-memory.ts');
writeFileSync(
  program,
  `import { settleMemory } from ${JSON.stringify(module)};
   settleMemory();
   const { pid, execArgv: options, env, argv } = process;
   console.log(JSON.stringify({ pid, options, arenas: env.MALLOC_ARENA_MAX, own: env.OWN, args: argv.slice(2), gc: typeof globalThis.gc }));`,
);

interface Said {
  readonly pid: number;
  readonly options: readonly string[];
  readonly args: readonly string[];
  readonly arenas: string;
  readonly own: string;
  readonly gc: string;
}

async function start(options: readonly string[], env: Record<string, string>) {
  const child = spawn(process.execPath, [...options, program, 'one', 'two words'], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return { pid: child.pid, said: JSON.parse(await text(child.stdout)) as Said };
}

// Windows has no such call: the gateway runs there, and needs more memory.
test.skipIf(process.execve === undefined)(
  'a gateway that was started bare has the memory settings of the image, its arguments and its process id',
  async () => {
    const { pid, said } = await start([], { OWN: 'kept' });
    expect(said).toMatchObject({ pid, args: ['one', 'two words'], arenas: '2', own: 'kept', gc: 'function' });
    expect(said.options).toEqual(expect.arrayContaining(['--max-semi-space-size=4']));
  },
);

test('what somebody has set otherwise stays', async () => {
  const { said } = await start(['--max-semi-space-size=16'], { MALLOC_ARENA_MAX: '8' });
  expect(said.arenas).toBe('8');
  expect(said.options.filter((option) => option.startsWith('--max-semi-space-size'))).toEqual([
    '--max-semi-space-size=16',
  ]);
});
