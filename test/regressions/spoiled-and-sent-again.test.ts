/** The bytes of an object that the disk had spoiled were let go when they were sent again: they were taken for a duplicate of what was no longer there. */
import { describe, expect, test, vi } from 'vitest';
import { damagedObjects } from '#core/archive/damage.ts';
import { checkFixity } from '#core/archive/fixity.ts';
import { rebuildIndex } from '#core/archive/rebuild.ts';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { sweep } from '#core/archive/sweep.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import { newVersion } from '#core/ids.ts';
import { asRecord } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const SOUND = { intact: 2, damaged: [], orphans: [], miscounted: [] };
const bytes = buildDicom({ ImageComments: 'as it was sent' });

/** An archive of two objects, whose check has found that the first one is not as it was. */
async function spoiled(how: 'altered' | 'missing', packed: boolean) {
  const services = memoryServices({ packed });
  await store(services, bytes);
  await store(services, buildDicom({ SOPInstanceUID: uid(4) }));
  const record = async () =>
    asRecord<InstanceRecord>((await services.index.get(keys.instance(TENANT, uid(1), uid(2), uid(3))))!);
  const { blobKey } = await record();
  await services.blobs.delete(blobKey);
  if (how === 'altered') await services.blobs.put(blobKey, bytes.with(bytes.length - 1, 1));
  const verify = () =>
    checkFixity(services, TENANT, { everyMs: 1, bytesPerSecond: 1e12 }, () => {}, new AbortController().signal);
  await verify();
  expect(await Array.fromAsync(damagedObjects(services, TENANT))).toMatchObject([{ problem: how, blobKey }]);
  return { services, record, blobKey, verify };
}

describe.each([true, false])('with small objects packed: %s', (packed) => {
  test.each(['altered', 'missing'] as const)('what was %s is whole when it has been sent again', async (how) => {
    const { services, record, verify } = await spoiled(how, packed);
    expect((await store(services, bytes)).kind).not.toBe('held');
    const { blobKey, sha256 } = await record();
    expect(Buffer.from(await services.blobs.readBytes(blobKey)).equals(bytes)).toBe(true);
    await sweep(services, TENANT, 0);
    expect(await verifyArchive(services, TENANT)).toMatchObject(SOUND);
    services.clock.advance(1_000);
    await verify();
    expect(await Array.fromAsync(damagedObjects(services, TENANT))).toEqual([]);
    expect((await store(services, bytes)).kind).toBe('duplicate');
    const fresh = memoryServices({ ports: { blobs: services.blobs } });
    expect(await rebuildIndex(fresh, TENANT)).toMatchObject({ instances: 2, held: 0, failed: [] });
    expect((await record()).sha256).toBe(sha256);
  });
});

/** What a rebuild read was what had been received, by definition: what the check of all objects had found was forgotten, and nobody was told again. */
describe('an index made anew beside the one before', () => {
  test.each([true, false])('knows what the disk has spoiled, and mends it (packed: %s)', async (packed) => {
    const { services, record, verify } = await spoiled('altered', packed);
    const { blobKey, sha256 } = await record();
    const fresh = memoryServices({ packed, ports: { blobs: services.blobs } });
    const report = await rebuildIndex(fresh, TENANT, () => {}, services.index);
    expect(report).toMatchObject({ instances: 2, held: 0, failed: [], altered: [blobKey] });
    const found = await fresh.index.get(keys.instance(TENANT, uid(1), uid(2), uid(3)));
    expect(asRecord<InstanceRecord>(found!).sha256).toBe(sha256);
    expect((await verifyArchive(fresh, TENANT)).damaged).toMatchObject([{ blobKey, problem: 'altered' }]);
    await verify();
    expect(await Array.fromAsync(damagedObjects(services, TENANT))).toHaveLength(1);
  });

  /** What nobody had found yet: the good copy passed for a duplicate of the spoiled one, which has its SHA-256, and was left to the sweeper. */
  test('puts a good copy that is there besides in its place', async () => {
    const services = memoryServices();
    await store(services, bytes);
    const record = async (of: Services) =>
      asRecord<InstanceRecord>((await of.index.get(keys.instance(TENANT, uid(1), uid(2), uid(3))))!);
    const { blobKey, version } = await record(services);
    await services.blobs.delete(blobKey);
    await services.blobs.put(blobKey, bytes.with(bytes.length - 1, 1));
    services.clock.advance(1_000);
    const copy = blobKey.replace(version, newVersion(services.clock));
    await services.blobs.put(copy, bytes);
    const fresh = memoryServices({ ports: { blobs: services.blobs } });
    const report = await rebuildIndex(fresh, TENANT, () => {}, services.index);
    expect(report).toMatchObject({ instances: 1, held: 0, failed: [], altered: [blobKey] });
    await sweep(fresh, TENANT, 0);
    expect((await record(fresh)).blobKey).toBe(copy);
    expect(await verifyArchive(fresh, TENANT)).toMatchObject({ intact: 1, damaged: [], orphans: [], miscounted: [] });
  });

  test('tells of what lies in the trash, too', async () => {
    const { services, blobKey } = await spoiled('altered', true);
    const why = { kind: 'deleted', reason: 'wrong', by: 'admin' } as const;
    await moveToTrash(services, TENANT, [{ StudyInstanceUID: uid(1) }], why);
    const fresh = memoryServices({ packed: true, ports: { blobs: services.blobs } });
    const report = await rebuildIndex(fresh, TENANT, () => {}, services.index);
    expect(report).toMatchObject({ trashed: 2, failed: [], altered: [blobKey] });
  });
});

test('what is sound again by itself stays where it is', async () => {
  const { services, record, blobKey } = await spoiled('altered', true);
  await services.blobs.delete(blobKey);
  await services.blobs.put(blobKey, bytes);
  expect((await store(services, bytes)).kind).toBe('duplicate');
  expect((await record()).blobKey).toBe(blobKey);
  expect(await Array.fromAsync(damagedObjects(services, TENANT))).toEqual([]);
});

/** An archive that died when the bytes sent again had taken the place of the spoiled ones, and before these were removed. */
async function dead(packed: boolean) {
  const found = await spoiled('altered', packed);
  const { services, blobKey } = found;
  const remove = services.blobs.delete.bind(services.blobs);
  vi.spyOn(services.blobs, 'delete').mockImplementation(async (key) => {
    if (key === blobKey) throw new Error('killed');
    await remove(key);
  });
  expect(await store(services, bytes)).toMatchObject({ kind: 'failed' });
  vi.restoreAllMocks();
  return found;
}

const notesOf = async ({ blobs }: Services): Promise<string[]> =>
  (await Array.fromAsync(blobs.list(`${TENANT}/_manifests/`))).map(({ key }) => key);

test('who dies before the spoiled bytes are removed leaves them to the sweeper', async () => {
  const { services, record, blobKey } = await dead(true);
  expect((await store(services, bytes)).kind).toBe('duplicate');
  await sweep(services, TENANT, 0);
  expect((await record()).blobKey).not.toBe(blobKey);
  expect(await verifyArchive(services, TENANT)).toMatchObject(SOUND);
  expect(await notesOf(services)).toEqual([]);
});

/** The spoiled bytes came first, and the good ones were taken for others under the same UID. */
test.each([true, false])('a rebuild right then takes the good bytes (packed: %s)', async (packed) => {
  const { services } = await dead(packed);
  const fresh = memoryServices({ packed, ports: { blobs: services.blobs } });
  expect(await rebuildIndex(fresh, TENANT)).toMatchObject({ instances: 2, held: 0, failed: [] });
  const record = await fresh.index.get(keys.instance(TENANT, uid(1), uid(2), uid(3)));
  const { blobKey } = asRecord<InstanceRecord>(record!);
  expect(Buffer.from(await fresh.blobs.readBytes(blobKey)).equals(bytes)).toBe(true);
  await sweep(fresh, TENANT, 0);
  expect(await verifyArchive(fresh, TENANT)).toMatchObject(SOUND);
  expect(await notesOf(fresh)).toEqual([]);
});
