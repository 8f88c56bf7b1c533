import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { evictInstances, FROM_UPSTREAM } from '#core/archive/evict.ts';
import { readFeed } from '#core/archive/feed.ts';
import type { RetrieveReport } from '#dimse/scu.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import {
  cGet,
  cMove,
  cStore,
  dataSetOf,
  eventually,
  forwarded,
  key,
  localInstances,
  putUpstream,
  type Site,
  slices,
  startSite,
  TENANT,
} from './read-site.ts';

let site: Site;
/** Whoever waits hears this often that the operation goes on; a cold upstream here is asked again after a second. */
const PENDING_MS = 100;
const study = (n: number) => ({ '0020000D': key('UI', uid(n)) });
const taken = () => site.workstation.taken.map(({ sop }) => sop);

beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site?.close());
beforeEach(async () => {
  site.workstation.taken.length = 0;
  site.upstream.refusesStores = false;
  await site.line.set('up');
});

describe('C-MOVE and C-GET at the edge', () => {
  test('what only is upstream is fetched, delivered byte for byte, kept, and never forwarded back', async () => {
    const objects = slices(601, 20);
    await putUpstream(site, objects);
    const before = (await readFeed(site.upstream.archive.services.index, TENANT, '', 10_000)).events.length;
    expect(await cMove(site, 'STUDY', study(601))).toMatchObject({ status: 0, completed: 20, failed: 0, warning: 0 });
    expect(new Set(taken()).size).toBe(20);
    expect(taken()).toHaveLength(20);
    const sent = new Map(site.workstation.taken.map(({ sop, dataSet }) => [sop, dataSet]));
    for (const [i, object] of objects.entries())
      expect(sent.get(uid(601_001 + i))!.equals(dataSetOf(object))).toBe(true);
    const kept = await localInstances(site, uid(601));
    expect(kept).toHaveLength(20);
    expect(new Set(kept.map(({ source }) => source))).toEqual(new Set([FROM_UPSTREAM]));
    await forwarded(site, uid(601));
    expect((await readFeed(site.upstream.archive.services.index, TENANT, '', 10_000)).events).toHaveLength(before);
  });

  test('a study that is partly here and partly upstream is delivered whole, each instance once', async () => {
    const objects = slices(602, 12);
    await putUpstream(site, objects.slice(0, 8));
    site.upstream.refusesStores = true;
    await cStore(site, objects.slice(6));
    expect(await cMove(site, 'STUDY', study(602))).toMatchObject({ status: 0, completed: 12 });
    expect(taken().sort()).toEqual(objects.map((_, i) => uid(602_001 + i)).sort());
  });

  test('what was evicted comes back', async () => {
    const objects = slices(603, 10);
    await cStore(site, objects);
    await forwarded(site, uid(603));
    const here = await localInstances(site, uid(603));
    await evictInstances(site.gateway.services, TENANT, here.slice(2, 7));
    const { report, taken: got } = await cGet(site, study(603));
    expect(report).toMatchObject({ status: 0, completed: 10 });
    for (const [i, object] of objects.entries())
      expect(got.get(uid(603_001 + i))!.equals(dataSetOf(object))).toBe(true);
    expect(await localInstances(site, uid(603))).toHaveLength(10);
  });

  test('series and single instances, with their study and without', async () => {
    await putUpstream(site, [
      ...slices(604, 3),
      ...slices(604, 2, { SeriesInstanceUID: uid(60499) }).map((_, i) =>
        buildDicom({
          StudyInstanceUID: uid(604),
          SeriesInstanceUID: uid(60499),
          SOPInstanceUID: uid(604_900 + i),
        }),
      ),
    ]);
    const series = { ...study(604), '0020000E': key('UI', uid(60499)) };
    expect(await cMove(site, 'SERIES', series)).toMatchObject({ status: 0, completed: 2 });
    expect(await localInstances(site, uid(604))).toHaveLength(2);
    const image = { '00080018': key('UI', uid(604_002)) };
    expect(await cMove(site, 'IMAGE', image)).toMatchObject({ status: 0, completed: 1 });
    expect(taken()).toContain(uid(604_002));
    expect(await cMove(site, 'SERIES', { '0020000E': key('UI', uid(6040)) })).toMatchObject({
      status: 0,
      completed: 3,
    });
  });

  test('counts fall while it comes, and a cancel ends it', async () => {
    await putUpstream(site, slices(605, 60));
    const abort = new AbortController();
    const remaining: number[] = [];
    const report = await cMove(site, 'STUDY', study(605), {
      cancel: abort.signal,
      onPending: ({ remaining: left, completed }) => {
        remaining.push(left!);
        if (completed === 5) abort.abort();
      },
    });
    expect(report.status).toBe(0xfe00);
    expect(remaining[0]).toBe(59);
    expect(report.completed! + report.remaining! + report.failed!).toBe(60);
    expect(report.completed).toBeLessThan(60);
    expect(await cMove(site, 'STUDY', study(605))).toMatchObject({ status: 0, completed: 60 });
  });

  test('the line breaks while a series comes: what is missing is asked for again', async () => {
    await putUpstream(site, slices(606, 200));
    site.line.breaksAfterBytes = 130_000;
    expect(await cMove(site, 'STUDY', study(606))).toMatchObject({ status: 0, completed: 200 });
    expect(taken()).toHaveLength(200);
  });

  test('what upstream has to bring back from slow media is waited for', async () => {
    await putUpstream(site, [...slices(608, 6), ...slices(6081, 6, { StudyInstanceUID: uid(608) })]);
    site.upstream.coldRetrieves = 5;
    expect(await cMove(site, 'STUDY', study(608))).toMatchObject({ status: 0, completed: 12 });
    site.upstream.coldRetrieves = 0;
  });

  test('while that is waited for, C-MOVE and C-GET go on saying so, with counts that stand still', async () => {
    const patient = await startSite({}, { retrievePendingMs: PENDING_MS });
    try {
      for (const n of [614, 615]) {
        await putUpstream(patient, slices(n, 3));
        // It is cold until that has been heard twice.
        patient.upstream.coldRetrieves = Number.POSITIVE_INFINITY;
        const pending: RetrieveReport[] = [];
        const onPending = (report: RetrieveReport): void => {
          if (pending.push(report) >= 2) patient.upstream.coldRetrieves = 0;
        };
        const report =
          n === 614
            ? await cMove(patient, 'STUDY', study(n), { onPending })
            : (await cGet(patient, study(n), { onPending })).report;
        expect(report).toMatchObject({ status: 0, completed: 3, failed: 0 });
        const before = pending.filter(({ completed }) => completed === 0);
        expect(before.length).toBeGreaterThanOrEqual(2);
        for (const one of before) expect(one).toMatchObject({ status: 0xff00, remaining: 3, completed: 0, failed: 0 });
        const counts = pending.map(({ completed, remaining }) => `${completed} of ${completed! + remaining!}`);
        expect([...new Set(counts)]).toEqual(['0 of 3', '1 of 3', '2 of 3']);
      }
    } finally {
      await patient.close();
    }
  });

  test('two who ask for the same study at once share what comes', async () => {
    await putUpstream(site, slices(607, 40));
    const both = await Promise.all([
      cMove(site, 'STUDY', study(607)),
      cGet(site, study(607)).then(({ report }) => report),
    ]);
    expect(both.map(({ status, completed }) => [status, completed])).toEqual([
      [0, 40],
      [0, 40],
    ]);
    expect(await localInstances(site, uid(607))).toHaveLength(40);
  });

  test('an unknown study is nothing to do; an unknown destination is an error', async () => {
    expect(await cMove(site, 'STUDY', study(699))).toMatchObject({ status: 0, completed: 0 });
    expect((await cMove(site, 'STUDY', study(601), { destination: 'NOBODY' })).status).toBe(0xa801);
  });
});

describe('while the archive cannot be reached', () => {
  test('what is here is delivered', async () => {
    await cStore(site, slices(611, 4));
    await forwarded(site, uid(611));
    await site.line.set('refused');
    expect(await cMove(site, 'STUDY', study(611))).toMatchObject({ status: 0, completed: 4 });
  });

  test('what is known to be missing counts as failed; a study of which nothing is here fails', async () => {
    await cStore(site, slices(612, 5));
    await forwarded(site, uid(612));
    const here = await localInstances(site, uid(612));
    await evictInstances(site.gateway.services, TENANT, here.slice(0, 2));
    await putUpstream(site, slices(613, 2));
    await site.line.set('refused');
    const report = await cMove(site, 'STUDY', study(612));
    expect(report).toMatchObject({ status: 0xb000, completed: 3, failed: 2 });
    expect([...report.failedUIDs].sort()).toEqual(
      here
        .slice(0, 2)
        .map(({ SOPInstanceUID }) => SOPInstanceUID)
        .sort(),
    );
    expect((await cMove(site, 'STUDY', study(613))).status).toBe(0xa700);
    await site.line.set('up');
    await eventually('the archive is asked again', () => site.gateway.upstreams[0]!.isReachable);
    expect(await cMove(site, 'STUDY', study(612))).toMatchObject({ status: 0, completed: 5 });
  });
});
