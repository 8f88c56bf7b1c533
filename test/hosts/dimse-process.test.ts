import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { associate, proposing, sendEcho, sendObject } from '#dimse/scu.ts';
import type { Session } from '#dimse/session.ts';
import { VERIFICATION } from '#dimse/sop-classes.ts';
import { buildDicom, CT_IMAGE_STORAGE, EXPLICIT_LE, IMPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';
import { isListening, type RunningArchive, startArchive } from './process.ts';

let dir: string;
const running: RunningArchive[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-'));
});
afterEach(async () => {
  for (const archive of running.splice(0)) await archive.kill9();
  await rm(dir, { recursive: true, force: true });
});

const start = async (env: Record<string, string> = {}): Promise<RunningArchive> => {
  const archive = await startArchive(join(dir, 'data'), env);
  running.push(archive);
  return archive;
};
const portOf = (archive: RunningArchive): number => Number(/NEPHOS@127\.0\.0\.1:(\d+)/.exec(archive.said())![1]);
const open = (archive: RunningArchive): Promise<Session> =>
  associate(
    { aeTitle: 'NEPHOS', host: '127.0.0.1', port: portOf(archive) },
    { callingAETitle: 'CT1', contexts: proposing([CT_IMAGE_STORAGE, [EXPLICIT_LE]], [VERIFICATION, [IMPLICIT_LE]]) },
  );
const send = async (session: Session, n: number): Promise<number> => {
  const object = buildDicom({ SOPInstanceUID: uid(7_000 + n), InstanceNumber: n });
  const dataSet = object.subarray(scanPart10(object, DEFAULT_LIMITS).dataSetOffset);
  return (await sendObject(session, session.contexts.get(1)!, uid(7_000 + n), dataSet)).status;
};
const instances = async (archive: RunningArchive): Promise<Set<string>> => {
  const found = await fetch(`${archive.origin}/dicomweb/studies/${uid(1)}/instances?limit=5000`);
  const list = (await found.json()) as Record<string, { Value: string[] }>[];
  return new Set(list.map((one) => one['00080018']!.Value[0]!));
};

test('what was acknowledged over eight associations is there after kill -9, once', async () => {
  const archive = await start();
  const acknowledged: string[] = [];
  let next = 0;
  const senders = Array.from({ length: 8 }, async () => {
    const session = await open(archive);
    for (;;) {
      const n = next++;
      if ((await send(session, n)) === 0) acknowledged.push(uid(7_000 + n));
    }
  });
  const gone = Promise.allSettled(senders);
  while (acknowledged.length < 120) await sleep(5);
  await archive.kill9();
  await gone;
  const again = await start();
  const kept = await instances(again);
  expect(acknowledged.filter((sop) => !kept.has(sop))).toEqual([]);
  const session = await open(again);
  for (const sop of acknowledged.slice(-5))
    expect(await send(session, Number(sop.slice(uid(7_000).length - 4)) - 7_000)).toBe(0);
  await session.release();
});

test('a stopped archive lets the association under way end', async () => {
  const archive = await start();
  const session = await open(archive);
  expect(await send(session, 1)).toBe(0);
  const stopped = archive.stop();
  while (await isListening(portOf(archive))) await sleep(10);
  expect(await send(session, 2)).toBe(0);
  await session.release();
  expect(await stopped).toBe(0);
});

test('three hundred connections that say nothing, or nonsense, keep nobody out', async () => {
  const archive = await start();
  const port = portOf(archive);
  const sockets: Socket[] = [];
  for (let i = 0; i < 300; i++) {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    if (i % 3 === 1) socket.write(Buffer.alloc(1 + (i % 50), i));
    if (i % 3 === 2) socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    sockets.push(socket);
  }
  await Promise.all(sockets.map((socket) => socket.connecting && once(socket, 'connect')));
  const session = await open(archive);
  expect(await sendEcho(session, VERIFICATION)).toBe(0);
  await session.release();
  for (const socket of sockets) socket.destroy();
  const metrics = await (await fetch(`${archive.origin}/metrics`)).text();
  expect(metrics).toMatch(/nephos_dimse_operations_total\{command="cEcho",status="0000"\} 1/);
});

test('DIMSE can be left out', async () => {
  const archive = await start({ NEPHOS_DICOM_PORT: 'off' });
  expect(archive.said()).not.toMatch(/DICOM {2}/);
});
