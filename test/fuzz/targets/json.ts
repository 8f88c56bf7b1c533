import { dataSetToJson, jsonToDataSet } from '#core/dicom/json.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { writePart10Bytes } from '#core/dicom/writer.ts';
import { dataSetToXml, xmlToDataSet } from '#core/dicom/xml.ts';
import { PacsError } from '#core/errors.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { buildDicom, EXPLICIT_LE } from '#test/fixtures/dicom-builder.ts';
import { sharedFiles } from '../corpus.ts';
import { Contradiction, type Target } from '../target.ts';

const noBulk = (): string => 'none';

function read(text: string): DataSet | undefined {
  try {
    return text.trimStart().startsWith('<') ? xmlToDataSet(text) : jsonToDataSet(text);
  } catch (error) {
    if (error instanceof PacsError && error.code === 'BAD_REQUEST') return undefined;
    throw error;
  }
}

const WORDS = [
  '{', '}', '[', ']', ',', ':', '"', '\\', '\\u0000', '\\ud800', 'null', '1e999', '-0', '"vr":"SQ"', '"vr":"PN"', '"vr":"DS"', '"vr":"SV"', '"vr":"AT"',
  '"Value":[', '"InlineBinary":"AAE="', '"BulkDataURI":"x"', '"00080005":{"vr":"CS","Value":["ISO_IR 6"]}', '"00081140":{"vr":"SQ","Value":[{}]}',
  '"Alphabetic":"A^B=C"', '"__proto__":{}', '"NaN"', '"inf"', '"9223372036854775807"', '<Item number="2">', '</Item>', '<Value number="1">', '</Value>',
  '<DicomAttribute tag="00100010" vr="PN">', '</DicomAttribute>', '<PersonName number="1"><Alphabetic>', '<FamilyName>', '&#0;', '&amp;', '&x;',
  '<![CDATA[', ']]>', '<!DOCTYPE a [<!ENTITY b "c">]>', '<!--', '-->', 'xmlns="x"', 'number="999999"',
].map((word) => Buffer.from(word)); // biome-ignore format: a table

/** DICOM JSON and the Native DICOM Model, as STOW and the worklist take them. */
export const json: Target = {
  name: 'json',
  covers: ['/core/dicom/json', '/core/dicom/xml', '/core/dicom/encode', '/core/dicom/values', '/core/dicom/writer'],
  grammar: { words: WORDS, text: true },
  *seeds() {
    const sequence = { OtherPatientIDsSequence: [{ PatientID: 'A', PatientName: 'A^B=C=D' }, {}] };
    const { dataSet } = scanPart10(buildDicom({ ...sequence, PatientComments: 'ü "x" \\ y' }), DEFAULT_LIMITS);
    yield Buffer.from(dataSetToJson(dataSet, noBulk));
    yield Buffer.from(dataSetToXml(dataSet, noBulk));
    yield* sharedFiles(['dicom-json'], 32 * 1024);
  },
  open: () => ({
    run(input) {
      const dataSet = read(Buffer.from(input).toString());
      if (dataSet === undefined) return;
      const text = dataSetToJson(dataSet, noBulk);
      if (dataSetToJson(jsonToDataSet(text), noBulk) !== text) throw new Contradiction('JSON does not give it back');
      xmlToDataSet(dataSetToXml(dataSet, noBulk));
      try {
        const object = writePart10Bytes({}, { '00080016': { vr: 'UI', Value: ['1.2'] }, ...dataSet }, EXPLICIT_LE);
        scanPart10(object, DEFAULT_LIMITS);
      } catch (error) {
        // A value that its VR cannot hold is the sender's fault.
        if (!(error instanceof PacsError) || error.code === 'INTERNAL') throw error;
      }
    },
  }),
};
