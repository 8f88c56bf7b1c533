import { createHash } from 'node:crypto';
import { firstString } from '../dicom/element-text.ts';
import type { DataSet } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import { newVersion } from '../ids.ts';
import { asItem, asRecord, type WriteOperation } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { shareKeys } from '../share-links/records.ts';
import { deltaOf, deltaWrites, guardedBy, type PreparedInstance } from './commit.ts';
import { FROM_UPSTREAM, wasEvicted } from './evict.ts';
import { eventWrite } from './feed.ts';
import { type Manifest, putManifest, takeBackSuperseded } from './manifest.ts';
import { mend } from './mend.ts';
import { giveMissingBytes } from './missing-bytes.ts';
import {
  type ConflictKind,
  type HeldRecord,
  type InstanceRecord,
  keys,
  type SopClaim,
  type StudyRecord,
  type Tenant,
  type TrashRecord,
} from './records.ts';
import { fileRejected } from './reject.ts';
import { whoseObject, whoseStudy } from './whose.ts';

export type Settlement =
  | { readonly kind: 'duplicate' | 'stored' | 'replaced' }
  | { readonly kind: 'held' | 'heldBefore'; readonly held: HeldRecord };

const ATTEMPTS = 20;

/**
 * Another object owns the SOPInstanceUID. Same bytes: a duplicate. Other bytes: what policy says; nothing is dropped. Where only a data
 * set was sent (C-STORE), the file meta before it is ours: the same data set behind another one is a duplicate too. So is what was here,
 * was evicted, and has come back from the other archive in another form.
 * The prepared instance's blob is durable and stays where it is, whatever becomes of it.
 */
export async function settleConflict(
  services: Services,
  prepared: PreparedInstance,
  { onlyDataSetSent = false }: { readonly onlyDataSetSent?: boolean } = {},
): Promise<Settlement> {
  const { tenant, instance } = prepared;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const claimItem = await services.index.get(keys.sop(tenant, instance.SOPInstanceUID));
    if (!claimItem) {
      // The owner was deleted in the meantime: the UID is free again.
      if ((await services.commits.commit(prepared)) === 'taken') continue;
      await services.folder.fold(tenant, instance.StudyInstanceUID);
      return { kind: 'stored' };
    }
    const claim = asRecord<SopClaim>(claimItem);
    if (claim.ahead !== undefined) {
      if (await fileRejected(services, prepared, claim, claim.ahead)) return { kind: 'stored' };
      if (await wasGivenUp(services, prepared)) throw givenUp();
      continue;
    }
    // Our own commit, which was told twice and refused the second time: its bytes are no copy.
    if (claim.instanceVersion === instance.version) {
      await services.folder.fold(tenant, instance.StudyInstanceUID);
      return { kind: 'stored' };
    }
    if (claim.sha256 === instance.sha256) {
      const outcome = await mend(services, prepared, claim);
      if (outcome === 'mended') return { kind: 'stored' };
      if (outcome === 'changed') {
        if (await wasGivenUp(services, prepared)) throw givenUp();
        continue;
      }
      await giveMissingBytes(services, tenant, claim, instance);
      return { kind: 'duplicate' };
    }
    const owner =
      claim.rejectedBy === undefined ? await ownerOf(services, tenant, claim, instance.SOPInstanceUID) : undefined;
    if (owner?.source === FROM_UPSTREAM && (await wasEvicted(services, tenant, instance))) return { kind: 'duplicate' };
    if (onlyDataSetSent && owner !== undefined && (await haveSameDataSet(services, owner, instance)))
      return { kind: 'duplicate' };
    // The other archive keeps it: what is here stays as it is.
    if (instance.source === FROM_UPSTREAM) return { kind: 'duplicate' };
    // A rejected instance keeps its UID: no policy brings it back under other bytes.
    if (services.policy.conflict === 'keepFirst' || claim.rejectedBy !== undefined)
      return hold(services, prepared, claim);
    if (await supersede(services, prepared, claim, services.policy.conflict)) return { kind: 'replaced' };
    await services.clock.sleep(5 * attempt);
  }
  throw new PacsError('BUSY', 'the instance is being changed by too many writers', {
    details: { SOPInstanceUID: instance.SOPInstanceUID },
  });
}

/** Whether two objects differ in no more than their preamble and File Meta Information. */
async function haveSameDataSet({ blobs }: Services, one: InstanceRecord, other: InstanceRecord): Promise<boolean> {
  const length = (of: InstanceRecord): number => of.sizeBytes - of.dataSetOffset;
  if (one.transferSyntaxUID !== other.transferSyntaxUID || length(one) !== length(other)) return false;
  const digest = async (of: InstanceRecord): Promise<string> => {
    const hash = createHash('sha256');
    for await (const chunk of blobs.read(of.blobKey, { offset: of.dataSetOffset })) hash.update(chunk);
    return hash.digest('hex');
  };
  return orWhereAway(async () => (await digest(one)) === (await digest(other)), false);
}

/** What cannot be compared, as it lies on slow media, is taken for different: kept aside, until a person looks. */
async function orWhereAway<T>(compare: () => Promise<T>, different: T): Promise<T> {
  try {
    return await compare();
  } catch (error) {
    if (error instanceof PacsError && error.code === 'ARCHIVED') return different;
    throw error;
  }
}

async function ownerOf(
  services: Services,
  tenant: Tenant,
  claim: SopClaim,
  sop: string,
): Promise<InstanceRecord | undefined> {
  const item = await services.index.get(keys.instance(tenant, claim.StudyInstanceUID, claim.SeriesInstanceUID, sop));
  return asRecord<InstanceRecord>(item);
}

function hold(services: Services, prepared: PreparedInstance, claim: SopClaim): Promise<Settlement> {
  const { tenant, instance } = prepared;
  const why = async (): Promise<Reason> => {
    const owner = await ownerOf(services, tenant, claim, instance.SOPInstanceUID);
    const existing = {
      sha256: claim.sha256,
      sizeBytes: owner?.sizeBytes ?? 0,
      storedAt: owner?.storedAt ?? 0,
      StudyInstanceUID: claim.StudyInstanceUID,
      SeriesInstanceUID: claim.SeriesInstanceUID,
    };
    return { kind: owner ? await classify(services, prepared, owner) : 'otherHeader', existing };
  };
  const event = eventWrite(tenant, {
    type: 'Conflict',
    at: instance.storedAt,
    ...uids(instance),
    id: instance.version,
  });
  return keepAside(services, prepared, why, event);
}

/** Keeps aside what a guest has sent in by a share link, whatever the archive has. The same bytes again: a duplicate of what waits. */
export function holdUpload(services: Services, prepared: PreparedInstance, link: string): Promise<Settlement> {
  const { tenant, instance } = prepared;
  const { StudyInstanceUID, SeriesInstanceUID } = instance;
  const existing = { sha256: '', sizeBytes: 0, storedAt: 0, StudyInstanceUID, SeriesInstanceUID };
  const why = async (): Promise<Reason> => ({ kind: 'uploaded', link, existing });
  const listed: WriteOperation = { kind: 'put', key: shareKeys.held(tenant, link, instance.version), item: {} };
  return keepAside(services, prepared, why, listed);
}

type Reason = Pick<HeldRecord, 'kind' | 'existing' | 'link'>;

/**
 * Puts an object into quarantine, unless these very bytes wait there already.
 * @param why asked only where they do not; `beside` is written in the same moment
 * @throws PacsError BUSY when the sweeper took the store for an abandoned one
 */
async function keepAside(
  services: Services,
  prepared: PreparedInstance,
  why: () => Promise<Reason>,
  beside: WriteOperation,
): Promise<Settlement> {
  const { index, blobs } = services;
  const { tenant, instance, guard } = prepared;
  const { version: id, blobKey, sizeBytes, sha256, storedAt: receivedAt, source } = instance;
  const knownKey = keys.heldOf(tenant, instance.SOPInstanceUID, sha256);
  for (;;) {
    const known = await index.get(knownKey);
    const before = known && (await index.get(keys.held(tenant, known.id as string)));
    if (before) return { kind: 'heldBefore', held: asRecord<HeldRecord>(before) };
    const held: HeldRecord = {
      id,
      ...uids(instance),
      blobKey,
      sizeBytes,
      sha256,
      receivedAt,
      source,
      attributes: whoseObject(prepared),
      ...(await why()),
    };
    await putManifest(blobs, tenant, { kind: 'held', held });
    const outcome = await index.write([
      { kind: 'put', key: keys.held(tenant, id), item: asItem(held) },
      { kind: 'put', key: knownKey, item: { id }, if: known ? 'present' : 'absent' },
      ...guardedBy(guard, tenant, id),
      beside,
    ]);
    if (outcome.committed) return { kind: 'held', held };
    if (await wasGivenUp(services, prepared)) throw givenUp();
    // The same bytes arrived twice at once, and the other one is held already.
  }
}

/**
 * Makes the prepared bytes the current ones. Policy `version` keeps the old record beside the new; `replace` puts it into
 * the trash. Also how a person decides a held conflict. Returns false when the claim changed meanwhile.
 */
export async function supersede(
  services: Services,
  prepared: PreparedInstance,
  claim: SopClaim,
  policy: 'version' | 'replace',
  alongside: readonly WriteOperation[] = [],
  who: { by: string; reason: string } = { by: 'policy', reason: 'replaced by an object with the same SOPInstanceUID' },
): Promise<boolean> {
  const { tenant, instance } = prepared;
  const { SOPInstanceUID: sop, StudyInstanceUID: study, SeriesInstanceUID: series } = instance;
  const old = await ownerOf(services, tenant, claim, sop);
  if (!old) return false;
  const at = services.clock.now();
  const trashId = newVersion(services.clock);
  const next: SopClaim = {
    version: claim.version + 1,
    StudyInstanceUID: study,
    SeriesInstanceUID: series,
    instanceVersion: instance.version,
    sha256: instance.sha256,
  };
  const operations: WriteOperation[] = [
    { kind: 'put', key: keys.sop(tenant, sop), item: asItem(next), if: { version: claim.version } },
    { kind: 'put', key: keys.instance(tenant, study, series, sop), item: asItem(instance) },
    { kind: 'put', key: keys.metadata(tenant, study, series, sop), item: prepared.metadata },
    ...guardedBy(prepared.guard, tenant, instance.version),
    ...deltaWrites(tenant, study, newVersion(services.clock), { ...deltaOf(prepared), overwrite: true }),
    ...deltaWrites(
      tenant,
      old.StudyInstanceUID,
      newVersion(services.clock),
      deltaOf({ instance: old, studyAttributes: {}, seriesAttributes: {} }, -1),
    ),
    eventWrite(tenant, { type: 'InstanceStored', at, ...uids(instance), sha256: instance.sha256 }),
    ...alongside,
  ];
  if (old.StudyInstanceUID !== study || old.SeriesInstanceUID !== series) {
    operations.push(
      { kind: 'delete', key: keys.instance(tenant, old.StudyInstanceUID, old.SeriesInstanceUID, sop) },
      { kind: 'delete', key: keys.metadata(tenant, old.StudyInstanceUID, old.SeriesInstanceUID, sop) },
    );
  }
  if (policy === 'version') {
    await putManifest(services.blobs, tenant, { kind: 'superseded', blobKey: old.blobKey, by: instance.blobKey, at });
    operations.push({ kind: 'put', key: keys.superseded(tenant, sop, old.version), item: asItem(old) });
  } else {
    const ofOld = asRecord<StudyRecord>(await services.index.get(keys.study(tenant, old.StudyInstanceUID)));
    const trash: TrashRecord = {
      version: 1,
      id: trashId,
      kind: 'replaced',
      level: 'instance',
      ...uids(old),
      state: 'complete',
      instanceCount: 1,
      attributes: whoseStudy(ofOld),
      deletedAt: at,
      purgeAt: at + services.limits.trashMs,
      ...who,
    };
    const manifest: Manifest = { kind: 'trash', trash, blobKeys: [old.blobKey], replacedBy: instance.blobKey };
    await putManifest(services.blobs, tenant, manifest);
    operations.push(
      { kind: 'put', key: keys.trash(tenant, trash.id), item: asItem(trash) },
      { kind: 'put', key: keys.trashed(tenant, trash.id, sop, old.version), item: asItem(old) },
    );
  }
  const outcome = await services.index.write(operations);
  if (!outcome.committed) {
    // Else a rebuild would take for replaced what is current still, or somebody has restored since.
    if (policy === 'replace') await putManifest(services.blobs, tenant, { kind: 'restored', id: trashId });
    else await takeBackSuperseded(services.blobs, tenant, instance);
    return false;
  }
  for (const touched of new Set([study, old.StudyInstanceUID])) await services.folder.fold(tenant, touched);
  return true;
}

const uids = (record: InstanceRecord) => ({
  StudyInstanceUID: record.StudyInstanceUID,
  SeriesInstanceUID: record.SeriesInstanceUID,
  SOPInstanceUID: record.SOPInstanceUID,
});

/** The gravest difference first: another patient's image under the same UID is not the same thing as a corrected header. */
async function classify(services: Services, prepared: PreparedInstance, owner: InstanceRecord): Promise<ConflictKind> {
  const { tenant, instance } = prepared;
  const study = await services.index.get(keys.study(tenant, owner.StudyInstanceUID));
  const ownerAttributes = asRecord<StudyRecord>(study)?.attributes;
  if (ownerAttributes && patientOf(ownerAttributes) !== patientOf(prepared.studyAttributes)) return 'otherPatient';
  if (owner.StudyInstanceUID !== instance.StudyInstanceUID) return 'otherStudy';
  if (owner.SOPClassUID !== instance.SOPClassUID) return 'otherSopClass';
  if (owner.transferSyntaxUID !== instance.transferSyntaxUID) return 'otherTransferSyntax';
  const isSame = async (): Promise<boolean> =>
    (await pixelHash(services, owner)) === (await pixelHash(services, instance));
  return (await orWhereAway(isSame, false)) ? 'otherHeader' : 'otherPixels';
}

/** Whether the sweeper was there first (guardedBy). */
const givenUp = (): PacsError => new PacsError('BUSY', 'the store took too long and was given up');

async function wasGivenUp({ index }: Services, { tenant, instance, guard }: PreparedInstance): Promise<boolean> {
  if (guard !== 'pending' && guard !== 'unsettled') return false;
  const pending = await index.get(keys.pending(tenant, instance.version));
  return guard === 'pending' ? pending?.version !== 1 : pending !== undefined;
}

const patientOf = (attributes: DataSet): string =>
  JSON.stringify([firstString(attributes, '00100020') ?? '', firstString(attributes, '00100021') ?? '']);

/** SHA-256 over the pixel data as stored: native bytes, or the run of fragments; '' without pixels. */
async function pixelHash(services: Services, { blobKey, pixels }: InstanceRecord): Promise<string> {
  if (!pixels) return '';
  const range = pixels.kind === 'native' ? pixels : await fragmentsRange(services, pixels);
  if (!range || (pixels.kind === 'native' && pixels.inflated)) return '';
  const hash = createHash('sha256');
  for await (const chunk of services.blobs.read(blobKey, { offset: range.offset, length: range.length }))
    hash.update(chunk);
  return hash.digest('hex');
}

async function fragmentsRange(
  services: Services,
  pixels: Extract<InstanceRecord['pixels'], { kind: 'fragments' }>,
): Promise<{ offset: number; length: number } | undefined> {
  const table = pixels.table ?? (pixels.tableBlobKey && (await services.blobs.readBytes(pixels.tableBlobKey)));
  if (!table || table.byteLength < 16) return undefined;
  const view = new DataView(table.buffer, table.byteOffset, table.byteLength);
  const last = table.byteLength - 16;
  const offset = Number(view.getBigUint64(0, true));
  const end = Number(view.getBigUint64(last, true)) + Number(view.getBigUint64(last + 8, true));
  return { offset, length: Math.max(0, end - offset) };
}
