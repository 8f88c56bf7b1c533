import { expect, test } from 'vitest';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { writePart10Bytes } from '#core/dicom/writer.ts';
import { dataSetToXml, xmlToDataSet } from '#core/dicom/xml.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { buildDicom, EXPLICIT_LE } from '#test/fixtures/dicom-builder.ts';

/** Found by fuzzing: the XML of such an object said ISO_IR 192 in a number, which our own reader refused. */
test('a Specific Character Set that an object holds as a number is a number in XML, which we read', () => {
  const object = buildDicom({ SpecificCharacterSet: { vr: 'UL', value: [7] } });
  const { dataSet } = scanPart10(object, DEFAULT_LIMITS);
  const read = xmlToDataSet(dataSetToXml(dataSet, () => 'none'));
  expect(read['00080005']).toEqual(dataSet['00080005']);
});

/** Found by fuzzing: each time such an object was written, every byte beyond ASCII in it became two. */
test('bytes beyond ASCII in a code or a UID are written as they were read', () => {
  const code = new Uint8Array(Buffer.from('M\xc9DICAL', 'latin1'));
  const object = buildDicom({ StationName: 'é', BodyPartExamined: { vr: 'CS', value: code } });
  const once = scanPart10(object, DEFAULT_LIMITS).dataSet;
  const { PixelData: _, ...rest } = { PixelData: once['7FE00010'], ...once };
  delete (rest as Record<string, unknown>)['7FE00010'];
  const again = scanPart10(writePart10Bytes({}, rest, EXPLICIT_LE), DEFAULT_LIMITS).dataSet;
  expect(again['00180015']).toEqual(once['00180015']);
  expect(again['00081010']).toEqual({ vr: 'SH', Value: ['é'] });
});
