import { duplexPair } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AssociationError } from '#dimse/association.ts';
import { COMMAND, encodeCommand } from '#dimse/command-set.ts';
import type { Message } from '#dimse/messages.ts';
import { MessageReader } from '#dimse/messages.ts';
import { negotiate } from '#dimse/negotiation.ts';
import {
  dataHeader,
  encodeAbort,
  encodeAssociateRequest,
  encodeReleaseReply,
  encodeReleaseRequest,
  PDU,
  REJECT,
} from '#dimse/pdu.ts';
import { PduStream } from '#dimse/pdu-stream.ts';
import { sendEcho } from '#dimse/scu.ts';
import { echo } from '#dimse/services/echo.ts';
import { type ServiceTable, Session, type SessionEnd } from '#dimse/session.ts';
import { VERIFICATION } from '#dimse/sop-classes.ts';
import { CT_IMAGE_STORAGE } from '#test/fixtures/dicom-builder.ts';
import { NATIVE, POLICY, requestOf, sessionPair } from './pairs.ts';

const ECHO: ServiceTable = new Map([[COMMAND.cEcho, echo]]);
const echoCommand = (MessageID: number): Buffer =>
  encodeCommand({
    CommandField: COMMAND.cEcho,
    AffectedSOPClassUID: VERIFICATION,
    MessageID,
    CommandDataSetType: 0x0101,
  });
const echoPdu = (MessageID = 1, contextId = 1): Buffer => {
  const command = echoCommand(MessageID);
  return Buffer.concat([dataHeader(contextId, true, true, command.length), command]);
};

/** How long somebody waits for what will come. */
const WAITING = { interval: 5, timeout: 60_000 };

/** An acceptor at one end of a connection, and what came back at the other, as PDU types. */
function scripted(options: { artimMs?: number; idleMs?: number; services?: ServiceTable; reject?: boolean } = {}) {
  const [near, far] = duplexPair({ allowHalfOpen: false });
  const types: number[] = [];
  const bodies: Buffer[] = [];
  const stream = new PduStream({
    control: (type, body) => {
      types.push(type);
      bodies.push(Buffer.from(body));
    },
    data: (_id, _control, _bytes, ends) => {
      if (ends) types.push(PDU.data);
    },
  });
  near.on('data', (chunk: Buffer) => stream.push(chunk));
  near.on('error', () => {});
  const session = Session.accept(far, {
    services: options.services ?? ECHO,
    timers: { artimMs: options.artimMs ?? 100_000, idleMs: options.idleMs ?? 100_000 },
    decide: (request) => (options.reject ? { reject: REJECT.localLimitExceeded } : negotiate(request, POLICY)),
  });
  const until = (done: () => boolean): Promise<void> => expect.poll(done, WAITING).toBe(true);
  return {
    peer: near,
    types,
    bodies,
    session,
    until,
    /** sends, and waits for so many PDUs in all */
    say: async (bytes: Buffer, pdus = types.length) => {
      near.write(bytes);
      await until(() => types.length >= pdus);
    },
    end: (): Promise<SessionEnd> => session.ended,
  };
}

describe('an association', () => {
  test('is asked for, used and released', async () => {
    const { scu, scp } = await sessionPair({ services: ECHO });
    expect(await sendEcho(scu, VERIFICATION)).toBe(0);
    expect(await sendEcho(scu, VERIFICATION)).toBe(0);
    await scu.release();
    expect(await scp.ended).toMatchObject({ error: undefined, operations: 2 });
  });

  test('is released from either side at once: a collision ends it in good order', async () => {
    const { peer, say, types, end, until } = scripted();
    await say(encodeAssociateRequest(requestOf()), 1);
    peer.write(encodeReleaseRequest());
    expect((await end()).error).toBeUndefined();
    await until(() => types.length === 2);
    expect(types).toEqual([PDU.associateAccept, PDU.releaseReply]);
    const { scu, scp } = await sessionPair({ services: ECHO });
    const both = [scu.release(), scp.release()];
    await Promise.all(both);
    expect((await scu.ended).error).toBeUndefined();
    expect((await scp.ended).error).toBeUndefined();
  });

  test('is rejected with the reason', async () => {
    const { say, bodies, end } = scripted({ reject: true });
    await say(encodeAssociateRequest(requestOf()), 1);
    expect([...bodies[0]!]).toEqual([0, 2, 3, 2]);
    expect((await end()).error).toMatchObject({ kind: 'rejected' });
  });

  test('an SCU learns why it was rejected', async () => {
    const [near, far] = duplexPair({ allowHalfOpen: false });
    Session.accept(far, { services: ECHO, decide: () => ({ reject: REJECT.calledAETitleNotRecognized }) });
    const refused = await Session.request(near, requestOf()).catch((error) => error);
    expect(refused).toBeInstanceOf(AssociationError);
    expect(refused.reject).toEqual({ result: 1, source: 1, reason: 7 });
  });

  test('is aborted by the peer: what is being performed is told', async () => {
    let begun = false;
    let aborted = false;
    const waiting: ServiceTable = new Map([
      [
        COMMAND.cEcho,
        ({ signal }) =>
          new Promise<void>((resolve) => {
            begun = true;
            signal.addEventListener('abort', () => {
              aborted = true;
              resolve();
            });
          }),
      ],
    ]);
    const { peer, say, end, until } = scripted({ services: waiting });
    await say(encodeAssociateRequest(requestOf()), 1);
    peer.write(echoPdu());
    await until(() => begun);
    peer.write(encodeAbort({ source: 0, reason: 0 }));
    expect((await end()).error).toMatchObject({ kind: 'aborted', abort: { source: 0, reason: 0 } });
    expect(aborted).toBe(true);
  });

  test.each([
    ['data before there is an association', [echoPdu()], 0, 0],
    ['a release before there is one', [encodeReleaseRequest()], 0, 0],
    ['a PDU of an unknown type', [Buffer.from('GET / HTTP/1.1\r\n\r\n')], 0, 0],
    ['a second request', [encodeAssociateRequest(requestOf()), encodeAssociateRequest(requestOf())], 2, 2],
    ['a release reply without a release', [encodeAssociateRequest(requestOf()), encodeReleaseReply()], 2, 2],
    ['a PDU of an unknown type on it', [encodeAssociateRequest(requestOf()), Buffer.from('AAAAAAAAAAAA')], 2, 1],
    ['a context that was not accepted', [encodeAssociateRequest(requestOf()), echoPdu(1, 7)], 2, 6],
    [
      'a data set without its command',
      [encodeAssociateRequest(requestOf()), dataHeader(1, false, true, 2), Buffer.alloc(2)],
      2,
      5,
    ],
    [
      'a value longer than its PDU',
      [encodeAssociateRequest(requestOf()), Buffer.from('04000000000800000100010341414141', 'hex')],
      2,
      6,
    ],
  ])('%s ends in an A-ABORT with the reason', async (_what, pdus, source, reason) => {
    const { peer, types, bodies, end, until } = scripted();
    for (const pdu of pdus) peer.write(pdu);
    const { error } = await end();
    await until(() => types.at(-1) === PDU.abort);
    expect([...bodies.at(-1)!.subarray(2)]).toEqual([source, reason]);
    expect(error).toBeInstanceOf(AssociationError);
    peer.destroy();
  });

  test('a connection on which nobody asks for anything is closed when ARTIM expires', async () => {
    const { peer, end } = scripted({ artimMs: 20 });
    peer.write(Buffer.of(1, 0, 0));
    expect((await end()).error).toMatchObject({ kind: 'timeout' });
  });

  test('a peer that falls silent is aborted; one that waits for us is not', async () => {
    const finished = Promise.withResolvers<void>();
    const slow: ServiceTable = new Map([
      [
        COMMAND.cEcho,
        async ({ respond }) => {
          await finished.promise;
          await respond({ Status: 0 });
        },
      ],
    ]);
    const { say, types, end, until } = scripted({ idleMs: 40, services: slow });
    await say(Buffer.concat([encodeAssociateRequest(requestOf()), echoPdu()]), 1);
    await sleep(150);
    expect(types).toEqual([PDU.associateAccept]);
    finished.resolve();
    expect((await end()).error).toMatchObject({ kind: 'timeout' });
    await until(() => types.length === 3);
    expect(types).toEqual([PDU.associateAccept, PDU.data, PDU.abort]);
  });

  test('a connection that breaks is no crash', async () => {
    const { peer, say, end } = scripted();
    await say(encodeAssociateRequest(requestOf()), 1);
    peer.destroy();
    expect((await end()).error).toMatchObject({ kind: 'closed' });
  });
});

describe('back-pressure', () => {
  test('the sender of a large data set waits for whoever reads it', async () => {
    let read = (): void => {};
    const mayRead = new Promise<void>((resolve) => {
      read = resolve;
    });
    let received = 0;
    const services: ServiceTable = new Map([
      [
        COMMAND.cStore,
        async ({ dataSet, respond }) => {
          await mayRead;
          for await (const chunk of dataSet!) received += chunk.length;
          await respond({ Status: 0 });
        },
      ],
    ]);
    const contexts = [{ id: 1, abstractSyntax: CT_IMAGE_STORAGE, transferSyntaxes: NATIVE }];
    const { scu } = await sessionPair({ services, contexts });
    let given = 0;
    async function* dataSet(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 200; i++) {
        given += 65_537;
        yield Buffer.alloc(65_537);
      }
      yield Buffer.alloc(200);
    }
    const fields = {
      CommandField: COMMAND.cStore,
      AffectedSOPClassUID: CT_IMAGE_STORAGE,
      AffectedSOPInstanceUID: '1.2',
    };
    const stored = scu.request([...scu.contexts.values()][0]!, fields, dataSet());
    await sleep(100);
    expect(given).toBeLessThan(4_000_000);
    read();
    expect((await stored).command.Status).toBe(0);
    expect(received).toBe(200 * 65_537 + 200);
    await scu.release();
  });
});

test('a data set that nobody reads does not hold up what follows it', async () => {
  const services: ServiceTable = new Map([
    [COMMAND.cStore, ({ respond }) => respond({ Status: 0x0124 })],
    [COMMAND.cEcho, echo],
  ]);
  const contexts = [
    { id: 1, abstractSyntax: CT_IMAGE_STORAGE, transferSyntaxes: NATIVE },
    { id: 3, abstractSyntax: VERIFICATION, transferSyntaxes: NATIVE },
  ];
  const { scu } = await sessionPair({ services, contexts });
  const fields = { CommandField: COMMAND.cStore, AffectedSOPClassUID: CT_IMAGE_STORAGE, AffectedSOPInstanceUID: '1.2' };
  for (const size of [600_000, 3_000_000]) {
    const { command } = await scu.request(scu.contexts.get(1)!, fields, Buffer.alloc(size));
    expect(command.Status).toBe(0x0124);
    expect(await sendEcho(scu, VERIFICATION)).toBe(0);
  }
  await scu.release();
});

test('a request to a peer that is leaving fails at once, and the peer gets to leave', async () => {
  let failure: unknown;
  const services: ServiceTable = new Map([
    [
      COMMAND.cEcho,
      async ({ session, context, respond }) => {
        await respond({ Status: 0 });
        await expect.poll(() => session.isOpen, WAITING).toBe(false);
        const fields = { CommandField: COMMAND.cEcho, AffectedSOPClassUID: VERIFICATION };
        failure = await session.request(context, fields).catch((error) => error);
      },
    ],
  ]);
  const { scu, scp } = await sessionPair({ services });
  expect(await sendEcho(scu, VERIFICATION)).toBe(0);
  await scu.release();
  expect((await scp.ended).error).toBeUndefined();
  expect(failure).toBeInstanceOf(AssociationError);
});

describe('whatever arrives', () => {
  const conversation = Buffer.concat([
    encodeAssociateRequest(requestOf()),
    echoPdu(1),
    dataHeader(1, true, false, 20),
    echoCommand(2).subarray(0, 20),
    dataHeader(1, true, true, echoCommand(2).length - 20),
    echoCommand(2).subarray(20),
    encodeReleaseRequest(),
  ]);

  function* cuts(bytes: Buffer, lengths: readonly number[]): Generator<Buffer> {
    let at = 0;
    for (let i = 0; at < bytes.length; i++) {
      const length = lengths[i % lengths.length]!;
      yield bytes.subarray(at, at + length);
      at += length;
    }
  }

  test('means the same however it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 20 }), async (lengths) => {
        const { peer, types, end, until } = scripted();
        for (const chunk of cuts(conversation, lengths)) peer.write(chunk);
        const { error, operations } = await end();
        expect(error).toBeUndefined();
        expect(operations).toBe(2);
        await until(() => types.length === 4);
        expect(types).toEqual([PDU.associateAccept, PDU.data, PDU.data, PDU.releaseReply]);
      }),
      { numRuns: 40 },
    );
  });

  test('is answered or aborted, never a crash', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(conversation.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        fc.nat(conversation.length),
        fc.integer({ min: 1, max: 300 }),
        async (changes, cutAt, length) => {
          const bytes = Buffer.from(conversation);
          for (const [at, value] of changes) bytes[at] = value;
          const { peer, end } = scripted({ artimMs: 50 });
          for (const chunk of cuts(bytes.subarray(0, cutAt), [length])) peer.write(chunk);
          peer.end();
          const { error } = await end();
          if (error !== undefined) expect(error).toBeInstanceOf(AssociationError);
        },
      ),
      { numRuns: 150 },
    );
  });

  test('of random fragments makes messages or a PduError, and holds no more than a command', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.nat(3), fc.uint8Array({ maxLength: 40 }), fc.boolean())),
        (pieces) => {
          const reader = new MessageReader({ pause() {}, resume() {} }, (id) => id === 1);
          const messages: Promise<Message | undefined>[] = [];
          try {
            for (const [id, control, bytes, ends] of pieces) reader.data(id, control, Buffer.from(bytes), ends);
          } catch (error) {
            expect((error as Error).name).toBe('PduError');
          }
          expect(messages).toEqual([]);
        },
      ),
      { numRuns: 300 },
    );
  });
});

test('a defect while it is decided who may associate costs that association, not the process', async () => {
  const [near, far] = duplexPair({ allowHalfOpen: false });
  const defects: unknown[] = [];
  const scp = Session.accept(far, {
    services: ECHO,
    decide: async () => {
      throw new Error('the verifier broke');
    },
    onDefect: (error) => void defects.push(error),
  });
  const refused = await Session.request(near, requestOf()).catch((error) => error);
  expect(refused.reject).toEqual(REJECT.temporaryCongestion);
  expect((await scp.ended).error).toMatchObject({ kind: 'rejected' });
  expect(defects).toHaveLength(1);
});
