import { expect, test, vi } from 'vitest';
import { keys } from '#core/archive/records.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { abandonUnsettled } from '#core/archive/unsettled.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const INSTANCE = { StudyInstanceUID: uid(1), SeriesInstanceUID: uid(2), SOPInstanceUID: uid(3) };

/** The sweeper asked where an object stood before the trash was asked, and took what had gone from there in between for nobody's. */
test('an object that is restored while the sweeper looks for its owner keeps its bytes', async () => {
  const services = memoryServices({ packed: true });
  const { index, blobs } = services;
  // Its store's process has died before it could say that the object has an owner.
  vi.spyOn(blobs.packed!, 'settled').mockImplementation(() => undefined);
  await store(services, buildDicom(INSTANCE));
  const trash = await moveToTrash(services, TENANT, [INSTANCE], { kind: 'deleted', reason: 'wrong', by: 'admin' });

  const query = index.query.bind(index);
  let isFirst = true;
  vi.spyOn(index, 'query').mockImplementation(async (range) => {
    if (isFirst && range.partition === keys.trash(TENANT, '').partition) {
      isFirst = false;
      await restoreFromTrash(services, TENANT, trash.id);
    }
    return query(range);
  });
  services.clock.advance(services.limits.pendingMs * 2);
  expect(await abandonUnsettled(services, services.limits.pendingMs)).toBe(0);
  expect(isFirst).toBe(false);
  expect(await verifyArchive(services, TENANT)).toMatchObject({ intact: 1, damaged: [], orphans: [] });
});
