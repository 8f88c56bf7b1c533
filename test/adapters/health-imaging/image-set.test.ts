import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { dataSetOf } from '#adapters/aws/health-imaging/image-set-data-set.ts';
import { ImageSetDocument } from '#adapters/aws/health-imaging/image-set-document.ts';
import { membersOf } from '#adapters/aws/health-imaging/json-members.ts';
import { bulkBase } from '#core/archive/instance.ts';
import type { InstanceRecord } from '#core/archive/records.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';

const LIMIT = 1024 * 1024;
const INSTANCE = {
  StudyInstanceUID: '1.2.1',
  SeriesInstanceUID: '1.2.2',
  SOPInstanceUID: '1.2.3',
  SOPClassUID: '1.2.840.10008.5.1.4.1.1.2',
} as InstanceRecord;

/** The parts of a response of the service, as a public project keeps one for its tests; the values are made up. */
const imageSet = (DICOM: object = {}, DICOMVRs: object = {}) => ({
  SchemaVersion: '1.1',
  DatastoreID: '5'.repeat(32),
  ImageSetID: '3'.repeat(32),
  Patient: {
    DICOM: {
      DeidentificationMethodCodeSequence: [{ CodeValue: '113100', CodingSchemeDesignator: 'DCM' }],
      PatientBirthDate: null,
      PatientName: 'NAME^NONE',
    },
  },
  Study: {
    DICOM: { AccessionNumber: null, StudyDate: '20000101', StudyInstanceUID: '1.2.1', StudyTime: '000000.000' },
    Series: {
      '1.2.2': {
        DICOM: { Modality: 'CT', SeriesInstanceUID: '1.2.2', SeriesNumber: '1 ', SoftwareVersions: ['3.1.62'] },
        Instances: {
          '1.2.3': {
            DICOM: {
              FileMetaInformationGroupLength: 218,
              FileMetaInformationVersion: 'AAE=',
              TransferSyntaxUID: '1.2.840.10008.1.2.4.51',
              ImageType: ['DERIVED', 'PRIMARY', 'AXIAL'],
              SOPClassUID: '1.2.840.10008.5.1.4.1.1.2',
              SOPInstanceUID: '1.2.3',
              SourceImageSequence: [
                { ReferencedSOPInstanceUID: '1.2.9', PurposeOfReferenceCodeSequence: [{ CodeValue: '121320' }] },
              ],
              KVP: '120 ',
              AcquisitionNumber: null,
              ImagePositionPatient: ['0.000000', '0.000000', '-2.625000 '],
              Rows: 640,
              WindowCenter: ['0 '],
              ...DICOM,
            },
            DICOMVRs,
            StoredTransferSyntaxUID: '1.2.840.10008.1.2.4.202',
            ChecksumType: 'DECOMPRESSED',
            ImageFrames: [
              {
                ID: '586e9e248987bf6aa761ff5b9d790473',
                PixelDataChecksumFromBaseToFullResolution: [{ Width: 640, Height: 640, Checksum: 989529591 }],
                MinPixelValue: 0,
                MaxPixelValue: 2025,
                FrameSizeInBytes: 168371,
              },
            ],
          },
        },
      },
    },
  },
});

const documentOf = (json: unknown): Promise<ImageSetDocument> =>
  ImageSetDocument.from(gzipSync(JSON.stringify(json)), LIMIT);

async function read(DICOM: object, DICOMVRs: object = {}) {
  const document = await documentOf(imageSet(DICOM, DICOMVRs));
  return dataSetOf(document.levelsOf('1.2.3')!, INSTANCE, DEFAULT_LIMITS);
}

describe('an image set as the service tells it', () => {
  test('becomes the data set of its instance: patient, study, series and its own', async () => {
    expect(await read({})).toStrictEqual({
      '00080008': { vr: 'CS', Value: ['DERIVED', 'PRIMARY', 'AXIAL'] },
      '00080016': { vr: 'UI', Value: ['1.2.840.10008.5.1.4.1.1.2'] },
      '00080018': { vr: 'UI', Value: ['1.2.3'] },
      '00080020': { vr: 'DA', Value: ['20000101'] },
      '00080030': { vr: 'TM', Value: ['000000.000'] },
      '00080050': { vr: 'SH' },
      '00080060': { vr: 'CS', Value: ['CT'] },
      '00082112': {
        vr: 'SQ',
        Value: [
          {
            '00081155': { vr: 'UI', Value: ['1.2.9'] },
            '0040A170': { vr: 'SQ', Value: [{ '00080100': { vr: 'SH', Value: ['121320'] } }] },
          },
        ],
      },
      '00100010': { vr: 'PN', Value: [{ Alphabetic: 'NAME^NONE' }] },
      '00100030': { vr: 'DA' },
      '00120064': {
        vr: 'SQ',
        Value: [{ '00080100': { vr: 'SH', Value: ['113100'] }, '00080102': { vr: 'SH', Value: ['DCM'] } }],
      },
      '00180060': { vr: 'DS', Value: [120] },
      '00181020': { vr: 'LO', Value: ['3.1.62'] },
      '0020000D': { vr: 'UI', Value: ['1.2.1'] },
      '0020000E': { vr: 'UI', Value: ['1.2.2'] },
      '00200011': { vr: 'IS', Value: [1] },
      '00200012': { vr: 'IS' },
      '00200032': { vr: 'DS', Value: [0, 0, -2.625] },
      '00280010': { vr: 'US', Value: [640] },
      '00281050': { vr: 'DS', Value: [0] },
    });
  });

  test('has its frames, in HTJ2K where it does not say how', async () => {
    const frames = { SOPInstanceUID: '1.2.3', frameIds: ['586e9e248987bf6aa761ff5b9d790473'] };
    expect([...(await documentOf(imageSet())).frames()]).toStrictEqual([
      { ...frames, transferSyntaxUID: '1.2.840.10008.1.2.4.202' },
    ]);
    const silent = JSON.parse(JSON.stringify(imageSet()).replace('"1.2.840.10008.1.2.4.202"', 'null'));
    expect([...(await documentOf(silent)).frames()]).toMatchObject([{ transferSyntaxUID: '1.2.840.10008.1.2.4.202' }]);
  });

  test('may come without compression, and not larger than it may be', async () => {
    const plain = Buffer.from(JSON.stringify(imageSet()));
    expect((await ImageSetDocument.from(plain, LIMIT)).levelsOf('1.2.3')).toHaveLength(4);
    for (const bytes of [plain, gzipSync(plain)])
      await expect(ImageSetDocument.from(bytes, 100)).rejects.toMatchObject({ code: 'TOO_LARGE' });
    await expect(ImageSetDocument.from(gzipSync(Buffer.alloc(4 * LIMIT)), LIMIT)).rejects.toMatchObject({
      code: 'TOO_LARGE',
    });
  });
});

describe('attributes', () => {
  test.each<[string, object, object, string, object]>([
    ['private, by their tag', { '001910F9': '97' }, { '001910F9': 'DS' }, '001910F9', { vr: 'DS', Value: [97] }],
    ['private creators', { '00190010': 'GEMS_ACQU_01' }, {}, '00190010', { vr: 'LO', Value: ['GEMS_ACQU_01'] }],
    ['private, of no VR', { '00191003': 'AAE=' }, {}, '00191003', { vr: 'UN', InlineBinary: 'AAE=' }],
    [
      'of another VR than the dictionary’s',
      { PixelPaddingValue: 5 },
      { PixelPaddingValue: 'SS' },
      '00280120',
      { vr: 'SS', Value: [5] },
    ],
    [
      'signed by the pixels',
      { PixelRepresentation: 1, PixelPaddingValue: 5 },
      {},
      '00280120',
      { vr: 'SS', Value: [5] },
    ],
    ['signed by their value', { PixelPaddingValue: -5 }, {}, '00280120', { vr: 'SS', Value: [-5] }],
    [
      'unsigned, for nothing signed is so large',
      { PixelRepresentation: 1, PixelPaddingValue: 65_535 },
      {},
      '00280120',
      { vr: 'US', Value: [65_535] },
    ],
    [
      'of single precision, in fewer digits',
      { RecommendedDisplayFrameRateInFloat: 0.1 },
      {},
      '00089459',
      { vr: 'FL', Value: [Math.fround(0.1)] },
    ],
    ['that are tags', { FrameIncrementPointer: ['00181063'] }, {}, '00280009', { vr: 'AT', Value: ['00181063'] }],
    [
      'that are tags, as a number',
      { FrameIncrementPointer: 0x181063 },
      {},
      '00280009',
      { vr: 'AT', Value: ['00181063'] },
    ],
    [
      'with a hole in them',
      { ImageType: ['ORIGINAL', null, 'A'] },
      {},
      '00080008',
      { vr: 'CS', Value: ['ORIGINAL', null, 'A'] },
    ],
    ['of nothing', { ImageType: [], ReferencedImageSequence: null }, {}, '00081140', { vr: 'SQ' }],
    ['decimal, as a number', { SliceThickness: 1.5 }, {}, '00180050', { vr: 'DS', Value: [1.5] }],
    [
      'of 64 bits',
      { SelectorUVValue: '18446744073709551615' },
      {},
      '00720083',
      { vr: 'UV', Value: ['18446744073709551615'] },
    ],
    [
      'too long to stand there',
      { ICCProfile: 'AAAA'.repeat(200) },
      {},
      '00282000',
      { vr: 'OB', BulkDataURI: `${bulkBase(INSTANCE)}00282000` },
    ],
    [
      'too long, in an item',
      { WaveformSequence: [{}, { WaveformData: 'AAAA'.repeat(200) }] },
      {},
      '54000100',
      { vr: 'SQ', Value: [{}, { '54001010': { vr: 'OW', BulkDataURI: `${bulkBase(INSTANCE)}54000100-2-54001010` } }] },
    ],
  ])('%s', async (_, DICOM, DICOMVRs, tag, expected) => {
    expect((await read(DICOM, DICOMVRs))[tag]).toStrictEqual(expected);
  });

  test.each<[string, object, object?]>([
    ['of no name that is known', { NameOfNothing: 'x' }],
    ['of another instance', { SOPInstanceUID: '1.2.4' }],
    ['that should be numbers', { Rows: '640 rows' }],
    ['of 64 bits that have lost some', { SelectorUVValue: 18_446_744_073_709_552_000 }],
    ['that should be base64', { ICCProfile: 'not base64' }],
    ['that should be items', { SourceImageSequence: 'x' }],
    ['that should be text', { ImageType: { a: 1 } }],
    ['that should be tags', { FrameIncrementPointer: 'Rows' }],
    ['that hold items as bytes', { SourceImageSequence: 'AAE=' }, { SourceImageSequence: 'UN' }],
  ])('%s are not guessed at', async (_, DICOM, DICOMVRs = {}) => {
    await expect(read(DICOM, DICOMVRs)).rejects.toMatchObject({ code: 'UNREADABLE_DATASET' });
  });
});

describe('the members of an object in JSON text', () => {
  test('whatever stands in them', () => {
    const value = {
      a: 1,
      'b"\\': ['}', '{"', '\\'],
      c: { d: '\\"', e: [] },
      f: null,
      g: true,
      h: '',
      i: -1.5e3,
      ü: {},
    };
    for (const text of [JSON.stringify(value), JSON.stringify(value, null, 2)]) {
      const bytes = Buffer.from(text);
      const found = [...membersOf(bytes)].map(({ name, start, end }) => [
        name,
        JSON.parse(bytes.toString('utf8', start, end)),
      ]);
      expect(Object.fromEntries(found)).toStrictEqual(value);
      expect([...membersOf(Buffer.from(' {} '))]).toStrictEqual([]);
    }
  });

  test.each(['', '[]', '{', '{"a"', '{"a":', '{"a":1', '{"a":"x', '{"a" 1}', '{"a":[1}', '{"a":1 "b":2}', '{a:1}'])(
    'but not of %j',
    (text) => {
      expect(() =>
        [...membersOf(Buffer.from(text))].map(({ start, end }) => JSON.parse(text.slice(start, end))),
      ).toThrow(SyntaxError);
    },
  );
});
