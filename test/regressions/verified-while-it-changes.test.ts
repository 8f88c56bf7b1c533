import { expect, test, vi } from 'vitest';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { sweep } from '#core/archive/sweep.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import { asRecord } from '#core/ports/index-table.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const instance = (number: number) => ({
  StudyInstanceUID: uid(1),
  SeriesInstanceUID: uid(2),
  SOPInstanceUID: uid(10 + number),
});
const DELETED = { kind: 'deleted', reason: 'wrong', by: 'admin' } as const;
const TRASH = keys.trash(TENANT, '').partition;

/** Does something when the trash is looked at for the first time, behind all studies. */
function atTheTrash({ index }: ReturnType<typeof memoryServices>, meanwhile: () => Promise<unknown>): void {
  const query = index.query.bind(index);
  let isFirst = true;
  vi.spyOn(index, 'query').mockImplementation(async (range) => {
    if (isFirst && range.partition === TRASH) {
      isFirst = false;
      await meanwhile();
    }
    return query(range);
  });
}

test('what is stored or restored while the archive is verified is no orphan', async () => {
  const services = memoryServices();
  await store(services, buildDicom(instance(0)));
  const trash = await moveToTrash(services, TENANT, [instance(0)], DELETED);
  atTheTrash(services, async () => {
    await restoreFromTrash(services, TENANT, trash.id);
    await store(services, buildDicom(instance(1)));
  });
  expect(await verifyArchive(services, TENANT)).toMatchObject({ damaged: [], orphans: [] });
});

test('versions of an object that was removed are no orphans', async () => {
  const services = memoryServices({ policy: { conflict: 'version' } });
  await store(services, buildDicom(instance(0)));
  await store(services, buildDicom({ ...instance(0), ImageComments: 'corrected' }));
  await moveToTrash(services, TENANT, [instance(0)], DELETED);
  expect(await verifyArchive(services, TENANT)).toMatchObject({ damaged: [], orphans: [] });
});

test('what is purged while it is about to be read is not missing', async () => {
  const services = memoryServices();
  await store(services, buildDicom(instance(0)));
  await moveToTrash(services, TENANT, [instance(0)], DELETED);
  const { blobs } = services;
  const read = blobs.read.bind(blobs);
  vi.spyOn(blobs, 'read').mockImplementationOnce(async function* (key, range) {
    services.clock.advance(services.limits.trashMs + 1);
    expect((await sweep(services, TENANT)).purged).toBe(1);
    yield* read(key, range);
  });
  expect(await verifyArchive(services, TENANT)).toMatchObject({ damaged: [], orphans: [] });
});

test('what nobody knows, and what is gone, is reported still', async () => {
  const services = memoryServices();
  const { blobs, index } = services;
  for (const number of [0, 1]) await store(services, buildDicom(instance(number)));
  const [lost, unknown] = await Promise.all(
    [0, 1].map(async (number) => {
      const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = instance(number);
      return asRecord<InstanceRecord>(
        (await index.get(keys.instance(TENANT, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID)))!,
      );
    }),
  );
  await blobs.delete(lost!.blobKey);
  await index.write([{ kind: 'delete', key: keys.instance(TENANT, uid(1), uid(2), unknown!.SOPInstanceUID) }]);
  const { damaged, orphans } = await verifyArchive(services, TENANT);
  expect(damaged.map(({ blobKey, problem }) => [blobKey, problem])).toEqual([[lost!.blobKey, 'missing']]);
  expect(orphans).toEqual([unknown!.blobKey]);
});

test('a copy that was sent again before it was restored leaves no bytes behind', async () => {
  const services = memoryServices();
  await store(services, buildDicom(instance(0)));
  const trash = await moveToTrash(services, TENANT, [instance(0)], DELETED);
  await store(services, buildDicom(instance(0)));
  expect(await restoreFromTrash(services, TENANT, trash.id)).toEqual({ restored: 1, conflicting: 0 });
  expect(await verifyArchive(services, TENANT)).toMatchObject({ intact: 1, damaged: [], orphans: [], miscounted: [] });
});
