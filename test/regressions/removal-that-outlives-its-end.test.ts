import { expect, test, vi } from 'vitest';
import { moveToTrash } from '#core/archive/remove.ts';
import { finishInterrupted, restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { listTrash } from '#core/archive/trash.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import type { WriteOperation } from '#core/ports/index-table.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, studyRecord, TENANT } from '#test/fixtures/services.ts';

const STUDY = { StudyInstanceUID: uid(1) };
const DELETED = { kind: 'deleted', reason: 'wrong', by: 'admin' } as const;

async function aStudy() {
  const services = memoryServices();
  for (const number of [10, 11, 12])
    await store(services, buildDicom({ ...STUDY, SeriesInstanceUID: uid(2), SOPInstanceUID: uid(number) }));
  const { index } = services;
  const write = index.write.bind(index);
  /** Whoever makes the next such write stands still before it; what is returned ends when he has, and lets him go on. */
  const holdUp = (isMeant: (operation: WriteOperation) => boolean) => {
    const [reached, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const spy = vi.spyOn(index, 'write').mockImplementation(async (operations, options) => {
      if (!operations.some(isMeant)) return write(operations, options);
      spy.mockRestore();
      reached.resolve();
      await goOn.promise;
      return write(operations, options);
    });
    return { reached: reached.promise, goOn: goOn.resolve };
  };
  const { blobs, clock, jobs } = services;
  /** what works the queue off: another process */
  const worker = memoryServices({ ports: { index, blobs, clock, jobs } });
  const count = async (): Promise<number> => (await studyRecord(services, uid(1)))?.instanceCount ?? 0;
  return { services, worker, holdUp, count };
}

const isTrashed = (operation: WriteOperation): boolean =>
  operation.kind === 'put' && operation.key.partition.startsWith(`${TENANT}|trashed|`);
const isClaimed = (operation: WriteOperation): boolean =>
  operation.kind === 'put' && operation.key.partition.startsWith(`${TENANT}|sop|`);

/**
 * The queue finishes a removal that takes longer than two minutes. Who had begun it and was only slow went on behind that: what had been restored
 * meanwhile he moved once more, into a trash entry that was gone. Nobody found it, there or anywhere.
 */
test('a slow removal takes nothing away that was restored when the queue had finished it', async () => {
  const { services, worker, holdUp, count } = await aStudy();
  const slow = holdUp(isTrashed);
  const removal = moveToTrash(services, TENANT, [STUDY], DELETED);
  await slow.reached;
  const [trash] = (await listTrash(services, TENANT, '', 10)).items;
  await finishInterrupted(worker, TENANT, trash!.id);
  expect(await restoreFromTrash(worker, TENANT, trash!.id)).toEqual({ restored: 3, conflicting: 0 });
  slow.goOn();
  await removal;
  expect(await count()).toBe(3);
  expect(await verifyArchive(services, TENANT)).toMatchObject({ intact: 3, damaged: [], orphans: [], miscounted: [] });
});

/** The same the other way round: a slow restore brought back what had been deleted again since. */
test('a slow restore brings nothing back that was deleted again when the queue had finished it', async () => {
  const { services, worker, holdUp, count } = await aStudy();
  const { id } = await moveToTrash(services, TENANT, [STUDY], DELETED);
  const slow = holdUp(isClaimed);
  const restore = restoreFromTrash(services, TENANT, id);
  await slow.reached;
  await finishInterrupted(worker, TENANT, id);
  expect(await count()).toBe(3);
  const again = await moveToTrash(worker, TENANT, [STUDY], DELETED);
  slow.goOn();
  await restore;
  expect(await count()).toBe(0);
  expect((await listTrash(services, TENANT, '', 10)).items).toMatchObject([{ id: again.id, instanceCount: 3 }]);
  expect(await verifyArchive(services, TENANT)).toMatchObject({ intact: 3, damaged: [], orphans: [], miscounted: [] });
});

/** A row that was left behind, of what had been sent again, and deleted again, took along the bytes of the other entry. */
test('a slow restore leaves alone the bytes of another entry', async () => {
  const { services, worker, holdUp } = await aStudy();
  const { id } = await moveToTrash(services, TENANT, [STUDY], DELETED);
  const slow = holdUp(isClaimed);
  const restore = restoreFromTrash(services, TENANT, id);
  await slow.reached;
  await finishInterrupted(worker, TENANT, id);
  await moveToTrash(worker, TENANT, [STUDY], DELETED);
  for (const number of [10, 11, 12])
    await store(worker, buildDicom({ ...STUDY, SeriesInstanceUID: uid(2), SOPInstanceUID: uid(number) }));
  slow.goOn();
  await restore;
  expect(await verifyArchive(services, TENANT)).toMatchObject({ intact: 6, damaged: [], orphans: [], miscounted: [] });
});
