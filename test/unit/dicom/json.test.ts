import { describe, expect, test } from 'vitest';
import { attribute, vrOf } from '#core/dicom/dictionary.ts';
import { bulkPath, dataSetToJson, jsonToDataSet, parseBulkPath } from '#core/dicom/json.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { dataSetToXml, xmlToDataSet } from '#core/dicom/xml.ts';
import { PacsError } from '#core/errors.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { buildDicom } from '#test/fixtures/dicom-builder.ts';

const noBulk = (): string => {
  throw new Error('there is no bulk value');
};
const json = (dataSet: DataSet): unknown => JSON.parse(dataSetToJson(dataSet, noBulk));

describe('a data set as DICOM JSON', () => {
  test('is ordered by tag, without file meta and group lengths', () => {
    const dataSet: DataSet = {
      '7FE00010': { vr: 'OW' },
      '10101010': { vr: 'US', Value: [1] },
      '00100000': { vr: 'UL', Value: [4] },
      '00020010': { vr: 'UI', Value: ['1.2'] },
      '00080018': { vr: 'UI', Value: ['1.2.3'] },
    };
    expect(dataSetToJson(dataSet, noBulk)).toBe(
      '{"00080018":{"vr":"UI","Value":["1.2.3"]},"10101010":{"vr":"US","Value":[1]},"7FE00010":{"vr":"OW"}}',
    );
    expect(dataSetToJson({}, noBulk)).toBe('{}');
  });

  test('keeps empty values of several, names, numbers, and text with any character', () => {
    const dataSet: DataSet = {
      '00080008': { vr: 'CS', Value: ['A', null, 'B'] },
      '00080060': { vr: 'CS' },
      '00100010': { vr: 'PN', Value: [{ Alphabetic: 'A^B', Phonetic: 'C' }, null] },
      '00104000': { vr: 'LT', Value: ['quote " backslash \\ newline\n tab\t nul\u0001 ' + '\u2028'] },
      '00189310': { vr: 'FD', Value: ['NaN', 1.1e-300, 1e21, -0] },
    };
    expect(json(dataSet)).toEqual(dataSet);
  });

  test('names bulk values by their path', () => {
    const { dataSet } = scanPart10(
      buildDicom({ WaveformSequence: [{}, { WaveformData: new Uint8Array(1000) }] }),
      DEFAULT_LIMITS,
    );
    const text = dataSetToJson(dataSet, (path, bulk) => `nephos:/${bulkPath(path, bulk)}`);
    const uris = [...text.matchAll(/nephos:\/([^"]+)/g)].map((match) => parseBulkPath(match[1]!)!);
    expect(uris.map(({ path, bulk }) => [path, bulk.length])).toEqual([
      ['54000100-2-54001010', 1000],
      ['7FE00010', 32],
    ]);
  });
});

describe('a bulk path', () => {
  test('is read as it was written', () => {
    for (const bulk of [
      { offset: 1, length: 2 },
      { offset: 5e12, length: 4e9, encapsulated: true },
      { offset: 0, length: 9, inflated: true },
    ]) {
      expect(parseBulkPath(bulkPath('54000100-1-54001010', bulk))).toEqual({ path: '54000100-1-54001010', bulk });
    }
    for (const text of [
      '',
      '7FE00010',
      '7fe00010.1.2',
      '7FE00010.1.2x',
      '../7FE00010.1.2',
      '7FE00010-0-7FE00010.1.2',
      '7FE00010.-1.2',
    ]) {
      expect(parseBulkPath(text), text).toBeUndefined();
    }
  });
});

describe('DICOM JSON from outside', () => {
  const refusal = (value: unknown): PacsError => {
    try {
      jsonToDataSet(value);
    } catch (error) {
      if (error instanceof PacsError) return error;
      throw error;
    }
    throw new Error('it was accepted');
  };

  test('is read leniently where its meaning is clear', () => {
    expect(
      jsonToDataSet({
        '0008103e': { vr: 'LO', Value: ['x'] },
        '00100010': { vr: 'PN', Value: ['Doe^Jane=漢'] },
        '00100020': { Value: [''] },
        '00081140': { vr: 'SQ', Value: [null, {}] },
        '00280010': { vr: 'US', Value: ['512'] },
        '00280009': { vr: 'AT', Value: ['0018106a'] },
        '00100040': { vr: 'CS', Value: [] },
      }),
    ).toEqual({
      '0008103E': { vr: 'LO', Value: ['x'] },
      '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Doe^Jane', Ideographic: '漢' }] },
      '00100020': { vr: 'LO', Value: [null] },
      '00081140': { vr: 'SQ', Value: [{}, {}] },
      '00280010': { vr: 'US', Value: [512] },
      '00280009': { vr: 'AT', Value: ['0018106A'] },
      '00100040': { vr: 'CS' },
    });
  });

  test.each([
    ['no JSON', '{"a":', ''],
    ['a list', [], ''],
    ['a keyword for a tag', { PatientName: { vr: 'PN' } }, ''],
    ['a bare value', { '00100010': 'Doe' }, '00100010'],
    ['an unknown VR', { '00100010': { vr: 'XX' } }, '00100010'],
    ['a Value that is no list', { '00100020': { vr: 'LO', Value: 'x' } }, '00100020'],
    ['two kinds of content', { '7FE00010': { vr: 'OW', InlineBinary: '', BulkDataURI: 'x' } }, '7FE00010'],
    ['binary that is not base64', { '7FE00010': { vr: 'OW', InlineBinary: '*' } }, '7FE00010'],
    ['binary in text', { '00100020': { vr: 'LO', InlineBinary: 'AAAA' } }, '00100020'],
    ['words for a number', { '00280010': { vr: 'US', Value: ['many'] } }, '00280010'],
    ['a name of numbers', { '00100010': { vr: 'PN', Value: [{ Alphabetic: 1 }] } }, '00100010'],
    ['an item that is none', { '00081140': { vr: 'SQ', Value: [{}, 5] } }, '00081140-2'],
    [
      'a fault inside an item',
      { '00081140': { vr: 'SQ', Value: [{ '00081150': { vr: 'UI', Value: [{}] } }] } },
      '00081140-1-00081150',
    ],
  ])('is refused with the path of the fault: %s', (_, value, path) => {
    expect(refusal(value)).toMatchObject({ code: 'BAD_REQUEST', details: { path } });
  });

  test('may not nest without end', () => {
    const text = `${'{"00081140":{"vr":"SQ","Value":['.repeat(100_000)}{}${']}}'.repeat(100_000)}`;
    expect(refusal(text).code).toBe('BAD_REQUEST');
  });
});

describe('a data set as XML', () => {
  test('follows the Native DICOM Model', () => {
    const xml = dataSetToXml(
      {
        '00090010': { vr: 'LO', Value: ['ACME & Co'] },
        '00091001': { vr: 'OB', InlineBinary: 'AQI=' },
        '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Doe^Jane' }] },
        '00081140': { vr: 'SQ', Value: [{ '00081150': { vr: 'UI', Value: ['1.2'] } }] },
        '7FE00010': { vr: 'OW', bulk: { offset: 1, length: 2 } },
      },
      (path) => `/bulk/${path}`,
    );
    expect(xml).toBe(
      '<?xml version="1.0" encoding="UTF-8"?><NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">' +
        '<DicomAttribute tag="00081140" vr="SQ" keyword="ReferencedImageSequence"><Item number="1">' +
        '<DicomAttribute tag="00081150" vr="UI" keyword="ReferencedSOPClassUID"><Value number="1">1.2</Value></DicomAttribute></Item></DicomAttribute>' +
        '<DicomAttribute tag="00090010" vr="LO"><Value number="1">ACME &amp; Co</Value></DicomAttribute>' +
        '<DicomAttribute tag="00091001" vr="OB" privateCreator="ACME &amp; Co"><InlineBinary>AQI=</InlineBinary></DicomAttribute>' +
        '<DicomAttribute tag="00100010" vr="PN" keyword="PatientName"><PersonName number="1"><Alphabetic>' +
        '<FamilyName>Doe</FamilyName><GivenName>Jane</GivenName></Alphabetic></PersonName></DicomAttribute>' +
        '<DicomAttribute tag="7FE00010" vr="OW" keyword="PixelData"><BulkData uri="/bulk/7FE00010"/></DicomAttribute></NativeDicomModel>',
    );
  });

  test.each([
    ['nothing', ''],
    ['no XML', 'hello'],
    ['another document', '<html/>'],
    [
      'a document type, which could expand without end',
      '<!DOCTYPE x [<!ENTITY a "b">]><NativeDicomModel>&a;</NativeDicomModel>',
    ],
    ['an attribute without a tag', '<NativeDicomModel><DicomAttribute vr="LO"/></NativeDicomModel>'],
    [
      'a value of the wrong kind',
      '<NativeDicomModel><DicomAttribute tag="00280010" vr="US"><Value number="1">x</Value></DicomAttribute></NativeDicomModel>',
    ],
    ['a value that is nowhere', '<NativeDicomModel><Value number="1">x</Value></NativeDicomModel>'],
    [
      'a number that would fill memory',
      '<NativeDicomModel><DicomAttribute tag="00080008" vr="CS"><Value number="4000000000">x</Value></DicomAttribute></NativeDicomModel>',
    ],
    [
      'nesting without end',
      '<NativeDicomModel>'.padEnd(200_000, '<DicomAttribute tag="00081140" vr="SQ"><Item number="1">'),
    ],
  ])('from outside is refused: %s', (_, xml) => {
    expect(() => xmlToDataSet(xml)).toThrow(PacsError);
  });
});

describe('the dictionary', () => {
  test('knows attributes by every spelling of their tag', () => {
    for (const name of ['PatientName', '00100010', '(0010,0010)', '0010,0010']) {
      expect(attribute(name)).toEqual({ tag: '00100010', keyword: 'PatientName', vr: 'PN', vm: '1' });
    }
    expect(attribute('0008103e')?.keyword).toBe('SeriesDescription');
    expect(attribute('60023000')).toMatchObject({ tag: '60023000', keyword: 'OverlayData', vr: 'OW' });
    expect(attribute('50040010')).toMatchObject({ tag: '50040010', keyword: 'NumberOfPoints', vr: 'US' });
    expect(attribute('LongTrianglePointIndexList')?.vr).toBe('OL');
    expect(attribute('00091001')).toBeUndefined();
    expect(attribute('NoSuchThing')).toBeUndefined();
  });

  test('gives a VR for any tag', () => {
    expect(vrOf('00100000')).toBe('UL');
    expect(vrOf('00090010')).toBe('LO');
    expect(vrOf('00091001')).toBe('UN');
    expect(vrOf('00091001', 'GEMS_IDEN_01')).toBe('LO');
    expect(vrOf('00280106')).toBe('US');
    expect(vrOf('7FE00010')).toBe('OW');
  });
});
