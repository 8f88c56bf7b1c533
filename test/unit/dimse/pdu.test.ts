import { describe, expect, test } from 'vitest';
import { decodeCommand, encodeCommand } from '#dimse/command-set.ts';
import {
  type AssociateRequest,
  type ControlPdu,
  dataHeader,
  decodePdu,
  encodeAbort,
  encodeAssociateAccept,
  encodeAssociateReject,
  encodeAssociateRequest,
  encodeReleaseReply,
  encodeReleaseRequest,
  REJECT,
} from '#dimse/pdu.ts';
import { PduError } from '#dimse/pdu-items.ts';

/** Lines of hex with what they mean behind `//`. */
const bytesOf = (annotated: string): Buffer =>
  Buffer.from(
    annotated
      .replace(/\/\/.*$/gm, '')
      .replace(/'([^']*)'/g, (_, text: string) => Buffer.from(text).toString('hex'))
      .replace(/\s/g, ''),
    'hex',
  );
const decoded = (bytes: Buffer): ControlPdu => decodePdu(bytes[0]!, bytes.subarray(6));

const HEADER_OF_RQ = `
00 01                              // protocol version 1
00 00
'NEPHOS          '                 // called AE title, 16
'CT1             '                 // calling AE title, 16
00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
10 00 0015 '1.2.840.10008.3.1.1.1' // application context
`;

const REQUEST_BYTES = bytesOf(`
01 00 00000126                     // A-ASSOCIATE-RQ, 294 bytes follow
${HEADER_OF_RQ}
20 00 002E 01 00 00 00             // presentation context 1
  30 00 0011 '1.2.840.10008.1.1'   //   Verification
  40 00 0011 '1.2.840.10008.1.2'   //   Implicit VR Little Endian
50 00 0093                         // user information
  51 00 0004 00004000              //   16,384 bytes at most
  52 00 0008 '1.2.3.4.'            //   implementation class
  53 00 0004 0005 0001             //   5 invoked, 1 performed
  54 00 0015 0011 '1.2.840.10008.1.1' 00 01 // SCP only
  55 00 0004 'TEST'                //   implementation version
  56 00 0016 0011 '1.2.840.10008.1.1' 01 00 01 // extended negotiation
  57 00 0025 0011 '1.2.840.10008.1.1' 0005 '1.2.3' 0009 0003 '1.2' 0002 '1.'
  58 00 000F 02 01 0004 'user' 0005 'pass ' // name and passcode, answer wanted
`);

const REQUEST: AssociateRequest = {
  protocolVersion: 1,
  calledAETitle: 'NEPHOS',
  callingAETitle: 'CT1',
  applicationContext: '1.2.840.10008.3.1.1.1',
  contexts: [{ id: 1, abstractSyntax: '1.2.840.10008.1.1', transferSyntaxes: ['1.2.840.10008.1.2'] }],
  user: {
    maxPduBytes: 16_384,
    implementationClassUID: '1.2.3.4.',
    asynchronousOperations: { invoked: 5, performed: 1 },
    roles: [{ SOPClassUID: '1.2.840.10008.1.1', scu: false, scp: true }],
    implementationVersionName: 'TEST',
    extended: [{ SOPClassUID: '1.2.840.10008.1.1', information: Buffer.of(1, 0, 1) }],
    commonExtended: [
      { SOPClassUID: '1.2.840.10008.1.1', serviceClassUID: '1.2.3', relatedSOPClassUIDs: ['1.2', '1.'] },
    ],
    identity: { type: 2, responseRequested: true, primary: Buffer.from('user'), secondary: Buffer.from('pass ') },
  },
};

describe('PDUs', () => {
  test('A-ASSOCIATE-RQ with every user information item, both ways', () => {
    expect(encodeAssociateRequest(REQUEST).toString('hex')).toBe(REQUEST_BYTES.toString('hex'));
    expect(decoded(REQUEST_BYTES)).toEqual({ type: 1, request: REQUEST });
  });

  test('A-ASSOCIATE-AC, one context accepted and one not', () => {
    const bytes = bytesOf(`
      02 00 000000AB
      ${HEADER_OF_RQ}
      21 00 0019 01 00 00 00         // context 1: accepted
        40 00 0011 '1.2.840.10008.1.2'
      21 00 0019 03 00 04 00         // context 3: no transfer syntax of these
        40 00 0011 '1.2.840.10008.1.2'
      50 00 0010
        51 00 0004 00020000
        52 00 0004 '1.2.'
    `);
    const contexts = [
      { id: 1, result: 0, transferSyntax: '1.2.840.10008.1.2' },
      { id: 3, result: 4, transferSyntax: '1.2.840.10008.1.2' },
    ];
    const accept = { ...REQUEST, contexts, user: { maxPduBytes: 131_072, implementationClassUID: '1.2.' } };
    expect(encodeAssociateAccept(accept).toString('hex')).toBe(bytes.toString('hex'));
    expect(decoded(bytes)).toEqual({ type: 2, accept });
  });

  test('the short ones', () => {
    const rejected = bytesOf('03 00 00000004 00 01 01 07'); // permanent, by the user: called AE title not recognised
    expect(encodeAssociateReject(REJECT.calledAETitleNotRecognized)).toEqual(rejected);
    expect(decoded(rejected)).toEqual({ type: 3, reject: { result: 1, source: 1, reason: 7 } });
    expect(encodeReleaseRequest()).toEqual(bytesOf('05 00 00000004 00000000'));
    expect(encodeReleaseReply()).toEqual(bytesOf('06 00 00000004 00000000'));
    const aborted = bytesOf('07 00 00000004 00 00 02 06'); // by the provider: invalid parameter
    expect(encodeAbort({ source: 2, reason: 6 })).toEqual(aborted);
    expect(decoded(aborted)).toEqual({ type: 7, abort: { source: 2, reason: 6 } });
  });

  test('the header of P-DATA-TF with one value', () => {
    // 106 bytes, of which 102 are the value: context 5, last fragment of a command, 100 bytes
    expect(dataHeader(5, true, true, 100)).toEqual(bytesOf('04 00 0000006A 00000066 05 03'));
    expect(dataHeader(5, false, false, 100)).toEqual(bytesOf('04 00 0000006A 00000066 05 00'));
  });

  test.each([
    ['an item longer than the PDU', (bytes: Buffer) => bytes.writeUInt16BE(0xffff, 6 + 68 + 2)],
    ['an even context id', (bytes: Buffer) => bytes.writeUInt8(2, 6 + 68 + 25 + 4)],
    ['a UID that is none', (bytes: Buffer) => bytes.write('x', 6 + 68 + 4)],
    ['no user information', (bytes: Buffer) => bytes.writeUInt8(0x60, 6 + 68 + 25 + 50)],
  ])('%s is an invalid parameter', (_what, spoil) => {
    const bytes = Buffer.from(REQUEST_BYTES);
    spoil(bytes);
    expect(() => decoded(bytes)).toThrow(PduError);
  });
});

describe('command sets', () => {
  test('C-STORE-RQ, as PS3.7 §9.3.1.1 has it, both ways', () => {
    const bytes = bytesOf(
      `
      0000 0000 04000000 4E000000            // group length 78
      0000 0200 06000000 '1.2.3' 00          // AffectedSOPClassUID, padded
      0000 0001 02000000 0100                // C-STORE-RQ
      0000 1001 02000000 0700                // MessageID 7
      0000 0007 02000000 0000                // medium
      0000 0008 02000000 0000                // a data set follows
      0000 0010 04000000 '1.22'              // AffectedSOPInstanceUID
      0000 3010 04000000 'WS1 '              // move originator, padded
    `.replace(/52000000/, '52000000'),
    );
    const command = {
      AffectedSOPClassUID: '1.2.3',
      CommandField: 1,
      MessageID: 7,
      Priority: 0,
      CommandDataSetType: 0,
      AffectedSOPInstanceUID: '1.22',
      MoveOriginatorApplicationEntityTitle: 'WS1',
    };
    expect(encodeCommand(command).toString('hex')).toBe(bytes.toString('hex'));
    expect(decodeCommand(bytes)).toEqual(command);
  });

  test('more sub-operations than 16 bits count say the most; long comments are cut', () => {
    const bytes = encodeCommand({
      CommandField: 0x8021,
      NumberOfRemainingSuboperations: 200_000,
      ErrorComment: 'x'.repeat(100),
      OffendingElement: '00100020',
    });
    expect(decodeCommand(bytes)).toEqual({
      CommandField: 0x8021,
      NumberOfRemainingSuboperations: 0xffff,
      ErrorComment: 'x'.repeat(64),
      OffendingElement: '00100020',
    });
  });

  test.each(['', '0800 0001 02000000 0100', '0000 0001 FF000000 0100', '0000 0001 01000000 01'])(
    '%s is no command set',
    (hex) => {
      expect(() => decodeCommand(bytesOf(hex))).toThrow(PduError);
    },
  );
});
