import { wholeOf } from '../access/confine.ts';
import { PacsError } from '../errors.ts';
import { newVersion } from '../ids.ts';
import { asItem, asRecord, type Key } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { deltaOf, deltaWrites, guardedBy, type PreparedInstance } from './commit.ts';
import { type Problem, problemOf } from './damage.ts';
import { eventWrite } from './feed.ts';
import { putManifest } from './manifest.ts';
import { mend } from './mend.ts';
import {
  type InstanceRecord,
  keys,
  type PendingRecord,
  type SopClaim,
  type Tenant,
  type TrashRecord,
} from './records.ts';
import { FINISH_AFTER_MS, FINISH_REMOVAL, finishRemoval } from './remove.ts';
import { rescan } from './rescan.ts';
import { deleteBlobs, enter, getTrash } from './trash.ts';
import { forgetSelection, noteUntaken, trashedInstances } from './trashed.ts';

export interface RestoreOutcome {
  readonly restored: number;
  /** instances whose UID has meanwhile been taken by other bytes; they stay in the trash */
  readonly conflicting: number;
}

/** Goes on with a removal or a restore that was interrupted; nothing to do when it is complete. */
export async function finishInterrupted(services: Services, tenant: Tenant, id: string): Promise<void> {
  const item = await services.index.get(keys.trash(tenant, id));
  if (item?.state !== 'restoring') return finishRemoval(services, tenant, id);
  const { away } = await goOnRestoring(services, tenant, asRecord<TrashRecord>(item));
  if (away.length === 0) return;
  for (const { blobKey } of away) await services.blobs.restore(blobKey);
  await services.jobs.enqueue(FINISH_REMOVAL, { tenant, id }, { delayMs: services.limits.restorePollMs });
}

/**
 * Brings back what a trash entry holds. Repeatable: one that was interrupted goes on where it stopped, by the queue if nobody asks again.
 * @throws PacsError NOT_FOUND; BEING_STORED while the removal itself is not complete; GONE when it is being purged; ARCHIVED when some of it lies on
 *   slow media: the rest is back, and the queue brings back these; CONFLICT when some of it cannot be read: the rest is back
 */
export async function restoreFromTrash(confined: Services, tenant: Tenant, id: string): Promise<RestoreOutcome> {
  await getTrash(confined, tenant, id);
  const services = wholeOf(confined);
  await services.jobs.enqueue(FINISH_REMOVAL, { tenant, id }, { delayMs: FINISH_AFTER_MS });
  const { away, ...outcome } = await goOnRestoring(services, tenant, await enter(services, tenant, id, 'restoring'));
  if (away.length === 0) return outcome;
  const retryAfterSeconds = Math.ceil(services.limits.restorePollMs / 1000);
  throw new PacsError('ARCHIVED', 'the objects are being brought back from slow media', {
    details: { id, retryAfterSeconds },
  });
}

/** `away`: what lies on slow media. The entry stays until that is back. @throws PacsError CONFLICT when all others are back, and some cannot be read */
async function goOnRestoring(
  services: Services,
  tenant: Tenant,
  trash: TrashRecord,
): Promise<RestoreOutcome & { readonly away: readonly InstanceRecord[] }> {
  const { id } = trash;
  const found: Record<Reinstated, InstanceRecord[]> = { restored: [], conflicting: [], away: [], gone: [] };
  const spare: InstanceRecord[] = [];
  let unreadable: PacsError | undefined;
  for await (const { sort, instance } of trashedInstances(services, tenant, id)) {
    const key = { partition: `${tenant}|trashed|${id}`, sort };
    try {
      found[await reinstate(services, tenant, instance, key, id, spare)].push(instance);
    } catch (error) {
      // One whose bytes are missing or spoiled holds up no other.
      if (!(error instanceof PacsError && UNREADABLE.has(error.code))) throw error;
      unreadable ??= error;
    }
  }
  const { away } = found;
  const [restored, conflicting] = [found.restored.length, found.conflicting.length];
  for (const study of new Set(found.restored.map(({ StudyInstanceUID }) => StudyInstanceUID)))
    await services.folder.fold(tenant, study);
  // These may be waited for longer than anybody waits to rebuild an index.
  if (restored > 0 && (away.length > 0 || unreadable)) {
    await noteUntaken(services, tenant, id);
    await removeSpare(services, tenant, spare);
  }
  if (away.length > 0) return { restored, conflicting, away };
  if (unreadable)
    throw new PacsError('CONFLICT', 'some of the objects cannot be read; the others have been restored', {
      cause: unreadable,
      details: { id, restored },
    });
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
    await services.index.write([
      { kind: 'delete', key: keys.trash(tenant, id), if: { version: trash.version } },
      event,
    ]);
    await forgetSelection(services, tenant, id);
  } else {
    await noteUntaken(services, tenant, id);
    const rest: TrashRecord = { ...trash, version: trash.version + 1, state: 'complete', instanceCount: conflicting };
    await services.index.write([
      { kind: 'put', key: keys.trash(tenant, id), item: asItem(rest), if: { version: trash.version } },
      event,
    ]);
  }
  await removeSpare(services, tenant, spare);
  return { restored, conflicting, away };
}

/** What is said of an object that is gone, or no longer what was received. */
const UNREADABLE: ReadonlySet<string> = new Set(['NOT_FOUND', 'UNREADABLE_DATASET']);

/**
 * `restored`: visible, with these bytes. `conflicting`: other bytes own its UID, or it is rejected by another note. `away`: on slow media. `gone`: not in
 * this entry any more, as somebody else has restored it; what has become of it since is not undone.
 */
type Reinstated = 'restored' | 'conflicting' | 'away' | 'gone';

/**
 * Each instance leaves the trash in the write that makes it visible, so it is in one of the two, whoever else restores it or dies here.
 * @param key of its row in the trash
 * @param spare takes up copies that nobody needs any more
 */
async function reinstate(
  services: Services,
  tenant: Tenant,
  instance: InstanceRecord,
  key: Key,
  trashId: string,
  spare: InstanceRecord[],
): Promise<Reinstated> {
  const { StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: sop } = instance;
  let prepared: PreparedInstance | undefined;
  for (;;) {
    const [item, row] = await services.index.getMany([keys.sop(tenant, sop), key]);
    if (row === undefined) return 'gone';
    const found = asRecord<SopClaim>(item);
    if (found !== undefined && found.rejectedBy !== trashId) {
      if (found.rejectedBy !== undefined || found.sha256 !== instance.sha256) return 'conflicting';
      if (found.instanceVersion === instance.version) {
        const taken = await services.index.write([{ kind: 'delete', key, if: 'present' }]);
        return taken.committed ? 'restored' : 'gone';
      }
      const visible = await visibleOf(services, tenant, found, sop);
      if (visible === undefined) return 'conflicting';
      if (!(await isSpoiled(services, visible))) {
        if (!(await takeOut(services, tenant, instance, key))) return 'gone';
        spare.push(instance);
        return 'restored';
      }
    }
    try {
      prepared ??= await fromTrash(services, tenant, instance, key);
    } catch (error) {
      if (error instanceof PacsError && error.code === 'ARCHIVED') return 'away';
      throw error;
    }
    if (found === undefined) {
      if ((await services.commits.commit(prepared)) === 'committed') return 'restored';
      continue;
    }
    if (found.rejectedBy === undefined) {
      // This copy is the one that is left: it takes the place of the visible one, if it is whole itself.
      const problem = await problemOf(services, instance);
      if (problem !== undefined) throw spoiledTwice(instance, problem);
      if ((await mend(services, prepared, found, { suspected: true })) === 'mended') return 'restored';
      continue;
    }
    const { rejectedBy: _, ...claim } = found;
    const outcome = await services.index.write([
      {
        kind: 'put',
        key: keys.sop(tenant, sop),
        item: asItem({ ...claim, version: claim.version + 1 }),
        if: { version: claim.version },
      },
      { kind: 'put', key: keys.instance(tenant, study, series, sop), item: asItem(prepared.instance) },
      { kind: 'put', key: keys.metadata(tenant, study, series, sop), item: prepared.metadata },
      ...guardedBy(prepared.guard, tenant, instance.version),
      ...deltaWrites(tenant, study, newVersion(services.clock), deltaOf(prepared)),
    ]);
    if (outcome.committed) return 'restored';
  }
}

/** Its bytes read again. What they were when they arrived stays known, whatever has become of them. */
async function fromTrash(
  services: Services,
  tenant: Tenant,
  trashed: InstanceRecord,
  key: Key,
): Promise<PreparedInstance> {
  const prepared = await rescan(services, tenant, trashed);
  const { sha256, route } = trashed;
  const instance: InstanceRecord = { ...prepared.instance, sha256, ...(route !== undefined && { route }) };
  return { ...prepared, instance, guard: { trashed: key } };
}

/** What readers find; undefined: it is just being removed, too. */
async function visibleOf({ index }: Services, tenant: Tenant, claim: SopClaim, sop: string) {
  const key = keys.instance(tenant, claim.StudyInstanceUID, claim.SeriesInstanceUID, sop);
  const found = asRecord<InstanceRecord>(await index.get(key));
  return found?.version === claim.instanceVersion ? found : undefined;
}

/** Whether these bytes are not what was received any more: who removed a copy of them would remove the last one. */
async function isSpoiled(services: Services, visible: InstanceRecord): Promise<boolean> {
  try {
    return (await problemOf(services, visible)) !== undefined;
  } catch (error) {
    // It keeps what it has; to look, hours would have to be waited for.
    if (error instanceof PacsError && error.code === 'ARCHIVED') return false;
    throw error;
  }
}

const spoiledTwice = ({ SOPInstanceUID }: InstanceRecord, problem: Problem): PacsError =>
  new PacsError('UNREADABLE_DATASET', 'neither the copy in the trash nor the one sent again is as it was received', {
    details: { SOPInstanceUID, problem },
  });

/**
 * The same bytes are visible, as they have been sent again: nobody needs this copy of them. The note of what is being removed goes with the row, so that
 * the sweep finishes it. @returns whether it was there
 */
async function takeOut(services: Services, tenant: Tenant, instance: InstanceRecord, key: Key): Promise<boolean> {
  const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, version, blobKey } = instance;
  const uids = { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID };
  const removing: PendingRecord = { version: 2, ...uids, blobKey, startedAt: services.clock.now() };
  const { committed } = await services.index.write([
    { kind: 'delete', key, if: 'present' },
    { kind: 'put', key: keys.pending(tenant, version), item: asItem(removing) },
  ]);
  return committed;
}

/** When the notes beside the blobs say that the trash does not hold them any more: a rebuild would miss them. */
async function removeSpare(services: Services, tenant: Tenant, spare: readonly InstanceRecord[]): Promise<void> {
  for (const instance of spare) {
    await deleteBlobs(services, instance);
    await services.index.write([{ kind: 'delete', key: keys.pending(tenant, instance.version) }]);
  }
}
