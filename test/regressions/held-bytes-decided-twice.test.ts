import { describe, expect, test, vi } from 'vitest';
import { discardHeld, listHeld, replaceByHeld } from '#core/archive/quarantine.ts';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { sweep } from '#core/archive/sweep.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import { asRecord } from '#core/ports/index-table.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const INSTANCE = { StudyInstanceUID: uid(1), SeriesInstanceUID: uid(2), SOPInstanceUID: uid(3) };
const KEY = keys.instance(TENANT, INSTANCE.StudyInstanceUID, INSTANCE.SeriesInstanceUID, INSTANCE.SOPInstanceUID);
const WHO = { by: 'admin', reason: 'the right one' };

/** Bytes that wait in quarantine, under a UID that nobody owns any more. */
async function withoutOwner() {
  const services = memoryServices();
  await store(services, buildDicom({ ...INSTANCE, ImageComments: 'first' }));
  await store(services, buildDicom({ ...INSTANCE, ImageComments: 'second' }));
  await moveToTrash(services, TENANT, [INSTANCE], { kind: 'deleted', reason: 'wrong', by: 'admin' });
  const [held] = (await listHeld(services, TENANT, '', 10)).items;
  /** When all that is in the trash has been purged. */
  const isIntact = async (): Promise<boolean> => {
    services.clock.advance(services.limits.trashMs + 1);
    await sweep(services, TENANT);
    const current = asRecord<InstanceRecord>((await services.index.get(KEY))!);
    expect(await verifyArchive(services, TENANT)).toMatchObject({ damaged: [], orphans: [], miscounted: [] });
    return current.sha256 === held!.sha256;
  };
  return { services, id: held!.id, isIntact };
}

/** The bytes were current and in the trash at once, and the purge took what everybody was reading. */
describe('held bytes about which two decide, of which one makes them current', () => {
  test.each([
    ['accept', replaceByHeld],
    ['discard', discardHeld],
  ] as const)('at the same moment: accept and %s', async (_, decide) => {
    const { services, id, isIntact } = await withoutOwner();
    const { commits } = services;
    const commit = commits.commit.bind(commits);
    let other: Promise<unknown> | undefined;
    // The other one comes when the first has made them current, and has not gone on.
    vi.spyOn(commits, 'commit').mockImplementation(async (prepared) => {
      const outcome = await commit(prepared);
      other ??= Promise.resolve(decide(services, TENANT, id, WHO)).catch(() => undefined);
      await other;
      return outcome;
    });
    await replaceByHeld(services, TENANT, id, WHO);
    expect(other).toBeDefined();
    expect((await listHeld(services, TENANT, '', 10)).items).toEqual([]);
    expect(await isIntact()).toBe(true);
  });

  test('discarded between the look at the UID and the commit, they do not become current', async () => {
    const { services, id } = await withoutOwner();
    const { commits } = services;
    const commit = commits.commit.bind(commits);
    vi.spyOn(commits, 'commit').mockImplementationOnce(async (prepared) => {
      await discardHeld(services, TENANT, id, WHO);
      return commit(prepared);
    });
    await expect(replaceByHeld(services, TENANT, id, WHO)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await services.index.get(KEY)).toBeUndefined();
  });

  test('what lies in the trash besides, by a decision of before, is not purged', async () => {
    const { services, id, isIntact } = await withoutOwner();
    await replaceByHeld(services, TENANT, id, WHO);
    const item = (await services.index.get(KEY))!;
    const [trash] = (await services.index.query({ partition: keys.trash(TENANT, '').partition, limit: 1 })).records;
    const key = keys.trashed(TENANT, trash!.sort, INSTANCE.SOPInstanceUID, item.version as string);
    await services.index.write([{ kind: 'put', key, item }]);
    expect(await isIntact()).toBe(true);
  });
});
