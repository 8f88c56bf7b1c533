import { isDeepStrictEqual } from 'node:util';
import { PacsError } from '#core/errors.ts';
import { COMMAND, type Command, decodeCommand, encodeCommand } from '#dimse/command-set.ts';
import { decodeIdentifier, encodeIdentifier } from '#dimse/identifiers.ts';
import { MessageReader } from '#dimse/messages.ts';
import {
  type ControlPdu,
  dataHeader,
  decodePdu,
  encodeAbort,
  encodeAssociateAccept,
  encodeAssociateReject,
  encodeAssociateRequest,
  encodeReleaseReply,
  encodeReleaseRequest,
  PDU,
  PDU_HEADER_BYTES,
} from '#dimse/pdu.ts';
import { PduError } from '#dimse/pdu-items.ts';
import { PduStream } from '#dimse/pdu-stream.ts';
import { EXPLICIT_LE, IMPLICIT_LE } from '#test/fixtures/dicom-builder.ts';
import { scheduled } from '#test/fixtures/worklist.ts';
import { concat, type Grammar } from '../mutate.ts';
import { chunksOf, digestOf, Random } from '../random.ts';
import { Contradiction, type Target } from '../target.ts';
import { ASSOCIATE, DAY } from './modality.ts';

/** What a stream of PDUs was taken for; gathered, so that how it was cut does not show. */
type Said =
  | { readonly kind: 'control'; readonly type: number; readonly body: Buffer }
  | { readonly kind: 'data'; readonly contextId: number; readonly control: number; bytes: Buffer; ends: boolean };

function heard(chunks: Iterable<Uint8Array>): { said: Said[]; refused?: number } {
  const said: Said[] = [];
  const stream = new PduStream({
    control: (type, body) => void said.push({ kind: 'control', type, body: Buffer.from(body) }),
    data(contextId, control, bytes, ends) {
      const last = said.at(-1);
      if (last?.kind === 'data' && !last.ends) {
        if (last.contextId !== contextId || last.control !== control)
          throw new Contradiction('a value changed under way');
        last.bytes = Buffer.concat([last.bytes, bytes]);
        last.ends = ends;
      } else said.push({ kind: 'data', contextId, control, bytes: Buffer.from(bytes), ends });
    },
  });
  try {
    for (const chunk of chunks) stream.push(Buffer.from(chunk));
    return { said };
  } catch (error) {
    if (error instanceof PduError) return { said, refused: error.reason };
    throw error;
  }
}

function orRefused<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof PduError) return undefined;
    throw error;
  }
}

const encoded = (pdu: ControlPdu): Buffer => {
  switch (pdu.type) {
    case PDU.associateRequest:
      return encodeAssociateRequest(pdu.request);
    case PDU.associateAccept:
      return encodeAssociateAccept(pdu.accept);
    case PDU.associateReject:
      return encodeAssociateReject(pdu.reject);
    case PDU.releaseRequest:
      return encodeReleaseRequest();
    case PDU.releaseReply:
      return encodeReleaseReply();
    default:
      return encodeAbort(pdu.abort);
  }
};

/** What is read of a PDU, written and read again, is the same. */
function checkControl(type: number, body: Buffer): void {
  const pdu = orRefused(() => decodePdu(type, body));
  if (pdu === undefined) return;
  const bytes = encoded(pdu);
  const again = decodePdu(bytes[0]!, bytes.subarray(PDU_HEADER_BYTES));
  const third = decodePdu(bytes[0]!, encoded(again).subarray(PDU_HEADER_BYTES));
  // Names are cut to what the standard gives them when they are written: once.
  if (!isDeepStrictEqual(again, third)) throw new Contradiction('a PDU written and read again differs');
}

function checkCommand(bytes: Buffer): Command | undefined {
  const command = orRefused(() => decodeCommand(bytes));
  if (command === undefined) return undefined;
  const again = decodeCommand(encodeCommand(command));
  if (!isDeepStrictEqual(decodeCommand(encodeCommand(again)), again))
    throw new Contradiction('a command written and read again differs');
  return command;
}

function checkIdentifier(bytes: Buffer, syntax: string): void {
  try {
    const dataSet = decodeIdentifier(bytes, syntax);
    decodeIdentifier(encodeIdentifier(dataSet, syntax), syntax);
  } catch (error) {
    if (!(error instanceof PacsError) || error.code === 'INTERNAL') throw error;
  }
}

/** The messages that the values make, as the acceptor would take them. */
async function checkMessages(said: readonly Said[]): Promise<void> {
  const reader = new MessageReader({ pause() {}, resume() {} }, (id) => id % 2 === 1);
  try {
    for (const one of said)
      if (one.kind === 'data') {
        // A message that nobody takes would hold the connection: it is taken here as it comes.
        reader.data(one.contextId, one.control, one.bytes, one.ends);
      }
  } catch (error) {
    if (!(error instanceof PduError)) throw error;
  }
  reader.end(undefined);
  for (let message = await reader.next(); message !== undefined; message = await reader.next()) {
    checkCommand(encodeCommand(message.command));
    message.dataSet?.discard();
  }
}

const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(' ', ''), 'hex');
const WORDS: Uint8Array[] = [
  ...DAY,
  ...[1, 2, 3, 4, 5, 6, 7, 8].map((type) => Buffer.of(type, 0, 0, 0, 0, 4)),
  ...['10', '20', '21', '30', '40', '50', '51', '52', '53', '54', '55', '56', '57', '58', '59'].map((type) =>
    hex(`${type}00 0004`),
  ),
  hex('ffff ffff'),
  hex('0000 0000'),
  hex('7fff ffff'),
  hex('0000 0006 0103'),
  hex('0000 0002 0102'),
  Buffer.from('1.2.840.10008.1.1'),
  Buffer.from('*'),
];

/** Starts of the PDUs of an input, as far as their lengths can be followed. */
function pduStarts(input: Uint8Array): number[] {
  const starts: number[] = [];
  for (let at = 0; at + 6 <= input.length && starts.length < 200; ) {
    starts.push(at);
    at += 6 + new DataView(input.buffer, input.byteOffset + at + 2, 4).getUint32(0);
  }
  return starts;
}

export const pduGrammar: Grammar = {
  words: WORDS,
  structural: [
    /** a PDU twice, or not at all, or elsewhere */
    (input, random) => {
      const starts = pduStarts(input);
      if (starts.length === 0) return input;
      const i = random.below(starts.length);
      const [from, to] = [starts[i]!, starts[i + 1] ?? input.length];
      const at = random.pick([...starts, input.length]);
      const piece = input.subarray(from, to);
      if (random.once(3)) return concat(input.subarray(0, from), input.subarray(to));
      return concat(input.subarray(0, at), piece, input.subarray(at));
    },
    /** the length of a PDU, or of the first value in it */
    (input, random) => {
      const starts = pduStarts(input);
      const at = (random.pick(starts) ?? 0) + random.pick([2, 6]);
      if (at + 4 > input.length) return input;
      const view = new DataView(input.buffer, input.byteOffset + at, 4);
      const length = view.getUint32(0);
      view.setUint32(0, random.pick([length + 1, length - 1, length + 2, 0, 1, 2, 4, 6, 0xffffffff, 0xfffffffe]) >>> 0);
      return input;
    },
    /** context id or control header of a value */
    (input, random) => {
      const at = (random.pick(pduStarts(input)) ?? 0) + random.pick([10, 11]);
      if (at < input.length) input[at] = random.below(8);
      return input;
    },
    /** a command field of another kind */
    (input, random) => {
      const at = Buffer.from(input.buffer, input.byteOffset, input.length).indexOf(
        '00000001020000',
        random.below(input.length),
        'hex',
      );
      if (at >= 0 && at + 10 <= input.length)
        new DataView(input.buffer, input.byteOffset + at + 8, 2).setUint16(
          0,
          random.pick(Object.values(COMMAND)) | (random.once(3) ? 0x8000 : 0),
          true,
        );
      return input;
    },
  ],
};

export const pdu: Target = {
  name: 'pdu',
  covers: [
    '/dimse/pdu',
    '/dimse/user-information',
    '/dimse/command-set',
    '/dimse/identifiers',
    '/dimse/messages',
    '/core/dicom/parser',
  ],
  grammar: pduGrammar,
  *seeds() {
    yield Buffer.concat(DAY);
    for (const one of DAY) yield one;
    yield encodeAssociateReject({ result: 1, source: 2, reason: 1 });
    yield encodeAbort({ source: 2, reason: 1 });
    const identifier = encodeIdentifier(scheduled(), IMPLICIT_LE);
    yield Buffer.concat([dataHeader(1, false, true, identifier.length), identifier]);
  },
  open: () => ({
    async run(input) {
      const whole = heard([input]);
      const cut = heard(chunksOf(input, new Random(digestOf(input))));
      if (!isDeepStrictEqual(cut, whole)) throw new Contradiction('heard in chunks it says something else');
      for (const one of whole.said) {
        if (one.kind === 'control') checkControl(one.type, one.body);
        else if ((one.control & 1) === 1) checkCommand(one.bytes);
        else for (const syntax of [EXPLICIT_LE, IMPLICIT_LE]) checkIdentifier(one.bytes, syntax);
      }
      await checkMessages(whole.said);
      // Bodies without a header in front of them, as far as they are cut wrongly above.
      for (const type of [PDU.associateRequest, PDU.associateAccept]) checkControl(type, Buffer.from(input));
      checkControl(PDU.associateRequest, Buffer.from(concat(ASSOCIATE.subarray(6, 74), input)));
    },
  }),
};
