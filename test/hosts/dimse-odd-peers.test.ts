import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { PacsError } from '#core/errors.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { ARCHIVE_POLICY, archiveServices } from '#dimse/archive.ts';
import { COMMAND, type Command, decodeCommand, encodeCommand } from '#dimse/command-set.ts';
import { encodeIdentifier } from '#dimse/identifiers.ts';
import { MessageReader } from '#dimse/messages.ts';
import { negotiate } from '#dimse/negotiation.ts';
import {
  type AssociateRequest,
  dataHeader,
  decodePdu,
  encodeAbort,
  encodeAssociateRequest,
  encodeReleaseReply,
  encodeReleaseRequest,
  PDU,
} from '#dimse/pdu.ts';
import { associate, proposing, sendEcho } from '#dimse/scu.ts';
import { type AssociationSummary, createDimseServer, type DimseServer } from '#dimse/server.ts';
import { Session } from '#dimse/session.ts';
import {
  MODALITY_PERFORMED_PROCEDURE_STEP,
  MODALITY_WORKLIST_FIND,
  STORAGE_COMMITMENT_PUSH_MODEL,
  STUDY_ROOT_FIND,
  STUDY_ROOT_GET,
  STUDY_ROOT_MOVE,
  VERIFICATION,
} from '#dimse/sop-classes.ts';
import { buildDicom, CT_IMAGE_STORAGE, EXPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';
import { ended, scheduled, started } from '#test/fixtures/worklist.ts';
import { requestOf } from '../unit/dimse/pairs.ts';

let server: DimseServer;
let port: number;
let lines: AssociationSummary[] = [];
let defects: unknown[] = [];
const services = memoryServices();
const sockets = new Set<Socket>();

beforeAll(async () => {
  server = createDimseServer({
    aeTitle: 'NEPHOS',
    checkCalledAETitle: false,
    allowed: 'any',
    maxAssociations: 40,
    policy: ARCHIVE_POLICY,
    services: archiveServices({
      services,
      aeTitle: 'NEPHOS',
      principalOf: (subject) => ({ tenant: TENANT, subject, roles: ['modality'] }),
      destinationOf: () => undefined,
    }),
    // Whoever says something odd is not given up for it: what ends here is ended by somebody.
    timers: { artimMs: 100_000, idleMs: 100_000 },
    onEnd: (line) => void lines.push(line),
    onDefect: (error) => void defects.push(error),
  });
  server.server.listen(0, '127.0.0.1');
  await once(server.server, 'listening');
  ({ port } = server.server.address() as AddressInfo);
});
afterAll(() => server.close(0));
beforeEach(() => {
  lines = [];
  defects = [];
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  // Whatever has been done to it: no defect, no association left, and the next one is served.
  await until(() => server.associations() === 0);
  expect(defects.filter((error) => !(error instanceof PacsError) || error.code === 'INTERNAL')).toEqual([]);
  const session = await associate(
    { aeTitle: 'NEPHOS', host: '127.0.0.1', port },
    { callingAETitle: 'WS1', contexts: proposing([VERIFICATION, [EXPLICIT_LE]]) },
  );
  expect(await sendEcho(session, VERIFICATION)).toBe(0);
  await session.release();
});

async function until(isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!isSo() && performance.now() < deadline) await sleep(5);
  expect(isSo()).toBe(true);
}

/** What comes back, PDU by PDU. */
class Peer {
  readonly socket: Socket;
  #bytes = Buffer.alloc(0);
  #closed = false;
  #wake = (): void => {};

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#wake();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
  }

  static async open(): Promise<Peer> {
    const socket = connect({ port, host: '127.0.0.1' });
    sockets.add(socket);
    const peer = new Peer(socket);
    await once(socket, 'connect');
    return peer;
  }

  static async associated(request: AssociateRequest = requestOf(CONTEXTS)): Promise<Peer> {
    const peer = await Peer.open();
    peer.write(encodeAssociateRequest(request));
    expect((await peer.pdu())?.type).toBe(PDU.associateAccept);
    return peer;
  }

  write(...parts: Buffer[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** undefined: the connection is over */
  async pdu(): Promise<{ type: number; body: Buffer } | undefined> {
    for (;;) {
      if (this.#bytes.length >= 6) {
        const length = this.#bytes.readUInt32BE(2);
        if (this.#bytes.length >= 6 + length) {
          const pdu = { type: this.#bytes[0]!, body: this.#bytes.subarray(6, 6 + length) };
          this.#bytes = this.#bytes.subarray(6 + length);
          return pdu;
        }
      }
      if (this.#closed) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** The next response that is not pending; data sets are passed over. 'aborted' where that is the answer. */
  async response(): Promise<Command | 'aborted' | 'closed'> {
    for (;;) {
      const pdu = await this.pdu();
      if (pdu === undefined) return 'closed';
      if (pdu.type === PDU.abort) return 'aborted';
      if (pdu.type !== PDU.data || (pdu.body[5]! & 1) === 0) continue;
      const command = decodeCommand(pdu.body.subarray(6));
      if ((command.Status! & 0xff00) !== 0xff00) return command;
    }
  }

  async status(): Promise<number | 'aborted' | 'closed'> {
    const response = await this.response();
    return typeof response === 'string' ? response : response.Status!;
  }

  async release(): Promise<void> {
    this.write(encodeReleaseRequest());
    expect((await this.pdu())?.type).toBe(PDU.releaseReply);
  }
}

const CLASSES = [
  VERIFICATION,
  CT_IMAGE_STORAGE,
  STUDY_ROOT_FIND,
  MODALITY_WORKLIST_FIND,
  MODALITY_PERFORMED_PROCEDURE_STEP,
  STORAGE_COMMITMENT_PUSH_MODEL,
  STUDY_ROOT_MOVE,
  STUDY_ROOT_GET,
];
const CONTEXTS = CLASSES.map((abstractSyntax, i) => ({
  id: 2 * i + 1,
  abstractSyntax,
  transferSyntaxes: [EXPLICIT_LE],
}));
const contextIdOf = (abstractSyntax: string): number => 2 * CLASSES.indexOf(abstractSyntax) + 1;

const commandOf = (abstractSyntax: string, CommandField: number, fields: Partial<Command> = {}): Buffer =>
  encodeCommand({ CommandField, MessageID: 1, AffectedSOPClassUID: abstractSyntax, CommandDataSetType: 0, ...fields });
/** One PDU for the command, one for the data set. */
const message = (abstractSyntax: string, command: Buffer, dataSet?: Buffer): Buffer => {
  const id = contextIdOf(abstractSyntax);
  const parts = [dataHeader(id, true, true, command.length), command];
  if (dataSet !== undefined) parts.push(dataHeader(id, false, true, dataSet.length), dataSet);
  return Buffer.concat(parts);
};
let next = 0;
/** A data set of an instance that nobody has sent yet, and its UID. */
const slice = (overrides: Record<string, string> = {}): { sop: string; dataSet: Buffer; object: Buffer } => {
  const sop = uid(10_000 + ++next);
  const object = Buffer.from(buildDicom({ SOPInstanceUID: sop, ...overrides }));
  const dataSet = object.subarray(144 + object.readUInt32LE(140));
  return { sop, dataSet, object };
};
const storeOf = (sop: string, dataSet: Buffer, fields: Partial<Command> = {}): Buffer =>
  message(
    CT_IMAGE_STORAGE,
    commandOf(CT_IMAGE_STORAGE, COMMAND.cStore, { AffectedSOPInstanceUID: sop, ...fields }),
    dataSet,
  );
const identifier = (dataSet: Parameters<typeof encodeIdentifier>[0]): Buffer => encodeIdentifier(dataSet, EXPLICIT_LE);
const STUDY = { '00080052': { vr: 'CS', Value: ['STUDY'] } };
/** Keys of what is stored, by SOP Instance UID. */
async function storedKeys(): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const { key } of services.blobs.list(`${TENANT}/`)) {
    const file = key.split('/').at(-1)!;
    if (file.endsWith('.dcm')) found.set(file.slice(0, file.search(/\.[0-9A-Z]{26}\./)), key);
  }
  return found;
}
const isStored = async (sop: string): Promise<boolean> => (await storedKeys()).has(sop);

describe('an association that ends at a PDU boundary', () => {
  const { sop, dataSet } = slice();
  const SERVICES: readonly (readonly [string, readonly Buffer[]])[] = [
    ['C-ECHO', [message(VERIFICATION, commandOf(VERIFICATION, COMMAND.cEcho, { CommandDataSetType: 0x0101 }))]],
    [
      'C-STORE',
      [
        storeOf(sop, dataSet.subarray(0, 100)).subarray(0, -112),
        Buffer.concat([dataHeader(3, false, false, 100), dataSet.subarray(0, 100)]),
        Buffer.concat([dataHeader(3, false, true, dataSet.length - 100), dataSet.subarray(100)]),
      ],
    ],
    ['C-FIND', [message(STUDY_ROOT_FIND, commandOf(STUDY_ROOT_FIND, COMMAND.cFind), identifier(STUDY))]],
    [
      'worklist',
      [message(MODALITY_WORKLIST_FIND, commandOf(MODALITY_WORKLIST_FIND, COMMAND.cFind), identifier(scheduled()))],
    ],
    [
      'MPPS',
      [
        message(
          MODALITY_PERFORMED_PROCEDURE_STEP,
          commandOf(MODALITY_PERFORMED_PROCEDURE_STEP, COMMAND.nCreate, { AffectedSOPInstanceUID: uid(5) }),
          identifier(started()),
        ),
      ],
    ],
    [
      'C-MOVE',
      [
        message(
          STUDY_ROOT_MOVE,
          commandOf(STUDY_ROOT_MOVE, COMMAND.cMove, { MoveDestination: 'X' }),
          identifier(STUDY),
        ),
      ],
    ],
    ['C-GET', [message(STUDY_ROOT_GET, commandOf(STUDY_ROOT_GET, COMMAND.cGet), identifier(STUDY))]],
  ];
  /** Each PDU of what a service is asked with, by itself. */
  const pdusOf = (parts: readonly Buffer[]): Buffer[] => {
    const all = Buffer.concat(parts);
    const pdus: Buffer[] = [];
    for (let at = 0; at < all.length; ) {
      const end = at + 6 + all.readUInt32BE(at + 2);
      pdus.push(all.subarray(at, end));
      at = end;
    }
    return pdus;
  };
  const ENDINGS = {
    'A-ABORT': (peer: Peer) => peer.write(encodeAbort({ source: 0, reason: 0 })),
    'a closed connection': (peer: Peer) => peer.socket.end(),
    'a reset': (peer: Peer) => peer.socket.resetAndDestroy(),
    'A-RELEASE-RQ': (peer: Peer) => peer.write(encodeReleaseRequest()),
    'A-RELEASE-RP that nobody asked for': (peer: Peer) => peer.write(encodeReleaseReply()),
    'a second A-ASSOCIATE-RQ': (peer: Peer) => peer.write(encodeAssociateRequest(requestOf(CONTEXTS))),
    'both A-RELEASE-RQ and A-ABORT': (peer: Peer) =>
      peer.write(encodeReleaseRequest(), encodeAbort({ source: 0, reason: 0 })),
  };

  test.each(SERVICES)('%s: each way, after each PDU', async (_, parts) => {
    const pdus = pdusOf(parts);
    let connections = 0;
    for (let count = 0; count <= pdus.length; count++)
      for (const end of Object.values(ENDINGS)) {
        const peer = await Peer.associated();
        connections++;
        peer.write(...pdus.slice(0, count));
        end(peer);
        peer.socket.end();
        while ((await peer.pdu()) !== undefined);
      }
    await until(() => lines.length >= connections);
    expect(lines).toHaveLength(connections);
  });
});

describe('C-STORE', () => {
  test.each([
    ['padded with spaces', (sop: string) => `${sop}${sop.length % 2 === 0 ? '  ' : ' '}`],
    ['with a space before it', (sop: string) => ` ${sop}`],
  ])('of a UID %s in the command', async (_, pad) => {
    const { sop, dataSet } = slice();
    const peer = await Peer.associated();
    peer.write(storeOf(pad(sop), dataSet));
    expect(await peer.status()).toBe(0);
    expect(await isStored(sop)).toBe(true);
    await peer.release();
  });

  /** The elements of a command set as they lie. */
  const elementsOf = (set: Buffer): Buffer[] => {
    const elements: Buffer[] = [];
    for (let at = 0; at < set.length; ) {
      const end = at + 8 + set.readUInt32LE(at + 4);
      elements.push(set.subarray(at, end));
      at = end;
    }
    return elements;
  };
  test.each<[string, (set: Buffer) => Buffer]>([
    ['in reverse order', (set) => Buffer.concat(elementsOf(set).reverse())],
    ['without its group length', (set) => set.subarray(12)],
    [
      'with a wrong group length',
      (set) => Buffer.concat([set.subarray(0, 8), Buffer.from([1, 0, 0, 0]), set.subarray(12)]),
    ],
    ['with an empty group length', (set) => Buffer.concat([Buffer.from([0, 0, 0, 0, 0, 0, 0, 0]), set.subarray(12)])],
    ['with retired elements', (set) => Buffer.concat([set, Buffer.from([0, 0, 0x10, 0x40, 2, 0, 0, 0, 0x20, 0x20])])],
  ])('with a command set %s', async (_, change) => {
    const { sop, dataSet } = slice();
    const peer = await Peer.associated();
    const command = change(commandOf(CT_IMAGE_STORAGE, COMMAND.cStore, { AffectedSOPInstanceUID: sop }));
    peer.write(message(CT_IMAGE_STORAGE, command, dataSet));
    expect(await peer.status()).toBe(0);
    expect(await isStored(sop)).toBe(true);
    await peer.release();
  });

  test.each<[string, (set: Buffer) => Buffer]>([
    ['that breaks off', (set) => set.subarray(0, -1)],
    ['of another group', (set) => Buffer.concat([Buffer.from([8, 0]), set.subarray(2)])],
    [
      'with a value longer than itself',
      (set) => Buffer.concat([set.subarray(0, 16), Buffer.from([0xff, 0xff, 0xff, 0xff]), set.subarray(20)]),
    ],
    ['that is empty', () => Buffer.alloc(0)],
    [
      'of 70 KB',
      (set) => Buffer.concat([set, Buffer.from([0, 0, 0x10, 0x40, 0x70, 0x11, 1, 0]), Buffer.alloc(70_000)]),
    ],
  ])('with a command set %s: an abort', async (_, change) => {
    const { sop, dataSet } = slice();
    const peer = await Peer.associated();
    peer.write(
      message(
        CT_IMAGE_STORAGE,
        change(commandOf(CT_IMAGE_STORAGE, COMMAND.cStore, { AffectedSOPInstanceUID: sop })),
        dataSet,
      ),
    );
    expect(await peer.status()).toBe('aborted');
  });

  test('in fragments of one byte, of the command too, one to a PDU and many', async () => {
    const { sop, dataSet } = slice();
    const peer = await Peer.associated();
    const command = commandOf(CT_IMAGE_STORAGE, COMMAND.cStore, { AffectedSOPInstanceUID: sop });
    const parts: Buffer[] = [];
    for (const [i, byte] of command.entries())
      parts.push(dataHeader(3, true, i === command.length - 1, 1), Buffer.of(byte));
    // All of the data set in one PDU: a presentation data value for each byte, empty ones between them.
    const values = [...dataSet].flatMap((byte, i) => [
      Buffer.from([0, 0, 0, 2, 3, 0]),
      Buffer.from([0, 0, 0, 3, 3, i === dataSet.length - 1 ? 2 : 0, byte]),
    ]);
    const body = Buffer.concat(values);
    const head = Buffer.from([4, 0, 0, 0, 0, 0]);
    head.writeUInt32BE(body.length, 2);
    peer.write(...parts, head, body);
    expect(await peer.status()).toBe(0);
    expect(await isStored(sop)).toBe(true);
    await peer.release();
  });

  test.each([
    ['a length of 0', [0, 0, 0, 0]],
    ['a length of 1', [0, 0, 0, 1, 3]],
    ['a length beyond its PDU', [0, 0, 1, 0, 3, 1]],
    ['a context that was never proposed', [0, 0, 0, 2, 99, 3]],
    ['context 0', [0, 0, 0, 2, 0, 3]],
    ['a data set before any command', [0, 0, 0, 2, 3, 2]],
  ])('a presentation data value with %s: an abort', async (_, value) => {
    const peer = await Peer.associated();
    const head = Buffer.from([4, 0, 0, 0, 0, 0]);
    head.writeUInt32BE(Math.max(6, value.length), 2);
    peer.write(head, Buffer.concat([Buffer.from(value), Buffer.alloc(Math.max(0, 6 - value.length))]));
    expect(await peer.status()).toBe('aborted');
  });

  test.each<[string, (one: ReturnType<typeof slice>) => Buffer, readonly (number | 'aborted')[]]>([
    ['that is the whole file, with its preamble and meta', ({ object }) => object, [0xc000, 0xa900]],
    ['whose last value is longer than what comes', ({ dataSet }) => dataSet.subarray(0, -3), [0xc000]],
    ['that ends within an element', ({ dataSet }) => dataSet.subarray(0, 301), [0xc000]],
    ['that is empty', () => Buffer.alloc(0), [0xc000, 0xa900]],
    ['that is text', () => Buffer.from('GET / HTTP/1.1\r\n\r\n'), [0xc000, 0xa900]],
    ['that is random', () => Buffer.from(Array.from({ length: 4_000 }, (_, i) => (i * 7_919) % 251)), [0xc000, 0xa900]],
  ])('of a data set %s: refused, nothing stored, and the association goes on', async (_, change, expected) => {
    const one = slice();
    const peer = await Peer.associated();
    peer.write(storeOf(one.sop, change(one)));
    expect(expected).toContain(await peer.status());
    expect(await isStored(one.sop)).toBe(false);
    peer.write(storeOf(one.sop, one.dataSet));
    expect(await peer.status()).toBe(0);
    expect(await isStored(one.sop)).toBe(true);
    await peer.release();
  });

  test.each<[string, (one: ReturnType<typeof slice>) => Buffer]>([
    ['file meta information', ({ object }) => object.subarray(132)],
    ['command elements', ({ dataSet }) => Buffer.concat([Buffer.from('00000200554902003100', 'hex'), dataSet])],
  ])(
    'of a data set with %s before it: kept as it came, and believed in nothing that the association says otherwise',
    async (_, change) => {
      const one = slice();
      const sent = change(one);
      const peer = await Peer.associated();
      peer.write(storeOf(one.sop, sent));
      expect(await peer.status()).toBe(0);
      await peer.release();
      const key = (await storedKeys()).get(one.sop)!;
      const bytes = Buffer.from(await services.blobs.readBytes(key));
      expect(bytes.subarray(-sent.length)).toEqual(sent);
      const { dataSet, transferSyntaxUID } = scanPart10(bytes, DEFAULT_LIMITS);
      expect(transferSyntaxUID).toBe(EXPLICIT_LE);
      expect(Object.keys(dataSet).filter((tag) => tag.startsWith('0002'))).toEqual([]);
    },
  );

  test('of another instance, or class, than the command says', async () => {
    const one = slice();
    const peer = await Peer.associated();
    peer.write(storeOf(uid(4), one.dataSet));
    expect(await peer.status()).toBe(0xa900);
    peer.write(storeOf(one.sop, one.dataSet, { AffectedSOPClassUID: '1.2.840.10008.5.1.4.1.1.4' }));
    expect(await peer.status()).toBe(0xa900);
    expect(await isStored(one.sop)).toBe(false);
    await peer.release();
  });

  test('of a UID that is a path', async () => {
    const { dataSet } = slice();
    const peer = await Peer.associated();
    for (const sop of ['../../../../etc/passwd', '1.2/3', '1.2|3', 'a\\b', '.', '1..2', '9'.repeat(65)]) {
      peer.write(storeOf(sop, dataSet));
      expect(await peer.status()).not.toBe(0);
    }
    await peer.release();
  });

  test('over a context of another class, or with another command', async () => {
    const { sop, dataSet } = slice();
    const peer = await Peer.associated();
    peer.write(
      message(VERIFICATION, commandOf(CT_IMAGE_STORAGE, COMMAND.cStore, { AffectedSOPInstanceUID: sop }), dataSet),
    );
    expect(await peer.status()).toBe(0x0122);
    for (const field of [0x0002, 0x0101 & 0x0fff, 0x0150, 0x7fff]) {
      peer.write(message(CT_IMAGE_STORAGE, commandOf(CT_IMAGE_STORAGE, field, { CommandDataSetType: 0x0101 })));
      expect([0x0211, 0x0122]).toContain(await peer.status());
    }
    expect(await isStored(sop)).toBe(false);
    await peer.release();
  });
});

describe('what has no request to belong to', () => {
  test('C-CANCEL of an unknown message, of one that is over, without a message id; responses that nobody awaits', async () => {
    const peer = await Peer.associated();
    peer.write(
      message(
        STUDY_ROOT_FIND,
        encodeCommand({ CommandField: COMMAND.cCancel, MessageIDBeingRespondedTo: 77, CommandDataSetType: 0x0101 }),
      ),
      message(STUDY_ROOT_FIND, encodeCommand({ CommandField: COMMAND.cCancel, CommandDataSetType: 0x0101 })),
      message(
        CT_IMAGE_STORAGE,
        encodeCommand({ CommandField: 0x8001, MessageIDBeingRespondedTo: 1, Status: 0, CommandDataSetType: 0x0101 }),
      ),
      message(
        CT_IMAGE_STORAGE,
        encodeCommand({ CommandField: 0x8020, MessageIDBeingRespondedTo: 1, Status: 0xff00, CommandDataSetType: 0 }),
        Buffer.alloc(5_000),
      ),
      message(VERIFICATION, commandOf(VERIFICATION, COMMAND.cEcho, { CommandDataSetType: 0x0101 })),
    );
    expect(await peer.status()).toBe(0);
    await peer.release();
  });

  test('a request without a message id is answered', async () => {
    const peer = await Peer.associated();
    peer.write(
      message(
        VERIFICATION,
        encodeCommand({ CommandField: COMMAND.cEcho, AffectedSOPClassUID: VERIFICATION, CommandDataSetType: 0x0101 }),
      ),
    );
    expect(await peer.status()).toBe(0);
    await peer.release();
  });
});

describe('association requests', () => {
  const answer = async (request: Buffer): Promise<{ type: number; body: Buffer } | undefined> => {
    const peer = await Peer.open();
    peer.write(request);
    const pdu = await peer.pdu();
    peer.write(encodeReleaseRequest());
    return pdu;
  };

  test('with 128 contexts, up to id 255', async () => {
    const contexts = Array.from({ length: 128 }, (_, i) => ({
      id: 2 * i + 1,
      abstractSyntax: VERIFICATION,
      transferSyntaxes: [EXPLICIT_LE],
    }));
    const pdu = (await answer(encodeAssociateRequest(requestOf(contexts))))!;
    const decoded = decodePdu(pdu.type, pdu.body);
    expect('accept' in decoded && decoded.accept.contexts.map(({ id, result }) => [id, result])).toEqual(
      contexts.map(({ id }) => [id, 0]),
    );
  });

  test.each([
    ['an even id', [2]],
    ['id 0', [0]],
    ['an id twice', [1, 1]],
  ])('with %s: an abort', async (_, ids) => {
    const contexts = ids.map((id) => ({ id, abstractSyntax: VERIFICATION, transferSyntaxes: [EXPLICIT_LE] }));
    expect((await answer(encodeAssociateRequest(requestOf(contexts))))?.type).toBe(PDU.abort);
  });

  test('with a context that proposes no transfer syntax: it alone is refused', async () => {
    const contexts = [
      { id: 1, abstractSyntax: VERIFICATION, transferSyntaxes: [] },
      { id: 3, abstractSyntax: VERIFICATION, transferSyntaxes: [EXPLICIT_LE] },
    ];
    const pdu = (await answer(encodeAssociateRequest(requestOf(contexts))))!;
    const decoded = decodePdu(pdu.type, pdu.body);
    expect('accept' in decoded && decoded.accept.contexts.map(({ result }) => result)).toEqual([4, 0]);
  });

  test.each(['A', 'SIXTEEN_CHARS_AE', 'WITH SPACE', 'BACK\\SLASH', 'RÖNTGEN', '放射線', '%n%s', '<script>', "'; --"])(
    'from AE title %s: its bytes come back as they were',
    async (title) => {
      const bytes = Buffer.alloc(16, ' ');
      Buffer.from(title).copy(bytes);
      const request = encodeAssociateRequest(requestOf(CONTEXTS));
      bytes.copy(request, 6 + 4 + 16);
      const pdu = (await answer(request))!;
      expect(pdu.type).toBe(PDU.associateAccept);
      expect(pdu.body.subarray(20, 36)).toEqual(bytes);
    },
  );

  test.each([
    ['spaces', Buffer.alloc(16, ' ')],
    ['nothing', Buffer.alloc(16)],
  ])('from an AE title of %s: rejected', async (_, bytes) => {
    const request = encodeAssociateRequest(requestOf(CONTEXTS));
    bytes.copy(request, 6 + 4 + 16);
    expect((await answer(request))?.type).toBe(PDU.associateReject);
  });

  test('with as much user information as an item holds, and items that nobody knows', async () => {
    const request = requestOf(CONTEXTS, {
      extended: Array.from({ length: 100 }, (_, i) => ({ SOPClassUID: uid(i), information: new Uint8Array(500) })),
      roles: CLASSES.flatMap((SOPClassUID) => [
        { SOPClassUID, scu: false, scp: false },
        { SOPClassUID, scu: true, scp: true },
      ]),
    });
    const plain = encodeAssociateRequest(request);
    // Items of unknown types, within and behind.
    const unknown = Array.from({ length: 12 }, () =>
      Buffer.concat([Buffer.from([0x7a, 0, 0xff, 0xff]), Buffer.alloc(65_535)]),
    );
    const whole = Buffer.concat([plain, ...unknown]);
    whole.writeUInt32BE(whole.length - 6, 2);
    expect((await answer(whole))?.type).toBe(PDU.associateAccept);
  });

  test('longer than any that makes sense: an abort, not a buffer', async () => {
    const head = encodeAssociateRequest(requestOf(CONTEXTS));
    head.writeUInt32BE(0xffffffff, 2);
    expect((await answer(head))?.type).toBe(PDU.abort);
  });

  test.each([
    ['unlimited', 0],
    ['1 byte', 1],
    ['the least that holds a value', 7],
    ['4 KB', 4_096],
    ['4 GB', 0xffffffff],
  ])('whose PDUs are %s: every answer keeps to it, or to the least there is', async (_, maxPduBytes) => {
    const peer = await Peer.associated(requestOf(CONTEXTS, { maxPduBytes }));
    for (const one of [slice(), slice()]) {
      peer.write(storeOf(one.sop, one.dataSet));
      expect(await statusOfFragments(peer, maxPduBytes)).toBe(0);
    }
    await peer.release();
  });

  async function statusOfFragments(peer: Peer, maxPduBytes: number): Promise<number> {
    const pieces: Buffer[] = [];
    for (;;) {
      const pdu = (await peer.pdu())!;
      expect(pdu.type).toBe(PDU.data);
      if (maxPduBytes >= 8) expect(pdu.body.length).toBeLessThanOrEqual(maxPduBytes);
      pieces.push(pdu.body.subarray(6));
      if ((pdu.body[5]! & 2) !== 0) return decodeCommand(Buffer.concat(pieces)).Status!;
    }
  }
});

describe('C-FIND', () => {
  const find = async (
    dataSet: Parameters<typeof encodeIdentifier>[0],
    abstractSyntax = STUDY_ROOT_FIND,
  ): Promise<number | string> => {
    const peer = await Peer.associated();
    peer.write(message(abstractSyntax, commandOf(abstractSyntax, COMMAND.cFind), identifier(dataSet)));
    const status = await peer.status();
    await peer.release();
    return status;
  };
  const nested = (depth: number): Record<string, { vr: string; Value: unknown[] }> =>
    depth === 0
      ? { '00080060': { vr: 'CS', Value: ['CT'] } }
      : { '00400275': { vr: 'SQ', Value: [nested(depth - 1)] } };

  test.each<[string, Record<string, { vr: string; Value?: unknown[] }>]>([
    [
      'thousands of UIDs',
      { '0020000D': { vr: 'UI', Value: Array.from({ length: 900 }, (_, i) => `1.2.${'3'.repeat(50)}.${i}`) } },
    ],
    [
      'asterisks that a pattern could get lost in',
      { '00100010': { vr: 'PN', Value: [{ Alphabetic: `${'*a'.repeat(200)}*b` }] } },
    ],
    [
      'asterisks alone',
      { '00080050': { vr: 'SH', Value: ['*'.repeat(16)] }, '00100020': { vr: 'LO', Value: ['?'.repeat(64)] } },
    ],
    ['characters that mean something elsewhere', { '00100020': { vr: 'LO', Value: ['^$.[](){}+|/'] } }],
    ['dates that are none', { '00080020': { vr: 'DA', Value: ['20249999-'] }, '00080030': { vr: 'TM', Value: ['-'] } }],
    ['a range backwards', { '00080020': { vr: 'DA', Value: ['20250101-20200101'] } }],
    ['private keys', { '00091010': { vr: 'LO', Value: ['x'] }, '00090010': { vr: 'LO', Value: ['ACME'] } }],
    ['sequences forty deep', nested(40) as Record<string, { vr: string; Value: unknown[] }>],
    ['a sequence of no items', { '00400275': { vr: 'SQ', Value: [] } }],
    ['a sequence of many items', { '00400275': { vr: 'SQ', Value: Array.from({ length: 50 }, () => nested(0)) } }],
    ['pixels', { '7FE00010': { vr: 'OW' } }],
    [
      'a character set that nobody knows',
      { '00080005': { vr: 'CS', Value: ['ISO_IR 999'] }, '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Doe*' }] } },
    ],
  ])('with %s: an answer, and no defect', async (_, keys) => {
    const status = await find({ ...STUDY, ...keys } as never);
    expect([0, 0xa900, 0xc000, 0xa700, 0x0110]).toContain(status);
  });

  test('with an identifier of 17 MB: refused, not held', async () => {
    const peer = await Peer.associated();
    const id = contextIdOf(STUDY_ROOT_FIND);
    const command = commandOf(STUDY_ROOT_FIND, COMMAND.cFind);
    peer.write(dataHeader(id, true, true, command.length), command);
    const piece = Buffer.alloc(128 * 1024 - 6);
    for (let i = 0; i < 140; i++) peer.write(dataHeader(id, false, i === 139, piece.length), piece);
    expect(await peer.status()).toBe(0x0110);
    await peer.release();
  });

  test.each<[string, Record<string, unknown>]>([
    ['nothing', {}],
    ['a schedule of no items', { '00400100': { vr: 'SQ', Value: [] } }],
    ['a schedule of an empty item', { '00400100': { vr: 'SQ', Value: [{}] } }],
    [
      'two schedules',
      {
        '00400100': {
          vr: 'SQ',
          Value: [{ '00080060': { vr: 'CS', Value: ['CT'] } }, { '00080060': { vr: 'CS', Value: ['MR'] } }],
        },
      },
    ],
    ['a level', { ...STUDY, '00400100': { vr: 'SQ', Value: [{}] } }],
    [
      'a time without a date',
      { '00400100': { vr: 'SQ', Value: [{ '00400003': { vr: 'TM', Value: ['0800-0900'] } }] } },
    ],
    ['a date that is none', { '00400100': { vr: 'SQ', Value: [{ '00400002': { vr: 'DA', Value: ['yesterday'] } }] } }],
  ])('of the worklist with %s: an answer, and no defect', async (_, keys) => {
    expect([0, 0xa900, 0xc000]).toContain(await find(keys as never, MODALITY_WORKLIST_FIND));
  });
});

describe('procedure steps', () => {
  const tell = async (
    peer: Peer,
    field: number,
    sop: string,
    dataSet: Parameters<typeof encodeIdentifier>[0],
  ): Promise<number | string> => {
    const isSet = field === COMMAND.nSet;
    const command = encodeCommand({
      CommandField: field,
      MessageID: 3,
      ...(isSet
        ? { RequestedSOPClassUID: MODALITY_PERFORMED_PROCEDURE_STEP, RequestedSOPInstanceUID: sop }
        : { AffectedSOPClassUID: MODALITY_PERFORMED_PROCEDURE_STEP, AffectedSOPInstanceUID: sop }),
      CommandDataSetType: 0,
    });
    peer.write(message(MODALITY_PERFORMED_PROCEDURE_STEP, command, identifier(dataSet)));
    return peer.status();
  };
  const status = (value: string) => ({ '00400252': { vr: 'CS', Value: [value] } });

  test('set before they are created, created twice, created as completed, set after they are over', async () => {
    const peer = await Peer.associated();
    expect(await tell(peer, COMMAND.nSet, uid(801), status('COMPLETED'))).toBe(0x0112);
    expect(await tell(peer, COMMAND.nCreate, uid(801), { ...started(), ...status('COMPLETED') })).not.toBe(0);
    expect(await tell(peer, COMMAND.nCreate, uid(801), started())).toBe(0);
    expect(await tell(peer, COMMAND.nCreate, uid(801), started())).toBe(0x0111);
    expect(await tell(peer, COMMAND.nSet, uid(801), ended([], 'DISCONTINUED'))).toBe(0);
    expect(await tell(peer, COMMAND.nSet, uid(801), status('IN PROGRESS'))).toBe(0x0110);
    expect(await tell(peer, COMMAND.nSet, 'no uid', status('COMPLETED'))).not.toBe(0);
    expect(await tell(peer, COMMAND.nCreate, '../1', started())).not.toBe(0);
    await peer.release();
  });
});

describe('storage commitment', () => {
  const ask = async (
    references: readonly string[],
    more: Partial<Command> = {},
    transaction: string = uid(++next),
  ): Promise<{ peer: Peer; status: number | string }> => {
    const peer = await Peer.associated();
    const command = encodeCommand({
      CommandField: COMMAND.nAction,
      MessageID: 9,
      RequestedSOPClassUID: STORAGE_COMMITMENT_PUSH_MODEL,
      RequestedSOPInstanceUID: '1.2.840.10008.1.20.1.1',
      ActionTypeID: 1,
      CommandDataSetType: 0,
      ...more,
    });
    const items = references.map((sop) => ({
      '00081150': { vr: 'UI', Value: [CT_IMAGE_STORAGE] },
      '00081155': { vr: 'UI', Value: [sop] },
    }));
    const information = { '00081195': { vr: 'UI', Value: [transaction] }, '00081199': { vr: 'SQ', Value: items } };
    peer.write(message(STORAGE_COMMITMENT_PUSH_MODEL, command, identifier(information)));
    return { peer, status: await peer.status() };
  };
  /** The N-EVENT-REPORT that follows: its type, and how long its data set is. */
  async function report(peer: Peer): Promise<{ type: number | undefined; bytes: number }> {
    let type: number | undefined;
    let bytes = 0;
    for (;;) {
      const pdu = (await peer.pdu())!;
      expect(pdu.type).toBe(PDU.data);
      for (let at = 0; at < pdu.body.length; ) {
        const length = pdu.body.readUInt32BE(at);
        const control = pdu.body[at + 5]!;
        const value = pdu.body.subarray(at + 6, at + 4 + length);
        at += 4 + length;
        if ((control & 1) !== 0) type = decodeCommand(value).EventTypeID;
        else bytes += value.length;
        if (control === 2) return { type, bytes };
      }
    }
  }

  test('of five thousand instances, none of which is here: each is named in the answer', async () => {
    const { peer, status } = await ask(Array.from({ length: 5_000 }, (_, i) => uid(20_000_000 + i)));
    expect(status).toBe(0);
    const { type, bytes } = await report(peer);
    expect(type).toBe(2);
    expect(bytes).toBeGreaterThan(5_000 * 60);
  });

  test('the same instance twice, padded with spaces', async () => {
    const one = slice();
    const sender = await Peer.associated();
    sender.write(storeOf(one.sop, one.dataSet));
    expect(await sender.status()).toBe(0);
    const { peer, status } = await ask([one.sop, `${one.sop} `]);
    expect(status).toBe(0);
    expect((await report(peer)).type).toBe(1);
  });

  test.each<[string, readonly string[], Partial<Command>, string | undefined]>([
    ['without a transaction', [uid(1)], {}, ''],
    ['of UIDs that are none', ['1.2..3', '../x'], {}, undefined],
    ['by another action', [uid(1)], { ActionTypeID: 2 }, undefined],
    ['of another instance', [uid(1)], { RequestedSOPInstanceUID: '1.2.3' }, undefined],
  ])('%s: refused', async (_, references, more, transaction) => {
    const { peer, status } = await ask(references, more, transaction);
    expect(status).not.toBe(0);
    expect(typeof status).toBe('number');
    await peer.release();
  });
});

test('C-GET of somebody who has offered to take nothing: every sub-operation has failed', async () => {
  const one = slice({ StudyInstanceUID: uid(30_001), SeriesInstanceUID: uid(30_002) });
  const peer = await Peer.associated();
  peer.write(storeOf(one.sop, one.dataSet));
  expect(await peer.status()).toBe(0);
  const wanted = identifier({ ...STUDY, '0020000D': { vr: 'UI', Value: [uid(30_001)] } });
  peer.write(message(STUDY_ROOT_GET, commandOf(STUDY_ROOT_GET, COMMAND.cGet), wanted));
  expect(await peer.response()).toMatchObject({
    Status: 0xa702,
    NumberOfCompletedSuboperations: 0,
    NumberOfFailedSuboperations: 1,
  });
  await peer.pdu();
  await peer.release();
});

test('one message id for many requests at once: no more are performed at a time than were agreed, and each is answered', async () => {
  const REQUESTS = 200;
  let running = 0;
  let most = 0;
  let done = 0;
  const { scp, scu } = sides();
  Session.accept(scp, {
    decide: (request) => negotiate(request, ARCHIVE_POLICY),
    services: new Map([
      [
        COMMAND.cFind,
        async ({ respond }) => {
          most = Math.max(most, ++running);
          await sleep(1);
          running--;
          done++;
          await respond({ Status: 0 });
        },
      ],
    ]),
  });
  scu.resume();
  scu.write(encodeAssociateRequest(requestOf(CONTEXTS)));
  const one = message(STUDY_ROOT_FIND, commandOf(STUDY_ROOT_FIND, COMMAND.cFind), identifier(STUDY));
  scu.write(Buffer.concat(Array.from({ length: REQUESTS }, () => one)));
  await until(() => done >= REQUESTS);
  expect(done).toBe(REQUESTS);
  expect(most).toBeLessThanOrEqual(4);
  scu.end();
});

test('a data set that comes behind many messages is held back as well, whoever is read first', () => {
  let flowing = true;
  const flow = {
    pause: () => {
      flowing = false;
    },
    resume: () => {
      flowing = true;
    },
  };
  const reader = new MessageReader(flow, () => true);
  const echo = commandOf(VERIFICATION, COMMAND.cEcho, { CommandDataSetType: 0x0101 });
  for (let i = 0; i < 40; i++) reader.data(1, 3, echo, true);
  // In what has been read from the connection already, as it was told to stop.
  reader.data(3, 3, commandOf(CT_IMAGE_STORAGE, COMMAND.cStore), true);
  for (let i = 0; i < 10_000; i++) reader.data(3, 0, Buffer.of(1), true);
  expect(flowing).toBe(false);
  return (async () => {
    for (let i = 0; i < 40; i++) await reader.next();
    expect(flowing).toBe(false);
    const { dataSet } = (await reader.next())!;
    dataSet!.discard();
    expect(flowing).toBe(true);
  })();
});

/** A connection in memory. */
function sides(): { scu: Duplex; scp: Duplex } {
  const [scu, scp] = duplexPair({ allowHalfOpen: false });
  return { scu, scp };
}
