/** Words that a command does not know were passed over: `token foo` renewed the administrator's token. Others ended in a stack trace, or began an archive. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { freePort } from '#test/fixtures/free-port.ts';

const folder = mkdtempSync(join(tmpdir(), 'nephos-mistakes-'));
const file = join(folder, 'file');
writeFileSync(file, '');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(program: 'cli' | 'main', args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  return new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) => {
    const child = execFile(
      process.execPath,
      [`functions/embedded/${program}.ts`, ...args],
      { env: { ...process.env, NEPHOS_DATA_DIR: join(folder, 'none'), ...env }, timeout: 60_000 },
      (error, stdout, stderr) => resolve({ code: error ? (error.code ?? error.signal) : 0, stdout, stderr }),
    );
    child.stdin?.end();
  });
}

test('a name of a variable that nothing reads is told', async () => {
  const { code, stderr } = await run('cli', ['verify'], { NEPHOS_DATADIR: folder });
  expect(stderr).toContain('NEPHOS_DATADIR has no effect: nothing reads it; did you mean NEPHOS_DATA_DIR?\n');
  expect(code).toBe(2);
});

test.each([
  [['frob'], 'there is no command frob'],
  [['verify', '--foo'], "Unknown option '--foo'\n"],
  [['verify', '--to', 'x'], 'nephos verify knows nothing of to'],
  [['token', 'foo'], 'nephos token knows nothing of foo'],
  [['token', '--gateway'], 'argument missing'],
  [['verify'], 'there is no index of an archive in'],
  [['export', '1.2', '--to', 'out'], 'there is no index of an archive in'],
  [['passcode', '--help'], 'standard input'],
  [['passcode'], 'there is none on standard input'],
])('%s: one line says what is wrong, and nothing is done', async (args, said) => {
  const { code, stdout, stderr } = await run('cli', args);
  expect(stderr).toContain(said);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect([code, stdout]).toEqual([2, '']);
  expect(existsSync(join(folder, 'none'))).toBe(false);
});

test('who asks for help gets it', async () => {
  for (const args of [['help'], ['--help'], ['token', '--help']])
    expect(await run('cli', args)).toMatchObject({ code: 0, stdout: expect.stringContaining('nephos token') });
});

test.each(['cli', 'main'] as const)('a data folder that is a file: one line, by %s', async (program) => {
  const { code, stderr } = await run(program, program === 'cli' ? ['import', folder] : [], { NEPHOS_DATA_DIR: file });
  expect([code, stderr.trim().split('\n').length]).toEqual([2, 1]);
  expect(stderr).toContain(file);
});

test('a setting that a server finds unusable ends the start: servers were begun anew for ever', async () => {
  const [http, dicom] = [await freePort(), await freePort()];
  const { code, stderr } = await run('main', [], {
    ...{ NEPHOS_DATA_DIR: join(folder, 'data'), NEPHOS_HTTP_PORT: String(http), NEPHOS_DICOM_PORT: String(dicom) },
    ...{ NEPHOS_WORKERS: '1', NEPHOS_DICOM_IDENTITY: 'optional', NEPHOS_DICOM_USERS: join(folder, 'nobody.json') },
  });
  expect(code).toBe(2);
  expect(stderr).toContain('NEPHOS_DICOM_USERS');
});
