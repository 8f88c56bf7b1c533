import { afterEach, expect, test } from 'vitest';
import { keys } from '#core/archive/records.ts';
import { storeObject } from '#core/archive/store.ts';
import { listTrash } from '#core/archive/trash.ts';
import { trashedInstances } from '#core/archive/trashed.ts';
import type { Services } from '#core/services.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { type Clinic, cStore, dataSetHash, drained, openClinic, TENANT, until } from './clinic.ts';

let clinic: Clinic;
afterEach(() => clinic.close());

const STUDY = { StudyInstanceUID: uid(1000), SeriesInstanceUID: uid(1001) };
const slice = (number: number): Uint8Array =>
  buildDicom({ ...STUDY, SOPInstanceUID: uid(1010 + number), InstanceNumber: number });
const noteOn = (...numbers: number[]): Uint8Array =>
  buildDicom({
    StudyInstanceUID: uid(1000),
    SeriesInstanceUID: uid(1002),
    SOPInstanceUID: uid(1003),
    SOPClassUID: '1.2.840.10008.5.1.4.1.1.88.59',
    Modality: 'KO',
    ConceptNameCodeSequence: [{ CodeValue: '113001', CodingSchemeDesignator: 'DCM', CodeMeaning: 'Rejected' }],
    CurrentRequestedProcedureEvidenceSequence: [
      {
        StudyInstanceUID: uid(1000),
        ReferencedSeriesSequence: [
          {
            SeriesInstanceUID: uid(1001),
            ReferencedSOPSequence: numbers.map((number) => ({
              ReferencedSOPClassUID: '1.2.840.10008.5.1.4.1.1.2',
              ReferencedSOPInstanceUID: uid(1010 + number),
            })),
          },
        ],
      },
    ],
  });

const store = (services: Services, bytes: Uint8Array) =>
  storeObject(
    services,
    { tenant: TENANT, source: 'CT1' },
    (async function* () {
      yield bytes;
    })(),
  );

/** The trash of the archive, once it holds so many rejected instances: SOPInstanceUID and SHA-256 of each data set. */
async function rejectedThere(count: number): Promise<Map<string, string>> {
  const { services } = clinic.archive.archive;
  const found = new Map<string, string>();
  const entries = await until(
    async () => (await listTrash(services, TENANT, '', 100)).items,
    (items) => items.reduce((sum, { instanceCount }) => sum + instanceCount, 0) >= count,
  );
  for (const { id, kind } of entries) {
    expect(kind).toBe('rejected');
    for await (const { instance } of trashedInstances(services, TENANT, id))
      found.set(instance.SOPInstanceUID, dataSetHash((await services.blobs.readBytes(instance.blobKey)) as Uint8Array));
  }
  return found;
}
const visibleThere = async (): Promise<string[]> => {
  const { partition } = keys.instance(TENANT, uid(1000), uid(1001), '');
  const { records } = await clinic.archive.archive.services.index.query({ partition, limit: 100 });
  return records.map(({ item }) => item.SOPInstanceUID as string).toSorted();
};

/** The note had hidden it at the gateway before it was sent: it was held there for good, as no longer stored. */
test('what was rejected before the line came back is in the archive, hidden', async () => {
  clinic = await openClinic();
  await clinic.line.set({ kind: 'refused' });
  expect(await cStore(clinic.gateway, [slice(1), slice(2), slice(3)])).toEqual([0, 0, 0]);
  expect(await cStore(clinic.gateway, [noteOn(1)])).toEqual([0]);
  await clinic.line.set({ kind: 'none' });
  expect(await drained(clinic.gateway, 4)).toMatchObject({ held: 0, confirmed: 4 });
  expect(await rejectedThere(1)).toEqual(new Map([[uid(1011), dataSetHash(slice(1))]]));
  expect(await visibleThere()).toEqual([uid(1012), uid(1013)]);
});

/** What is stored is taken into the queues a moment later: what was hidden within that moment was not taken in, and never sent. */
test('what is rejected in the moment in which it is stored is in the archive, hidden', async () => {
  clinic = await openClinic();
  const numbers = Array.from({ length: 20 }, (_, i) => i + 1);
  const { services } = clinic.gateway.archive;
  for (const number of numbers) await store(services, slice(number));
  await store(services, noteOn(...numbers));
  expect(await drained(clinic.gateway, 21)).toMatchObject({ held: 0, confirmed: 21 });
  const expected = numbers.map((number) => [uid(1010 + number), dataSetHash(slice(number))] as const);
  expect(await rejectedThere(20)).toEqual(new Map(expected));
  expect(await visibleThere()).toEqual([]);
});
