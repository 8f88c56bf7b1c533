import { describe, expect, test, vi } from 'vitest';
import { listHeld, replaceByHeld } from '#core/archive/quarantine.ts';
import { rebuildIndex } from '#core/archive/rebuild.ts';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { sweep } from '#core/archive/sweep.ts';
import { asRecord } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const INSTANCE = { StudyInstanceUID: uid(1), SeriesInstanceUID: uid(2), SOPInstanceUID: uid(3) };
const object = (comment: string): Uint8Array => buildDicom({ ...INSTANCE, ImageComments: comment });
const KEY = keys.instance(TENANT, INSTANCE.StudyInstanceUID, INSTANCE.SeriesInstanceUID, INSTANCE.SOPInstanceUID);

const current = async ({ index }: Services): Promise<InstanceRecord> =>
  asRecord<InstanceRecord>((await index.get(KEY))!);

const CLAIM = keys.sop(TENANT, INSTANCE.SOPInstanceUID);

/** The process ends before what makes other bytes current reaches the index. */
async function cutOff(services: Services, replace: () => Promise<unknown>): Promise<void> {
  const { index } = services;
  const write = index.write.bind(index);
  let times = 0;
  const spy = vi.spyOn(index, 'write').mockImplementation((operations) => {
    const replaces = operations.some(
      (one) =>
        one.kind === 'put' &&
        one.key.partition === CLAIM.partition &&
        one.key.sort === CLAIM.sort &&
        one.if !== 'absent',
    );
    if (!replaces) return write(operations);
    times++;
    return new Promise(() => {});
  });
  void replace();
  await vi.waitFor(() => expect(times).toBe(1));
  spy.mockRestore();
}

/** What was noted beside the bytes was followed by a rebuild, though nothing had been replaced; the purge then took the only copy. */
describe('a replacement that was cut off between its note and the index', () => {
  test.each(['replace', 'version'] as const)(
    'is none for a rebuild when its bytes were given up (%s)',
    async (conflict) => {
      const services = memoryServices({ policy: { conflict } });
      await store(services, object('first'));
      const first = await current(services);
      await cutOff(services, () => store(services, object('second')));
      expect((await sweep(services, TENANT, 0)).abandoned).toBe(1);
      expect((await current(services)).sha256).toBe(first.sha256);

      const fresh = memoryServices({ ports: { blobs: services.blobs }, policy: { conflict } });
      const report = await rebuildIndex(fresh, TENANT);
      expect(report).toEqual({ instances: 1, held: 0, trashed: 0, superseded: 0, failed: [], altered: [] });
      expect((await current(fresh)).sha256).toBe(first.sha256);
    },
  );

  test('is none for a rebuild where a person had decided it, and what was held waits still', async () => {
    const services = memoryServices();
    await store(services, object('first'));
    const first = await current(services);
    await store(services, object('second'));
    const [held] = (await listHeld(services, TENANT, '', 10)).items;
    const who = { by: 'admin', reason: 'the right one' };
    await cutOff(services, () => replaceByHeld(services, TENANT, held!.id, who));

    const fresh = memoryServices({ ports: { blobs: services.blobs } });
    expect(await rebuildIndex(fresh, TENANT)).toMatchObject({ instances: 1, held: 1, trashed: 0, failed: [] });
    expect((await current(fresh)).sha256).toBe(first.sha256);
    // decided once more, it is what a rebuild finds
    await replaceByHeld(fresh, TENANT, held!.id, who);
    const second = await current(fresh);
    expect(second.sha256).toBe(held!.sha256);
    const again = memoryServices({ ports: { blobs: services.blobs } });
    expect(await rebuildIndex(again, TENANT)).toMatchObject({ instances: 1, held: 0, failed: [] });
    expect((await current(again)).sha256).toBe(second.sha256);
  });
});
