import { expect, test, vi } from 'vitest';
import { rebuildIndex } from '#core/archive/rebuild.ts';
import { FINISH_REMOVAL, moveToTrash } from '#core/archive/remove.ts';
import { restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { listTrash } from '#core/archive/trash.ts';
import { ARCHIVE_JOBS } from '#core/jobs.ts';
import type { Services } from '#core/services.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, studyRecord, TENANT } from '#test/fixtures/services.ts';

const STUDY = { StudyInstanceUID: uid(1) };
const instances = async (services: Services): Promise<number> =>
  (await studyRecord(services, uid(1)))?.instanceCount ?? 0;

/** The entry was being restored for ever: part of the study stayed hidden until somebody asked again, and a rebuild hid the rest. */
test('a restore whose process died is finished by the queue', async () => {
  const services = memoryServices();
  for (const number of [10, 11, 12])
    await store(services, buildDicom({ ...STUDY, SeriesInstanceUID: uid(2), SOPInstanceUID: uid(number) }));
  const trash = await moveToTrash(services, TENANT, [STUDY], { kind: 'deleted', reason: 'wrong', by: 'admin' });

  const { commits } = services;
  const commit = commits.commit.bind(commits);
  let committed = 0;
  const spy = vi
    .spyOn(commits, 'commit')
    .mockImplementation((prepared) =>
      committed === 1 ? new Promise(() => {}) : commit(prepared).finally(() => committed++),
    );
  void restoreFromTrash(services, TENANT, trash.id);
  await vi.waitFor(() => expect(spy).toHaveBeenCalledTimes(2));
  spy.mockRestore();
  expect(await instances(services)).toBe(1);

  services.clock.advance(10 * 60_000);
  const jobs = await services.jobs.receive(FINISH_REMOVAL, { max: 10, visibilityMs: 60_000, maxAttempts: 10 });
  for (const { payload } of jobs) await ARCHIVE_JOBS[FINISH_REMOVAL](services, payload);
  expect(await instances(services)).toBe(3);
  expect((await listTrash(services, TENANT, '', 10)).items).toEqual([]);
  const fresh = memoryServices({ ports: { blobs: services.blobs } });
  expect(await rebuildIndex(fresh, TENANT)).toMatchObject({ instances: 3, trashed: 0, failed: [] });
});
