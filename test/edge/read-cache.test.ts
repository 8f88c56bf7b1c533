import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { readFeed } from '#core/archive/feed.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import { type CacheLimits, evictCache } from '#edge/read/cache.ts';
import { readSideOf } from '#edge/read/read-side.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import {
  cMove,
  cStore,
  eventually,
  forwarded,
  key,
  localInstances,
  putUpstream,
  reportIn,
  requestCommitment,
  type Site,
  sliceOf,
  slices,
  startSite,
  TENANT,
} from './read-site.ts';

let site: Site;
const HOUR = 3_600_000;
const evict = (limits: Partial<CacheLimits>) => {
  const { services } = site.gateway;
  const { knowledge, usage } = readSideOf(site.gateway);
  return evictCache(services, TENANT, knowledge, usage, { cacheBytes: 1e12, cacheAgeMs: 1e12, ...limits });
};
const count = async (study: number): Promise<number> => (await localInstances(site, uid(study))).length;
const bytes = async (study: number): Promise<number> =>
  (await localInstances(site, uid(study))).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
const upstreamEvents = async () => (await readFeed(site.upstream.archive.services.index, TENANT, '', 10_000)).events;

beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site?.close());
beforeEach(async () => {
  site.upstream.refusesStores = false;
  // What the test before has sent last may still be on its way, and stays until it is confirmed.
  await eventually('the cache is empty', async () => (await evict({ cacheBytes: 0 })).bytes === 0);
});

test('the least recently used study goes first, and no more than has to', async () => {
  for (const study of [701, 702, 703]) {
    await cStore(site, slices(study, 5));
    await forwarded(site, uid(study));
  }
  // The oldest is read: now the second is the least recently used.
  await cMove(site, 'STUDY', { '0020000D': key('UI', uid(701)) });
  const limit = (await bytes(701)) + (await bytes(703));
  const state = await evict({ cacheBytes: limit });
  expect(state).toMatchObject({ studies: 2, evicted: { instances: 5 } });
  expect(state.bytes).toBeLessThanOrEqual(limit);
  expect([await count(701), await count(702), await count(703)]).toEqual([5, 0, 5]);
});

test('what was not used for too long goes, however much room there is', async () => {
  await cStore(site, slices(704, 2));
  await forwarded(site, uid(704));
  expect((await evict({ cacheAgeMs: HOUR })).evicted.instances).toBe(0);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect((await evict({ cacheAgeMs: 10 })).evicted.instances).toBe(2);
});

test('what is not confirmed upstream stays, whatever the limits say', async () => {
  await cStore(site, slices(705, 3));
  await forwarded(site, uid(705));
  site.upstream.refusesStores = true;
  await cStore(site, slices(705, 5));
  expect((await evict({ cacheBytes: 0, cacheAgeMs: 0 })).evicted.instances).toBe(3);
  expect((await localInstances(site, uid(705))).map(({ SOPInstanceUID }) => SOPInstanceUID)).toEqual([
    uid(705_004),
    uid(705_005),
  ]);
  site.upstream.refusesStores = false;
  await forwarded(site, uid(705));
  expect((await evict({ cacheBytes: 0 })).evicted.instances).toBe(2);
});

test('when the disk is short of room, so much goes as is needed', async () => {
  for (const study of [711, 712]) {
    await cStore(site, slices(study, 4));
    await forwarded(site, uid(study));
  }
  expect((await evict({ roomBytes: 10 })).evicted.instances).toBe(4);
  expect([await count(711), await count(712)]).toEqual([0, 4]);
});

test('a study that is being read stays', async () => {
  await cStore(site, slices(706, 2));
  await forwarded(site, uid(706));
  const release = readSideOf(site.gateway).usage.use(TENANT, uid(706));
  expect((await evict({ cacheBytes: 0 })).evicted.instances).toBe(0);
  release();
  expect((await evict({ cacheBytes: 0 })).evicted.instances).toBe(2);
});

test('what was fetched is cache too', async () => {
  await putUpstream(site, slices(707, 4));
  await cMove(site, 'STUDY', { '0020000D': key('UI', uid(707)) });
  await forwarded(site, uid(707));
  expect((await evict({ cacheBytes: 0 })).evicted.instances).toBe(4);
});

test('eviction is no deletion, neither here nor upstream; a resend is answered and is no second copy', async () => {
  const objects = slices(708, 6);
  await cStore(site, objects);
  await forwarded(site, uid(708));
  const before = await upstreamEvents();
  expect((await evict({ cacheBytes: 0 })).evicted.instances).toBe(6);
  const events = (await readFeed(site.gateway.services.index, TENANT, '', 10_000)).events;
  expect(events.filter(({ type }) => type === 'Deleted' || type === 'Purged' || type === 'Rejected')).toEqual([]);
  for (const object of objects.keys()) {
    const known = await site.gateway.forwarder.evidenceOf(uid(708_001 + object));
    expect(known).toMatchObject({ known: true, confirmed: true });
  }
  expect(await cStore(site, objects)).toEqual([0, 0, 0, 0, 0, 0]);
  await forwarded(site, uid(708));
  expect(await upstreamEvents()).toEqual(before);
  expect(await verifyArchive(site.gateway.services, TENANT)).toMatchObject({
    damaged: [],
    orphans: [],
    miscounted: [],
  });
});

test('what comes back in another encoding after eviction is cache too, and a resend of the original is no conflict', async () => {
  const originals = slices(714, 2);
  await cStore(site, originals);
  await forwarded(site, uid(714));
  // The archive upstream has come to keep them otherwise.
  const others = Array.from({ length: 2 }, (_, i) =>
    buildDicom(
      { ...sliceOf(714, i), ImageComments: 'as the archive has it' },
      { transferSyntaxUID: '1.2.840.10008.1.2' },
    ),
  );
  for (let round = 0; round < 2; round++) {
    expect((await evict({ cacheBytes: 0 })).evicted.instances).toBe(2);
    await putUpstream(site, others);
    await cMove(site, 'STUDY', { '0020000D': key('UI', uid(714)) });
    const here = await localInstances(site, uid(714));
    expect(here.map(({ transferSyntaxUID }) => transferSyntaxUID)).toEqual(Array(2).fill('1.2.840.10008.1.2'));
    const before = await upstreamEvents();
    expect(await cStore(site, originals)).toEqual([0, 0]);
    // Other bytes that never were here still are a conflict.
    const strange = buildDicom({ ...sliceOf(714, 0), ImageComments: 'somebody else' });
    expect(await cStore(site, [strange])).toEqual([0x0110]);
    expect(await requestCommitment(site, uid(71_400 + round), [uid(714_001), uid(714_002)])).toBe(0);
    await eventually('commitment is reported', () =>
      site.workstation.reports.some((one) => reportIn(one).TransactionUID === uid(71_400 + round)),
    );
    const report = site.workstation.reports.map(reportIn).find((one) => one.TransactionUID === uid(71_400 + round))!;
    expect(report).toMatchObject({ committed: [uid(714_001), uid(714_002)], failed: [] });
    expect(await upstreamEvents()).toEqual(before);
  }
});

test('the limits of the configuration are kept while the gateway runs, and over a restart', async () => {
  const small = await startSite({ cache: { maxBytes: 1, maxAgeHours: 1 } });
  try {
    // It stays while it is being read: until the restart.
    readSideOf(small.gateway).usage.use(TENANT, uid(709));
    await cStore(small, slices(709, 3));
    await forwarded(small, uid(709));
    expect(await localInstances(small, uid(709))).toHaveLength(3);
    await small.restart();
    await eventually('the cache is evicted', async () => (await localInstances(small, uid(709))).length === 0);
    expect(await small.gateway.forwarder.evidenceOf(uid(709_001))).toMatchObject({ confirmed: true });
    await eventually('it is said how much is kept', () => readSideOf(small.gateway).cache?.bytes === 0);
  } finally {
    await small.close();
  }
});
