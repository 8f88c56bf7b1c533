import { afterEach, expect, test } from 'vitest';
import { keys } from '#core/archive/records.ts';
import { type Clinic, cStore, drained, openClinic, TENANT } from '#test/edge/clinic.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';

/** A gateway showed an image that came behind the rejection note that names it, until it was evicted: whoever reads at the hospital read what was rejected. */

let clinic: Clinic;
afterEach(() => clinic?.close());

const StudyInstanceUID = uid(1000);
const SeriesInstanceUID = uid(1001);
const sop = (number: number): string => uid(1010 + number);
const slice = (number: number): Uint8Array =>
  buildDicom({ StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID: sop(number), InstanceNumber: number });
const noteOn = (...numbers: number[]): Uint8Array =>
  buildDicom({
    StudyInstanceUID,
    SeriesInstanceUID: uid(1002),
    SOPInstanceUID: uid(1003),
    SOPClassUID: '1.2.840.10008.5.1.4.1.1.88.59',
    Modality: 'KO',
    ConceptNameCodeSequence: [{ CodeValue: '113037', CodingSchemeDesignator: 'DCM', CodeMeaning: 'Rejected' }],
    CurrentRequestedProcedureEvidenceSequence: [
      {
        StudyInstanceUID,
        ReferencedSeriesSequence: [
          {
            SeriesInstanceUID,
            ReferencedSOPSequence: numbers.map((number) => ({
              ReferencedSOPClassUID: '1.2.840.10008.5.1.4.1.1.2',
              ReferencedSOPInstanceUID: sop(number),
            })),
          },
        ],
      },
    ],
  });

const visible = async (site: Pick<Clinic['gateway'], 'services'>): Promise<string[]> => {
  const { partition } = keys.instance(TENANT, StudyInstanceUID, SeriesInstanceUID, '');
  const { records } = await site.services.index.query({ partition, limit: 100 });
  return records.map(({ sort }) => sort);
};

test('an image that comes behind its note is hidden at the gateway, and sent', async () => {
  clinic = await openClinic();
  expect(await cStore(clinic.gateway, [noteOn(1)])).toEqual([0]);
  expect(await cStore(clinic.gateway, [slice(1), slice(2)])).toEqual([0, 0]);
  expect(await drained(clinic.gateway, 3)).toMatchObject({ held: 0, confirmed: 3 });
  expect(await visible(clinic.gateway)).toEqual([sop(2)]);
  expect(await visible(clinic.archive.archive)).toEqual([sop(2)]);
});

test('one of another series, or of another study, than the note says is shown', async () => {
  clinic = await openClinic();
  const elsewhere = (StudyUID: string, SeriesUID: string, number: number): Uint8Array =>
    buildDicom({ StudyInstanceUID: StudyUID, SeriesInstanceUID: SeriesUID, SOPInstanceUID: sop(number) });
  expect(await cStore(clinic.gateway, [noteOn(1, 2)])).toEqual([0]);
  expect(
    await cStore(clinic.gateway, [elsewhere(uid(1000), uid(1009), 1), elsewhere(uid(2000), uid(1001), 2)]),
  ).toEqual([0, 0]);
  await drained(clinic.gateway, 3);
  const { services } = clinic.gateway;
  expect(await services.index.get(keys.instance(TENANT, uid(1000), uid(1009), sop(1)))).toBeDefined();
  expect(await services.index.get(keys.instance(TENANT, uid(2000), uid(1001), sop(2)))).toBeDefined();
});
