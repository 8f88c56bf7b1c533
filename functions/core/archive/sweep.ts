import { Attempts } from '../attempts.ts';
import { resumeRuns } from '../deidentify/runs.ts';
import { sweepExpired } from '../expiring.ts';
import { asItem, asRecord, recordsIn } from '../ports/index-table.ts';
import { sweepRates } from '../rate-accounts.ts';
import { sweepRoutes } from '../routing/work.ts';
import type { Services } from '../services.ts';
import { sweepShares } from '../share-links/links.ts';
import { sweepWorklist } from '../worklist/changes.ts';
import { finishEvictions } from './evict.ts';
import { blobKeysOf } from './instance.ts';
import { takeBackReplacement } from './manifest.ts';
import { mayPurgeFrom } from './purge-hold.ts';
import { keys, type PendingRecord, type Tenant } from './records.ts';
import { purgeTrash } from './trash.ts';
import { abandonUnsettled } from './unsettled.ts';
import { sweepTransactions } from './uploaded.ts';

/** how long it is remembered that the bytes of a store were given up (ms) */
const ABANDONED_MS = 365 * 24 * 60 * 60 * 1000;

export interface SweepReport {
  /** stores that had begun and were given up; their bytes are gone, none was acknowledged */
  readonly abandoned: number;
  /** studies whose deltas a dead writer had left */
  readonly folded: number;
  /** instances removed for good from the trash */
  readonly purged: number;
  /** the clock may have leapt: nothing is removed from trash and worklist before (ms since 1970) */
  readonly purgesFrom?: number;
  /** store transactions that are over */
  readonly transactions: number;
  /** worklist items of long ago */
  readonly worklistItems: number;
}

/**
 * Puts right what interruptions left. Safe at any time, from several processes at once, and repeatable. What fails holds up nothing else.
 * @param pendingMs stores that began longer ago than this are given up; 0 when no other process can be storing
 * @throws what failed first, when all else has been done
 */
export async function sweep(
  services: Services,
  tenant: Tenant,
  pendingMs: number = services.limits.pendingMs,
): Promise<SweepReport> {
  const { clock } = services;
  const attempts = new Attempts();
  const folded = await attempts.make(() => foldLeftovers(services, tenant), 0);
  await attempts.make(() => finishEvictions(services, tenant), 0);
  const abandoned =
    (await attempts.make(() => abandonPending(services, tenant, clock.now() - pendingMs), 0)) +
    (await attempts.make(() => abandonUnsettled(services, pendingMs), 0));
  const purgesFrom = await attempts.make(() => mayPurgeFrom(services, tenant), Number.POSITIVE_INFINITY);
  const isHeld = purgesFrom > clock.now();
  const purged = isHeld ? 0 : await attempts.make(() => purgeTrash(services, tenant), 0);
  await attempts.make(() => sweepShares(services, tenant), 0);
  const worklistItems = isHeld ? 0 : await attempts.make(() => sweepWorklist(services, tenant), 0);
  await attempts.make(() => sweepExpired(services), 0);
  await attempts.make(() => sweepRates(services, tenant), 0);
  await attempts.make(() => resumeRuns(services, tenant), 0);
  await attempts.make(() => sweepRoutes(services, tenant, pendingMs === 0), undefined);
  const transactions = await attempts.make(() => sweepTransactions(services, tenant), 0);
  attempts.end();
  return { folded, abandoned, purged, ...(isHeld && { purgesFrom }), transactions, worklistItems };
}

async function foldLeftovers(services: Services, tenant: Tenant): Promise<number> {
  const studies = new Set<string>();
  const { partition } = keys.unfolded(tenant, '');
  for await (const { item } of recordsIn(services.index, { partition, limit: 1_000 }))
    studies.add(item.study as string);
  for (const study of studies) await services.folder.fold(tenant, study);
  return studies.size;
}

async function abandonPending(services: Services, tenant: Tenant, before: number): Promise<number> {
  const { partition } = keys.pending(tenant, '');
  let abandoned = 0;
  for await (const { sort, item } of recordsIn(services.index, { partition, limit: 500 })) {
    const pending = asRecord<PendingRecord>(item);
    if (pending.abandoned) {
      // Whoever may still be about to commit these bytes must find it: for longer than any process stands still.
      if (pending.startedAt <= services.clock.now() - ABANDONED_MS)
        await services.index.write([{ kind: 'delete', key: { partition, sort } }]);
      continue;
    }
    if (pending.startedAt <= before && (await giveUp(services, tenant, sort, pending))) abandoned++;
  }
  return abandoned;
}

/** First the lock (see PendingRecord), then the bytes, then the record: a crash in between is gone on with next time. */
async function giveUp(services: Services, tenant: Tenant, version: string, pending: PendingRecord): Promise<boolean> {
  const key = keys.pending(tenant, version);
  if (pending.version === 1) {
    const taken: PendingRecord = { ...pending, version: 2 };
    const outcome = await services.index.write([{ kind: 'put', key, item: asItem(taken), if: { version: 1 } }]);
    if (!outcome.committed) return false;
  }
  await takeBackReplacement(services.blobs, tenant, { ...pending, version });
  for (const blobKey of blobKeysOf(pending)) await services.blobs.delete(blobKey);
  await services.index.write([{ kind: 'delete', key }]);
  return true;
}
