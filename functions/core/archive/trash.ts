import { Attempts } from '../attempts.ts';
import { PacsError } from '../errors.ts';
import { asItem, asRecord } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { eventWrite } from './feed.ts';
import { blobKeysOf } from './instance.ts';
import { deleteManifests, putManifest } from './manifest.ts';
import { beginPlacementRemoval } from './place.ts';
import { type InstanceRecord, keys, type Tenant, type TrashRecord } from './records.ts';
import { forgetSelection, trashedInstances } from './trashed.ts';

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

/**
 * Removes for good what has lain in the trash for its time. Returns how many instances.
 * @throws what failed first, when all other entries have been looked at
 */
export async function purgeTrash(services: Services, tenant: Tenant): Promise<number> {
  const now = services.clock.now();
  const attempts = new Attempts();
  let purged = 0;
  let after = '';
  for (;;) {
    const page = await listTrash(services, tenant, after, 100);
    for (const trash of page.items) {
      const due =
        trash.purgeAt !== null && trash.purgeAt <= now && trash.state !== 'moving' && trash.state !== 'restoring';
      if (due) purged += await attempts.make(() => purge(services, tenant, trash.id), 0);
    }
    if (page.next === undefined) break;
    after = page.next;
  }
  attempts.end();
  return purged;
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
  // What a rebuild finds missing of it from now on is no loss.
  await putManifest(services.blobs, tenant, { kind: 'purging', id });
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

/** The object last: by it a rebuild finds what stands beside. */
export async function deleteBlobs({ blobs }: Services, instance: InstanceRecord): Promise<void> {
  for (const key of blobKeysOf(instance).toReversed()) await blobs.delete(key);
}

/** What is found and read is never purged, whoever has put it into the trash besides. */
async function isCurrent({ index }: Services, tenant: Tenant, instance: InstanceRecord): Promise<boolean> {
  const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, version } = instance;
  const item = await index.get(keys.instance(tenant, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID));
  return item?.version === version;
}

/** Restoring and purging exclude each other by the record's lock. */
export async function enter(
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
