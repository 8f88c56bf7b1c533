import { newVersion } from '../ids.ts';
import { asItem, asRecord, pagesIn, recordsIn, type WriteOperation } from '../ports/index-table.ts';
import { sweepSeriesDocuments } from '../retrieve/prepare.ts';
import type { Services } from '../services.ts';
import { deltaWrites } from './commit.ts';
import { blobKeysOf } from './instance.ts';
import { deleteManifests } from './manifest.ts';
import {
  type EvictedRecord,
  type InstanceRecord,
  keys,
  type SopClaim,
  type Tenant,
  type TrashRecord,
} from './records.ts';
import { groupBySeries, negativeDelta } from './remove.ts';
import { forgetSelection, trashedInstances } from './trashed.ts';

/** The source of copies that were fetched back from the archive that holds them: longer than an AE title can be, so no sender has it. */
export const FROM_UPSTREAM = 'fetched from upstream';

/** claim, instance, metadata, evicting, evicted; and once a batch: the delta */
const INSTANCES_PER_WRITE = 16;
/** A copy that is fetched back may differ each time; what a sender may send again came first. */
const EARLIER = 4;

export interface Eviction {
  readonly instances: number;
  readonly bytes: number;
}

/**
 * Drops this archive's copy of instances that another archive holds: no trash, no event, for nothing has been deleted. The caller vouches
 * for it that the other archive holds these very bytes. An instance that changed since its record was read stays; `evicted` records remain,
 * by which one knows what belongs to the study though it is not here.
 *
 * In one atomic write an instance stops being found and its blobs are noted; then they are removed. A crash in between leaves the note:
 * `finishEvictions` (of the sweep) goes on from there. The claim's lock decides the race with a store that supersedes the instance.
 */
export async function evictInstances(
  services: Services,
  tenant: Tenant,
  instances: readonly InstanceRecord[],
): Promise<Eviction> {
  const gone: InstanceRecord[] = [];
  for (const group of groupBySeries(instances)) {
    for (let at = 0; at < group.length; at += INSTANCES_PER_WRITE)
      gone.push(...(await evictBatch(services, tenant, group.slice(at, at + INSTANCES_PER_WRITE))));
  }
  for (const study of new Set(gone.map(({ StudyInstanceUID }) => StudyInstanceUID)))
    await services.folder.fold(tenant, study);
  for (const [first] of groupBySeries(gone))
    await sweepSeriesDocuments(services, tenant, first!.StudyInstanceUID, first!.SeriesInstanceUID);
  for (const instance of gone) await removeBlobs(services, tenant, instance.version, instance.blobKey);
  return evictionOf(gone);
}

/** @returns the instances that are no longer found */
async function evictBatch(
  services: Services,
  tenant: Tenant,
  batch: readonly InstanceRecord[],
): Promise<readonly InstanceRecord[]> {
  let instances = [...batch];
  while (instances.length > 0) {
    const claims = await services.index.getMany(instances.map((one) => keys.sop(tenant, one.SOPInstanceUID)));
    const owned = instances.flatMap((instance, i) => {
      const claim = claims[i] && asRecord<SopClaim>(claims[i]);
      return claim?.instanceVersion === instance.version && claim.rejectedBy === undefined ? [{ instance, claim }] : [];
    });
    if (owned.length === 0) return [];
    instances = owned.map(({ instance }) => instance);
    const before = await services.index.getMany(
      instances.map((one) => keys.evicted(tenant, one.StudyInstanceUID, one.SOPInstanceUID)),
    );
    const operations: WriteOperation[] = [];
    const owners = new Map<number, InstanceRecord>();
    for (const [i, { instance, claim }] of owned.entries()) {
      const { StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: sop, blobKey } = instance;
      const { SOPClassUID, transferSyntaxUID, sha256, sizeBytes } = instance;
      const evicted: EvictedRecord = {
        SeriesInstanceUID: series,
        SOPClassUID,
        transferSyntaxUID,
        sha256,
        sizeBytes,
        evictedAt: services.clock.now(),
        ...earlierOf(before[i] && asRecord<EvictedRecord>(before[i]), sha256),
      };
      owners.set(operations.length, instance);
      operations.push(
        { kind: 'delete', key: keys.sop(tenant, sop), if: { version: claim.version } },
        { kind: 'delete', key: keys.instance(tenant, study, series, sop) },
        { kind: 'delete', key: keys.metadata(tenant, study, series, sop) },
        { kind: 'put', key: keys.evicting(tenant, instance.version), item: { blobKey } },
        { kind: 'put', key: keys.evicted(tenant, study, sop), item: asItem(evicted) },
      );
    }
    const { StudyInstanceUID: study } = instances[0]!;
    operations.push(...deltaWrites(tenant, study, newVersion(services.clock), negativeDelta(instances)));
    const outcome = await services.index.write(operations);
    if (outcome.committed) return instances;
    const changed = new Set(outcome.failed.map((operation) => owners.get(operation)));
    instances = instances.filter((instance) => !changed.has(instance));
  }
  return [];
}

/**
 * The same of what a rejection note has hidden: the other archive keeps it, and hides it, too. Its UIDs are free then. What was restored or put elsewhere
 * since its record was read stays. The entry of the trash goes with the last of its instances.
 */
export async function evictRejected(
  services: Services,
  tenant: Tenant,
  trash: TrashRecord,
  instances: readonly InstanceRecord[],
): Promise<Eviction> {
  const gone: InstanceRecord[] = [];
  for (const instance of instances) if (await evictHidden(services, tenant, trash, instance)) gone.push(instance);
  for (const instance of gone) await removeBlobs(services, tenant, instance.version, instance.blobKey);
  for await (const _ of trashedInstances(services, tenant, trash.id)) return evictionOf(gone);
  const key = keys.trash(tenant, trash.id);
  const outcome = await services.index.write([{ kind: 'delete', key, if: { version: trash.version } }]);
  if (outcome.committed) {
    await forgetSelection(services, tenant, trash.id);
    await deleteManifests(services.blobs, tenant, 'trash', trash.id);
  }
  return evictionOf(gone);
}

/** The locks of the entry and of the claim decide the races with a restore and with a store. @returns whether it was evicted */
async function evictHidden(
  { index }: Services,
  tenant: Tenant,
  trash: TrashRecord,
  { StudyInstanceUID: study, SOPInstanceUID: sop, version, blobKey }: InstanceRecord,
): Promise<boolean> {
  const claim = asRecord<SopClaim>(await index.get(keys.sop(tenant, sop)));
  if (claim?.rejectedBy !== trash.id || claim.instanceVersion !== version) return false;
  const outcome = await index.write([
    { kind: 'check', key: keys.trash(tenant, trash.id), if: { version: trash.version } },
    { kind: 'delete', key: keys.sop(tenant, sop), if: { version: claim.version } },
    { kind: 'delete', key: keys.trashed(tenant, trash.id, sop, version), if: 'present' },
    { kind: 'put', key: keys.evicting(tenant, version), item: { blobKey } },
    // It is missing to nobody who reads the study while the other archive does not answer.
    { kind: 'delete', key: keys.evicted(tenant, study, sop) },
  ]);
  return outcome.committed;
}

const evictionOf = (gone: readonly InstanceRecord[]): Eviction => ({
  instances: gone.length,
  bytes: gone.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
});

function earlierOf(before: EvictedRecord | undefined, sha256: string): Pick<EvictedRecord, 'earlier'> {
  if (before === undefined) return {};
  const earlier = [...(before.earlier ?? []), before.sha256].filter((one) => one !== sha256).slice(0, EARLIER);
  return earlier.length === 0 ? {} : { earlier };
}

/** Whether these very bytes have been here, and were evicted: so another archive holds them. */
export async function wasEvicted(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  { StudyInstanceUID, SOPInstanceUID, sha256 }: Pick<InstanceRecord, 'StudyInstanceUID' | 'SOPInstanceUID' | 'sha256'>,
): Promise<boolean> {
  const item = await index.get(keys.evicted(tenant, StudyInstanceUID, SOPInstanceUID));
  if (item === undefined) return false;
  const evicted = asRecord<EvictedRecord>(item);
  return evicted.sha256 === sha256 || evicted.earlier?.includes(sha256) === true;
}

/** Deleting is idempotent: bytes first, then the note. */
async function removeBlobs(services: Services, tenant: Tenant, version: string, blobKey: string): Promise<void> {
  for (const key of blobKeysOf({ blobKey })) await services.blobs.delete(key);
  await services.index.write([{ kind: 'delete', key: keys.evicting(tenant, version) }], { durability: 'deferred' });
}

/** Removes the bytes that interrupted evictions have left. Returns how many instances. */
export async function finishEvictions(services: Services, tenant: Tenant): Promise<number> {
  const { partition } = keys.evicting(tenant, '');
  let finished = 0;
  for await (const { sort, item } of recordsIn(services.index, { partition, limit: 500 })) {
    await removeBlobs(services, tenant, sort, item.blobKey as string);
    finished++;
  }
  return finished;
}

/** What of a study was evicted and has not come back since. */
export async function* evictedInstances(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  study: string,
): AsyncGenerator<EvictedRecord & { readonly SOPInstanceUID: string }> {
  const { partition } = keys.evicted(tenant, study, '');
  for await (const page of pagesIn(index, { partition, limit: 100 })) {
    const claims = await index.getMany(page.map(({ sort }) => keys.sop(tenant, sort)));
    for (const [i, { sort, item }] of page.entries())
      if (claims[i] === undefined) yield { ...asRecord<EvictedRecord>(item), SOPInstanceUID: sort };
  }
}
