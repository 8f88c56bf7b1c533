import { describe, expect, test, vi } from 'vitest';
import { rebuildIndex } from '#core/archive/rebuild.ts';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { finishRemoval, moveToTrash } from '#core/archive/remove.ts';
import { restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { sweep } from '#core/archive/sweep.ts';
import { listTrash } from '#core/archive/trash.ts';
import { trashedInstances } from '#core/archive/trashed.ts';
import { PacsError } from '#core/errors.ts';
import { asRecord } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const STUDY = { StudyInstanceUID: uid(1) };
const instance = (number: number) => ({ ...STUDY, SeriesInstanceUID: uid(2), SOPInstanceUID: uid(10 + number) });
const DELETED = { kind: 'deleted', reason: 'wrong', by: 'admin' } as const;

async function aStudyOf(instances: number): Promise<ReturnType<typeof memoryServices>> {
  const services = memoryServices();
  for (let number = 0; number < instances; number++) await store(services, buildDicom(instance(number)));
  return services;
}

/** of the visible instances, after a rebuild of the index */
async function visibleAfterRebuild({ blobs }: Services): Promise<string[]> {
  const fresh = memoryServices({ ports: { blobs } });
  await rebuildIndex(fresh, TENANT);
  return visibleIn(fresh);
}

async function visibleIn({ index }: Services): Promise<string[]> {
  const { partition } = keys.instance(TENANT, uid(1), uid(2), '');
  const { records } = await index.query({ partition, limit: 100 });
  return records.map(({ item }) => asRecord<InstanceRecord>(item).SOPInstanceUID);
}

/** What was noted beside the bytes was followed by a rebuild, though the instances were where they had been, or back there; the purge then took them. */
describe('a rebuild does not hide', () => {
  test('what the index could not be told to remove', async () => {
    const services = await aStudyOf(2);
    const write = services.index.write.bind(services.index);
    const spy = vi.spyOn(services.index, 'write').mockImplementation((operations) => {
      const isRemoval = operations.some(
        ({ kind, ...one }) => kind === 'put' && 'item' in one && one.item.kind === 'deleted',
      );
      if (isRemoval) throw new PacsError('OUT_OF_SPACE', 'the disk takes no more of the index');
      return write(operations);
    });
    await expect(moveToTrash(services, TENANT, [STUDY], DELETED)).rejects.toMatchObject({ code: 'OUT_OF_SPACE' });
    spy.mockRestore();
    expect(await visibleIn(services)).toHaveLength(2);
    expect(await visibleAfterRebuild(services)).toHaveLength(2);
  });

  test('what two removed at once, and was restored', async () => {
    const services = await aStudyOf(2);
    const write = services.index.write.bind(services.index);
    let isFirst = true;
    vi.spyOn(services.index, 'write').mockImplementation(async (operations) => {
      const moves = operations.some(
        ({ kind, ...one }) => kind === 'put' && 'key' in one && one.key.partition.includes('|trashed|'),
      );
      if (moves && isFirst) {
        isFirst = false;
        await moveToTrash(services, TENANT, [STUDY], DELETED);
      }
      return write(operations);
    });
    await moveToTrash(services, TENANT, [STUDY], DELETED);
    const both = (await listTrash(services, TENANT, '', 10)).items;
    expect(both).toHaveLength(2);
    let restored = 0;
    // A person brings back the one that has something in it; the other is as it was.
    for (const { id } of both) {
      const held = await Array.fromAsync(trashedInstances(services, TENANT, id));
      if (held.length > 0) ({ restored } = await restoreFromTrash(services, TENANT, id));
    }
    expect(restored).toBe(2);
    expect(await visibleAfterRebuild(services)).toHaveLength(2);
  });

  test('what was restored where other bytes had taken the place of the rest', async () => {
    const services = await aStudyOf(2);
    const trash = await moveToTrash(services, TENANT, [STUDY], DELETED);
    await store(services, buildDicom({ ...instance(0), ImageComments: 'other bytes' }));
    expect(await restoreFromTrash(services, TENANT, trash.id)).toEqual({ restored: 1, conflicting: 1 });
    expect(await visibleAfterRebuild(services)).toHaveLength(2);
  });
});

test('a removal that was cut off before its note was made is finished, and noted', async () => {
  const services = await aStudyOf(2);
  const put = services.blobs.put.bind(services.blobs);
  let isCutOff = false;
  const spy = vi.spyOn(services.blobs, 'put').mockImplementation((key, ...rest) => {
    if (!key.includes('/_manifests/trash.')) return put(key, ...rest);
    isCutOff = true;
    return new Promise(() => {});
  });
  void moveToTrash(services, TENANT, [STUDY], DELETED);
  await vi.waitFor(() => expect(isCutOff).toBe(true));
  spy.mockRestore();
  const [trash] = (await listTrash(services, TENANT, '', 10)).items;
  expect(await visibleAfterRebuild(services)).toHaveLength(2);
  await finishRemoval(services, TENANT, trash!.id);
  expect(await visibleIn(services)).toEqual([]);
  expect(await visibleAfterRebuild(services)).toEqual([]);
});

test('a removal whose note cannot be made leaves everything as it was', async () => {
  const services = await aStudyOf(2);
  const put = services.blobs.put.bind(services.blobs);
  const spy = vi.spyOn(services.blobs, 'put').mockImplementation((key, ...rest) => {
    if (key.includes('/_manifests/trash.')) throw new PacsError('OUT_OF_SPACE', 'the disk takes no more objects');
    return put(key, ...rest);
  });
  await expect(moveToTrash(services, TENANT, [STUDY], DELETED)).rejects.toMatchObject({ code: 'OUT_OF_SPACE' });
  spy.mockRestore();
  expect(await visibleIn(services)).toHaveLength(2);
  expect((await listTrash(services, TENANT, '', 10)).items).toEqual([]);
  expect((await moveToTrash(services, TENANT, [STUDY], DELETED)).state).toBe('complete');
});

test('what a rebuild puts into the trash stays there for all its time', async () => {
  const services = await aStudyOf(1);
  const trash = await moveToTrash(services, TENANT, [STUDY], DELETED);
  const fresh = memoryServices({ ports: { blobs: services.blobs } });
  fresh.clock.advance(services.limits.trashMs * 2);
  await rebuildIndex(fresh, TENANT);
  expect((await sweep(fresh, TENANT)).purged).toBe(0);
  expect(await restoreFromTrash(fresh, TENANT, trash.id)).toEqual({ restored: 1, conflicting: 0 });
  expect(await visibleIn(fresh)).toHaveLength(1);
});
