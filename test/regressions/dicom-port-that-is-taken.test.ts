import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { freePort } from '#test/fixtures/free-port.ts';
import { startArchive } from '#test/hosts/process.ts';

let dir: string;
let other: Server;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-taken-'));
  other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
});
afterEach(async () => {
  other.close();
  await rm(dir, { recursive: true, force: true });
});

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => resolve(false));
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });

// It killed its servers for leaving the index open, and started them again for ever.
test('an archive whose DICOM port is taken says so and ends; nobody was answered by HTTP, as if it were there', async () => {
  const port = await freePort();
  let ended = false;
  const starting = startArchive(dir, {
    NEPHOS_HTTP_PORT: String(port),
    NEPHOS_DICOM_PORT: String((other.address() as AddressInfo).port),
  }).finally(() => {
    ended = true;
  });
  const refused = expect(starting).rejects.toThrow(/exit code 2: cannot listen for DICOM .*EADDRINUSE/s);
  let wasOpen = false;
  while (!ended) {
    wasOpen ||= await isOpen(port);
    await turn();
  }
  await refused;
  expect(wasOpen).toBe(false);
}, 300_000);
