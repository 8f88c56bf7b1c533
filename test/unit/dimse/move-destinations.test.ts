import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { EXPLICIT_VR_BIG_ENDIAN } from '#core/dicom/transfer-syntaxes.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { ARCHIVE_POLICY } from '#dimse/archive.ts';
import { COMMAND } from '#dimse/command-set.ts';
import { negotiate } from '#dimse/negotiation.ts';
import {
  CONTEXT_RESULT,
  decodePdu,
  encodeAssociateAccept,
  encodeAssociateReject,
  encodeReleaseReply,
  PDU,
  REJECT,
} from '#dimse/pdu.ts';
import { type RemoteEntity, type RetrieveReport, sendRetrieve } from '#dimse/scu.ts';
import { createDimseServer, type DimseServer } from '#dimse/server.ts';
import { moveService } from '#dimse/services/move.ts';
import { storeService } from '#dimse/services/store.ts';
import { type Service, Session } from '#dimse/session.ts';
import { STUDY_ROOT_MOVE } from '#dimse/sop-classes.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { NATIVE, sessionPair } from './pairs.ts';

const STUDY = uid(60);
const MR_IMAGE_STORAGE = '1.2.840.10008.5.1.4.1.1.4';
const WHOLE_STUDY: DataSet = {
  '00080052': { vr: 'CS', Value: ['STUDY'] },
  '0020000D': { vr: 'UI', Value: [STUDY] },
};
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** A study of three slices of CT and two of MR is moved to whoever listens at the port. */
async function moveTo(
  destination: (services: ReturnType<typeof memoryServices>) => Promise<number>,
): Promise<RetrieveReport> {
  const services = memoryServices();
  for (const n of [1, 2, 3])
    await store(
      services,
      buildDicom({ StudyInstanceUID: STUDY, SeriesInstanceUID: uid(61), SOPInstanceUID: uid(610 + n) }),
    );
  for (const n of [1, 2])
    await store(
      services,
      buildDicom({
        SOPClassUID: MR_IMAGE_STORAGE,
        Modality: 'MR',
        StudyInstanceUID: STUDY,
        SeriesInstanceUID: uid(62),
        SOPInstanceUID: uid(620 + n),
      }),
    );
  const remote: RemoteEntity = { aeTitle: 'WS', host: '127.0.0.1', port: await destination(services) };
  const principalOf = () => ({ tenant: TENANT, subject: 'WS', roles: ['modality'] as const });
  const access = { services, aeTitle: 'NEPHOS', principalOf, destinationOf: () => remote };
  const { scu } = await sessionPair({
    services: new Map([[COMMAND.cMove, moveService(access)]]),
    contexts: [{ id: 1, abstractSyntax: STUDY_ROOT_MOVE, transferSyntaxes: NATIVE }],
  });
  const report = await sendRetrieve(scu, STUDY_ROOT_MOVE, WHOLE_STUDY, { destination: 'WS' });
  await scu.release();
  return report;
}

/** A storage SCP. */
async function listening(take: Service): Promise<number> {
  const scp: DimseServer = createDimseServer({
    aeTitle: 'WS',
    checkCalledAETitle: false,
    allowed: 'any',
    maxAssociations: 4,
    policy: ARCHIVE_POLICY,
    services: new Map([[COMMAND.cStore, take]]),
  });
  scp.server.listen(0, '127.0.0.1');
  await once(scp.server, 'listening');
  closing.push(() => scp.close(0));
  return (scp.server.address() as AddressInfo).port;
}
/** Whatever is said to the first PDU. */
async function answering(answer: (request: Buffer, socket: Socket) => void): Promise<number> {
  const server: Server = createServer((socket) => {
    socket.on('error', () => {});
    let bytes = Buffer.alloc(0);
    const first = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length < 6 || bytes.length < 6 + bytes.readUInt32BE(2)) return;
      socket.off('data', first);
      socket.resume();
      answer(bytes.subarray(6, 6 + bytes.readUInt32BE(2)), socket);
    };
    socket.on('data', first);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => server.close());
  return (server.address() as AddressInfo).port;
}
const taking =
  (statusOf: (n: number) => number | 'abort'): Service =>
  async ({ session, dataSet, respond }) => {
    await dataSet!.gather();
    const status = statusOf(++seen);
    if (status === 'abort') session.abort();
    else await respond({ Status: status });
  };
let seen = 0;
afterEach(() => {
  seen = 0;
});

test('a destination that takes all', async () => {
  expect(await moveTo(() => listening(taking(() => 0)))).toMatchObject({
    status: 0,
    completed: 5,
    failed: 0,
    warning: 0,
  });
});

test('one that answers with warnings', async () => {
  const report = await moveTo(() => listening(taking(() => 0xb000)));
  expect(report).toMatchObject({ status: 0xb000, completed: 0, failed: 0, warning: 5, failedUIDs: [] });
});

test('one that is full after two', async () => {
  const report = await moveTo(() => listening(taking((n) => (n > 2 ? 0xa700 : 0))));
  expect(report).toMatchObject({ status: 0xb000, completed: 2, failed: 3, warning: 0 });
  expect(report.failedUIDs).toHaveLength(3);
});

test('one that aborts in the middle: the rest has failed, by name', async () => {
  const report = await moveTo(() => listening(taking((n) => (n === 3 ? 'abort' : 0))));
  expect(report).toMatchObject({ status: 0xb000, completed: 2, failed: 3 });
  expect(report.failedUIDs).toHaveLength(3);
});

test('one that answers nonsense as status, or a pending one first', async () => {
  expect(await moveTo(() => listening(taking(() => 0x1234)))).toMatchObject({ status: 0xa702, failed: 5 });
  const pending: Service = async ({ dataSet, respond }) => {
    await dataSet!.gather();
    await respond({ Status: 0xff00 });
    await respond({ Status: 0 });
  };
  expect(await moveTo(() => listening(pending))).toMatchObject({ status: 0, completed: 5 });
});

test.each<[string, (request: Buffer, socket: Socket) => void]>([
  ['rejects', (_, socket) => socket.write(encodeAssociateReject(REJECT.calledAETitleNotRecognized))],
  ['closes', (_, socket) => socket.end()],
  ['resets', (_, socket) => socket.resetAndDestroy()],
  ['speaks HTTP', (_, socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')],
])('one that %s: every sub-operation has failed', async (_, answer) => {
  const report = await moveTo(() => answering(answer));
  expect(report).toMatchObject({ status: 0xa702, completed: 0, failed: 5, warning: 0 });
  expect(report.failedUIDs).toHaveLength(5);
});

test('nobody there', async () => {
  const report = await moveTo(freePort);
  expect(report).toMatchObject({ status: 0xa702, failed: 5 });
});

/** Accepts the contexts as `change` has it, and a release. */
const accepting =
  (change: (context: { id: number; result: number; transferSyntax: string }, abstractSyntax: string) => object) =>
  (body: Buffer, socket: Socket): void => {
    const pdu = decodePdu(PDU.associateRequest, body);
    if (!('request' in pdu)) throw new Error('no request');
    const { accept } = negotiate(pdu.request, ARCHIVE_POLICY);
    const contexts = accept.contexts.map((context) => ({
      ...context,
      ...change(context, pdu.request.contexts.find(({ id }) => id === context.id)!.abstractSyntax),
    }));
    socket.write(encodeAssociateAccept({ ...accept, contexts }));
    // Whatever comes next is the end of it.
    socket.once('data', () => socket.end(encodeReleaseReply()));
  };

test('one that accepts no context: every sub-operation has failed', async () => {
  const port = () => answering(accepting(() => ({ result: CONTEXT_RESULT.abstractSyntaxNotSupported })));
  expect(await moveTo(port)).toMatchObject({ status: 0xa702, failed: 5 });
});

test('one that accepts a syntax that was not proposed gets nothing in it', async () => {
  const port = () => answering(accepting(() => ({ transferSyntax: '1.2.840.10008.1.2.4.50' })));
  expect(await moveTo(port)).toMatchObject({ status: 0xa702, failed: 5 });
});

test('to the archive itself: what is there stays, once', async () => {
  const report = await moveTo(async (services) =>
    listening(
      storeService({
        services,
        aeTitle: 'NEPHOS',
        principalOf: () => ({ tenant: TENANT, subject: 'WS', roles: ['modality'] }),
      }),
    ),
  );
  expect(report).toMatchObject({ status: 0, completed: 5, failed: 0 });
});

test('one that takes CT in big endian alone, and no MR', async () => {
  const syntaxes: string[] = [];
  const scp = createServer((socket) => {
    Session.accept(socket, {
      decide: (request) => {
        const { accept, contexts } = negotiate(request, ARCHIVE_POLICY);
        const answers = accept.contexts.map((answer) => {
          const { abstractSyntax, transferSyntaxes } = request.contexts.find(({ id }) => id === answer.id)!;
          if (abstractSyntax === MR_IMAGE_STORAGE || !transferSyntaxes.includes(EXPLICIT_VR_BIG_ENDIAN))
            return { ...answer, result: CONTEXT_RESULT.transferSyntaxesNotSupported };
          return { ...answer, transferSyntax: EXPLICIT_VR_BIG_ENDIAN };
        });
        const taken = new Map(
          [...contexts].flatMap(([id, context]) =>
            answers.some((answer) => answer.id === id && answer.result === 0)
              ? [[id, { ...context, transferSyntax: EXPLICIT_VR_BIG_ENDIAN }] as const]
              : [],
          ),
        );
        return { accept: { ...accept, contexts: answers }, contexts: taken };
      },
      services: new Map([
        [
          COMMAND.cStore,
          async ({ context, dataSet, respond }) => {
            await dataSet!.gather();
            syntaxes.push(context.transferSyntax);
            await respond({ Status: 0 });
          },
        ],
      ]),
    });
  });
  scp.listen(0, '127.0.0.1');
  await once(scp, 'listening');
  closing.push(() => scp.close());
  const report = await moveTo(async () => (scp.address() as AddressInfo).port);
  expect(report).toMatchObject({ status: 0xb000, completed: 3, failed: 2 });
  expect(syntaxes).toEqual(Array.from({ length: 3 }, () => EXPLICIT_VR_BIG_ENDIAN));
});
