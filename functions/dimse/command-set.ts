import { ABORT_REASON } from './pdu.ts';
import { PduError } from './pdu-items.ts';

/** Command elements (PS3.7 Annex E.1), by keyword; group 0000 is Implicit VR Little Endian always (PS3.7 §6.3.1). */
export interface Command {
  readonly CommandField: number;
  readonly AffectedSOPClassUID?: string | undefined;
  readonly RequestedSOPClassUID?: string | undefined;
  readonly MessageID?: number | undefined;
  readonly MessageIDBeingRespondedTo?: number | undefined;
  readonly MoveDestination?: string | undefined;
  readonly Priority?: number | undefined;
  /** NO_DATA_SET when nothing follows the command */
  readonly CommandDataSetType?: number | undefined;
  readonly Status?: number | undefined;
  readonly OffendingElement?: string | undefined;
  readonly ErrorComment?: string | undefined;
  readonly ErrorID?: number | undefined;
  readonly AffectedSOPInstanceUID?: string | undefined;
  readonly RequestedSOPInstanceUID?: string | undefined;
  readonly EventTypeID?: number | undefined;
  readonly ActionTypeID?: number | undefined;
  /** tags, each as eight upper-case hex digits */
  readonly AttributeIdentifierList?: readonly string[] | undefined;
  readonly NumberOfRemainingSuboperations?: number | undefined;
  readonly NumberOfCompletedSuboperations?: number | undefined;
  readonly NumberOfFailedSuboperations?: number | undefined;
  readonly NumberOfWarningSuboperations?: number | undefined;
  readonly MoveOriginatorApplicationEntityTitle?: string | undefined;
  readonly MoveOriginatorMessageID?: number | undefined;
}

/** PS3.7 Annex E.1; a response is its request with the highest bit set */
export const COMMAND = {
  cStore: 0x0001,
  cGet: 0x0010,
  cFind: 0x0020,
  cMove: 0x0021,
  cEcho: 0x0030,
  nEventReport: 0x0100,
  nGet: 0x0110,
  nSet: 0x0120,
  nAction: 0x0130,
  nCreate: 0x0140,
  nDelete: 0x0150,
  cCancel: 0x0fff,
} as const;
export const RESPONSE = 0x8000;
export const NO_DATA_SET = 0x0101;
/** any other value says that a data set follows */
export const DATA_SET = 0x0000;
export const PRIORITY = { medium: 0, high: 1, low: 2 } as const;

/** `ATs`: AT of any multiplicity */
type Vr = 'UI' | 'US' | 'AE' | 'LO' | 'AT' | 'ATs';

const ELEMENTS: readonly (readonly [element: number, vr: Vr, keyword: keyof Command])[] = [
  [0x0002, 'UI', 'AffectedSOPClassUID'],
  [0x0003, 'UI', 'RequestedSOPClassUID'],
  [0x0100, 'US', 'CommandField'],
  [0x0110, 'US', 'MessageID'],
  [0x0120, 'US', 'MessageIDBeingRespondedTo'],
  [0x0600, 'AE', 'MoveDestination'],
  [0x0700, 'US', 'Priority'],
  [0x0800, 'US', 'CommandDataSetType'],
  [0x0900, 'US', 'Status'],
  [0x0901, 'AT', 'OffendingElement'],
  [0x0902, 'LO', 'ErrorComment'],
  [0x0903, 'US', 'ErrorID'],
  [0x1000, 'UI', 'AffectedSOPInstanceUID'],
  [0x1001, 'UI', 'RequestedSOPInstanceUID'],
  [0x1002, 'US', 'EventTypeID'],
  [0x1005, 'ATs', 'AttributeIdentifierList'],
  [0x1008, 'US', 'ActionTypeID'],
  [0x1020, 'US', 'NumberOfRemainingSuboperations'],
  [0x1021, 'US', 'NumberOfCompletedSuboperations'],
  [0x1022, 'US', 'NumberOfFailedSuboperations'],
  [0x1023, 'US', 'NumberOfWarningSuboperations'],
  [0x1030, 'AE', 'MoveOriginatorApplicationEntityTitle'],
  [0x1031, 'US', 'MoveOriginatorMessageID'],
];
const BY_ELEMENT = new Map(ELEMENTS.map((row) => [row[0], row]));
const ERROR_COMMENT_CHARACTERS = 64;

/** The value of an element as it stands in the set, padded to an even length. */
function encodedValue(vr: Vr, keyword: keyof Command, value: NonNullable<Command[keyof Command]>): Buffer {
  if (vr === 'US') {
    const bytes = Buffer.allocUnsafe(2);
    bytes.writeUInt16LE(Math.min(value as number, 0xffff));
    return bytes;
  }
  if (vr === 'AT' || vr === 'ATs') {
    const tags = typeof value === 'object' ? value : [value as string];
    const bytes = Buffer.allocUnsafe(4 * tags.length);
    for (const [i, tag] of tags.entries()) {
      bytes.writeUInt16LE(Number.parseInt(tag.slice(0, 4), 16), 4 * i);
      bytes.writeUInt16LE(Number.parseInt(tag.slice(4), 16), 4 * i + 2);
    }
    return bytes;
  }
  const text = keyword === 'ErrorComment' ? String(value).slice(0, ERROR_COMMENT_CHARACTERS) : String(value);
  return Buffer.from(text.length % 2 === 0 ? text : text + (vr === 'UI' ? '\0' : ' '), 'latin1');
}

/** The command set, group length first. Numbers of sub-operations beyond 65,535 say 65,535. */
export function encodeCommand(command: Command): Buffer {
  let length = 0;
  const values: (readonly [element: number, value: Buffer])[] = [];
  for (const [element, vr, keyword] of ELEMENTS) {
    const given = command[keyword];
    if (given === undefined) continue;
    const value = encodedValue(vr, keyword, given);
    values.push([element, value]);
    length += 8 + value.length;
  }
  const set = Buffer.alloc(12 + length);
  set.writeUInt32LE(4, 4);
  set.writeUInt32LE(length, 8);
  let at = 12;
  for (const [element, value] of values) {
    set.writeUInt16LE(element, at + 2);
    set.writeUInt32LE(value.length, at + 4);
    value.copy(set, at + 8);
    at += 8 + value.length;
  }
  return set;
}

const malformed = (): never => {
  throw new PduError(ABORT_REASON.invalidParameter, 'a command set is malformed');
};

const tagAt = (bytes: Buffer, at: number): string =>
  (bytes.readUInt16LE(at) * 0x10000 + bytes.readUInt16LE(at + 2)).toString(16).toUpperCase().padStart(8, '0');

/** @throws PduError where it cannot be one. Elements nobody knows are passed over. */
export function decodeCommand(bytes: Buffer): Command {
  const command: Record<string, string | number | string[]> = {};
  let at = 0;
  while (at < bytes.length) {
    if (bytes.length - at < 8) malformed();
    const group = bytes.readUInt16LE(at);
    const element = bytes.readUInt16LE(at + 2);
    const length = bytes.readUInt32LE(at + 4);
    at += 8;
    if (group !== 0 || length > bytes.length - at) malformed();
    const row = BY_ELEMENT.get(element);
    if (row !== undefined && length > 0) {
      const [, vr, keyword] = row;
      if (vr === 'US') command[keyword] = length < 2 ? malformed() : bytes.readUInt16LE(at);
      else if (vr === 'AT') command[keyword] = length < 4 ? malformed() : tagAt(bytes, at);
      else if (vr === 'ATs') command[keyword] = Array.from({ length: length >> 2 }, (_, i) => tagAt(bytes, at + 4 * i));
      else command[keyword] = bytes.toString('latin1', at, at + length).replace(/^[ \0]+|[ \0]+$/g, '');
    }
    at += length;
  }
  if (command.CommandField === undefined) malformed();
  return command as unknown as Command;
}
