import { PacsError } from '../errors.ts';

const MARKER = {
  SOC: 0xff4f,
  CAP: 0xff50,
  SIZ: 0xff51,
  COD: 0xff52,
  TLM: 0xff55,
  PLM: 0xff57,
  PLT: 0xff58,
  QCD: 0xff5c,
  COM: 0xff64,
  SOT: 0xff90,
  SOD: 0xff93,
  EOC: 0xffd9,
} as const;
/** What is the same for all components, and must be; anything else in a main header is of one component alone, or a part of the standard that is not understood here. */
const COMMON: ReadonlySet<number> = new Set([MARKER.CAP, MARKER.SIZ, MARKER.COD, MARKER.QCD]);
/** Remarks, and lengths that are others afterwards. */
const LEFT_OUT: ReadonlySet<number> = new Set([MARKER.COM, MARKER.TLM, MARKER.PLM, MARKER.PLT]);
/** progression orders (Table A.16): by layer, by resolution, by component first */
export const LRCP = 0;
export const RPCL = 2;
export const CPRL = 4;
const SOT_BYTES = 12;

/** Of a codestream of one component: its main header, segment by segment, and its packets. */
interface Component {
  readonly header: readonly Uint8Array[];
  readonly packets: readonly Uint8Array[];
}

/**
 * Several JPEG 2000 codestreams (ISO 15444-1 or -15) of one component each as one codestream of all: in the progression with the component
 * outermost (CPRL, B.12.1.5) the packets of each follow those of the one before, as they are. There is no component transform.
 *
 * @param codestreams of the same size, depth and coding, each one tile in that progression
 * @throws PacsError UNSUPPORTED_TRANSFER_SYNTAX where they are not
 */
export function joinComponents(codestreams: readonly Uint8Array[]): Uint8Array {
  const components = codestreams.map((one) => {
    try {
      return componentOf(one);
    } catch (error) {
      // Read behind its end.
      throw error instanceof RangeError ? cannot('a codestream that ends early') : error;
    }
  });
  const [first] = components;
  if (first === undefined) throw cannot('no component');
  for (const { header } of components)
    if (Buffer.compare(Buffer.concat(header), Buffer.concat(first.header)) !== 0)
      throw cannot('components that are coded differently');
  const header = first.header.map((segment) => ofAll(segment, components.length));
  const packets = components.flatMap((one) => one.packets);
  const packetBytes = packets.reduce((sum, { length }) => sum + length, 0);
  return Buffer.concat([
    marker(MARKER.SOC),
    ...header,
    startOfTile(SOT_BYTES + 2 + packetBytes),
    marker(MARKER.SOD),
    ...packets,
    marker(MARKER.EOC),
  ]);
}

const cannot = (what: string): PacsError =>
  new PacsError('UNSUPPORTED_TRANSFER_SYNTAX', `a JPEG 2000 codestream cannot be made of ${what}`);

const marker = (code: number): Uint8Array => Uint8Array.of(code >> 8, code & 0xff);

function startOfTile(bytes: number): Uint8Array {
  const segment = Buffer.alloc(SOT_BYTES);
  segment.writeUInt16BE(MARKER.SOT, 0);
  segment.writeUInt16BE(SOT_BYTES - 2, 2);
  segment.writeUInt32BE(bytes, 6);
  segment[11] = 1; // the only tile-part
  return segment;
}

function componentOf(codestream: Uint8Array): Component {
  const bytes = Buffer.from(codestream.buffer, codestream.byteOffset, codestream.byteLength);
  const header: Uint8Array[] = [];
  const packets: Uint8Array[] = [];
  let at = 2;
  for (; bytes.readUInt16BE(at) !== MARKER.SOT; at += 2 + bytes.readUInt16BE(at + 2)) {
    const code = bytes.readUInt16BE(at);
    if (LEFT_OUT.has(code)) continue;
    if (!COMMON.has(code)) throw cannot(`components with a marker ${code.toString(16)}`);
    const segment = bytes.subarray(at, at + 2 + bytes.readUInt16BE(at + 2));
    check(code, segment);
    header.push(segment);
  }
  while (bytes.readUInt16BE(at) === MARKER.SOT) {
    if (bytes.readUInt16BE(at + 4) !== 0) throw cannot('components of several tiles');
    const length = bytes.readUInt32BE(at + 6);
    const end = length === 0 ? endOf(bytes) : at + length;
    let from = at + SOT_BYTES;
    for (; bytes.readUInt16BE(from) !== MARKER.SOD; from += 2 + bytes.readUInt16BE(from + 2))
      if (!LEFT_OUT.has(bytes.readUInt16BE(from))) throw cannot('tile-parts that are coded differently');
    packets.push(bytes.subarray(from + 2, end));
    at = end;
  }
  if (bytes.readUInt16BE(at) !== MARKER.EOC) throw cannot('a codestream that ends early');
  return { header, packets };
}

/** Where EOC stands; behind it there may be a byte of padding. */
const endOf = (bytes: Buffer): number => bytes.lastIndexOf(marker(MARKER.EOC));

function check(code: number, segment: Buffer): void {
  if (code === MARKER.SIZ && segment.readUInt16BE(38) !== 1) throw cannot('codestreams of several components');
  if (code !== MARKER.COD) return;
  if (segment[5] !== CPRL) throw cannot('components in another progression');
  // Scod: SOP markers number the packets through
  if ((segment[4]! & 0b10) !== 0) throw cannot('components whose packets are numbered');
}

/** A segment of the main header, for so many components. */
function ofAll(segment: Uint8Array, components: number): Uint8Array {
  const bytes = Buffer.from(segment);
  const code = bytes.readUInt16BE(0);
  if (code === MARKER.COD) bytes[8] = 0; // no component transform
  if (code !== MARKER.SIZ) return bytes;
  bytes.writeUInt16BE(components, 38);
  bytes.writeUInt16BE(38 + 3 * components, 2);
  return Buffer.concat([bytes, ...Array.from({ length: components - 1 }, () => bytes.subarray(40, 43))]);
}
