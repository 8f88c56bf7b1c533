/** A rebuild took what an interrupted purge had removed for objects that were lost, and failed. */
import { expect, test, vi } from 'vitest';
import { rebuildIndex } from '#core/archive/rebuild.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { sweep } from '#core/archive/sweep.ts';
import { listTrash } from '#core/archive/trash.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const DELETED = { kind: 'deleted', reason: 'wrong patient', by: 'admin' } as const;
const study = { StudyInstanceUID: uid(1) };

/** A study of three in the trash, of which a purge that was killed has removed one object and what stands beside the second. */
async function halfPurged() {
  const services = memoryServices();
  for (const n of [1, 2, 3])
    await store(services, buildDicom({ ...study, SeriesInstanceUID: uid(2), SOPInstanceUID: uid(100 + n) }));
  await moveToTrash(services, TENANT, [study], DELETED);
  services.clock.advance(services.limits.trashMs + 1);
  const { blobs } = services;
  const remove = blobs.delete.bind(blobs);
  let removed = 0;
  vi.spyOn(blobs, 'delete').mockImplementation(async (key) => {
    if (key.endsWith('.dcm') && removed++ === 1) throw new Error('killed');
    await remove(key);
  });
  await expect(sweep(services, TENANT)).rejects.toThrow('killed');
  vi.restoreAllMocks();
  return services;
}

test('what is left is in the trash, and nothing is said to be lost', async () => {
  const { blobs } = await halfPurged();
  const fresh = memoryServices({ ports: { blobs } });
  expect(await rebuildIndex(fresh, TENANT)).toMatchObject({ instances: 0, trashed: 2, failed: [] });
  const [entry, ...others] = (await listTrash(fresh, TENANT, '', 10)).items;
  expect(others).toEqual([]);
  expect(entry).toMatchObject({ ...study, instanceCount: 2, state: 'complete' });
  expect(await verifyArchive(fresh, TENANT)).toMatchObject({ damaged: [], orphans: [] });
  expect(await restoreFromTrash(fresh, TENANT, entry!.id)).toEqual({ restored: 2, conflicting: 0 });
});

test('what is lost without having been purged is still said to be lost', async () => {
  const services = memoryServices();
  await store(services, buildDicom({ ...study, SOPInstanceUID: uid(101) }));
  await moveToTrash(services, TENANT, [study], DELETED);
  for await (const { key } of services.blobs.list('')) if (key.endsWith('.dcm')) await services.blobs.delete(key);
  const fresh = memoryServices({ ports: { blobs: services.blobs } });
  expect((await rebuildIndex(fresh, TENANT)).failed).toMatchObject([{ code: 'NOT_FOUND' }]);
});
