import { beforeAll, describe, expect, test } from 'vitest';
import { judge } from '#core/deidentify/judge.ts';
import { BASIC_PROFILE } from '#core/deidentify/profile.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { deidentified } from '#test/fixtures/deidentified.ts';
import {
  type BuilderDataSet,
  buildDicom,
  DEFLATED_LE,
  EXPLICIT_BE,
  EXPLICIT_LE,
  IMPLICIT_LE,
  JPEG_BASELINE,
  uid,
} from '#test/fixtures/dicom-builder.ts';

const STORAGE = '1.2.840.10008.5.1.4.1.1.';
const text = (dataSet: DataSet, tag: string): unknown => dataSet[tag]?.Value?.[0];
const items = (dataSet: DataSet, tag: string): DataSet[] => (dataSet[tag]?.Value ?? []) as DataSet[];

describe('a copy of a CT image', () => {
  const source = buildDicom(
    {
      InstitutionName: 'St. Elsewhere',
      StationName: 'CT-GANTRY-7',
      OperatorsName: 'Nightingale^F',
      ImageComments: 'Jane moved',
      BodyPartExamined: 'CHEST',
      ProtocolName: 'Thorax Doe',
      FrameOfReferenceUID: uid(50),
      DeviceSerialNumber: 'SN-123456',
      ReferencedImageSequence: [{ ReferencedSOPClassUID: `${STORAGE}2`, ReferencedSOPInstanceUID: uid(51) }],
      RequestAttributesSequence: [{ RequestedProcedureID: 'RP-9', RequestedProcedureDescription: 'Jane Doe' }],
      DerivationDescription: 'made for Jane Doe',
      ConvolutionKernel: 'B30 DOE',
      '00091010': { vr: 'LO', value: 'PRIVATE OF DOE' },
      '00090010': { vr: 'LO', value: 'ACME 1.1' },
      '60000010': { vr: 'US', value: 4 },
      '60003000': { vr: 'OW', value: new Uint8Array(2) },
    },
    { transferSyntaxUID: IMPLICIT_LE },
  );
  let copy: Awaited<ReturnType<typeof deidentified>>;
  beforeAll(async () => {
    copy = await deidentified(source);
  });

  test('has a pseudonym for the patient, and says that and how it was made', () => {
    const { dataSet } = copy;
    expect(text(dataSet, '00100020')).toMatch(/^[2-9A-Z]{12}$/);
    expect(text(dataSet, '00100010')).toEqual({ Alphabetic: text(dataSet, '00100020') });
    expect(text(dataSet, '00120062')).toBe('YES');
    expect(items(dataSet, '00120064').map((item) => text(item, '00080100'))).toEqual(['113100']);
    expect(text(dataSet, '00280303')).toBe('REMOVED');
  });

  test('has none of what identifies, by name or by number', () => {
    const bytes = copy.bytes.toString('latin1');
    for (const secret of [
      'Doe',
      'DOE',
      'Jane',
      'P-1',
      'Curie',
      'Elsewhere',
      'GANTRY',
      'Nightingale',
      'SN-123456',
      'RP-9',
    ])
      expect(bytes.includes(secret), secret).toBe(false);
    for (const number of [1, 2, 3, 50, 51]) expect(bytes.includes(uid(number)), uid(number)).toBe(false);
    expect(bytes.includes('20240131')).toBe(false);
    expect(bytes.includes('19700102')).toBe(false);
  });

  test('keeps what the image needs, empties what its IOD requires, removes the rest', () => {
    const { dataSet } = copy;
    expect(text(dataSet, '00180015')).toBe('CHEST');
    expect(text(dataSet, '00181210')).toBe('B30');
    expect(dataSet['00080020']).toEqual({ vr: 'DA' });
    expect(dataSet['00080050']).toEqual({ vr: 'SH' });
    expect(dataSet['00100040']).toEqual({ vr: 'CS' });
    for (const tag of ['00080080', '00081010', '00204000', '00081140', '00090010', '00091010', '60000010', '60003000'])
      expect(dataSet[tag], tag).toBeUndefined();
  });

  test('has the pixels of its source, byte by byte', () => {
    const before = scanPart10(source, DEFAULT_LIMITS).dataSet['7FE00010']!.bulk!;
    const after = copy.dataSet['7FE00010']!.bulk!;
    expect(copy.bytes.subarray(after.offset, after.offset + after.length)).toEqual(
      Buffer.from(source.subarray(before.offset, before.offset + before.length)),
    );
  });

  test('is the same each time', async () => {
    expect((await deidentified(source)).bytes.equals(copy.bytes)).toBe(true);
  });

  test('has file meta information of its own', () => {
    const { fileMeta } = scanPart10(copy.bytes, DEFAULT_LIMITS);
    expect(text(fileMeta, '00020003')).toBe(text(copy.dataSet, '00080018'));
    expect(text(fileMeta, '00020010')).toBe(EXPLICIT_LE);
  });
});

describe('references', () => {
  const report = (sop: number, evidence: number): Uint8Array =>
    buildDicom({
      SOPClassUID: `${STORAGE}88.59`,
      SOPInstanceUID: uid(sop),
      Modality: 'KO',
      PixelData: undefined,
      CurrentRequestedProcedureEvidenceSequence: [
        {
          StudyInstanceUID: uid(1),
          ReferencedSeriesSequence: [
            {
              SeriesInstanceUID: uid(2),
              ReferencedSOPSequence: [
                { ReferencedSOPClassUID: `${STORAGE}2`, ReferencedSOPInstanceUID: uid(evidence) },
              ],
            },
          ],
        },
      ],
    });

  test('lead from copy to copy as they led from original to original', async () => {
    const image = (await deidentified(buildDicom())).dataSet;
    const { dataSet } = await deidentified(report(70, 3));
    const [study] = items(dataSet, '0040A375');
    const [series] = items(study!, '00081115');
    const [instance] = items(series!, '00081199');
    expect(text(study!, '0020000D')).toBe(text(image, '0020000D'));
    expect(text(series!, '0020000E')).toBe(text(image, '0020000E'));
    expect(text(instance!, '00081155')).toBe(text(image, '00080018'));
    expect(text(instance!, '00081150')).toBe(`${STORAGE}2`);
  });
});

describe('a structured report', () => {
  const report = buildDicom({
    SOPClassUID: `${STORAGE}88.11`,
    Modality: 'SR',
    PixelData: undefined,
    ContentDate: '20240131',
    ContentTime: '1015',
    CompletionFlag: 'COMPLETE',
    VerificationFlag: 'VERIFIED',
    VerifyingObserverSequence: [
      { VerifyingObserverName: 'Curie^Marie', VerifyingOrganization: 'Radium', VerificationDateTime: '20240131' },
    ],
    ContentSequence: [
      {
        RelationshipType: 'CONTAINS',
        ValueType: 'TEXT',
        ConceptNameCodeSequence: [{ CodeValue: '121071', CodingSchemeDesignator: 'DCM', CodeMeaning: 'Finding' }],
        TextValue: 'Jane Doe has a fracture of the rib, seen by Dr. Curie on 31.01.2024',
      },
      {
        RelationshipType: 'HAS OBS CONTEXT',
        ValueType: 'PNAME',
        ConceptNameCodeSequence: [{ CodeValue: '121008', CodingSchemeDesignator: 'DCM', CodeMeaning: 'Person' }],
        PersonName: 'Curie^Marie',
      },
      {
        RelationshipType: 'CONTAINS',
        ValueType: 'UIDREF',
        ConceptNameCodeSequence: [{ CodeValue: '121018', CodingSchemeDesignator: 'DCM', CodeMeaning: 'Study' }],
        UID: uid(1),
      },
    ],
  });

  test('loses its content, and still is one', async () => {
    const { dataSet } = await deidentified(report);
    expect(items(dataSet, '0040A730').map((item) => text(item, '0040A160'))).toEqual(['Removed']);
    const [observer] = items(dataSet, '0040A073');
    expect(text(observer!, '0040A075')).toEqual({ Alphabetic: 'Removed' });
    expect(text(dataSet, '0040A493')).toBe('VERIFIED');
  });

  test('keeps the words of the trade where its content is cleaned', async () => {
    const { dataSet, bytes } = await deidentified(report, { cleanStructuredContent: true });
    const [finding, person, reference] = items(dataSet, '0040A730');
    expect(text(finding!, '0040A160')).toMatch(/fracture of the rib/);
    expect(text(person!, '0040A123')).toEqual({ Alphabetic: 'Removed' });
    expect(text(reference!, '0040A124')).toBe(text(dataSet, '0020000D'));
    for (const secret of ['Jane', 'Doe', 'Curie', '2024', 'Radium']) expect(bytes.includes(secret), secret).toBe(false);
  });
});

describe('options', () => {
  test('dates that are shifted keep their distances, and the same for one patient in every object', async () => {
    const a = await deidentified(buildDicom({ StudyDate: '20240131', ContentDate: '20240202' }), { dates: 'shift' });
    const b = await deidentified(buildDicom({ SOPInstanceUID: uid(8), StudyDate: '20240210' }), { dates: 'shift' });
    const day = (dataSet: DataSet, tag: string): number => {
      const date = String(text(dataSet, tag));
      return Date.UTC(Number(date.slice(0, 4)), Number(date.slice(4, 6)) - 1, Number(date.slice(6, 8))) / 86_400_000;
    };
    expect(day(a.dataSet, '00080023') - day(a.dataSet, '00080020')).toBe(2);
    expect(day(b.dataSet, '00080020') - day(a.dataSet, '00080020')).toBe(10);
    expect(text(a.dataSet, '00080020')).not.toBe('20240131');
    expect(text(a.dataSet, '00080030')).toBe('101500');
    expect(text(a.dataSet, '00280303')).toBe('MODIFIED');
    expect(a.dataSet['00100030']).toEqual({ vr: 'DA' });
  });

  test('safe private attributes stay with their creator, others of the same block go', async () => {
    const object = buildDicom({
      '00190010': { vr: 'LO', value: 'SIEMENS MR HEADER' },
      '0019100C': { vr: 'IS', value: '1000' },
      '00191099': { vr: 'LO', value: 'JANE' },
      '00210010': { vr: 'LO', value: 'SIEMENS MR SDS 01' },
      '00211010': { vr: 'LO', value: 'x' },
    });
    const { dataSet } = await deidentified(object, { retainSafePrivate: true });
    expect(text(dataSet, '00190010')).toBe('SIEMENS MR HEADER');
    expect(text(dataSet, '0019100C')).toBe(1000);
    for (const tag of ['00191099', '00210010', '00211010']) expect(dataSet[tag], tag).toBeUndefined();
  });

  test('the method codes name every option', async () => {
    const { dataSet } = await deidentified(buildDicom(), {
      dates: 'keep',
      retainPatientCharacteristics: true,
      retainDeviceIdentity: true,
      retainInstitutionIdentity: true,
      retainUIDs: true,
      retainSafePrivate: true,
      cleanDescriptors: true,
      cleanStructuredContent: true,
      cleanGraphics: true,
    });
    expect(items(dataSet, '00120064').map((item) => text(item, '00080100'))).toEqual([
      ...['113100', '113103', '113104', '113105', '113106', '113108', '113109', '113110', '113111', '113112'],
    ]);
    expect(text(dataSet, '0020000D')).toBe(uid(1));
    expect(text(dataSet, '00081030')).toBe('CT Thorax');
  });
});

describe('an object is refused', () => {
  const image = (overrides: BuilderDataSet): DataSet => scanPart10(buildDicom(overrides), DEFAULT_LIMITS).dataSet;
  const reasons = (overrides: BuilderDataSet, profile = BASIC_PROFILE, syntax = EXPLICIT_LE): unknown => {
    const judgement = judge(image(overrides), syntax, profile);
    return judgement.kind === 'refused' ? judgement.reasons : judgement;
  };

  test.each([
    [{ BurnedInAnnotation: 'YES' }, ['BURNED_IN_ANNOTATION']],
    [{ SOPClassUID: `${STORAGE}7` }, ['SECONDARY_CAPTURE', 'NOT_DECLARED_CLEAN']],
    [{ SOPClassUID: `${STORAGE}7`, BurnedInAnnotation: 'NO' }, ['SECONDARY_CAPTURE']],
    [{ ConversionType: 'WSD' }, ['SECONDARY_CAPTURE']],
    [{ ImageType: ['DERIVED', 'SECONDARY', 'SCREEN SAVE'] }, ['SCREENSHOT', 'DERIVED_SECONDARY']],
    [{ ImageType: ['DERIVED', 'SECONDARY'] }, ['DERIVED_SECONDARY']],
    [{ SOPClassUID: `${STORAGE}1` }, ['NOT_DECLARED_CLEAN']],
    [{ SOPClassUID: `${STORAGE}6.1` }, ['ULTRASOUND_WITHOUT_REGIONS']],
    [{ SOPClassUID: `${STORAGE}104.1` }, ['ENCAPSULATED_DOCUMENT']],
    [{ SOPClassUID: `${STORAGE}104.2`, BurnedInAnnotation: 'NO' }, ['ENCAPSULATED_DOCUMENT']],
    [{ SOPClassUID: `${STORAGE}66` }, ['RAW_DATA']],
    [{ SOPClassUID: `${STORAGE}9.4.1` }, ['AUDIO']],
    [{ SOPClassUID: `${STORAGE}77.1.4`, BurnedInAnnotation: 'NO' }, ['VISIBLE_LIGHT']],
    [
      { SOPClassUID: `${STORAGE}77.1.6`, ImageType: ['ORIGINAL', 'PRIMARY', 'LABEL'], BurnedInAnnotation: 'NO' },
      ['SLIDE_LABEL'],
    ],
    [{ SOPClassUID: '1.2.3.4' }, ['UNKNOWN_SOP_CLASS']],
    [{ RecognizableVisualFeatures: 'YES' }, ['RECOGNIZABLE_FEATURES']],
    [{ '60000010': { vr: 'US', value: 4 }, '60000102': { vr: 'US', value: 12 } }, ['OVERLAY_IN_PIXELS']],
  ] as [BuilderDataSet, string[]][])('%j', (overrides, expected) => {
    expect(reasons(overrides)).toEqual(expected);
  });

  test('in a transfer syntax that nobody knows, or that fetches its pixels from elsewhere', () => {
    expect(reasons({}, BASIC_PROFILE, '1.2.3')).toEqual(['TRANSFER_SYNTAX']);
    expect(reasons({}, BASIC_PROFILE, '1.2.840.10008.1.2.4.94')).toEqual(['TRANSFER_SYNTAX']);
  });

  test('not where it says that nothing is burned in', () => {
    for (const sopClass of ['1', '6.1', '1.1']) {
      const judged = reasons({ SOPClassUID: STORAGE + sopClass, BurnedInAnnotation: 'NO' });
      expect(judged, sopClass).toMatchObject({ kind: 'accepted' });
    }
  });

  test('not where an administrator’s rule for such images accepts them', () => {
    const rule = { SOPClassUID: `${STORAGE}7`, Manufacturer: 'ACME', accept: true as const };
    const profile = { ...BASIC_PROFILE, pixelRules: [rule] };
    expect(reasons({ SOPClassUID: `${STORAGE}7`, Manufacturer: 'Acme' }, profile)).toMatchObject({ kind: 'accepted' });
    expect(reasons({ SOPClassUID: `${STORAGE}7`, Manufacturer: 'Other' }, profile)).toContain('SECONDARY_CAPTURE');
  });

  test('when a name of the source is found in bytes that nobody looks into', async () => {
    const comment = Buffer.from('\xff\xd8\xff\xfe\x00\x0eWillibrord\xff\xd9', 'latin1');
    const object = buildDicom(
      { PatientName: 'Willibrord^Jane', SOPClassUID: `${STORAGE}2` },
      { transferSyntaxUID: JPEG_BASELINE, fragments: [comment] },
    );
    const error = await deidentified(object).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(PacsError);
    expect((error as PacsError).details).toEqual({ refusal: 'IDENTIFIER_IN_BYTES' });
  });
});

describe('whatever the encoding of the source', () => {
  test.each([EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE])('%s', async (transferSyntaxUID) => {
    const nested: BuilderDataSet = {
      // the same whichever byte comes first
      PixelData: { vr: 'OW', value: new Uint8Array(32).fill(9) },
      ReferencedSeriesSequence: [{ SeriesInstanceUID: uid(60), '00091001': { vr: 'LO', value: 'Jane' } }],
    };
    const { dataSet, bytes } = await deidentified(buildDicom(nested, { transferSyntaxUID }));
    const reference = await deidentified(buildDicom(nested));
    expect(dataSet).toEqual(reference.dataSet);
    expect(bytes.equals(reference.bytes)).toBe(true);
  });

  test('a name in an attribute that its sender called UN', async () => {
    const object = buildDicom({
      PatientName: { vr: 'UN', value: Buffer.from('Doe^Jane') },
      OtherPatientNames: { vr: 'UN', value: Buffer.from('Roe^Jane') },
      BodyPartExamined: { vr: 'UN', value: new Uint8Array(80_000).fill(0x41) },
    });
    const { bytes, dataSet } = await deidentified(object);
    expect(bytes.includes('Jane')).toBe(false);
    expect(dataSet['00180015']).toBeUndefined();
  });
});
