import { describe, expect, test } from 'vitest';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { sweep } from '#core/archive/sweep.ts';
import { listTrash } from '#core/archive/trash.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import { asRecord } from '#core/ports/index-table.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, studyRecord, TENANT } from '#test/fixtures/services.ts';

const STUDY = { StudyInstanceUID: uid(1) };
const bytes = buildDicom({ ...STUDY, ImageComments: 'as it was sent' });

/** An object that was deleted, and sent again: one copy lies in the trash, the other one is visible. */
async function twice(packed: boolean) {
  const services = memoryServices({ packed });
  const visible = async () =>
    asRecord<InstanceRecord>((await services.index.get(keys.instance(TENANT, uid(1), uid(2), uid(3))))!);
  await store(services, bytes);
  const { blobKey: trashed } = await visible();
  const { id } = await moveToTrash(services, TENANT, [STUDY], { kind: 'deleted', reason: 'wrong', by: 'admin' });
  await store(services, bytes);
  const spoil = async (blobKey: string, how: 'altered' | 'missing') => {
    await services.blobs.delete(blobKey);
    if (how === 'altered') await services.blobs.put(blobKey, bytes.with(bytes.length - 1, 1));
  };
  return { services, visible, trashed, id, spoil };
}

/**
 * A restore lets go of its own copy where the same bytes have been sent again. It did not ask whether those were still what had been received: the disk had
 * spoiled them, and the copy that was removed was the last good one.
 */
describe.each([true, false])('with small objects packed: %s', (packed) => {
  test.each(['altered', 'missing'] as const)('a copy in the trash takes the place of one that is %s', async (how) => {
    const { services, visible, trashed, id, spoil } = await twice(packed);
    const { blobKey: spoiled } = await visible();
    await spoil(spoiled, how);
    expect(await restoreFromTrash(services, TENANT, id)).toEqual({ restored: 1, conflicting: 0 });
    const { blobKey } = await visible();
    expect(blobKey).toBe(trashed);
    expect(Buffer.from(await services.blobs.readBytes(blobKey)).equals(bytes)).toBe(true);
    expect(await services.blobs.head(spoiled)).toBeUndefined();
    expect((await studyRecord(services, uid(1)))?.instanceCount).toBe(1);
    expect((await listTrash(services, TENANT, '', 10)).items).toEqual([]);
    await sweep(services, TENANT, 0);
    expect(await verifyArchive(services, TENANT)).toMatchObject({
      intact: 1,
      damaged: [],
      orphans: [],
      miscounted: [],
    });
  });
});

test('where both are spoiled, both stay, and the restore says so', async () => {
  const { services, visible, trashed, id, spoil } = await twice(true);
  const { blobKey } = await visible();
  await spoil(blobKey, 'altered');
  await spoil(trashed, 'altered');
  await expect(restoreFromTrash(services, TENANT, id)).rejects.toMatchObject({ code: 'CONFLICT' });
  expect(await services.blobs.head(blobKey)).toBeDefined();
  expect(await services.blobs.head(trashed)).toBeDefined();
  expect((await listTrash(services, TENANT, '', 10)).items).toHaveLength(1);
});

test('a visible copy on slow media is left there', async () => {
  const { services, visible, trashed, id } = await twice(false);
  const { blobKey } = await visible();
  services.blobs.archive(blobKey);
  expect(await restoreFromTrash(services, TENANT, id)).toEqual({ restored: 1, conflicting: 0 });
  expect((await visible()).blobKey).toBe(blobKey);
  expect(await services.blobs.head(trashed)).toBeUndefined();
});
