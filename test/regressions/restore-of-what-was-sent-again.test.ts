import { expect, test, vi } from 'vitest';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { FINISH_REMOVAL, moveToTrash } from '#core/archive/remove.ts';
import { restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { sweep } from '#core/archive/sweep.ts';
import { listTrash } from '#core/archive/trash.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import { ARCHIVE_JOBS } from '#core/jobs.ts';
import { asRecord } from '#core/ports/index-table.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, studyRecord, TENANT } from '#test/fixtures/services.ts';

const STUDY = { StudyInstanceUID: uid(1) };
const image = (number: number) =>
  buildDicom({ ...STUDY, SeriesInstanceUID: uid(2), SOPInstanceUID: uid(number), ImageComments: `${number}` });

/**
 * A copy in the trash that had been sent again is removed while its study is restored. The process died right then; whoever went on read the
 * removed bytes first, failed, and never came to what lies behind it: it stayed hidden, and the entry could be neither restored nor purged.
 */
test('a restore that died when it had removed what was sent again is finished by the queue', async () => {
  const services = memoryServices();
  const { index, blobs, clock } = services;
  for (const number of [10, 11, 12]) await store(services, image(number));
  const first = asRecord<InstanceRecord>((await index.get(keys.instance(TENANT, uid(1), uid(2), uid(10))))!);
  const trash = await moveToTrash(services, TENANT, [STUDY], { kind: 'deleted', reason: 'wrong', by: 'admin' });
  await store(services, image(10));

  const remove = blobs.delete.bind(blobs);
  const spy = vi.spyOn(blobs, 'delete').mockImplementation(async (key) => {
    await remove(key);
    if (key === first.blobKey) await new Promise(() => {});
  });
  void restoreFromTrash(services, TENANT, trash.id);
  await vi.waitFor(async () => expect(await blobs.head(first.blobKey)).toBeUndefined());
  spy.mockRestore();

  clock.advance(10 * 60_000);
  for (const { payload } of await services.jobs.receive(FINISH_REMOVAL, { max: 10, visibilityMs: 60_000 }))
    await ARCHIVE_JOBS[FINISH_REMOVAL](services, payload);
  expect((await studyRecord(services, uid(1)))?.instanceCount).toBe(3);
  expect((await listTrash(services, TENANT, '', 10)).items).toEqual([]);
  await sweep(services, TENANT, 0);
  expect(await verifyArchive(services, TENANT)).toMatchObject({ intact: 3, damaged: [], orphans: [], miscounted: [] });
  expect((await index.query({ partition: `${TENANT}|pending`, limit: 1 })).records).toEqual([]);
});
