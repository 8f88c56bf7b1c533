import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PacsError } from '#core/errors.ts';
import { ARCHIVE_POLICY, archiveServices } from '#dimse/archive.ts';
import type { Timers } from '#dimse/association.ts';
import { COMMAND, encodeCommand } from '#dimse/command-set.ts';
import { encodeIdentifier } from '#dimse/identifiers.ts';
import { dataHeader, encodeAssociateRequest, encodeReleaseRequest, PDU } from '#dimse/pdu.ts';
import { associate, proposing, sendEcho } from '#dimse/scu.ts';
import { type AssociationSummary, createDimseServer, type DimseServer } from '#dimse/server.ts';
import {
  MODALITY_PERFORMED_PROCEDURE_STEP,
  MODALITY_WORKLIST_FIND,
  STUDY_ROOT_FIND,
  VERIFICATION,
} from '#dimse/sop-classes.ts';
import { CT_IMAGE_STORAGE, EXPLICIT_LE } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';
import { scheduled, started } from '#test/fixtures/worklist.ts';
import { requestOf } from '../unit/dimse/pairs.ts';

const WAITING_CONNECTIONS = 1_000;
const MAX_ASSOCIATIONS = 40;

let server: DimseServer;
let port: number;
/** the lines of the log: one for each connection, and nothing that speaks of a defect */
let lines: AssociationSummary[] = [];
let defects: unknown[] = [];
const sockets = new Set<Socket>();

const services = memoryServices();
/** Those that are to last give a slow machine all the time it needs; those that are given up do not. */
const LASTING = { artimMs: 100_000, idleMs: 100_000 };
const SHORT = { artimMs: 1_500, idleMs: 1_000 };
const MIDDLING = { artimMs: 10_000, idleMs: 3_000 };

async function serve(timers: Timers): Promise<void> {
  server = createDimseServer({
    aeTitle: 'NEPHOS',
    checkCalledAETitle: false,
    allowed: 'any',
    maxAssociations: MAX_ASSOCIATIONS,
    policy: ARCHIVE_POLICY,
    services: archiveServices({
      services,
      aeTitle: 'NEPHOS',
      principalOf: (subject) => ({ tenant: TENANT, subject, roles: ['modality'] }),
      destinationOf: () => undefined,
    }),
    timers,
    onEnd: (line) => void lines.push(line),
    onDefect: (error) => void defects.push(error),
  });
  server.server.listen(0, '127.0.0.1');
  await once(server.server, 'listening');
  ({ port } = server.server.address() as AddressInfo);
}
async function serveAnew(timers: Timers): Promise<void> {
  await server.close(0);
  await serve(timers);
}

beforeEach(async () => {
  lines = [];
  defects = [];
  await serve(LASTING);
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  await server.close(0);
});

async function open(allowHalfOpen = false): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen });
  sockets.add(socket);
  socket.on('error', () => {});
  socket.resume();
  await once(socket, 'connect');
  return socket;
}
/** Also by a reset: `once` would take that for a failure. */
const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())));
const logged = async (count: number): Promise<void> => {
  await until(() => lines.length >= count);
  expect(lines).toHaveLength(count);
};
/** The server has taken up so many connections: who connects is not heard of before. */
const connected = (count: number): Promise<void> =>
  until(() => new Promise((resolve) => server.server.getConnections((_, now) => resolve(now === count))));
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await isSo()) && performance.now() < deadline) await sleep(10);
  expect(await isSo()).toBe(true);
}
/** somebody else is served meanwhile */
async function echo(): Promise<void> {
  const session = await associate(
    { aeTitle: 'NEPHOS', host: '127.0.0.1', port },
    { callingAETitle: 'WS1', contexts: proposing([VERIFICATION, [EXPLICIT_LE]]) },
  );
  expect(await sendEcho(session, VERIFICATION)).toBe(0);
  await session.release();
}

const CLASSES = [
  VERIFICATION,
  CT_IMAGE_STORAGE,
  STUDY_ROOT_FIND,
  MODALITY_WORKLIST_FIND,
  MODALITY_PERFORMED_PROCEDURE_STEP,
];
const ASSOCIATE = encodeAssociateRequest(
  requestOf(CLASSES.map((abstractSyntax, i) => ({ id: 2 * i + 1, abstractSyntax, transferSyntaxes: [EXPLICIT_LE] }))),
);
const message = (contextId: number, CommandField: number, fields: Record<string, string>, dataSet?: Buffer): Buffer => {
  const command = encodeCommand({
    CommandField,
    MessageID: contextId,
    AffectedSOPClassUID: CLASSES[(contextId - 1) / 2]!,
    CommandDataSetType: dataSet === undefined ? 0x0101 : 0,
    ...fields,
  });
  const parts = [dataHeader(contextId, true, true, command.length), command];
  if (dataSet !== undefined) parts.push(dataHeader(contextId, false, true, dataSet.length), dataSet);
  return Buffer.concat(parts);
};
/** what a modality says in a day, every service once */
const DAY = [
  ASSOCIATE,
  message(1, COMMAND.cEcho, {}),
  message(3, COMMAND.cStore, { AffectedSOPInstanceUID: '1.2.3' }, Buffer.alloc(300, 7)),
  message(5, COMMAND.cFind, {}, encodeIdentifier({ '00080052': { vr: 'CS', Value: ['STUDY'] } }, EXPLICIT_LE)),
  message(7, COMMAND.cFind, {}, encodeIdentifier(scheduled(), EXPLICIT_LE)),
  message(9, COMMAND.nCreate, { AffectedSOPInstanceUID: '1.2.3.4' }, encodeIdentifier(started(), EXPLICIT_LE)),
  encodeReleaseRequest(),
];

describe('an acceptor that is treated badly', () => {
  test('a thousand connections that ask for nothing: others are served, and one more than may wait is dropped at once', async () => {
    await Promise.all(Array.from({ length: WAITING_CONNECTIONS - 10 }, () => open()));
    await connected(WAITING_CONNECTIONS - 10);
    await echo();
    for (let i = 0; i < 10; i++) await open();
    await connected(WAITING_CONNECTIONS);
    await closed(await open());
    await logged(2);
    expect(lines.map(({ error }) => error?.kind)).toEqual([undefined, 'rejected']);
    expect(defects).toEqual([]);
  });

  test('connections that ask for nothing: each ends by itself, with one line', async () => {
    await serveAnew(SHORT);
    const silent = await Promise.all(Array.from({ length: 300 }, () => open()));
    await Promise.all(silent.map(closed));
    await logged(300);
    expect(new Set(lines.map(({ error }) => error?.kind))).toEqual(new Set(['timeout']));
    expect(defects).toEqual([]);
  });

  test('slow loris: a request for an association, byte by byte, is not waited for beyond ARTIM', async () => {
    await serveAnew(SHORT);
    const slow = await Promise.all(Array.from({ length: 50 }, () => open()));
    const dripping = setInterval(() => {
      for (const socket of slow) if (!socket.destroyed) socket.write(ASSOCIATE.subarray(0, 1));
    }, 50);
    // The type of a PDU, its length, then nothing that it promises.
    for (const socket of slow) socket.write(Buffer.from([1, 0, 0, 0, 0xff, 0xff]));
    await Promise.all(slow.map(closed));
    clearInterval(dripping);
    await logged(50);
    expect(lines.filter(({ error }) => error?.kind === 'timeout')).toHaveLength(50);
  });

  test('half-open: one that has closed its side, one that vanished within a data set, one that reset', async () => {
    const halfOpen = await open(true);
    halfOpen.write(ASSOCIATE);
    halfOpen.end();
    const vanished = await open();
    vanished.write(Buffer.concat([ASSOCIATE, DAY[2]!.subarray(0, -100)]));
    const reset = await open();
    reset.write(Buffer.concat([ASSOCIATE, DAY[1]!]));
    await once(reset, 'data');
    reset.resetAndDestroy();
    await sleep(50);
    vanished.destroy();
    await closed(halfOpen);
    await logged(3);
    expect(server.associations()).toBe(0);
    await echo();
  });

  test('as many as may be, all silent within a message: one more is told so', async () => {
    const silent = await Promise.all(Array.from({ length: MAX_ASSOCIATIONS }, () => open()));
    for (const socket of silent) socket.write(Buffer.concat([ASSOCIATE, DAY[2]!.subarray(0, -100)]));
    await until(() => server.associations() === MAX_ASSOCIATIONS);
    await expect(echo()).rejects.toMatchObject({ reject: { result: 2, source: 3, reason: 2 } });
  });

  test('who falls silent within a message is given up; his place is free again', async () => {
    await serveAnew(SHORT);
    const silent = await Promise.all(Array.from({ length: 5 }, () => open()));
    for (const socket of silent) socket.write(Buffer.concat([ASSOCIATE, DAY[2]!.subarray(0, -100)]));
    await Promise.all(silent.map(closed));
    await logged(5);
    expect(server.associations()).toBe(0);
  });

  test('lengths that promise gigabytes cost no memory', async () => {
    const before = process.memoryUsage().rss;
    const greedy = await Promise.all(Array.from({ length: 30 }, () => open()));
    const huge = Buffer.from('04 00 ff ff ff f0 ff ff ff e0 03 00'.replaceAll(' ', ''), 'hex');
    const chunk = Buffer.alloc(256 * 1024);
    for (const socket of greedy) {
      socket.write(ASSOCIATE);
      // A command, then a data set that nobody has asked for and that never ends.
      const command = encodeCommand({
        CommandField: COMMAND.cStore,
        MessageID: 1,
        AffectedSOPClassUID: CT_IMAGE_STORAGE,
        AffectedSOPInstanceUID: '1.2',
        CommandDataSetType: 0,
      });
      socket.write(Buffer.concat([dataHeader(3, true, true, command.length), command, huge]));
      for (let i = 0; i < 32; i++) socket.write(chunk);
    }
    await echo();
    await sleep(300);
    expect((process.memoryUsage().rss - before) / 1024 / 1024).toBeLessThan(400);
    for (const socket of greedy) socket.destroy();
    await logged(31);
    await echo();
  });

  test('whatever bytes arrive: an answer or an abort, one line, and the next is served', async () => {
    await serveAnew(MIDDLING);
    const whole = Buffer.concat(DAY);
    const starts = DAY.map((_, i) => DAY.slice(0, i).reduce((sum, { length }) => sum + length, 0));
    const edit = fc.record({
      at: fc.nat(whole.length - 1),
      kind: fc.constantFrom('set', 'cut', 'insert', 'repeat', 'drop' as const),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 24 }),
      part: fc.nat(DAY.length - 1),
    });
    let connections = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(edit, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 4_000 }),
        async (edits, size) => {
          let bytes = Buffer.from(whole);
          for (const { at, kind, bytes: some, part } of edits) {
            const start = Math.min(at, bytes.length);
            if (kind === 'set') bytes.set(some.subarray(0, bytes.length - start), start);
            else if (kind === 'cut') bytes = bytes.subarray(0, start);
            else if (kind === 'insert') bytes = Buffer.concat([bytes.subarray(0, start), some, bytes.subarray(start)]);
            else if (kind === 'repeat') bytes = Buffer.concat([bytes, DAY[part]!]);
            else
              bytes = Buffer.concat([
                bytes.subarray(0, starts[part]),
                bytes.subarray(starts[part]! + DAY[part]!.length),
              ]);
          }
          connections++;
          const socket = await open();
          for (let at = 0; at < bytes.length; at += size) socket.write(bytes.subarray(at, at + size));
          socket.end();
          await closed(socket);
        },
      ),
      { numRuns: 250 },
    );
    await logged(connections);
    // What is the peer's fault is no defect of ours.
    expect(defects.filter((error) => !(error instanceof PacsError) || error.code === 'INTERNAL')).toEqual([]);
    expect(server.associations()).toBe(0);
    await echo();
  });

  // They kept an archive from being stopped until it was killed.
  test('connections that ask for nothing end at once when the server is stopped', async () => {
    const silent = await Promise.all(Array.from({ length: 20 }, () => open()));
    await connected(20);
    await server.close(3_600_000);
    await Promise.all(silent.map(closed));
    expect(lines.map(({ error }) => error?.kind)).toEqual(Array.from({ length: 20 }, () => 'aborted'));
  });

  test('an HTTP client, a TLS client, a line of text', async () => {
    for (const text of [
      'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
      '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
      'EHLO there\r\n',
    ]) {
      const socket = await open();
      const answer = once(socket, 'data');
      socket.write(text, 'latin1');
      expect((await answer)[0][0]).toBe(PDU.abort);
      socket.end();
      await closed(socket);
    }
    await logged(3);
    expect(lines.map(({ error }) => error?.kind)).toEqual(['malformed', 'malformed', 'malformed']);
  });
});
