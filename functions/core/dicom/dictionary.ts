import { dictionary as table } from 'dcmjs/dictionary';

/** One row of PS3.6, or of the private dictionaries that dcmjs carries. */
export interface Attribute {
  /** eight upper-case hex digits; for a repeating group the tag asked for */
  readonly tag: string;
  readonly keyword: string;
  /** where the standard leaves a choice, what Implicit VR Little Endian means (PS3.5 Annex A.1): US, OW */
  readonly vr: string;
  readonly vm: string;
  /** the choice: xs = US or SS by PixelRepresentation, ox = OB or OW, lt = US or OW by LUTDescriptor */
  readonly choice?: 'xs' | 'ox' | 'lt';
}

/** Rows in which dcmjs' table differs from PS3.6: keyword, VR, VM. */
const CORRECTIONS: readonly (readonly [tag: string, vr: string, keyword: string, vm: string])[] = [
  ['00020026', 'UR', 'SourcePresentationAddress', '1'],
  ['00020027', 'UR', 'SendingPresentationAddress', '1'],
  ['00020028', 'UR', 'ReceivingPresentationAddress', '1'],
  ['00020031', 'OB', 'RTVMetaInformationVersion', '1'],
  ['00020032', 'UI', 'RTVCommunicationSOPClassUID', '1'],
  ['00020033', 'UI', 'RTVCommunicationSOPInstanceUID', '1'],
  ['00020035', 'OB', 'RTVSourceIdentifier', '1'],
  ['00020036', 'OB', 'RTVFlowIdentifier', '1'],
  ['00020037', 'UL', 'RTVFlowRTPSamplingRate', '1'],
  ['00020038', 'FD', 'RTVFlowActualFrameDuration', '1'],
  ['00089007', 'CS', 'FrameType', '4-5'],
  ['00189323', 'CS', 'ExposureModulationType', '1-n'],
  ['00221642', 'UL', 'NumberOfBscansPerFrame', '1'],
  ['0040A803', 'UL', 'NumberOfTableColumns', '1'],
  ['00620009', 'LO', 'SegmentAlgorithmName', '1-n'],
  ['00660040', 'OL', 'LongPrimitivePointIndexList', '1'],
  ['00660041', 'OL', 'LongTrianglePointIndexList', '1'],
  ['00660042', 'OL', 'LongEdgePointIndexList', '1'],
  ['00660043', 'OL', 'LongVertexPointIndexList', '1'],
  ['006862F0', 'SQ', 'ViewOrientationModifierCodeSequence', '1'],
  ['00701305', 'FD', 'Plane', '4'],
  ['00701306', 'FD', 'PlaneNormal', '3'],
  ['0070150C', 'UL', 'NumberOfVolumetricCurvePoints', '1'],
  ['00760034', 'SQ', 'ComponentTypeCodeSequence', '1'],
  ['00800010', 'OF', 'UValueData', '1'],
  ['00800011', 'OF', 'VValueData', '1'],
  ['300A0131', 'FL', 'AverageBeamDosePointSourceToExternalContourDistance', '1'],
  ['40101029', 'LO', 'ThreatDetectionAlgorithmAndVersion', '1-n'],
];

const CHOICES: Record<string, { vr: string; choice?: 'xs' | 'ox' | 'lt' }> = {
  xs: { vr: 'US', choice: 'xs' },
  ox: { vr: 'OW', choice: 'ox' },
  lt: { vr: 'OW', choice: 'lt' },
  up: { vr: 'UL' },
};

const byNumber = new Map<number, Attribute>();
const byKeyword = new Map<string, Attribute>();
/** the rows of (50xx,eeee), (60xx,eeee), (7Fxx,eeee) by group byte and element */
const repeating = new Map<number, Attribute>();
/** 'GGGG|creator|ee' */
const privateVr = new Map<string, string>();

function makeAttribute(tag: string, vr: string, name: string, vm: string): Attribute {
  const choice = CHOICES[vr];
  const keyword = name.startsWith('RETIRED_') ? name.slice(8) : name;
  if (choice === undefined) return { tag, keyword, vr, vm };
  return choice.choice === undefined
    ? { tag, keyword, vr: choice.vr, vm }
    : { tag, keyword, vr: choice.vr, vm, choice: choice.choice };
}

function add(row: Attribute): void {
  byNumber.set(Number.parseInt(row.tag, 16), row);
  if (row.keyword !== '' && row.keyword !== 'undefined' && !byKeyword.has(row.keyword)) byKeyword.set(row.keyword, row);
}

function loadPrivate(key: string, vr: string): void {
  const open = key.indexOf('"');
  const close = key.lastIndexOf('"');
  const group = key.slice(1, 5).toUpperCase();
  const element = key
    .slice(close + 2, -1)
    .slice(-2)
    .toUpperCase();
  if (key[5] === ',' && vr !== 'na') privateVr.set(`${group}|${key.slice(open + 1, close)}|${element}`, vr);
}

for (const [tag, vr, keyword, vm] of CORRECTIONS) add(makeAttribute(tag, vr, keyword, vm));
const retired: Attribute[] = [];
for (const [key, row] of Object.entries(table)) {
  const { vr, name = '', vm = '1', version } = row;
  if (vr === undefined) continue;
  if (version === 'PrivateTag') loadPrivate(key, CHOICES[vr]?.vr ?? vr);
  else if (key.length === 11) {
    const attribute = makeAttribute(key.slice(1, 5) + key.slice(6, 10), vr === 'na' ? '' : vr, name, vm);
    if (byNumber.has(Number.parseInt(attribute.tag, 16))) continue;
    // A keyword belongs to the living attribute, should a retired one once have had it.
    if (name.startsWith('RETIRED_')) retired.push(attribute);
    else add(attribute);
  } else if (key[5] === '-' && key[10] === ',' && key.length === 16) {
    const group = key.slice(1, 3);
    const attribute = makeAttribute(`${group}00${key.slice(11, 15)}`, vr, name, vm);
    repeating.set(Number.parseInt(group + key.slice(11, 15), 16), attribute);
    if (!byKeyword.has(attribute.keyword)) byKeyword.set(attribute.keyword, attribute);
  }
}
for (const attribute of retired) add(attribute);

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).toUpperCase().padStart(2, '0'));

/** The eight hex digits of a tag given as an unsigned 32-bit number. */
export const tagText = (tag: number): string =>
  HEX[tag >>> 24]! + HEX[(tag >>> 16) & 0xff]! + HEX[(tag >>> 8) & 0xff]! + HEX[tag & 0xff]!;

/** The row of a tag given as an unsigned 32-bit number; repeating groups resolve to their row, with the tag asked for. */
export function attributeOf(tag: number): Attribute | undefined {
  const row = byNumber.get(tag);
  if (row !== undefined) return row;
  const group = tag >>> 16;
  const high = group >>> 8;
  if ((group & 1) === 0 && (high === 0x50 || high === 0x60 || high === 0x7f)) {
    const family = repeating.get(high * 0x10000 + (tag & 0xffff));
    if (family !== undefined) return { ...family, tag: tagText(tag) };
  }
  // (0020,31xx) SourceImageIDs, retired
  if (tag >>> 8 === 0x002031) return { tag: tagText(tag), keyword: 'SourceImageIDs', vr: 'CS', vm: '1-n' };
  return undefined;
}

/** Every attribute of PS3.6 that has a tag of its own, and the first of each repeating group. */
export const attributes = (): Iterable<Attribute> => [...byNumber.values(), ...repeating.values()];

/**
 * The attribute of a tag ('00100010', '(0010,0010)', '0010,0010') or of a keyword ('PatientName'); undefined when PS3.6
 * has none (private tags included).
 */
export function attribute(tagOrKeyword: string): Attribute | undefined {
  const named = byKeyword.get(tagOrKeyword);
  if (named !== undefined) return named;
  const match = /^\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?$/.exec(tagOrKeyword);
  return match === null ? undefined : attributeOf(Number.parseInt(match[1]! + match[2]!, 16));
}

/** The VR of a private element by its creator's dictionary. `group` and `element` are those of the element itself. */
export function privateVrOf(tag: string, privateCreator: string): string | undefined {
  return privateVr.get(`${tag.slice(0, 4)}|${privateCreator}|${tag.slice(6, 8)}`);
}

/** The VR of a tag of eight hex digits; 'UN' where nobody knows. Private creators and group lengths included. */
export function vrOf(tag: string, privateCreator?: string): string {
  const number = Number.parseInt(tag, 16);
  if ((number & 0xffff) === 0) return 'UL';
  if (((number >>> 16) & 1) === 1) {
    const element = number & 0xffff;
    if (element >= 0x10 && element <= 0xff) return 'LO';
    return (privateCreator === undefined ? undefined : privateVrOf(tag, privateCreator)) ?? 'UN';
  }
  return attributeOf(number)?.vr || 'UN';
}
