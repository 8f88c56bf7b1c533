import { inflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dataSetToJson, jsonToDataSet } from '#core/dicom/json.ts';
import { rewritePart10 } from '#core/dicom/rewrite.ts';
import { Part10Scanner, scanPart10 } from '#core/dicom/scanner.ts';
import type { Bulk, DataSet, Element, ScannedObject } from '#core/dicom/types.ts';
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

/** Text as a value can hold it: no delimiters, no control characters, no padding at its ends. */
const text = (forbidden: RegExp, maxLength = 20) =>
  fc
    .string({ unit: 'binary', minLength: 1, maxLength })
    .map((value) => value.replace(forbidden, 'x').trim().toWellFormed() || 'x');

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is replaced
const DELIMITERS = /[\u0000-\u001f\u007f-\u009f\\\ufffd-\uffff\ufeff\s]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is replaced
const NAME_DELIMITERS = /[\u0000-\u001f\u007f-\u009f\\=\ufffd-\uffff\ufeff\s]/g;

const values = <T>(value: fc.Arbitrary<T>) => fc.array(value, { minLength: 1, maxLength: 3 });

const name = fc
  .record(
    { Alphabetic: text(NAME_DELIMITERS), Ideographic: text(NAME_DELIMITERS), Phonetic: text(NAME_DELIMITERS) },
    { requiredKeys: [] },
  )
  .map((groups) => (Object.keys(groups).length === 0 ? { Alphabetic: 'x' } : groups));

const element = (vr: string, Value: fc.Arbitrary<unknown[]>): fc.Arbitrary<Element> =>
  fc.oneof(
    { weight: 9, arbitrary: Value.map((list) => ({ vr, Value: list }) as Element) },
    { weight: 1, arbitrary: fc.constant({ vr }) },
  );

const leaf: fc.Arbitrary<Element> = fc.oneof(
  ...['LO', 'SH', 'UC'].map((vr) => element(vr, values(text(DELIMITERS)))),
  ...['LT', 'ST', 'UT'].map((vr) =>
    element(
      vr,
      text(DELIMITERS, 200).map((value) => [value]),
    ),
  ),
  element('PN', values(name)),
  element('CS', values(fc.stringMatching(/^[A-Z][A-Z0-9_]{0,14}[A-Z]$/))),
  element('UI', values(fc.stringMatching(/^1(\.[1-9]\d{0,5}){1,8}$/))),
  element('US', values(fc.integer({ min: 0, max: 0xffff }))),
  element('SS', values(fc.integer({ min: -0x8000, max: 0x7fff }))),
  element('UL', values(fc.integer({ min: 0, max: 0xffffffff }))),
  element('SL', values(fc.integer({ min: -0x80000000, max: 0x7fffffff }))),
  element(
    'FD',
    values(
      fc.oneof(
        fc.double({ noDefaultInfinity: true, noNaN: true }).map((n) => n || 0),
        fc.constantFrom('NaN', 'inf', '-inf'),
      ),
    ),
  ),
  element('FL', values(fc.float({ noDefaultInfinity: true, noNaN: true }).map((n) => n || 0))),
  element(
    'SV',
    values(
      fc
        .bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
        .map((n) => (BigInt(Number(n)) === n && Number.isSafeInteger(Number(n)) ? Number(n) : String(n))),
    ),
  ),
  element('IS', values(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }))),
  element('DS', values(fc.integer({ min: -1e6, max: 1e6 }).map((n) => n / 1000))),
  element('AT', values(fc.stringMatching(/^[0-9A-F]{8}$/))),
  fc.uint8Array({ minLength: 1, maxLength: 100 }).map((bytes) => ({
    vr: 'OB',
    InlineBinary: Buffer.from(bytes.length % 2 === 0 ? bytes : [...bytes, 0]).toString('base64'),
  })),
);

const tag = fc
  .tuple(fc.constantFrom('0009', '0011', '1011'), fc.integer({ min: 0x1000, max: 0x10ff }))
  .map(([group, number]) => group + number.toString(16).toUpperCase());

const { dataSet } = fc.letrec<{ dataSet: DataSet; item: DataSet; any: Element }>((tie) => ({
  dataSet: fc.dictionary(tag, tie('any'), { maxKeys: 8 }).map((members) => ({ ...members })),
  item: tie('dataSet'),
  any: fc.oneof(
    { maxDepth: 3, depthIdentifier: 'sequence' },
    leaf,
    fc
      .array(tie('dataSet'), { minLength: 1, maxLength: 3, depthIdentifier: 'sequence' })
      .map((items) => ({ vr: 'SQ', Value: items }) as Element),
  ),
}));

const noBulk = (): string => 'none';

/** -0 is a zero like any other once it is text. */
const plain = (value: DataSet): unknown => JSON.parse(JSON.stringify(value));

const withoutCharacterSet = (value: DataSet): unknown => {
  const { '00080005': _, ...rest } = value;
  return plain(rest);
};

describe('any data set', () => {
  test('comes back from DICOM JSON', () => {
    fc.assert(
      fc.property(dataSet, (given) => {
        expect(withoutCharacterSet(jsonToDataSet(dataSetToJson(given, noBulk)))).toEqual(plain(given));
      }),
    );
  });

  test('comes back from XML', () => {
    fc.assert(
      fc.property(dataSet, (given) => {
        expect(withoutCharacterSet(xmlToDataSet(dataSetToXml(given, noBulk)))).toEqual(plain(given));
      }),
    );
  });

  test('comes back from a Part 10 object', () => {
    fc.assert(
      fc.property(dataSet, fc.constantFrom(EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE), (given, syntax) => {
        const scanned = scanPart10(
          writePart10Bytes({}, { '00080060': { vr: 'CS', Value: ['OT'] }, ...given }, syntax),
          DEFAULT_LIMITS,
        );
        const { '00080060': _, ...rest } = scanned.dataSet;
        expect(withoutCharacterSet(rest)).toEqual(plain(given));
      }),
    );
  });
});

const words = (vr: string, bytes: number) =>
  fc.uint8Array({ minLength: 1, maxLength: 400 }).map((value) => ({
    vr,
    value: Uint8Array.from({ length: Math.ceil(value.length / bytes) * bytes }, (_, i) => value[i] ?? 0),
  }));

/** Short values, long ones that are bulk data, and what is of no VR that we know. */
const image = fc
  .record({
    '00091001': words('OW', 2),
    '00091002': words('OF', 4),
    '00091003': words('OD', 8),
    '00091004': words('OV', 8),
    '00091005': words('UN', 1),
    PatientComments: fc.string({ maxLength: 300 }),
    BitsAllocated: fc.constantFrom(8, 16, 32),
    PixelData: fc.uint8Array({ minLength: 256, maxLength: 256 }),
    undefinedLength: fc.boolean(),
  })
  .map(({ undefinedLength, BitsAllocated, PixelData, ...values }) =>
    buildDicom(
      {
        ...values,
        BitsAllocated,
        BitsStored: BitsAllocated,
        HighBit: BitsAllocated - 1,
        Rows: 8,
        Columns: 256 / BitsAllocated,
        PixelData: { vr: BitsAllocated > 8 ? 'OW' : 'OB', value: PixelData },
        OtherPatientIDsSequence: [{ PatientID: 'A', '00091001': values['00091001'] }, {}],
      },
      { undefinedLength },
    ),
  );

async function rewritten(object: Uint8Array, transferSyntaxUID: string): Promise<Uint8Array> {
  const { dataSetOffset, transferSyntaxUID: from } = scanPart10(object, DEFAULT_LIMITS);
  const inflated = from === DEFLATED_LE ? inflateRawSync(object.subarray(dataSetOffset)) : object;
  const chunks: Uint8Array[] = [];
  const bulk = ({ offset, length }: Bulk) => inflated.subarray(offset, offset + length);
  const rewrite = { object: [object], limits: DEFAULT_LIMITS, transferSyntaxUID, bulk };
  for await (const chunk of rewritePart10(rewrite)) chunks.push(Uint8Array.from(chunk));
  return Buffer.concat(chunks);
}

describe('any image', () => {
  test('written in big endian, or deflated, and back, is what it was, byte for byte', async () => {
    await fc.assert(
      fc.asyncProperty(image, fc.constantFrom(EXPLICIT_BE, DEFLATED_LE), async (given, syntax) => {
        const plain = await rewritten(given, EXPLICIT_LE);
        const other = await rewritten(plain, syntax);
        expect(scanPart10(other, DEFAULT_LIMITS)).toMatchObject({ transferSyntaxUID: syntax, warnings: [] });
        expect(Buffer.compare(await rewritten(other, EXPLICIT_LE), plain)).toBe(0);
        expect(Buffer.compare(await rewritten(await rewritten(other, EXPLICIT_BE), EXPLICIT_LE), plain)).toBe(0);
      }),
    );
  });
});

function outcome(scan: () => ScannedObject): unknown {
  try {
    return scan();
  } catch (error) {
    if (error instanceof PacsError) return { code: error.code, message: error.message };
    throw error;
  }
}

function scanCut(bytes: Uint8Array, cuts: readonly number[]): ScannedObject {
  const scanner = new Part10Scanner(DEFAULT_LIMITS);
  let from = 0;
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    scanner.push(bytes.subarray(from, cut));
    from = cut;
  }
  scanner.push(bytes.subarray(from));
  return scanner.end();
}

const stored = fc
  .record({
    transferSyntaxUID: fc.constantFrom(EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE, JPEG_BASELINE),
    undefinedLength: fc.boolean(),
    preamble: fc.boolean(),
    frames: fc.integer({ min: 1, max: 5 }),
    comment: fc.string({ maxLength: 300 }),
  })
  .map(({ frames, comment, ...options }) =>
    buildDicom(
      {
        NumberOfFrames: frames,
        PatientComments: comment,
        OtherPatientIDsSequence: [{ PatientID: 'A', '00091001': { vr: 'OB', value: new Uint8Array(400) } }, {}],
      },
      options,
    ),
  );

describe('any object', () => {
  test('reads the same in any chunks', () => {
    fc.assert(
      fc.property(stored, fc.array(fc.nat(2000), { maxLength: 40 }), (bytes, cuts) => {
        const inside = cuts.map((cut) => cut % bytes.length);
        expect(outcome(() => scanCut(bytes, inside))).toEqual(outcome(() => scanPart10(bytes, DEFAULT_LIMITS)));
      }),
    );
  });

  test('with bytes changed is read or refused, the same in any chunks, and never breaks the scanner', () => {
    const change = fc.tuple(
      fc.nat(3000),
      fc.oneof(fc.constantFrom(0, 0xff, 0xfe, 0xe0, 0x7f, 0x53, 0x51), fc.nat(255)),
    );
    fc.assert(
      fc.property(stored, fc.array(change, { minLength: 1, maxLength: 12 }), fc.nat(3000), (bytes, changes, cut) => {
        const changed = Uint8Array.from(bytes);
        for (const [at, byte] of changes) changed[at % changed.length] = byte;
        const whole = outcome(() => scanPart10(changed, DEFAULT_LIMITS));
        expect(outcome(() => scanCut(changed, [cut % changed.length]))).toEqual(whole);
      }),
      { numRuns: 1000 },
    );
  });
});
