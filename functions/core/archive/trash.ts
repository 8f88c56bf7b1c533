import { wholeOf } from '../access/confine.ts';
import { PacsError } from '../errors.ts';
import { newVersion } from '../ids.ts';
import { asItem, asRecord } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { deltaOf, deltaWrites, type PreparedInstance } from './commit.ts';
import { eventWrite } from './feed.ts';
import { blobKeysOf } from './instance.ts';
import { deleteManifests, putManifest } from './manifest.ts';
import { beginPlacementRemoval } from './place.ts';
import { type InstanceRecord, keys, type SopClaim, type Tenant, type TrashRecord } from './records.ts';
import { FINISH_AFTER_MS, FINISH_REMOVAL, finishRemoval } from './remove.ts';
import { rescan } from './rescan.ts';
import { forgetSelection, noteUntaken, trashedInstances } from './trashed.ts';

export interface RestoreOutcome {
  readonly restored: number;
  /** instances whose UID has meanwhile been taken by other bytes; they stay in the trash */
  readonly conflicting: number;
}

export async function getTrash(services: Services, tenant: Tenant, id: string): Promise<TrashRecord> {
  const item = await services.index.get(keys.trash(tenant, id));
  if (!item) throw new PacsError('NOT_FOUND', 'there is no such entry in the trash', { details: { id } });
  return asRecord<TrashRecord>(item);
}

/** Newest first. */
export async function listTrash(
  services: Services,
  tenant: Tenant,
  after: string,
  limit: number,
): Promise<{ items: TrashRecord[]; next?: string }> {
  const { partition } = keys.trash(tenant, '');
  const page = await services.index.query({ partition, descending: true, limit, ...(after === '' ? {} : { after }) });
  const items = page.records.map(({ item }) => asRecord<TrashRecord>(item));
  const last = page.records.at(-1);
  return page.more && last ? { items, next: last.sort } : { items };
}

/** Goes on with a removal or a restore that was interrupted; nothing to do when it is complete. */
export async function finishInterrupted(services: Services, tenant: Tenant, id: string): Promise<void> {
  const item = await services.index.get(keys.trash(tenant, id));
  if (item?.state === 'restoring') await goOnRestoring(services, tenant, asRecord<TrashRecord>(item));
  else await finishRemoval(services, tenant, id);
}

/**
 * Brings back what a trash entry holds. Repeatable: one that was interrupted goes on where it stopped, by the queue if nobody asks again.
 * @throws PacsError NOT_FOUND; BEING_STORED while the removal itself is not complete; GONE when it is being purged
 */
export async function restoreFromTrash(confined: Services, tenant: Tenant, id: string): Promise<RestoreOutcome> {
  await getTrash(confined, tenant, id);
  const services = wholeOf(confined);
  await services.jobs.enqueue(FINISH_REMOVAL, { tenant, id }, { delayMs: FINISH_AFTER_MS });
  return goOnRestoring(services, tenant, await enter(services, tenant, id, 'restoring'));
}

async function goOnRestoring(services: Services, tenant: Tenant, trash: TrashRecord): Promise<RestoreOutcome> {
  const { id } = trash;
  let restored = 0;
  let conflicting = 0;
  const studies = new Set<string>();
  for await (const { sort, instance } of trashedInstances(services, tenant, id)) {
    const prepared = await rescan(services, tenant, instance);
    if (!(await reinstate(services, tenant, prepared, id))) {
      conflicting++;
      continue;
    }
    await services.index.write([{ kind: 'delete', key: { partition: `${tenant}|trashed|${id}`, sort } }]);
    studies.add(instance.StudyInstanceUID);
    restored++;
  }
  for (const study of studies) await services.folder.fold(tenant, study);
  const at = services.clock.now();
  const event = eventWrite(tenant, {
    type: 'Restored',
    at,
    StudyInstanceUID: trash.StudyInstanceUID,
    id,
    instances: restored,
  });
  if (conflicting === 0) {
    await putManifest(services.blobs, tenant, { kind: 'restored', id });
    await services.index.write([{ kind: 'delete', key: keys.trash(tenant, id) }, event]);
    await forgetSelection(services, tenant, id);
  } else {
    await noteUntaken(services, tenant, id);
    const rest: TrashRecord = { ...trash, version: trash.version + 1, state: 'complete', instanceCount: conflicting };
    await services.index.write([
      { kind: 'put', key: keys.trash(tenant, id), item: asItem(rest), if: { version: trash.version } },
      event,
    ]);
  }
  return { restored, conflicting };
}

/** True when the instance is visible with these bytes; false when other bytes own its UID. */
async function reinstate(
  services: Services,
  tenant: Tenant,
  prepared: PreparedInstance,
  trashId: string,
): Promise<boolean> {
  const { instance } = prepared;
  const { StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: sop } = instance;
  for (;;) {
    const item = await services.index.get(keys.sop(tenant, sop));
    if (!item) {
      if ((await services.commits.commit(prepared)) === 'committed') return true;
      continue;
    }
    const { rejectedBy, ...claim } = asRecord<SopClaim>(item);
    if (rejectedBy !== trashId) {
      const isSame = rejectedBy === undefined && claim.sha256 === instance.sha256;
      // Sent again meanwhile: nobody speaks of this copy any more.
      if (isSame && claim.instanceVersion !== instance.version) await deleteBlobs(services, instance);
      return isSame;
    }
    const outcome = await services.index.write([
      {
        kind: 'put',
        key: keys.sop(tenant, sop),
        item: asItem({ ...claim, version: claim.version + 1 }),
        if: { version: claim.version },
      },
      { kind: 'put', key: keys.instance(tenant, study, series, sop), item: asItem(instance) },
      { kind: 'put', key: keys.metadata(tenant, study, series, sop), item: prepared.metadata },
      ...deltaWrites(tenant, study, newVersion(services.clock), deltaOf(prepared)),
    ]);
    if (outcome.committed) return true;
  }
}

/** Removes for good what has lain in the trash for its time. Returns how many instances. */
export async function purgeTrash(services: Services, tenant: Tenant): Promise<number> {
  const now = services.clock.now();
  let purged = 0;
  let after = '';
  for (;;) {
    const page = await listTrash(services, tenant, after, 100);
    for (const trash of page.items) {
      const due =
        trash.purgeAt !== null && trash.purgeAt <= now && trash.state !== 'moving' && trash.state !== 'restoring';
      if (due) purged += await purge(services, tenant, trash.id);
    }
    if (page.next === undefined) return purged;
    after = page.next;
  }
}

async function purge(services: Services, tenant: Tenant, id: string): Promise<number> {
  const trash = await enter(services, tenant, id, 'purging');
  // Who put it there is in the trail since then; that it is gone for good is the archive's own act.
  await services.audit.record(tenant, {
    ...{ at: services.clock.now(), event: 'StudyDeleted', action: 'D', outcome: 0 },
    ...{ subject: 'nephos', roles: [], door: 'system', transaction: 'PurgeTrash' },
    studies: [trash.StudyInstanceUID],
    instances: trash.instanceCount,
  });
  let purged = 0;
  const studies = new Set<string>();
  for await (const { sort, instance } of trashedInstances(services, tenant, id)) {
    studies.add(instance.StudyInstanceUID);
    // Bytes first: a crash in between leaves a row whose blobs are gone already, and deleting is idempotent.
    if (!(await isCurrent(services, tenant, instance))) await deleteBlobs(services, instance);
    await services.index.write([{ kind: 'delete', key: { partition: `${tenant}|trashed|${id}`, sort } }]);
    purged++;
  }
  // Before the entry goes: who dies here purges again, and asks again.
  for (const study of studies.add(trash.StudyInstanceUID)) await beginPlacementRemoval(services, tenant, study);
  const at = services.clock.now();
  await services.index.write([
    { kind: 'delete', key: keys.trash(tenant, id) },
    eventWrite(tenant, { type: 'Purged', at, StudyInstanceUID: trash.StudyInstanceUID, id, instances: purged }),
  ]);
  await forgetSelection(services, tenant, id);
  await deleteManifests(services.blobs, tenant, 'trash', id);
  return purged;
}

async function deleteBlobs({ blobs }: Services, instance: InstanceRecord): Promise<void> {
  for (const key of blobKeysOf(instance)) await blobs.delete(key);
}

/** What is found and read is never purged, whoever has put it into the trash besides. */
async function isCurrent({ index }: Services, tenant: Tenant, instance: InstanceRecord): Promise<boolean> {
  const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, version } = instance;
  const item = await index.get(keys.instance(tenant, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID));
  return item?.version === version;
}

/** Restoring and purging exclude each other by the record's lock. */
async function enter(
  services: Services,
  tenant: Tenant,
  id: string,
  state: 'restoring' | 'purging',
): Promise<TrashRecord> {
  for (;;) {
    const trash = await getTrash(services, tenant, id);
    if (trash.state === state) return trash;
    if (trash.state === 'purging')
      throw new PacsError('GONE', 'the entry is being removed for good', { details: { id } });
    if (trash.state !== 'complete') {
      throw new PacsError('BEING_STORED', 'the entry is still being changed; try again', {
        details: { id, state: trash.state },
      });
    }
    const next: TrashRecord = { ...trash, version: trash.version + 1, state };
    const outcome = await services.index.write([
      { kind: 'put', key: keys.trash(tenant, id), item: asItem(next), if: { version: trash.version } },
    ]);
    if (outcome.committed) return next;
  }
}
