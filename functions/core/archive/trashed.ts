import { newVersion } from '../ids.ts';
import { asRecord, recordsIn } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { blobKeysOfTrash, putManifest } from './manifest.ts';
import { type InstanceRecord, keys, type SopClaim, type Tenant } from './records.ts';

/** What a trash record holds. */
export async function* trashedInstances(
  services: Pick<Services, 'index'>,
  tenant: Tenant,
  id: string,
): AsyncGenerator<{ sort: string; instance: InstanceRecord }> {
  const { partition } = keys.trashed(tenant, id, '', '');
  for await (const { sort, item } of recordsIn(services.index, { partition, limit: 200 }))
    yield { sort, instance: asRecord<InstanceRecord>(item) };
}

/** The record of an instance whose bytes are here, found by readers or hidden by a rejection note. */
export async function keptInstance(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  StudyInstanceUID: string,
  SeriesInstanceUID: string,
  SOPInstanceUID: string,
): Promise<InstanceRecord | undefined> {
  const found = await index.get(keys.instance(tenant, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID));
  if (found !== undefined) return asRecord<InstanceRecord>(found);
  const claim = asRecord<SopClaim>(await index.get(keys.sop(tenant, SOPInstanceUID)));
  if (claim?.rejectedBy === undefined) return undefined;
  const hidden = await index.get(keys.trashed(tenant, claim.rejectedBy, SOPInstanceUID, claim.instanceVersion));
  return asRecord<InstanceRecord>(hidden);
}

/**
 * Notes beside the blobs what a trash record was to hold and does not: it had changed, or another removal took it at the same time, or it has been restored
 * without the rest. A rebuild would hide it, wherever it is.
 */
export async function noteUntaken(services: Services, tenant: Tenant, id: string): Promise<void> {
  const taken = new Set<string>();
  for await (const { instance } of trashedInstances(services, tenant, id)) taken.add(instance.blobKey);
  const noted = await blobKeysOfTrash(services.blobs, tenant, id);
  const blobKeys = noted?.filter((key) => !taken.has(key)) ?? [];
  if (blobKeys.length === 0) return;
  await putManifest(services.blobs, tenant, { kind: 'except', id, part: newVersion(services.clock), blobKeys });
}

/** What was still to be moved into it (`trashing`). */
export async function forgetSelection(services: Pick<Services, 'index'>, tenant: Tenant, id: string): Promise<void> {
  const partition = `${tenant}|trashing|${id}`;
  for await (const { sort } of recordsIn(services.index, { partition, limit: 10_000, keysOnly: true }))
    await services.index.write([{ kind: 'delete', key: { partition, sort } }]);
}
