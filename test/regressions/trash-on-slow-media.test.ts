import { expect, test } from 'vitest';
import { rebuildIndex } from '#core/archive/rebuild.ts';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { FINISH_REMOVAL, moveToTrash } from '#core/archive/remove.ts';
import { restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { listTrash } from '#core/archive/trash.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import { ARCHIVE_JOBS } from '#core/jobs.ts';
import { asRecord } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, studyRecord, TENANT } from '#test/fixtures/services.ts';

const STUDY = { StudyInstanceUID: uid(1) };
const image = (number: number, ImageComments = '') =>
  buildDicom({ ...STUDY, SeriesInstanceUID: uid(2), SOPInstanceUID: uid(number), ImageComments });

async function work(services: Services): Promise<void> {
  for (const job of await services.jobs.receive(FINISH_REMOVAL, { max: 10, visibilityMs: 60_000 })) {
    await ARCHIVE_JOBS[FINISH_REMOVAL](services, job.payload);
    await services.jobs.complete(FINISH_REMOVAL, job);
  }
}

/**
 * Nobody asked the store for what lay in the trash on slow media: a restore failed each time, at the first of its objects, until the queue had
 * given it up; and an entry that is being restored is never shown again.
 */
test('what was deleted on slow media is restored as soon as the store has brought it back', async () => {
  const services = memoryServices();
  for (const number of [10, 11, 12]) await store(services, image(number));
  const { id } = await moveToTrash(services, TENANT, [STUDY], { kind: 'deleted', reason: 'wrong', by: 'admin' });
  services.blobs.archive(`${TENANT}/${uid(1)}/${uid(2)}/${uid(10)}`);

  await expect(restoreFromTrash(services, TENANT, id)).rejects.toMatchObject({
    code: 'ARCHIVED',
    details: { retryAfterSeconds: services.limits.restorePollMs / 1000 },
  });
  expect((await studyRecord(services, uid(1)))?.instanceCount).toBe(2);
  const rebuilt = memoryServices({ ports: { blobs: services.blobs } });
  expect(await rebuildIndex(rebuilt, TENANT)).toMatchObject({ instances: 2 });
  services.clock.advance(10 * 60_000);
  await work(services);
  services.blobs.finishRestores();
  services.clock.advance(services.limits.restorePollMs);
  await work(services);
  expect((await studyRecord(services, uid(1)))?.instanceCount).toBe(3);
  expect((await listTrash(services, TENANT, '', 10)).items).toEqual([]);
  expect(await verifyArchive(services, TENANT)).toMatchObject({ intact: 3, damaged: [], orphans: [], miscounted: [] });
});

/** To say in what they differ, both were read; so nothing was stored at all where one lay on slow media, however often it was sent. */
test('an object whose UID is that of one on slow media waits in quarantine', async () => {
  const services = memoryServices();
  await store(services, image(10, 'first'));
  services.blobs.archive(`${TENANT}/`);
  expect(await store(services, image(10, 'other'))).toMatchObject({ kind: 'held', held: { kind: 'otherPixels' } });
  expect(await services.index.get(keys.sop(TENANT, uid(10)))).toBeDefined();
});

/** As in a second region, to which they have not been copied: the restore ended at the first of them, and what lay behind it stayed hidden. */
test('an object whose bytes are missing holds up no other that is restored', async () => {
  const services = memoryServices();
  for (const number of [10, 11, 12]) await store(services, image(number));
  const missing = await services.index.get(keys.instance(TENANT, uid(1), uid(2), uid(10)));
  const { blobKey } = asRecord<InstanceRecord>(missing!);
  const { id } = await moveToTrash(services, TENANT, [STUDY], { kind: 'deleted', reason: 'wrong', by: 'admin' });
  const bytes = await services.blobs.readBytes(blobKey);
  await services.blobs.delete(blobKey);

  await expect(restoreFromTrash(services, TENANT, id)).rejects.toMatchObject({ code: 'CONFLICT' });
  expect((await studyRecord(services, uid(1)))?.instanceCount).toBe(2);
  await services.blobs.put(blobKey, bytes);
  expect(await restoreFromTrash(services, TENANT, id)).toEqual({ restored: 1, conflicting: 0 });
  expect((await studyRecord(services, uid(1)))?.instanceCount).toBe(3);
});
