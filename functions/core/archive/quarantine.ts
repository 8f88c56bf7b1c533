import { wholeOf } from '../access/confine.ts';
import { PacsError } from '../errors.ts';
import { newVersion } from '../ids.ts';
import { asItem, asRecord, type WriteOperation } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { guardedBy, type PreparedInstance } from './commit.ts';
import { supersede } from './conflict.ts';
import { eventWrite } from './feed.ts';
import { putManifest } from './manifest.ts';
import { type HeldRecord, keys, type SopClaim, type Tenant, type TrashRecord } from './records.ts';
import { rescan } from './rescan.ts';
import { whoseObject } from './whose.ts';

const ATTEMPTS = 20;

export async function getHeld(services: Services, tenant: Tenant, id: string): Promise<HeldRecord> {
  const item = await services.index.get(keys.held(tenant, id));
  if (!item) throw new PacsError('NOT_FOUND', 'there is no such entry in quarantine', { details: { id } });
  return asRecord<HeldRecord>(item);
}

/** Newest first. */
export async function listHeld(
  services: Services,
  tenant: Tenant,
  after: string,
  limit: number,
): Promise<{ items: HeldRecord[]; next?: string }> {
  const { partition } = keys.held(tenant, '');
  const page = await services.index.query({ partition, descending: true, limit, ...(after === '' ? {} : { after }) });
  const items = page.records.map(({ item }) => asRecord<HeldRecord>(item));
  const last = page.records.at(-1);
  return page.more && last ? { items, next: last.sort } : { items };
}

/** What is written when a held record leaves quarantine, beside what removes it, once (guardedBy). */
function release(services: Services, tenant: Tenant, held: HeldRecord): WriteOperation[] {
  const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, id } = held;
  const at = services.clock.now();
  return [
    { kind: 'delete', key: keys.heldOf(tenant, SOPInstanceUID, held.sha256) },
    eventWrite(tenant, { type: 'ConflictResolved', at, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, id }),
  ];
}

/** The held bytes take the place of the current ones, which go to the trash. */
export async function replaceByHeld(
  confined: Services,
  tenant: Tenant,
  id: string,
  who: { by: string; reason: string },
): Promise<void> {
  const held = await getHeld(confined, tenant, id);
  const services = wholeOf(confined);
  const scanned = await rescan(services, tenant, { ...held, version: id, storedAt: held.receivedAt });
  const prepared: PreparedInstance = { ...scanned, guard: 'held' };
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const item = await services.index.get(keys.sop(tenant, held.SOPInstanceUID));
    if (!item) {
      // The owner was deleted: the held bytes simply become the instance.
      if ((await services.commits.commit(prepared)) === 'taken') continue;
      await services.folder.fold(tenant, held.StudyInstanceUID);
      await services.index.write(release(services, tenant, held));
      return putManifest(services.blobs, tenant, { kind: 'released', id });
    }
    const claim = asRecord<SopClaim>(item);
    if (claim.instanceVersion === id) return finishDecided(services, tenant, held);
    if (claim.rejectedBy !== undefined) {
      throw new PacsError('CONFLICT', 'the current instance was rejected: restore or delete it first', {
        details: { id },
      });
    }
    if (await supersede(services, prepared, claim, 'replace', release(services, tenant, held), who)) {
      return putManifest(services.blobs, tenant, { kind: 'released', id });
    }
    await getHeld(services, tenant, id);
    await services.clock.sleep(5 * attempt);
  }
  throw new PacsError('BUSY', 'the instance is being changed by too many writers', { details: { id } });
}

/** The held bytes are the current ones: a decision was cut off when it had made them so, and had not taken them out of quarantine. */
async function finishDecided(services: Services, tenant: Tenant, held: HeldRecord): Promise<void> {
  await services.index.write([...guardedBy('held', tenant, held.id), ...release(services, tenant, held)]);
  await putManifest(services.blobs, tenant, { kind: 'released', id: held.id });
}

/**
 * The held bytes go to the trash, from where they can still be had until it is purged.
 * @throws PacsError NOT_FOUND when they have been decided upon
 */
export async function discardHeld(
  confined: Services,
  tenant: Tenant,
  id: string,
  who: { by: string; reason: string },
): Promise<TrashRecord> {
  const held = await getHeld(confined, tenant, id);
  const services = wholeOf(confined);
  const decided = new PacsError('NOT_FOUND', 'somebody else has decided this conflict', { details: { id } });
  const claim = await services.index.get(keys.sop(tenant, held.SOPInstanceUID));
  if (claim?.instanceVersion === id) {
    await finishDecided(services, tenant, held);
    throw decided;
  }
  const prepared = await rescan(services, tenant, { ...held, version: id, storedAt: held.receivedAt });
  const at = services.clock.now();
  const trash: TrashRecord = {
    version: 1,
    id: newVersion(services.clock),
    kind: 'deleted',
    level: 'instance',
    StudyInstanceUID: held.StudyInstanceUID,
    SeriesInstanceUID: held.SeriesInstanceUID,
    SOPInstanceUID: held.SOPInstanceUID,
    state: 'complete',
    instanceCount: 1,
    attributes: whoseObject(prepared),
    deletedAt: at,
    purgeAt: at + services.limits.trashMs,
    ...who,
  };
  await putManifest(services.blobs, tenant, { kind: 'trash', trash, blobKeys: [held.blobKey] });
  const outcome = await services.index.write([
    ...guardedBy('held', tenant, id),
    ...release(services, tenant, held),
    { kind: 'put', key: keys.trash(tenant, trash.id), item: asItem(trash) },
    { kind: 'put', key: keys.trashed(tenant, trash.id, held.SOPInstanceUID, id), item: asItem(prepared.instance) },
  ]);
  if (!outcome.committed) {
    // Else a rebuild would take for discarded what is current.
    await putManifest(services.blobs, tenant, { kind: 'restored', id: trash.id });
    throw decided;
  }
  await putManifest(services.blobs, tenant, { kind: 'released', id });
  return trash;
}
