import { restoreAudit, sealedUpTo } from '../audit/seal.ts';
import { countRebuiltStudy } from '../costs/count-study.ts';
import type { DataSet } from '../dicom/types.ts';
import { asPacsError, PacsError } from '../errors.ts';
import { lockOf, timeOf } from '../ids.ts';
import { asItem, asRecord, type IndexTable, type Key } from '../ports/index-table.ts';
import { instanceMetadata } from '../retrieve/metadata.ts';
import { partitions } from '../search/postings.ts';
import type { Services } from '../services.ts';
import { settleConflict } from './conflict.ts';
import { noteDamaged } from './damage.ts';
import type { Identity } from './instance.ts';
import { type Manifest, readManifests } from './manifest.ts';
import { type InstanceRecord, keys, type PendingRecord, type Tenant } from './records.ts';
import { claimAhead, isRejectionNote, KEY_OBJECT_SELECTION } from './reject.ts';
import { rescan } from './rescan.ts';
import { whoseObject } from './whose.ts';

export interface RebuildReport {
  instances: number;
  held: number;
  trashed: number;
  superseded: number;
  /** blobs that could not be read, with the code of the error */
  failed: { blobKey: string; code: string }[];
  /** blobs whose bytes are not those that were received, as far as the index before knows; they are filed with the SHA-256 that they had */
  altered: string[];
}

/** `<tenant>/<Study>/<Series>/<SOP>.<version>.dcm`; before the end, the store may have said where it stands */
export const OBJECT_KEY = /^[^/]+\/[0-9.]+\/[0-9.]+\/[0-9.]+\.([0-9A-HJKMNP-TV-Z]{26})(?:\.[a-z0-9-]+)?\.dcm$/;

/**
 * Makes the index of a tenant anew from its blobs; the index must hold no study, but may hold what no blob tells (kept-records.ts). Decisions (deleted, held, superseded) come
 * from the manifests; a UID that two blobs claim and no manifest speaks of goes through the conflict policy, oldest first.
 * @param before the index that is made anew, where it can be read: what the disk has spoiled since must not pass for what was received
 * @throws PacsError CONFLICT when the index holds studies already
 */
export async function rebuildIndex(
  services: Services,
  tenant: Tenant,
  onProgress: (done: number) => void = () => {},
  before?: Pick<IndexTable, 'get'>,
): Promise<RebuildReport> {
  const listed = await services.index.query({ partition: partitions.list(tenant), limit: 1, keysOnly: true });
  if (listed.records.length > 0) throw new PacsError('CONFLICT', 'the index holds studies already');
  const report: RebuildReport = { instances: 0, held: 0, trashed: 0, superseded: 0, failed: [], altered: [] };
  const received = new Received(services, tenant, before, report);
  const setAside = await restoreDecisions(services, tenant, report, received);
  const studies = new Set<string>();
  const keyObjects: Identity[] = [];
  let done = 0;
  for await (const { key } of services.blobs.list(`${tenant}/`)) {
    const version = OBJECT_KEY.exec(key)?.[1];
    if (version === undefined || setAside.has(key)) continue;
    try {
      const stored = { blobKey: key, version, source: 'rebuild', storedAt: timeOf(version) };
      const scanned = await rescan(services, tenant, stored);
      const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = scanned.instance;
      const record = keys.instance(tenant, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID);
      const prepared = { ...scanned, instance: await received.asReceived(scanned.instance, record) };
      const outcome = await services.commits.commit(prepared);
      const settled = outcome === 'taken' ? (await settleConflict(services, prepared)).kind : outcome;
      if (settled === 'held') report.held++;
      // The same bytes once more: a copy whose removal was cut off.
      else if (settled === 'duplicate') await leaveToSweeper(services, tenant, key);
      else {
        // What takes the place of spoiled bytes under the same UID is no further one.
        if (outcome === 'committed') report.instances++;
        studies.add(prepared.instance.StudyInstanceUID);
        if (prepared.instance.SOPClassUID === KEY_OBJECT_SELECTION) keyObjects.push(prepared.instance);
      }
    } catch (error) {
      report.failed.push({ blobKey: key, code: asPacsError(error).code });
    }
    onProgress(++done);
  }
  for (const study of studies) {
    await services.folder.fold(tenant, study);
    await countRebuiltStudy(services, tenant, study);
  }
  for (const note of keyObjects) await rejectAhead(services, tenant, note);
  if ((await sealedUpTo(services, tenant)).segments === 0) await restoreAudit(services, tenant);
  return report;
}

/** What objects were when they arrived, by the index before: bytes alone do not tell whether they are what was received. */
class Received {
  readonly #services: Services;
  readonly #tenant: Tenant;
  #before: Pick<IndexTable, 'get'> | undefined;
  readonly #report: RebuildReport;

  constructor(services: Services, tenant: Tenant, before: Pick<IndexTable, 'get'> | undefined, report: RebuildReport) {
    this.#services = services;
    this.#tenant = tenant;
    this.#before = before;
    this.#report = report;
  }

  /**
   * What has been altered is known as damaged before it is filed: of two copies under one UID the good one must not pass for a duplicate of it (mend.ts).
   * @param key of its record before
   */
  async asReceived(instance: InstanceRecord, key: Key): Promise<InstanceRecord> {
    let known: InstanceRecord | undefined;
    try {
      known = asRecord<InstanceRecord>(await this.#before?.get(key));
    } catch {
      // It is made anew because it cannot be read: then nothing is known of it.
      this.#before = undefined;
    }
    if (known?.version !== instance.version || known.sha256 === instance.sha256) return instance;
    const { blobKey, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = instance;
    const uids = { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID };
    await noteDamaged(this.#services, this.#tenant, { ...uids, blobKey }, 'altered');
    this.#report.altered.push(blobKey);
    return { ...instance, sha256: known.sha256 };
  }
}

/** What a rejection note names and is not here is hidden when it comes. What is here was decided, and is in the manifests. */
async function rejectAhead(services: Services, tenant: Tenant, note: Identity): Promise<void> {
  const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = note;
  const metadata = await instanceMetadata(services, tenant, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID);
  const dataSet: DataSet = JSON.parse(metadata);
  if (isRejectionNote(dataSet)) await claimAhead(services, tenant, dataSet, note);
}

/** The tenants that any object of the store belongs to. */
export async function tenantsIn({ blobs }: Pick<Services, 'blobs'>): Promise<string[]> {
  const found: string[] = [];
  for (let after = ''; ; ) {
    const tenant = await firstBehind(blobs, after);
    if (tenant === undefined) return found;
    if (/^[a-z0-9-]{1,32}$/.test(tenant)) found.push(tenant);
    // `0` stands directly behind `/`: behind all that this one has
    after = `${tenant}0`;
  }
}

async function firstBehind(blobs: Services['blobs'], after: string): Promise<string | undefined> {
  for await (const { key } of blobs.list('', after)) return key.split('/', 1)[0];
  return undefined;
}

/** Writes the records of held, trashed and superseded objects; returns their blob keys, and those of what the sweeper is to remove. */
async function restoreDecisions(
  services: Services,
  tenant: Tenant,
  report: RebuildReport,
  received: Received,
): Promise<Set<string>> {
  const setAside = new Set<string>();
  const spoiled: Extract<Manifest, { kind: 'superseded' }>[] = [];
  for (const manifest of await readManifests(services.blobs, tenant)) {
    if (manifest.kind === 'held') {
      const { held } = manifest;
      if (!(await services.blobs.head(held.blobKey))) continue;
      setAside.add(held.blobKey);
      const [found] = await rescanAll(services, tenant, [held.blobKey], report);
      const attributes = found?.attributes;
      await services.index.write([
        { kind: 'put', key: keys.held(tenant, held.id), item: asItem({ ...held, attributes }) },
        { kind: 'put', key: keys.heldOf(tenant, held.SOPInstanceUID, held.sha256), item: { id: held.id } },
      ]);
      report.held++;
    } else if (manifest.kind === 'trash') {
      const { trash } = manifest;
      const there = manifest.isBeingPurged ? await onlyKept(services, manifest.blobKeys) : manifest.blobKeys;
      const rescanned = await rescanAll(services, tenant, there, report);
      const attributes = rescanned[0]?.attributes;
      for (const blobKey of manifest.blobKeys) setAside.add(blobKey);
      for (const { instance: scanned } of rescanned) {
        const key = keys.trashed(tenant, trash.id, scanned.SOPInstanceUID, scanned.version);
        const instance = await received.asReceived(scanned, key);
        await services.index.write([{ kind: 'put', key, item: asItem(instance) }]);
        if (trash.kind === 'rejected') await claimRejected(services, tenant, instance, trash.id);
      }
      report.trashed += rescanned.length;
      // All its time anew: what a rebuild hides that should not be hidden must be seen before it is purged.
      const purgeAt = trash.purgeAt === null ? null : services.clock.now() + services.limits.trashMs;
      const complete = { ...trash, state: 'complete', instanceCount: rescanned.length, attributes, purgeAt };
      await services.index.write([{ kind: 'put', key: keys.trash(tenant, trash.id), item: asItem(complete) }]);
    } else if (manifest.kind === 'superseded' && manifest.isSpoiled) {
      spoiled.push(manifest);
    } else if (manifest.kind === 'superseded') {
      setAside.add(manifest.blobKey);
      for (const { instance: scanned } of await rescanAll(services, tenant, [manifest.blobKey], report)) {
        const key = keys.superseded(tenant, scanned.SOPInstanceUID, scanned.version);
        const instance = await received.asReceived(scanned, key);
        await services.index.write([{ kind: 'put', key, item: asItem(instance) }]);
        report.superseded++;
      }
    }
  }
  for (const { blobKey, by } of spoiled) {
    // Only what is whole and visible takes the place of anything.
    if (setAside.has(by) || (await services.blobs.head(by)) === undefined) continue;
    setAside.add(blobKey);
    await leaveToSweeper(services, tenant, blobKey);
  }
  return setAside;
}

/** As the removal that was cut off would have. */
async function leaveToSweeper(services: Services, tenant: Tenant, blobKey: string): Promise<void> {
  const [, StudyInstanceUID = '', SeriesInstanceUID = '', file = ''] = blobKey.split('/');
  const version = OBJECT_KEY.exec(blobKey)?.[1];
  if (version === undefined) return;
  const uids = { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID: file.slice(0, file.indexOf(`.${version}`)) };
  const pending: PendingRecord = { version: 2, ...uids, blobKey, startedAt: services.clock.now() };
  await services.index.write([{ kind: 'put', key: keys.pending(tenant, version), item: asItem(pending) }]);
}

async function onlyKept({ blobs }: Services, blobKeys: readonly string[]): Promise<string[]> {
  const kept: string[] = [];
  for (const key of blobKeys) if ((await blobs.head(key)) !== undefined) kept.push(key);
  return kept;
}

interface Rescanned {
  readonly instance: InstanceRecord;
  /** whose it is */
  readonly attributes: DataSet;
}

async function rescanAll(
  services: Services,
  tenant: Tenant,
  blobKeys: readonly string[],
  report: RebuildReport,
): Promise<Rescanned[]> {
  const found: Rescanned[] = [];
  for (const blobKey of blobKeys) {
    const version = OBJECT_KEY.exec(blobKey)?.[1];
    if (version === undefined) continue;
    try {
      const stored = { blobKey, version, source: 'rebuild', storedAt: timeOf(version) };
      const prepared = await rescan(services, tenant, stored);
      found.push({ instance: prepared.instance, attributes: whoseObject(prepared) });
    } catch (error) {
      report.failed.push({ blobKey, code: asPacsError(error).code });
    }
  }
  return found;
}

async function claimRejected(
  services: Services,
  tenant: Tenant,
  instance: InstanceRecord,
  trashId: string,
): Promise<void> {
  const claim = {
    version: lockOf(instance.version),
    StudyInstanceUID: instance.StudyInstanceUID,
    SeriesInstanceUID: instance.SeriesInstanceUID,
    instanceVersion: instance.version,
    sha256: instance.sha256,
    rejectedBy: trashId,
  };
  await services.index.write([{ kind: 'put', key: keys.sop(tenant, instance.SOPInstanceUID), item: asItem(claim) }]);
}
