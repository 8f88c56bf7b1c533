import { expect, test } from 'vitest';
import { dataSetToJson, jsonToDataSet } from '#core/dicom/json.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { writePart10Bytes } from '#core/dicom/writer.ts';
import { dataSetToXml, xmlToDataSet } from '#core/dicom/xml.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { buildDicom, EXPLICIT_LE } from '#test/fixtures/dicom-builder.ts';

const noBulk = () => 'none';
const german = (more: Record<string, unknown> = {}) =>
  buildDicom({
    SpecificCharacterSet: undefined,
    PatientName: new Uint8Array(Buffer.from('M\xfcller', 'latin1')),
    ...more,
  } as Parameters<typeof buildDicom>[0]);
const metadataOf = (object: Uint8Array) => scanPart10(object, DEFAULT_LIMITS).dataSet;

/** Metadata said ISO_IR 192 of every object with text: what an object came in was lost, and bytes of UN could not be read any more. */
test('metadata say the character set of the object (PS3.18 F.2.2), although they are UTF-8 themselves', () => {
  const dataSet = metadataOf(german({ SpecificCharacterSet: 'ISO_IR 100' }));
  const json = JSON.parse(dataSetToJson(dataSet, noBulk));
  expect(json['00080005']).toEqual({ vr: 'CS', Value: ['ISO_IR 100'] });
  expect(json['00100010']).toEqual({ vr: 'PN', Value: [{ Alphabetic: 'Müller' }] });
  expect(xmlToDataSet(dataSetToXml(dataSet, noBulk))['00080005']).toEqual({ vr: 'CS', Value: ['ISO_IR 100'] });

  const extended = metadataOf(german({ SpecificCharacterSet: '\\ISO 2022 IR 87' }));
  expect(JSON.parse(dataSetToJson(extended, noBulk))['00080005']).toEqual({
    vr: 'CS',
    Value: [null, 'ISO 2022 IR 87'],
  });
});

test('an object that names no character set has none in its metadata', () => {
  const dataSet = metadataOf(german());
  const json = JSON.parse(dataSetToJson(dataSet, noBulk));
  expect(json).not.toHaveProperty('00080005');
  expect(json['00100010']).toEqual({ vr: 'PN', Value: [{ Alphabetic: 'Müller' }] });
});

test('an object made of such metadata is in UTF-8, and says so', () => {
  for (const object of [german({ SpecificCharacterSet: 'ISO_IR 100' }), german()]) {
    const { '7FE00010': _, ...header } = jsonToDataSet(dataSetToJson(metadataOf(object), noBulk));
    const made = metadataOf(writePart10Bytes({}, header, EXPLICIT_LE));
    expect(made['00080005']).toEqual({ vr: 'CS', Value: ['ISO_IR 192'] });
    expect(made['00100010']).toEqual({ vr: 'PN', Value: [{ Alphabetic: 'Müller' }] });
  }
});
