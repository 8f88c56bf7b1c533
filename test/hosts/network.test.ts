import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { apiRoutes } from '#api/routes.ts';
import { TokenStore } from '#core/tokens.ts';
import { DICOMWEB_ROUTES, WADO_URI_ROUTES } from '#dicomweb/routes.ts';
import { bareEnvironment } from '#test/fixtures/bare-environment.ts';
import { isFree } from '#test/fixtures/free-port.ts';
import { memoryServices } from '#test/fixtures/services.ts';
import { startArchive } from './process.ts';

const ROOT = join(import.meta.dirname, '../..');
const PAGE = readFileSync(join(ROOT, 'docs/network.md'), 'utf8');
const LISTENING = '0A';

function descriptorsOf(pid: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`);
  } catch {
    // It has ended meanwhile.
    return [];
  }
}

/** Sockets that the processes of a group listen on, by the kernel: `127.0.0.1:8080`. */
function listening(group: number): string[] {
  const members = readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      // Behind the name, which may hold anything: state, parent, group.
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]) === group;
    } catch {
      return false;
    }
  });
  const inodes = new Set<string>();
  for (const pid of members)
    for (const fd of descriptorsOf(pid)) {
      try {
        inodes.add(/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? '');
      } catch {
        // Closed meanwhile.
      }
    }
  const found = new Set<string>();
  for (const table of ['tcp', 'tcp6'])
    for (const line of readFileSync(`/proc/net/${table}`, 'utf8').split('\n').slice(1)) {
      const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
      if (state !== LISTENING || !inodes.has(inode)) continue;
      const [address = '', port = ''] = local.split(':');
      const isLoopback = address === '0100007F' || address === '00000000000000000000000001000000';
      found.add(`${isLoopback ? 'loopback' : 'network'}:${Number.parseInt(port, 16)}`);
    }
  return [...found].sort();
}

/** Rows of the page's table of ports: what, which, and from where it can be reached until somebody says otherwise. */
const portsOnThePage = new Map(
  [...PAGE.matchAll(/^\| (archive|gateway) \| `(\w+)` \| (\d+) \| (\w+) \|/gm)].map(
    ([, program, name, port, reach]) => [`${program} ${name}`, { port: Number(port), reach }],
  ),
);

let dir: string;
let child: ChildProcess | undefined;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'nephos-network-'));
});
afterEach(async () => {
  if (child?.exitCode === null && child.signalCode === null) {
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }
  child = undefined;
  rmSync(dir, { recursive: true, force: true });
});

/** Their own ports, moved together out of the way of whoever runs the tests, and the tests beside these. */
async function shiftOf(ports: readonly number[]): Promise<number> {
  for (let shift = 12_000 + (process.pid % 500); ; shift++)
    if ((await Promise.all(ports.map((port) => isFree(port + shift)))).every(Boolean)) return shift;
}

describe.runIf(existsSync('/proc/net/tcp'))(
  'the page on the network names the sockets that are listened on, and no other is there',
  () => {
    test('by the archive, with DICOM and without', async () => {
      const http = portsOnThePage.get('archive http')!;
      const dicom = portsOnThePage.get('archive dicom')!;
      for (const withDicom of [true, false]) {
        const shift = await shiftOf([http.port, dicom.port]);
        const archive = await startArchive(join(dir, String(withDicom)), {
          NEPHOS_HTTP_PORT: String(http.port + shift),
          NEPHOS_DICOM_PORT: withDicom ? String(dicom.port + shift) : 'off',
        });
        child = archive.process;
        const expected = [
          `${http.reach}:${http.port + shift}`,
          ...(withDicom ? [`${dicom.reach}:${dicom.port + shift}`] : []),
        ];
        await expect.poll(() => listening(archive.process.pid!), { timeout: 60_000 }).toEqual(expected.sort());
        await archive.stop();
      }
    });

    test('by the gateway: towards modalities, and its status; towards the archive it opens all connections itself', async () => {
      const dicom = portsOnThePage.get('gateway dicom')!;
      const status = portsOnThePage.get('gateway status')!;
      const shift = await shiftOf([dicom.port, status.port]);
      child = spawn(process.execPath, ['edge-gateway/main.ts'], {
        cwd: ROOT,
        detached: true,
        stdio: 'ignore',
        env: {
          ...bareEnvironment,
          NEPHOS_DATA_DIR: join(dir, 'edge'),
          NEPHOS_UPSTREAM: 'http://127.0.0.1:9/dicomweb',
          NEPHOS_DICOM_PORT: String(dicom.port + shift),
          NEPHOS_HTTP_PORT: String(status.port + shift),
        },
      });
      const expected = [`${dicom.reach}:${dicom.port + shift}`, `${status.reach}:${status.port + shift}`].sort();
      await expect.poll(() => listening(child!.pid!), { timeout: 100_000 }).toEqual(expected);
    });
  },
);

test('the page counts the requests that the archive answers to nobody', () => {
  const routes = [...DICOMWEB_ROUTES, ...WADO_URI_ROUTES, ...apiRoutes(new TokenStore(memoryServices()))];
  const open = routes.filter(({ action }) => action === 'public');
  const told = /(\d+) routes of the API and DICOMweb answer nobody in particular/.exec(PAGE);
  expect(Number(told?.[1]), `docs/network.md: ${open.map(({ name }) => name).join(', ')}`).toBe(open.length);
});
