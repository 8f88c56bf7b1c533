import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { bareEnvironment } from '#test/fixtures/bare-environment.ts';

const PROGRAM = join(import.meta.dirname, '../../functions/embedded/main.ts');

// Killed in that moment, it left a server behind that waited to be given its port, with the index open, until the machine was restarted.
test('a server that waits for its primary ends when that is gone', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'nephos-orphan-'));
  const server = fork(PROGRAM, {
    // as node's cluster starts it; this process is the primary, and gives it no port
    env: { ...bareEnvironment, NODE_UNIQUE_ID: '1', NEPHOS_DATA_DIR: dir, NEPHOS_AUTH: 'off', NEPHOS_HTTP_PORT: '0' },
    execArgv: ['--expose-gc'],
    stdio: 'ignore',
  });
  const ended = once(server, 'exit');
  try {
    for (let asked: { act?: string } = {}; asked.act !== 'queryServer'; )
      [asked] = (await once(server, 'internalMessage')) as [{ act?: string }];
    server.disconnect();
    await ended;
    expect(server.exitCode ?? server.signalCode).not.toBe(null);
  } finally {
    server.kill('SIGKILL');
    await ended;
    await rm(dir, { recursive: true, force: true });
  }
});
