import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { moveToTrash } from '#core/archive/remove.ts';
import { evictCache } from '#edge/read/cache.ts';
import { readSideOf } from '#edge/read/read-side.ts';
import { uid } from '#test/fixtures/dicom-builder.ts';
import {
  type CommitmentReport,
  cStore,
  eventually,
  forwarded,
  putUpstream,
  reportIn,
  requestCommitment,
  type Site,
  slices,
  startSite,
  TENANT,
} from './read-site.ts';

const LIMIT_MS = 3_600_000;
const UNKNOWN_MS = 60_000;
/** when a request is looked at that could not be answered on its own association */
const LOOK_MS = 3_000;

let site: Site;
let transaction = 0;
/** how far the clock of gateway and archive is ahead */
let aheadMs = 0;
const sops = (study: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => uid(study * 1000 + i + 1));

async function request(references: readonly string[], sopClass?: string): Promise<string> {
  const TransactionUID = uid(9_000_000 + ++transaction);
  expect(await requestCommitment(site, TransactionUID, references, sopClass)).toBe(0);
  return TransactionUID;
}

const reportOf = (TransactionUID: string): CommitmentReport | undefined =>
  site.workstation.reports.map(reportIn).find((one) => one.TransactionUID === TransactionUID);

async function answer(TransactionUID: string): Promise<Omit<CommitmentReport, 'TransactionUID'>> {
  await eventually('the request is answered', () => reportOf(TransactionUID) !== undefined);
  const { TransactionUID: _, ...report } = reportOf(TransactionUID)!;
  return report;
}

beforeAll(async () => {
  const { now } = Date;
  vi.spyOn(Date, 'now').mockImplementation(() => now() + aheadMs);
  site = await startSite({ commitment: { limitHours: LIMIT_MS / 3_600_000, unknownSeconds: UNKNOWN_MS / 1_000 } });
});
afterAll(async () => {
  vi.restoreAllMocks();
  await site?.close();
});
beforeEach(async () => {
  site.upstream.refusesStores = false;
  await site.line.set('up');
});

test('is said when the archive has shown that it holds the instances', async () => {
  await cStore(site, slices(801, 5));
  const asked = await request(sops(801, 5));
  await forwarded(site, uid(801));
  aheadMs += LOOK_MS;
  const report = await answer(asked);
  expect(report).toMatchObject({ event: 1, failed: [] });
  expect([...report.committed].sort()).toEqual(sops(801, 5).sort());
});

test('waits while the archive takes nothing, over a restart, and comes when it has', async () => {
  site.upstream.refusesStores = true;
  await cStore(site, slices(802, 3));
  const asked = await request(sops(802, 3));
  for (let looks = 0; looks < 4; looks++) {
    aheadMs += LOOK_MS;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(reportOf(asked)).toBeUndefined();
  }
  await site.restart();
  site.upstream.refusesStores = false;
  await forwarded(site, uid(802));
  aheadMs += 2 * LOOK_MS;
  expect(await answer(asked)).toMatchObject({ event: 1, failed: [] });
});

test('after the limit, what has not arrived has failed', async () => {
  await cStore(site, slices(803, 1));
  await forwarded(site, uid(803));
  site.upstream.refusesStores = true;
  await cStore(site, slices(803, 2));
  const asked = await request(sops(803, 2));
  aheadMs += LIMIT_MS;
  const report = await answer(asked);
  expect(report).toEqual({ event: 2, committed: [uid(803_001)], failed: [[uid(803_002), 0x0110]] });
});

test('what nobody has sent, and what is of another class, has failed', async () => {
  await cStore(site, slices(804, 1));
  await forwarded(site, uid(804));
  const unknown = await request([uid(804_999)]);
  aheadMs += UNKNOWN_MS;
  expect(await answer(unknown)).toEqual({
    event: 2,
    committed: [],
    failed: [[uid(804_999), 0x0112]],
  });
  const otherwise = await request([uid(804_001)], '1.2.840.10008.5.1.4.1.1.4');
  aheadMs += LOOK_MS;
  expect(await answer(otherwise)).toEqual({
    event: 2,
    committed: [],
    failed: [[uid(804_001), 0x0119]],
  });
});

test('other bytes upstream are no evidence', async () => {
  await putUpstream(site, slices(805, 1, { PatientID: 'SOMEBODY-ELSE' }));
  // An archive that keeps the first holds ours in quarantine and says conflict.
  await moveToTrash(site.upstream.archive.services, TENANT, [{ StudyInstanceUID: uid(805) }], {
    kind: 'rejected',
    reason: 'test',
    by: 'test',
  });
  await cStore(site, slices(805, 1));
  const asked = await request(sops(805, 1));
  aheadMs += LOOK_MS;
  const report = await answer(asked);
  expect(report).toMatchObject({ event: 2, committed: [] });
});

test('what was evicted is still committed', async () => {
  await cStore(site, slices(806, 2));
  await forwarded(site, uid(806));
  const { knowledge, usage } = readSideOf(site.gateway);
  const limits = { cacheBytes: 0, cacheAgeMs: 0 };
  await evictCache(site.gateway.services, TENANT, knowledge, usage, limits);
  const asked = await request(sops(806, 2));
  aheadMs += LOOK_MS;
  expect(await answer(asked)).toMatchObject({ event: 1, failed: [] });
});
