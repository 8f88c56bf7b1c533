import { asItem } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { blobKeysOf } from './instance.ts';
import { takeBackReplacement } from './manifest.ts';
import { keys, type PendingRecord, type Tenant } from './records.ts';
import { listTrash } from './trash.ts';

/** What the key of an object's blob names (blobKeyOf); the store may have added where it stands. */
const OBJECT =
  /^(?<tenant>[^/]+)\/(?<StudyInstanceUID>[0-9.]+)\/(?<SeriesInstanceUID>[0-9.]+)\/(?<SOPInstanceUID>[0-9.]+)\.(?<version>[0-9A-HJKMNP-TV-Z]{26})(?:\.[a-z0-9-]+)?\.dcm$/;

type Named = Pick<PendingRecord, 'StudyInstanceUID' | 'SeriesInstanceUID' | 'SOPInstanceUID'> & {
  readonly tenant: Tenant;
  readonly version: string;
};

/**
 * Removes the small objects that their store of blobs remembers as nobody's (PackedBlobs). Their pending record is made here, and stays: from then on a
 * store that has only been slow fails to commit. So what no record speaks of after that, none ever will. Returns how many were removed.
 * @param pendingMs as of `sweep`
 */
export async function abandonUnsettled(services: Services, pendingMs: number): Promise<number> {
  const { blobs, clock, index } = services;
  let abandoned = 0;
  for await (const blobKey of blobs.packed?.unsettled(pendingMs, clock.now()) ?? []) {
    const named = OBJECT.exec(blobKey)?.groups as unknown as Named | undefined;
    if (named === undefined) continue;
    const { tenant, version, ...uids } = named;
    const key = keys.pending(tenant, version);
    const pending: PendingRecord = { version: 2, ...uids, blobKey, startedAt: clock.now(), abandoned: true };
    await index.write([{ kind: 'put', key, item: asItem(pending), if: 'absent' }]);
    if (await isOwned(services, named)) await index.write([{ kind: 'delete', key }]);
    else {
      await takeBackReplacement(blobs, tenant, { ...named, blobKey });
      for (const one of blobKeysOf({ blobKey })) await blobs.delete(one);
      abandoned++;
    }
  }
  return abandoned;
}

/** Whether a record speaks of the object in this blob; `undefined` where the key is none of an object. */
export async function isKnown(services: Services, blobKey: string): Promise<boolean | undefined> {
  const named = OBJECT.exec(blobKey)?.groups as unknown as Named | undefined;
  return named && (await isOwned(services, named));
}

/**
 * Whether a record speaks of these bytes: the instance's own, or that of one held, superseded, being evicted or in the trash. Where they stand is asked
 * for once more behind the trash: they may have been restored from there while we looked.
 */
async function isOwned(services: Services, named: Named): Promise<boolean> {
  return (
    (await isOutsideTrash(services, named)) ||
    (await isInTrash(services, named)) ||
    (await isOutsideTrash(services, named))
  );
}

async function isOutsideTrash({ index }: Services, named: Named): Promise<boolean> {
  const { tenant, version, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = named;
  const [current, ...others] = await index.getMany([
    keys.instance(tenant, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID),
    keys.held(tenant, version),
    keys.superseded(tenant, SOPInstanceUID, version),
    keys.evicting(tenant, version),
  ]);
  if (current?.version === version) return true;
  return others.some((item) => item !== undefined);
}

async function isInTrash(services: Services, { tenant, version, SOPInstanceUID }: Named): Promise<boolean> {
  const { index } = services;
  for (let after = ''; ; ) {
    const page = await listTrash(services, tenant, after, 100);
    const trashed = page.items.map(({ id }) => keys.trashed(tenant, id, SOPInstanceUID, version));
    if (trashed.length > 0 && (await index.getMany(trashed)).some((item) => item !== undefined)) return true;
    if (page.next === undefined) return false;
    after = page.next;
  }
}
