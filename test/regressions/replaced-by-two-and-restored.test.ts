import { expect, test, vi } from 'vitest';
import { rebuildIndex } from '#core/archive/rebuild.ts';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { listTrash } from '#core/archive/trash.ts';
import { trashedInstances } from '#core/archive/trashed.ts';
import { asRecord } from '#core/ports/index-table.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const INSTANCE = { StudyInstanceUID: uid(1), SeriesInstanceUID: uid(2), SOPInstanceUID: uid(3) };
const object = (comment: string): Uint8Array => buildDicom({ ...INSTANCE, ImageComments: comment });

/** A replacement that another one came before had noted its decision already: a rebuild followed it, though nobody had replaced anything by it. */
test('what was restored from the trash stays where it is in a rebuild, when two have replaced it at once', async () => {
  const services = memoryServices({ policy: { conflict: 'replace' } });
  const { index } = services;
  const key = keys.instance(TENANT, INSTANCE.StudyInstanceUID, INSTANCE.SeriesInstanceUID, INSTANCE.SOPInstanceUID);
  await store(services, object('first'));
  const first = asRecord<InstanceRecord>((await index.get(key))!);

  const write = index.write.bind(index);
  let isFirst = true;
  vi.spyOn(index, 'write').mockImplementation(async (operations) => {
    const replaces = operations.some((one) => one.kind === 'put' && one.item.kind === 'replaced');
    if (replaces && isFirst) {
      isFirst = false;
      await store(services, object('second'));
    }
    return write(operations);
  });
  await store(services, object('third'));
  expect(isFirst).toBe(false);
  const trashed = (await listTrash(services, TENANT, '', 10)).items;
  expect(trashed).toHaveLength(2);

  // A person wants the first back.
  await moveToTrash(services, TENANT, [INSTANCE], { kind: 'deleted', reason: 'wrong', by: 'admin' });
  for (const { id } of trashed)
    for await (const { instance } of trashedInstances(services, TENANT, id))
      if (instance.version === first.version) await restoreFromTrash(services, TENANT, id);
  const current = asRecord<InstanceRecord>((await index.get(key))!);
  expect(current.sha256).toBe(first.sha256);

  const fresh = memoryServices({ ports: { blobs: services.blobs } });
  expect(await rebuildIndex(fresh, TENANT)).toMatchObject({ instances: 1, trashed: 2, failed: [] });
  expect(asRecord<InstanceRecord>((await fresh.index.get(key))!).sha256).toBe(first.sha256);
});
