import { expect, test, vi } from 'vitest';
import { evictInstances } from '#core/archive/evict.ts';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import { asRecord, type WriteOperation } from '#core/ports/index-table.ts';
import type { Policy, Services } from '#core/services.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const INSTANCE = { StudyInstanceUID: uid(1), SeriesInstanceUID: uid(2), SOPInstanceUID: uid(3) };
const ELSEWHERE = { StudyInstanceUID: uid(4), SeriesInstanceUID: uid(5), SOPInstanceUID: uid(3) };
const DELETED = { kind: 'deleted', reason: 'wrong', by: 'admin' } as const;
const CLAIM = keys.sop(TENANT, uid(3));
const keyOf = (one: typeof INSTANCE) =>
  keys.instance(TENANT, one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID);

const changesClaim = (operations: readonly WriteOperation[]): boolean =>
  operations.some(
    (one) =>
      (one.kind === 'put' || one.kind === 'delete') &&
      one.key.partition === CLAIM.partition &&
      typeof one.if === 'object',
  );

/** An object, and what happens between the look at who owns its UID and the write that changes it: it is deleted, and another is stored under its UID. */
async function anObject(other: typeof INSTANCE, policy: Partial<Policy> = {}) {
  const services = memoryServices({ policy });
  await store(services, buildDicom({ ...INSTANCE, ImageComments: 'first' }));
  const first = asRecord<InstanceRecord>((await services.index.get(keyOf(INSTANCE)))!);
  const { index } = services;
  const write = index.write.bind(index);
  let isFirst = true;
  const spy = vi.spyOn(index, 'write').mockImplementation(async (operations) => {
    if (isFirst && changesClaim(operations)) {
      isFirst = false;
      await moveToTrash(services, TENANT, [INSTANCE], DELETED);
      await store(services, buildDicom({ ...other, ImageComments: 'second' }));
    }
    return write(operations);
  });
  const done = (): void => {
    expect(isFirst).toBe(false);
    spy.mockRestore();
  };
  return { services, first, done };
}

async function expectSound(services: Services): Promise<void> {
  expect(await verifyArchive(services, TENANT)).toMatchObject({ damaged: [], orphans: [], miscounted: [] });
}

/** Each owner's lock began at 1: whoever had looked before took the second owner for the first, and removed its record without putting it anywhere. */
test.each([
  ['removed', (services: Services) => moveToTrash(services, TENANT, [INSTANCE], DELETED)],
  ['evicted', (services: Services, first: InstanceRecord) => evictInstances(services, TENANT, [first])],
])('an object that is stored while its forerunner is being %s stays', async (_, remove) => {
  const { services, first, done } = await anObject(INSTANCE);
  await remove(services, first);
  done();
  const current = await services.index.get(keyOf(INSTANCE));
  expect(current?.version).not.toBe(first.version);
  expect((await services.index.get(CLAIM))?.instanceVersion).toBe(current?.version);
  expect(current).toBeDefined();
  await expectSound(services);
});

test.each(['version', 'replace'] as const)(
  'an object that takes the place of one which went, and came again elsewhere, is the only one under its UID (%s)',
  async (conflict) => {
    const { services, done } = await anObject(ELSEWHERE, { conflict });
    await store(services, buildDicom({ ...INSTANCE, ImageComments: 'third' }));
    done();
    const found = await Promise.all([INSTANCE, ELSEWHERE].map((one) => services.index.get(keyOf(one))));
    expect(found.filter((one) => one !== undefined)).toHaveLength(1);
    expect((await services.index.get(CLAIM))?.instanceVersion).toBe(found[0]?.version);
    await expectSound(services);
  },
);
