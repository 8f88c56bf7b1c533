import { countMoved, Moved } from '../costs/count-study.ts';
import { PacsError } from '../errors.ts';
import type { BlobStore } from '../ports/blob-store.ts';
import { asItem, asRecord, recordsIn, type WriteOperation } from '../ports/index-table.ts';
import { instancesOfStudy } from '../retrieve/find.ts';
import { dateKey } from '../search/values.ts';
import type { Services } from '../services.ts';
import { keys, type StudyRecord, type Tenant } from './records.ts';
import { DAY_MS, type Day, dayOf, msOf, type TierRecord, tierKeys } from './tier-records.ts';

/** One step down: which tier a study's objects are given, and when. The steps of a policy follow one another. */
export interface TierStep {
  /** as the store knows it: for S3 the value of the tag `nephos-tier` */
  readonly tier: string;
  /** days since the study was last stored into or read */
  readonly idleDays: number;
  /** days since StudyDate; since it was first stored where it has none (0) */
  readonly studyAgeDays: number;
}

export interface TierReport {
  /** studies whose objects were given a tier */
  moved: number;
  /** studies that were read meanwhile, or are not old enough: looked at again later */
  kept: number;
  /** studies that could not be moved now; the next run tries again */
  failed: number;
  /** false: the time was over */
  finished: boolean;
}

const PAGE = 100;
const AT_ONCE = 16;
const ATTEMPTS = 5;

export type TierServices = Pick<Services, 'blobs' | 'index' | 'clock' | 'policy' | 'limits'>;

/** Lets a study wait for the first step from today on: something was stored into it, which no step has taken yet. */
export async function awaitTiering(services: TierServices, tenant: Tenant, study: string): Promise<void> {
  if (services.policy.tiers.length === 0) return;
  const today = dayOf(services.clock.now());
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const record = await tierOf(services, tenant, study);
    if (record?.tier === '' && record.day === today) return;
    if (await settle(services, tenant, study, record, { tier: '', day: today })) return;
  }
}

/**
 * A night's run: takes every study that has been idle for as long as a step asks, asks when it was last read, and gives its objects the tier
 * of the step; the store does the rest. Reads what is due, not what there is. Safe to be repeated, interrupted and run twice at once.
 */
export async function applyTiers(services: TierServices, tenant: Tenant, isOver: () => boolean): Promise<TierReport> {
  const report: TierReport = { moved: 0, kept: 0, failed: 0, finished: true };
  const { index, clock, policy, blobs } = services;
  if (blobs.setTier === undefined) return report;
  // The coldest first: no study takes two steps in one night.
  for (const [at, step] of [...policy.tiers.entries()].reverse()) {
    const { partition } = tierKeys.idle(tenant, policy.tiers[at - 1]?.tier ?? '', '', '');
    const to = `${dayOf(clock.now() - step.idleDays * DAY_MS)}~`;
    for await (const { sort } of recordsIn(index, { partition, to, limit: PAGE, keysOnly: true })) {
      if (isOver()) return { ...report, finished: false };
      try {
        report[await takeStep(services, tenant, { partition, sort }, at)]++;
      } catch (error) {
        if (!(error instanceof PacsError)) throw error;
        report.failed++;
      }
    }
  }
  return report;
}

/** One study whose time seems to have come for the step `at`. */
async function takeStep(
  services: TierServices,
  tenant: Tenant,
  entry: { readonly partition: string; readonly sort: string },
  at: number,
): Promise<'moved' | 'kept'> {
  const { index, clock, policy, blobs } = services;
  const [day = '', study = ''] = entry.sort.split('|');
  const step = policy.tiers[at]!;
  const [tierItem, accessItem, studyItem] = await index.getMany([
    tierKeys.tier(tenant, study),
    tierKeys.access(tenant, study),
    keys.study(tenant, study),
  ]);
  const record = asRecord<TierRecord>(tierItem);
  const from = policy.tiers[at - 1]?.tier ?? '';
  if (record === undefined || record.tier !== from || record.day !== day || studyItem === undefined) {
    // Left behind by a policy of before, or by a study that is gone.
    await index.write([{ kind: 'delete', key: entry }]);
    return 'kept';
  }
  const since = firstDue(asRecord<StudyRecord>(studyItem), step, [day, String(accessItem?.day ?? '')]);
  if (since > dayOf(clock.now() - step.idleDays * DAY_MS)) {
    await settle(services, tenant, study, record, { tier: from, day: since });
    return 'kept';
  }
  const moved = await setTierOfAll(services, blobs.setTier!.bind(blobs), tenant, study, step.tier);
  // Before the step is noted as taken: after a crash in between it is taken again, and counted as it was.
  await countMoved(services, tenant, study, step.tier, moved);
  // Whatever was stored meanwhile lets the study wait anew: then this write is lost, and rightly.
  const waits = at + 1 < policy.tiers.length;
  await settle(services, tenant, study, record, { tier: step.tier, ...(waits && { day: since }) });
  return 'moved';
}

/** The day from which a study's idleness counts: the last on which it was touched, later where the study itself is too young. */
function firstDue(study: StudyRecord, { idleDays, studyAgeDays }: TierStep, touched: readonly Day[]): Day {
  const dated = msOf(dateKey(study.attributes['00080020']));
  const born = Number.isNaN(dated) ? study.firstStoredAt : dated;
  const young = dayOf(born + (studyAgeDays - idleDays) * DAY_MS);
  return [...touched, ...(studyAgeDays > 0 ? [young] : [])].reduce((latest, one) => (one > latest ? one : latest), '');
}

/** Objects that are too small to be worth a move stay where they are, and so do tables and documents. @returns what was moved */
async function setTierOfAll(
  { index, limits }: TierServices,
  setTier: NonNullable<BlobStore['setTier']>,
  tenant: Tenant,
  study: string,
  tier: string,
): Promise<Moved> {
  const moved = new Moved();
  let batch: string[] = [];
  const flush = async (): Promise<void> => {
    await Promise.all(batch.map((key) => setTier(key, tier).catch(passOver)));
    batch = [];
  };
  try {
    for await (const instance of instancesOfStudy({ index }, tenant, study)) {
      if (instance.sizeBytes < limits.tierLeastBytes) continue;
      moved.add(instance);
      if (batch.push(instance.blobKey) >= AT_ONCE) await flush();
    }
  } catch (error) {
    passOver(error);
  }
  await flush();
  return moved;
}

/** Removed meanwhile: nothing to be moved. */
function passOver(error: unknown): void {
  if (!(error instanceof PacsError) || error.code !== 'NOT_FOUND') throw error;
}

const tierOf = async ({ index }: TierServices, tenant: Tenant, study: string): Promise<TierRecord | undefined> => {
  const item = await index.get(tierKeys.tier(tenant, study));
  return asRecord<TierRecord>(item);
};

/** Record and entry in one write, under the record's lock. False: another has changed it. */
export async function settle(
  { index }: TierServices,
  tenant: Tenant,
  study: string,
  before: TierRecord | undefined,
  after: Omit<TierRecord, 'version'>,
): Promise<boolean> {
  const record: TierRecord = { version: (before?.version ?? 0) + 1, ...after };
  const operations: WriteOperation[] = [
    {
      kind: 'put',
      key: tierKeys.tier(tenant, study),
      item: asItem(record),
      if: before === undefined ? 'absent' : { version: before.version },
    },
  ];
  const entryOf = ({ tier, day }: Omit<TierRecord, 'version'>) =>
    day === undefined ? undefined : tierKeys.idle(tenant, tier, day, study);
  const [old, next] = [before && entryOf(before), entryOf(after)];
  const isSame = old !== undefined && old.partition === next?.partition && old.sort === next.sort;
  if (old !== undefined && !isSame) operations.push({ kind: 'delete', key: old });
  if (next !== undefined && !isSame) operations.push({ kind: 'put', key: next, item: {} });
  return (await index.write(operations)).committed;
}
