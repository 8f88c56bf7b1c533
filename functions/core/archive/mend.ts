import { newVersion } from '../ids.ts';
import { asItem, asRecord, type WriteOperation } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { deltaOf, deltaWrites, guardedBy, type PreparedInstance } from './commit.ts';
import { type Damaged, damagedKey, problemOf } from './damage.ts';
import { blobKeyOf, blobKeysOf } from './instance.ts';
import { putManifest, takeBackSuperseded } from './manifest.ts';
import { type InstanceRecord, keys, type PendingRecord, type SopClaim, type Tenant } from './records.ts';

/** What the check of all objects found wrong with the bytes that a claim speaks of. */
export async function knownDamage(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  claim: SopClaim,
  SOPInstanceUID: string,
): Promise<Damaged | undefined> {
  const blobKey = blobKeyOf(tenant, { ...claim, SOPInstanceUID }, claim.instanceVersion);
  // A store that packs small objects puts where they stand before the end.
  const { partition, sort } = damagedKey(tenant, blobKey.slice(0, -'.dcm'.length));
  const { records } = await index.query({ partition, prefix: sort, limit: 1 });
  return asRecord<Damaged>(records[0]?.item);
}

/**
 * Whoever sends the bytes of a spoiled object again mends it: they take its place, and nothing else changes. What is spoiled is removed; should we die
 * before, the sweeper does it, and a rebuild knows by the note beside the blobs which of the two is whole.
 * @param prepared a duplicate of what the claim speaks of, with the same SHA-256
 * @param suspected look at the bytes also where nothing is known against them
 * @returns `changed`: the claim is another by now
 */
export async function mend(
  services: Services,
  prepared: PreparedInstance,
  claim: SopClaim,
  { suspected = false }: { readonly suspected?: boolean } = {},
): Promise<'mended' | 'sound' | 'changed'> {
  const { tenant, instance } = prepared;
  const { StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: sop } = instance;
  const damaged = await knownDamage(services, tenant, claim, sop);
  if (damaged === undefined && !suspected) return 'sound';
  const old = asRecord<InstanceRecord>(await services.index.get(keys.instance(tenant, study, series, sop)));
  if (old?.version !== claim.instanceVersion || old.sha256 !== instance.sha256) return 'sound';
  const known: WriteOperation = { kind: 'delete', key: damagedKey(tenant, damaged?.blobKey ?? old.blobKey) };
  if ((await problemOf(services, old)) === undefined) {
    if (damaged !== undefined) await services.index.write([known]);
    return 'sound';
  }
  const { storedAt, source, route } = old;
  const mended: InstanceRecord = { ...instance, storedAt, source, ...(route !== undefined && { route }) };
  const next: SopClaim = { ...claim, version: claim.version + 1, instanceVersion: instance.version };
  const at = services.clock.now();
  const uids = { StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: sop };
  const spoiled: PendingRecord = { version: 2, ...uids, blobKey: old.blobKey, startedAt: at };
  const note = keys.pending(tenant, old.version);
  const by = instance.blobKey;
  await putManifest(services.blobs, tenant, { kind: 'superseded', blobKey: old.blobKey, by, at, isSpoiled: true });
  const outcome = await services.index.write([
    { kind: 'put', key: keys.sop(tenant, sop), item: asItem(next), if: { version: claim.version } },
    { kind: 'put', key: keys.instance(tenant, study, series, sop), item: asItem(mended) },
    { kind: 'put', key: keys.metadata(tenant, study, series, sop), item: prepared.metadata },
    ...guardedBy(prepared.guard, tenant, instance.version),
    ...deltaWrites(tenant, study, newVersion(services.clock), { ...deltaOf(prepared), overwrite: true }),
    ...deltaWrites(
      tenant,
      study,
      newVersion(services.clock),
      deltaOf({ instance: old, studyAttributes: {}, seriesAttributes: {} }, -1),
    ),
    { kind: 'put', key: note, item: asItem(spoiled) },
    known,
  ]);
  if (!outcome.committed) {
    await takeBackSuperseded(services.blobs, tenant, instance);
    return 'changed';
  }
  for (const key of blobKeysOf(old)) await services.blobs.delete(key);
  await takeBackSuperseded(services.blobs, tenant, old);
  await services.index.write([{ kind: 'delete', key: note }]);
  await services.folder.fold(tenant, study);
  return 'mended';
}
