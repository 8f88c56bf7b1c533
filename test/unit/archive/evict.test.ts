import { describe, expect, test } from 'vitest';
import { evictedInstances, evictInstances } from '#core/archive/evict.ts';
import { readFeed } from '#core/archive/feed.ts';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { selectedInstances } from '#core/archive/remove.ts';
import { sweep } from '#core/archive/sweep.ts';
import { listTrash } from '#core/archive/trash.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import type { Services } from '#core/services.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, studyRecord, TENANT } from '#test/fixtures/services.ts';

const slice = (n: number, more: object = {}): Uint8Array =>
  buildDicom({ SOPInstanceUID: uid(100 + n), InstanceNumber: n, ...more });
const instances = (services: Services): Promise<InstanceRecord[]> =>
  Array.fromAsync(selectedInstances(services, TENANT, [{ StudyInstanceUID: uid(1) }]));
const blobs = async (services: Services): Promise<string[]> =>
  (await Array.fromAsync(services.blobs.list(`${TENANT}/`)))
    .map(({ key }) => key)
    .filter((key) => key.endsWith('.dcm'));
const stored = async (count: number) => {
  const services = memoryServices();
  for (let n = 1; n <= count; n++) await store(services, slice(n, n > 30 ? { SeriesInstanceUID: uid(7) } : {}));
  return services;
};

describe('letting go of a copy that another archive holds', () => {
  test('its bytes and records go, without trash and without an event', async () => {
    const services = await stored(40);
    const before = (await readFeed(services.index, TENANT, '', 1_000)).events.length;
    const all = await instances(services);
    expect(await evictInstances(services, TENANT, all)).toEqual({
      instances: 40,
      bytes: all.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    });
    expect(await studyRecord(services, uid(1))).toBeUndefined();
    expect(await blobs(services)).toEqual([]);
    expect((await readFeed(services.index, TENANT, '', 1_000)).events).toHaveLength(before);
    expect((await listTrash(services, TENANT, '', 10)).items).toEqual([]);
    expect(await verifyArchive(services, TENANT)).toMatchObject({ intact: 0, orphans: [], miscounted: [] });
  });

  test('a part of a study may go; what stays is counted right', async () => {
    const services = await stored(40);
    const all = await instances(services);
    await evictInstances(services, TENANT, all.slice(0, 35));
    expect(await studyRecord(services, uid(1))).toMatchObject({ instanceCount: 5, modalities: { CT: 5 } });
    expect(await verifyArchive(services, TENANT)).toMatchObject({
      intact: 5,
      damaged: [],
      orphans: [],
      miscounted: [],
    });
  });

  test('one remembers what was evicted until it is back', async () => {
    const services = await stored(3);
    const all = await instances(services);
    await evictInstances(services, TENANT, all);
    const known = await Array.fromAsync(evictedInstances(services, TENANT, uid(1)));
    expect(known.map(({ SOPInstanceUID, sha256 }) => [SOPInstanceUID, sha256])).toEqual(
      all.map(({ SOPInstanceUID, sha256 }) => [SOPInstanceUID, sha256]),
    );
    expect(await store(services, slice(2))).toMatchObject({ kind: 'stored' });
    expect(await Array.fromAsync(evictedInstances(services, TENANT, uid(1)))).toHaveLength(2);
    expect(await studyRecord(services, uid(1))).toMatchObject({ instanceCount: 1 });
  });

  test('evicting twice, and at once, is evicting once', async () => {
    const services = await stored(25);
    const all = await instances(services);
    const outcomes = await Promise.all([evictInstances(services, TENANT, all), evictInstances(services, TENANT, all)]);
    expect(outcomes.reduce((sum, one) => sum + one.instances, 0)).toBe(25);
    expect(await studyRecord(services, uid(1))).toBeUndefined();
    expect((await evictInstances(services, TENANT, all)).instances).toBe(0);
  });

  test('an instance whose bytes changed since it was looked at stays', async () => {
    const services = memoryServices({ policy: { conflict: 'replace' } });
    await store(services, slice(1));
    const looked = await instances(services);
    expect(await store(services, slice(1, { PatientName: 'Roe^Richard' }))).toMatchObject({ kind: 'replaced' });
    expect((await evictInstances(services, TENANT, looked)).instances).toBe(0);
    const [current] = await instances(services);
    expect(await services.blobs.head(current!.blobKey)).toBeDefined();
  });

  test('an eviction that died before its bytes were gone is finished by the sweep', async () => {
    const services = await stored(5);
    const remove = services.blobs.delete.bind(services.blobs);
    services.blobs.delete = () => Promise.reject(new Error('killed'));
    await expect(evictInstances(services, TENANT, await instances(services))).rejects.toThrow('killed');
    services.blobs.delete = remove;
    expect(await instances(services)).toEqual([]);
    expect(await blobs(services)).toHaveLength(5);
    await sweep(services, TENANT);
    expect(await blobs(services)).toEqual([]);
    const { partition } = keys.evicting(TENANT, '');
    expect((await services.index.query({ partition, limit: 10 })).records).toEqual([]);
  });
});
