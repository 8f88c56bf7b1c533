/** One entry of the trash that could not be removed kept all behind it, and all that a sweep does besides, from ever being done. */
import { expect, test, vi } from 'vitest';
import { moveToTrash } from '#core/archive/remove.ts';
import { sweep } from '#core/archive/sweep.ts';
import { listTrash } from '#core/archive/trash.ts';
import { putExpiring } from '#core/expiring.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

test('what cannot be done holds up nothing else, and is still said', async () => {
  const services = memoryServices();
  const { blobs, clock, index, limits } = services;
  for (const n of [1, 2, 3]) {
    const uids = { StudyInstanceUID: uid(n), SeriesInstanceUID: uid(10 + n), SOPInstanceUID: uid(100 + n) };
    await store(services, buildDicom(uids));
    await moveToTrash(services, TENANT, [uids], { kind: 'deleted', reason: 'wrong', by: 'admin' });
  }
  const over = { partition: '_system|over', sort: 'one' };
  await index.write(putExpiring(clock, over, { item: {}, expiresAt: clock.now() }));
  clock.advance(limits.trashMs + 1);
  const remove = blobs.delete.bind(blobs);
  vi.spyOn(blobs, 'delete').mockImplementation(async (key) => {
    if (key.includes(uid(102))) throw new Error('the disk says no');
    await remove(key);
  });
  await expect(sweep(services, TENANT)).rejects.toThrow('the disk says no');
  expect((await listTrash(services, TENANT, '', 10)).items).toMatchObject([{ StudyInstanceUID: uid(2) }]);
  expect(await index.get(over)).toBeUndefined();
});
