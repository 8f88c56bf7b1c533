import { dataSetToJson, jsonToDataSet } from '#core/dicom/json.ts';
import { Part10Scanner, scanPart10 } from '#core/dicom/scanner.ts';
import { TRANSFER_SYNTAXES } from '#core/dicom/transfer-syntaxes.ts';
import type { DataSet, ScannedObject } from '#core/dicom/types.ts';
import { writePart10Bytes } from '#core/dicom/writer.ts';
import { dataSetToXml, xmlToDataSet } from '#core/dicom/xml.ts';
import { PacsError } from '#core/errors.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import {
  buildDicom,
  DEFLATED_LE,
  EXPLICIT_BE,
  EXPLICIT_LE,
  IMPLICIT_LE,
  JPEG_BASELINE,
} from '#test/fixtures/dicom-builder.ts';
import { sharedFiles } from '../corpus.ts';
import { concat } from '../mutate.ts';
import { chunksOf, digestOf, Random } from '../random.ts';
import { Contradiction, type Target } from '../target.ts';

const LIMIT_BYTES = 48 * 1024;
/** a deflate bomb of 48 KB would otherwise be inflated to 50 MB for every input that holds one */
const LIMITS = { ...DEFAULT_LIMITS, inflatedBytes: 4 * 1024 * 1024 };

const VRS = 'AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV'
  .split(' ')
  .map((name) => Buffer.from(name));
const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(' ', ''), 'hex');
const TAGS = [
  '0800 0500', '0800 1600', '0800 1800', '0800 6000', '2000 0d00', '2000 0e00', '1000 1000', '2800 0200', '2800 0301', '2800 0800',
  '2800 1000', '2800 0001', '0200 0000', '0200 1000', 'e07f 0100', 'e07f 0200', 'e07f 0800', 'e07f 1000', '0052 3092',
  'feff 00e0', 'feff 0de0', 'feff dde0', 'fffe e000', '0900 1000', '0910 0110', '0800 4011',
].map(hex); // biome-ignore format: a table
const WORDS: Uint8Array[] = [
  ...VRS,
  ...TAGS,
  hex('feff 00e0 ffff ffff'),
  hex('feff 00e0 0000 0000'),
  hex('feff 0de0 0000 0000'),
  hex('feff dde0 0000 0000'),
  hex('ffff ffff'),
  hex('0800 4011 5351 0000 ffff ffff feff 00e0 ffff ffff'),
  hex('e07f 1000 4f42 0000 ffff ffff feff 00e0 0000 0000'),
  hex('4f57 0000'),
  hex('5351 0000 ffff ffff'),
  hex('554e 0000 ffff ffff'),
  ...[...TRANSFER_SYNTAXES.keys()].map((uid) => Buffer.from(uid)),
  ...['ISO 2022 IR 87', 'ISO 2022 IR 149', 'ISO_IR 192', 'GB18030', 'GBK', 'ISO_IR 100', '\\ISO 2022 IR 13'].map(
    (text) => Buffer.from(text),
  ),
  ...['1b2442', '1b284a', '1b2842', '1b242943', '1b2d41'].map(hex),
  ...['\\', '=', '^', 'DICM', '-0', '1e309', '+.5E-2', 'NaN'].map((text) => Buffer.from(text)),
];

/** Where an element with an explicit VR seems to begin, at or behind a place chosen by chance. */
function elementAt(input: Uint8Array, random: Random): number {
  const start = random.below(input.length);
  for (let i = 0; i < input.length; i++) {
    const at = (start + i) % input.length;
    const [first, second] = [input[at + 4], input[at + 5]];
    if (first !== undefined && second !== undefined && VRS.some((vr) => vr[0] === first && vr[1] === second)) return at;
  }
  return start;
}

const LENGTHS = [0, 1, 2, 3, 8, 9, 0x7f, 0xfe, 0xff, 0x100, 0xfffe, 0xffff];

const grammar = {
  words: WORDS,
  structural: [
    /** another length, short or long */
    (input: Uint8Array, random: Random) => {
      const at = elementAt(input, random);
      const view = new DataView(input.buffer, input.byteOffset, input.length);
      if (at + 12 > input.length) return input;
      if (random.once(2)) view.setUint16(at + 6, random.pick(LENGTHS), true);
      else view.setUint32(at + 8, random.pick([0xffffffff, 0xfffffffe, ...LENGTHS]), true);
      return input;
    },
    /** another VR */
    (input: Uint8Array, random: Random) => {
      const at = elementAt(input, random);
      if (at + 6 <= input.length) input.set(random.pick(VRS), at + 4);
      return input;
    },
    /** another tag */
    (input: Uint8Array, random: Random) => {
      const at = elementAt(input, random);
      if (at + 4 <= input.length) input.set(random.pick(TAGS), at);
      return input;
    },
    /** from one element to another: taken out, or put in elsewhere */
    (input: Uint8Array, random: Random) => {
      const [from = 0, to = 0] = [elementAt(input, random), elementAt(input, random)].sort((a, b) => a - b);
      if (random.once(2)) return concat(input.subarray(0, from), input.subarray(to));
      const at = elementAt(input, random);
      return concat(input.subarray(0, at), input.subarray(from, to), input.subarray(at));
    },
    /** something of the encoding between two elements */
    (input: Uint8Array, random: Random) => {
      const at = elementAt(input, random);
      return concat(input.subarray(0, at), random.pick(WORDS), input.subarray(at));
    },
  ],
};

function outcome(scan: () => ScannedObject): ScannedObject | { code: string; message: string } {
  try {
    return scan();
  } catch (error) {
    if (error instanceof PacsError && (error.code === 'UNREADABLE_DATASET' || error.code === 'TOO_LARGE'))
      return { code: error.code, message: error.message };
    throw error;
  }
}

function scanInChunks(input: Uint8Array, literal: boolean): ScannedObject {
  const scanner = new Part10Scanner(LIMITS, { literal });
  for (const chunk of chunksOf(input, new Random(digestOf(input)))) {
    scanner.push(chunk);
    scanner.identity();
  }
  return scanner.end();
}

/** Without what is not held, at any depth; and without pixel data that claims to be a sequence, which nobody could tell from fragments. */
const held = (dataSet: DataSet): DataSet =>
  Object.fromEntries(
    Object.entries(dataSet)
      .filter(([tag, element]) => element.bulk === undefined && !/^0002|0000$|^7FE00010$/.test(tag))
      .map(([tag, element]) => [
        tag,
        element.vr === 'SQ' && element.Value !== undefined
          ? { ...element, Value: (element.Value as DataSet[]).map(held) }
          : element,
      ]),
  );

const noBulk = (): string => 'none';

export const dicom: Target = {
  name: 'dicom',
  grammar,
  covers: ['/core/dicom/'],
  limitBytes: LIMIT_BYTES,
  *seeds() {
    const items = {
      OtherPatientIDsSequence: [{ PatientID: 'A', '00091001': { vr: 'OB', value: new Uint8Array(400) } }, {}],
    };
    for (const transferSyntaxUID of [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE, JPEG_BASELINE])
      for (const undefinedLength of [false, true])
        yield buildDicom({ NumberOfFrames: 2, ...items }, { transferSyntaxUID, undefinedLength });
    yield buildDicom({}, { preamble: false });
    yield buildDicom({}, { preamble: false, fileMeta: false });
    yield* sharedFiles(['malformed', 'dicom'], 16 * 1024);
  },
  open: () => ({
    run(input) {
      const whole = outcome(() => scanPart10(input, LIMITS));
      const cut = outcome(() => scanInChunks(input, false));
      const same = JSON.stringify(whole) === JSON.stringify(cut);
      if (!same) throw new Contradiction('read in chunks it is something else than read whole');
      const literal = outcome(() => scanInChunks(input, true));
      if ('code' in whole !== 'code' in literal)
        throw new Contradiction('read to be written again it is judged otherwise');
      if ('code' in whole) return;
      const json = dataSetToJson(whole.dataSet, noBulk);
      JSON.parse(json);
      if (dataSetToJson(jsonToDataSet(json), noBulk) !== json) throw new Contradiction('JSON does not give it back');
      const xml = dataSetToXml(whole.dataSet, noBulk);
      xmlToDataSet(xml);
      // Written and read again: text that could not be decoded, or is not of its VR, may differ once, and then no more.
      // An object needs an element that is written, and some of these have none.
      const bare = { '00080016': { vr: 'UI', Value: ['1.2'] }, ...held(whole.dataSet) };
      const again = scanPart10(writePart10Bytes({}, bare, EXPLICIT_LE), DEFAULT_LIMITS);
      const third = scanPart10(writePart10Bytes({}, held(again.dataSet), EXPLICIT_LE), DEFAULT_LIMITS);
      if (dataSetToJson(again.dataSet, noBulk) !== dataSetToJson(third.dataSet, noBulk))
        throw new Contradiction('written and read again it changes every time');
    },
  }),
};
