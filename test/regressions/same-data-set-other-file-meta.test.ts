import { expect, test } from 'vitest';
import { listHeld } from '#core/archive/quarantine.ts';
import { type StoreOutcome, storeObject } from '#core/archive/store.ts';
import type { Services } from '#core/services.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices, studyRecord, TENANT } from '#test/fixtures/services.ts';

/**
 * An object came by STOW-RS, or was fetched from upstream, with the file meta of whoever wrote it. Sent again by C-STORE, which
 * carries the data set alone, it was refused as a conflict (0110).
 */
const put = (services: Services, object: Uint8Array, onlyDataSetSent: boolean): Promise<StoreOutcome> =>
  storeObject(services, { tenant: TENANT, source: 'TEST', onlyDataSetSent }, chunked(object)).outcome;

test('the same data set behind other file meta, sent by C-STORE, is a duplicate', async () => {
  const services = memoryServices();
  expect(
    await put(services, buildDicom({}, { fileMeta: { ImplementationVersionName: 'OTHER' } }), false),
  ).toMatchObject({ kind: 'stored' });
  expect(await put(services, buildDicom(), true)).toMatchObject({ kind: 'duplicate' });
  expect(await studyRecord(services, uid(1))).toMatchObject({ instanceCount: 1 });
  expect((await listHeld(services, TENANT, '', 10)).items).toEqual([]);
});

test('another data set is a conflict, and so is another file by STOW-RS', async () => {
  const services = memoryServices();
  await put(services, buildDicom({}, { fileMeta: { ImplementationVersionName: 'OTHER' } }), false);
  expect(await put(services, buildDicom({ PatientName: 'Roe^Ricky' }), true)).toMatchObject({ kind: 'held' });
  expect(await put(services, buildDicom(), false)).toMatchObject({ kind: 'held' });
});
