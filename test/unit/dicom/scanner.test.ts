import { deflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { Part10Scanner, scanPart10 } from '#core/dicom/scanner.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { collectGarbage } from '#test/fixtures/collect-garbage.ts';
import {
  buildDataSet,
  buildDicom,
  CT_IMAGE_STORAGE,
  DEFLATED_LE,
  EXPLICIT_BE,
  EXPLICIT_LE,
  IMPLICIT_LE,
  JPEG_BASELINE,
  uid,
} from '#test/fixtures/dicom-builder.ts';

const scan = (bytes: Uint8Array, limits: Partial<typeof DEFAULT_LIMITS> | object = {}) =>
  scanPart10(bytes, { ...DEFAULT_LIMITS, ...limits });

function refusal(bytes: Uint8Array, limits: object = {}): PacsError {
  try {
    scan(bytes, limits);
  } catch (error) {
    if (error instanceof PacsError) return error;
    throw error;
  }
  throw new Error('the object was accepted');
}

describe('a CT slice', () => {
  for (const [name, transferSyntaxUID] of Object.entries({ EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE })) {
    test(`is read in ${name}, with items of either kind of length`, () => {
      for (const undefinedLength of [false, true]) {
        const scanned = scan(
          buildDicom(
            {
              OtherPatientIDsSequence: [{ PatientID: 'A' }, {}, { PatientID: 'B' }],
              FrameIncrementPointer: ['00181063'],
              PixelPaddingValue: 7,
              ImagePositionPatient: ['-1.50', '2', ''],
            },
            { transferSyntaxUID, undefinedLength },
          ),
        );
        expect(scanned.warnings).toEqual([]);
        expect(scanned.transferSyntaxUID).toBe(transferSyntaxUID);
        expect(scanned.dataSet['00101002']).toEqual({
          vr: 'SQ',
          Value: [{ '00100020': { vr: 'LO', Value: ['A'] } }, {}, { '00100020': { vr: 'LO', Value: ['B'] } }],
        });
        expect(scanned.dataSet['00280009']).toEqual({ vr: 'AT', Value: ['00181063'] });
        expect(scanned.dataSet['00280120']).toEqual({ vr: 'US', Value: [7] });
        expect(scanned.dataSet['00200032']).toEqual({ vr: 'DS', Value: [-1.5, 2, null] });
        expect(scanned.pixels).toMatchObject({ kind: 'native', frames: 1, length: 32, frameLengthBits: 256 });
      }
    });
  }

  test('names itself before its pixel data has come', () => {
    const bytes = buildDicom({ Rows: 512, Columns: 512 });
    const scanner = new Part10Scanner(DEFAULT_LIMITS);
    scanner.push(bytes.subarray(0, 500));
    expect(scanner.identity()).toBeUndefined();
    scanner.push(bytes.subarray(500, 1000));
    expect(scanner.identity()).toEqual({
      StudyInstanceUID: uid(1),
      SeriesInstanceUID: uid(2),
      SOPInstanceUID: uid(3),
      SOPClassUID: CT_IMAGE_STORAGE,
      transferSyntaxUID: EXPLICIT_LE,
    });
  });

  test('that lacks a UID names the others when its pixel data begins; one out of order waits for the UID', () => {
    const lacking = buildDicom({ SOPInstanceUID: undefined });
    const scanner = new Part10Scanner(DEFAULT_LIMITS);
    scanner.push(lacking.subarray(0, lacking.length - 60));
    expect(scanner.identity()).toBeUndefined();
    scanner.push(lacking.subarray(lacking.length - 60));
    expect(scanner.identity()).toMatchObject({ StudyInstanceUID: uid(1), SOPInstanceUID: '' });

    const late = new Part10Scanner(DEFAULT_LIMITS);
    late.push(buildDicom({ SOPInstanceUID: undefined, PixelData: undefined }));
    expect(late.identity()).toBeUndefined();
    late.push(buildDataSet({ SOPInstanceUID: uid(7) }));
    expect(late.identity()?.SOPInstanceUID).toBe(uid(7));
  });

  test('gives its offsets from the start of the object', () => {
    const bytes = buildDicom();
    const { dataSet, dataSetOffset, size } = scan(bytes);
    expect(size).toBe(bytes.length);
    expect(Buffer.from(bytes).toString('latin1', dataSetOffset + 4, dataSetOffset + 6)).toBe('CS');
    expect(dataSet['7FE00010']).toEqual({ vr: 'OW', bulk: { offset: bytes.length - 32, length: 32 } });
  });
});

describe('values', () => {
  const value = (attributes: object, tag: string) => scan(buildDicom(attributes as never)).dataSet[tag];

  test('numbers keep their value, as text where a double would not', () => {
    expect(value({ WindowCenter: '0.12345678901234567' }, '00281050')?.Value).toEqual(['0.12345678901234567']);
    expect(value({ WindowCenter: ['1e2', 'abc', '0x10', '+5'] }, '00281050')?.Value).toEqual([100, 'abc', '0x10', 5]);
    expect(value({ '00189310': { vr: 'UV', value: [5n, 2n ** 63n] } }, '00189310')?.Value).toEqual([
      5,
      '9223372036854775808',
    ]);
    expect(value({ '00189310': { vr: 'SV', value: [-5n] } }, '00189310')?.Value).toEqual([-5]);
    expect(value({ '00189310': { vr: 'FD', value: [1.1e-300, Number.NaN, -Infinity] } }, '00189310')?.Value).toEqual([
      1.1e-300,
      'NaN',
      '-inf',
    ]);
  });

  test('names are split into their groups, values at backslashes, padding goes', () => {
    expect(value({ PatientName: 'Yamada^Tarou=山田^太郎=やまだ^たろう' }, '00100010')?.Value).toEqual([
      { Alphabetic: 'Yamada^Tarou', Ideographic: '山田^太郎', Phonetic: 'やまだ^たろう' },
    ]);
    expect(value({ OtherPatientNames: ['A^B', '', '=漢'] }, '00101001')?.Value).toEqual([
      { Alphabetic: 'A^B' },
      null,
      { Ideographic: '漢' },
    ]);
    expect(value({ ImageType: ' ORIGINAL \\ PRIMARY' }, '00080008')?.Value).toEqual(['ORIGINAL', 'PRIMARY']);
    expect(value({ PatientComments: '  a\\b  ' }, '00104000')?.Value).toEqual(['  a\\b']);
    expect(value({ PatientID: '    ' }, '00100020')).toEqual({ vr: 'LO' });
    expect(value({ PatientID: '' }, '00100020')).toEqual({ vr: 'LO' });
  });

  test('short binary is held, long binary and long text are only located', () => {
    expect(value({ '00091001': { vr: 'OB', value: Uint8Array.of(1, 2) } }, '00091001')).toEqual({
      vr: 'OB',
      InlineBinary: 'AQI=',
    });
    expect(value({ '00091001': { vr: 'OB', value: new Uint8Array(258) } }, '00091001')?.bulk?.length).toBe(258);
    expect(value({ TextValue: 'x'.repeat(70_000) }, '0040A160')?.bulk?.length).toBe(70_000);
    const nested = value({ WaveformSequence: [{ WaveformData: new Uint8Array(1000) }] }, '54000100');
    expect((nested!.Value![0] as DataSet)['54001010']).toMatchObject({ bulk: { length: 1000 } });
  });

  test('words of a big endian object are turned', () => {
    const bytes = buildDicom(
      { '00091001': { vr: 'OW', value: Uint8Array.of(1, 2, 3, 4) } },
      { transferSyntaxUID: EXPLICIT_BE },
    );
    expect(scan(bytes).dataSet['00091001']).toEqual({
      vr: 'OW',
      InlineBinary: Buffer.of(2, 1, 4, 3).toString('base64'),
    });
  });

  test('implicit US or SS follows PixelRepresentation, even where that comes later or outside', () => {
    const scanned = scan(
      buildDicom(
        {
          PixelRepresentation: 1,
          ZeroVelocityPixelValue: 0xffff,
          SmallestImagePixelValue: 0xfffe,
          ModalityLUTSequence: [{ LUTDescriptor: [4, 0x8000, 16] }],
        },
        { transferSyntaxUID: IMPLICIT_LE },
      ),
    );
    expect(scanned.dataSet['00189810']).toEqual({ vr: 'SS', Value: [-1] });
    expect(scanned.dataSet['00280106']).toEqual({ vr: 'SS', Value: [-2] });
    expect((scanned.dataSet['00283000']!.Value![0] as DataSet)['00283002']).toEqual({
      vr: 'SS',
      Value: [4, -32768, 16],
    });
  });

  test('UN of a known attribute is read by the dictionary, sequences too; of an unknown one it stays', () => {
    const items = buildDataSet({ OtherPatientIDsSequence: [{ PatientID: 'inner' }] }, IMPLICIT_LE).subarray(8);
    const scanned = scan(
      buildDicom({
        PatientID: { vr: 'UN', value: Buffer.from('P-2 ') },
        OtherPatientIDsSequence: { vr: 'UN', value: items },
        ReferencedImageSequence: { vr: 'UN', value: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10) },
        '00091001': { vr: 'UN', value: Uint8Array.of(9, 9) },
      }),
    );
    expect(scanned.dataSet['00100020']).toEqual({ vr: 'LO', Value: ['P-2'] });
    expect(scanned.dataSet['00101002']).toEqual({ vr: 'SQ', Value: [{ '00100020': { vr: 'LO', Value: ['inner'] } }] });
    expect(scanned.dataSet['00081140']).toEqual({ vr: 'UN', InlineBinary: 'AQIDBAUGBwgJCg==' });
    expect(scanned.dataSet['00091001']).toEqual({ vr: 'UN', InlineBinary: 'CQk=' });
  });

  test('UN of undefined length holds implicit items', () => {
    const inner = buildDataSet({ '00091001': { vr: 'SQ', value: [{ PatientID: 'p' }] } }, IMPLICIT_LE, true).subarray(
      8,
    );
    const header = Buffer.from([0x09, 0, 0x01, 0x10, 0x55, 0x4e, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    const bytes = Buffer.concat([buildDicom({ PixelData: undefined }), header, inner]);
    expect(scan(bytes).dataSet['00091001']).toEqual({ vr: 'SQ', Value: [{ '00100020': { vr: 'LO', Value: ['p'] } }] });
  });

  test('private elements take their VR from the dictionary of their creator', () => {
    const bytes = buildDicom(
      { '00090010': 'GEMS_IDEN_01', '00091001': Buffer.from('GE_GENESIS_FF ') },
      { transferSyntaxUID: IMPLICIT_LE },
    );
    expect(scan(bytes).dataSet['00091001']).toEqual({ vr: 'LO', Value: ['GE_GENESIS_FF'] });
  });
});

describe('objects that are not quite right', () => {
  const dataSet = buildDataSet({ SOPClassUID: CT_IMAGE_STORAGE, SOPInstanceUID: uid(3), PatientID: 'P' });

  test('no preamble, or no file meta, is accepted where the encoding is beyond doubt', () => {
    expect(scan(buildDicom({}, { preamble: false })).warnings).toEqual(['NO_PREAMBLE']);
    for (const syntax of [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE]) {
      const bytes = buildDicom({}, { preamble: false, fileMeta: false, transferSyntaxUID: syntax });
      expect(scan(bytes)).toMatchObject({ transferSyntaxUID: syntax, warnings: ['NO_FILE_META'], dataSetOffset: 0 });
    }
    expect(refusal(Buffer.from('<html><body>502 Bad Gateway</body></html>')).code).toBe('UNREADABLE_DATASET');
    expect(refusal(new Uint8Array(0)).code).toBe('UNREADABLE_DATASET');
  });

  test('a data set encoded otherwise than declared is read as it is', () => {
    const lying = buildDicom({}, { fileMeta: { TransferSyntaxUID: IMPLICIT_LE } });
    expect(scan(lying)).toMatchObject({
      transferSyntaxUID: IMPLICIT_LE,
      warnings: ['ENCODED_OTHERWISE_THAN_DECLARED'],
    });
    expect(scan(lying).dataSet['00100020']?.Value).toEqual(['P-1']);
  });

  test('a wrong group length of the file meta is not believed', () => {
    for (const length of [1, 20, 9999]) {
      const scanned = scan(buildDicom({}, { fileMeta: { FileMetaInformationGroupLength: length } }));
      expect(scanned.dataSet['00100020']?.Value).toEqual(['P-1']);
    }
  });

  test('repeated elements: the first is kept; disorder is noted', () => {
    const twice = Buffer.concat([
      buildDicom({ PixelData: undefined, PatientID: 'first' }),
      buildDataSet({ PatientID: 'second' }),
    ]);
    const scanned = scan(twice);
    expect(scanned.dataSet['00100020']?.Value).toEqual(['first']);
    expect(scanned.warnings).toEqual(['DUPLICATE_TAG 00100020']);
    const disorder = scan(Buffer.concat([buildDicom({ PixelData: undefined }), buildDataSet({ PatientAge: '030Y' })]));
    expect(disorder.warnings).toEqual(['TAGS_OUT_OF_ORDER 00101010']);
    expect(disorder.dataSet['00101010']?.Value).toEqual(['030Y']);
  });

  test('a VR of a later edition is read as UN, whichever length it has, and wherever a chunk ends', () => {
    const short = Buffer.from([0x31, 0, 0x01, 0x10, 0x5a, 0x5a, 2, 0, 0xaa, 0xbb]);
    const long = Buffer.from([0x31, 0, 0x02, 0x10, 0x5a, 0x5a, 0, 0, 2, 0, 0, 0, 0xcc, 0xdd]);
    const after = buildDataSet({ '00311003': { vr: 'LO', value: 'next' } });
    const bytes = Buffer.concat([buildDicom({ PixelData: undefined }), short, long, after]);
    for (let size = 1; size < 40; size++) {
      const scanner = new Part10Scanner(DEFAULT_LIMITS);
      for (let at = 0; at < bytes.length; at += size) scanner.push(bytes.subarray(at, at + size));
      const { dataSet, warnings } = scanner.end();
      expect(dataSet['00311001']).toEqual({ vr: 'UN', InlineBinary: Buffer.of(0xaa, 0xbb).toString('base64') });
      expect(dataSet['00311002']).toEqual({ vr: 'UN', InlineBinary: Buffer.of(0xcc, 0xdd).toString('base64') });
      expect(dataSet['00311003']?.Value).toEqual(['next']);
      expect(warnings.slice(0, 2)).toEqual(['UNKNOWN_VR 00311001', 'UNKNOWN_VR 00311002']);
    }
  });

  test('bytes behind the pixel data are left alone', () => {
    const scanned = scan(Buffer.concat([buildDicom(), Buffer.from('some garbage that a gateway added')]));
    expect(scanned.warnings).toEqual(['TRAILING_BYTES']);
    expect(scan(Buffer.concat([buildDicom(), buildDicom()])).warnings).toEqual(['TRAILING_BYTES']);
    expect(scan(Buffer.concat([buildDicom({ PixelData: undefined }), new Uint8Array(100)])).warnings).toEqual([
      'TRAILING_BYTES',
    ]);
    expect(
      scan(Buffer.concat([buildDicom(), buildDataSet({ DataSetTrailingPadding: new Uint8Array(10) })])).warnings,
    ).toEqual([]);
  });

  test('a truncated object is refused, wherever it ends', () => {
    const bytes = buildDicom({ OtherPatientIDsSequence: [{ PatientID: 'A' }] }, { undefinedLength: true });
    const complete = new Set<number>();
    for (let length = 0; length < bytes.length; length++) {
      try {
        scan(bytes.subarray(0, length));
        complete.add(length);
      } catch (error) {
        expect(error).toBeInstanceOf(PacsError);
        expect((error as PacsError).code).toBe('UNREADABLE_DATASET');
      }
    }
    // Between two elements of the data set itself nothing shows that more was to come.
    expect(complete.size).toBeLessThan(30);
    for (let length = bytes.length - 43; length < bytes.length; length++) expect(complete.has(length)).toBe(false);
  });

  test('encapsulated pixel data without its end is refused', () => {
    const bytes = buildDicom({ NumberOfFrames: 3 }, { transferSyntaxUID: JPEG_BASELINE });
    for (let cut = 1; cut < 100; cut++)
      expect(refusal(bytes.subarray(0, bytes.length - cut)).code).toBe('UNREADABLE_DATASET');
  });

  test('a text element of undefined length, an item beyond its enclosure, stray delimiters', () => {
    const undefinedText = Buffer.from([0x10, 0, 0x20, 0, 0x55, 0x54, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    expect(refusal(Buffer.concat([buildDicom({ PixelData: undefined }), undefinedText])).details).toMatchObject({
      tag: '00100020',
    });
    const delimiter = Buffer.from([0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
    expect(refusal(Buffer.concat([buildDicom({ PixelData: undefined }), delimiter])).code).toBe('UNREADABLE_DATASET');
    expect(dataSet.length).toBeGreaterThan(0);
  });

  test('refusals name tags and offsets, never values', () => {
    const bytes = buildDicom({ PatientName: 'Secret^Person' });
    const error = refusal(bytes.subarray(0, bytes.length - 4));
    expect(JSON.stringify([error.message, error.details])).not.toContain('Secret');
    expect(error.details).toHaveProperty('offset');
  });
});

describe('limits', () => {
  const nested = (depth: number): Uint8Array => {
    const open = Buffer.concat([
      Buffer.from([0x08, 0, 0x40, 0x11, 0x53, 0x51, 0, 0, 0xff, 0xff, 0xff, 0xff]),
      Buffer.from([0xfe, 0xff, 0, 0xe0, 0xff, 0xff, 0xff, 0xff]),
    ]);
    return Buffer.concat([buildDicom({ PixelData: undefined }), ...Array<Buffer>(depth).fill(open)]);
  };

  test('of depth, and no stack that could overflow', () => {
    expect(refusal(nested(100))).toMatchObject({ code: 'TOO_LARGE', details: { limit: 'sequenceDepth' } });
    expect(refusal(nested(100_000), { sequenceDepth: 200_000 }).code).toBe('UNREADABLE_DATASET');
  });

  test('of elements and of bytes held', () => {
    expect(refusal(buildDicom(), { elements: 10 })).toMatchObject({
      code: 'TOO_LARGE',
      details: { limit: 'elements' },
    });
    expect(refusal(buildDicom(), { headerBytes: 300 })).toMatchObject({
      code: 'TOO_LARGE',
      details: { limit: 'headerBytes' },
    });
  });

  test('of inflation: a small object that inflates to a large one is stopped', () => {
    const head = buildDicom({ PixelData: undefined }, { transferSyntaxUID: DEFLATED_LE, fileMeta: {} });
    const meta = head.subarray(0, scan(head).dataSetOffset);
    const bomb = deflateRawSync(
      Buffer.concat([
        buildDataSet({ PatientID: 'P' }),
        Buffer.from([0xe0, 0x7f, 0x10, 0, 0x4f, 0x57, 0, 0, 0, 0, 0, 0x7f]),
        new Uint8Array(64 * 1024 * 1024),
      ]),
    );
    const bytes = Buffer.concat([meta, bomb]);
    expect(refusal(bytes, { inflateRatio: 100 })).toMatchObject({
      code: 'TOO_LARGE',
      details: { limit: 'inflateRatio' },
    });
    expect(refusal(bytes, { inflatedBytes: 1_000_000 })).toMatchObject({
      code: 'TOO_LARGE',
      details: { limit: 'inflatedBytes' },
    });
  });

  test('pixel data of any size is passed over, not held', async () => {
    const scanner = new Part10Scanner(DEFAULT_LIMITS);
    const bytes = Buffer.from(buildDicom({ Rows: 4, Columns: 4 }));
    // 3 GiB declared in the header of 7FE00010
    bytes.writeUInt32LE(3 * 2 ** 30, bytes.length - 36);
    scanner.push(bytes.subarray(0, bytes.length - 32));
    const chunk = new Uint8Array(64 * 1024 * 1024);
    for (let i = 0; i < 48; i++) scanner.push(chunk);
    const { arrayBuffers } = await collectGarbage();
    expect(scanner.end().pixels).toMatchObject({ kind: 'native', length: 3 * 2 ** 30 });
    expect(arrayBuffers).toBeLessThan(1024 * 1024 * 1024);
  });
});
