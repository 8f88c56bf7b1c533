import { afterEach, expect, test } from 'vitest';
import { keys } from '#core/archive/records.ts';
import { listTrash } from '#core/archive/trash.ts';
import { readSideOf } from '#edge/read/read-side.ts';
import { evictRejections } from '#edge/read/rejected.ts';
import { type Clinic, cStore, drained, openClinic, TENANT } from '#test/edge/clinic.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';

/** What a rejection note had hidden at a gateway lay in its trash for ever: nothing but the cache was evicted, and a full disk refuses what modalities send. */

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

const evict = () => {
  const { knowledge, usage } = readSideOf(clinic.gateway);
  return evictRejections(clinic.gateway, knowledge, usage, 0, new AbortController().signal);
};
const trash = async () => (await listTrash(clinic.gateway.services, TENANT, '', 100)).items;
const visible = async (site: Pick<Clinic['gateway'], 'services'>): Promise<string[]> => {
  const { partition } = keys.instance(TENANT, StudyInstanceUID, SeriesInstanceUID, '');
  const { records } = await site.services.index.query({ partition, limit: 100 });
  return records.map(({ sort }) => sort);
};
const objects = async (): Promise<number> => {
  const listed = await Array.fromAsync(clinic.gateway.services.blobs.list(`${TENANT}/`));
  return listed.filter(({ key }) => key.endsWith('.dcm')).length;
};

test('what was rejected stays while it or its note is not confirmed, and then gives its room back', async () => {
  clinic = await openClinic();
  await clinic.line.set({ kind: 'refused' });
  expect(await cStore(clinic.gateway, [slice(1), slice(2), slice(3), noteOn(1, 2)])).toEqual([0, 0, 0, 0]);
  expect(await evict()).toEqual({ instances: 0, bytes: 0 });
  expect(await objects()).toBe(4);

  await clinic.line.set({ kind: 'none' });
  await drained(clinic.gateway, 4);
  await expect.poll(async () => (await trash()).length + (await evict()).instances).toBe(0);
  expect(await objects()).toBe(2);
  expect(await visible(clinic.gateway)).toEqual([sop(3)]);
  const manifests = await Array.fromAsync(clinic.gateway.services.blobs.list(`${TENANT}/`));
  expect(manifests.filter(({ key }) => key.includes('trash.'))).toEqual([]);
});

test('what was rejected and evicted is stored, sent and hidden when it is sent again', async () => {
  clinic = await openClinic();
  expect(await cStore(clinic.gateway, [slice(1), slice(2), noteOn(1)])).toEqual([0, 0, 0]);
  await drained(clinic.gateway, 3);
  await expect.poll(async () => (await trash()).length + (await evict()).instances).toBe(0);

  expect(await cStore(clinic.gateway, [slice(1)])).toEqual([0]);
  await expect.poll(() => visible(clinic.gateway)).toEqual([sop(2)]);
  expect(await drained(clinic.gateway, 3)).toMatchObject({ held: 0 });
  expect(await visible(clinic.archive.archive)).toEqual([sop(2)]);
});
