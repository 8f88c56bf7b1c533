import { wholeOf } from '../access/confine.ts';
import { PacsError } from '../errors.ts';
import { newVersion } from '../ids.ts';
import { asItem, asRecord, recordsIn, type WriteOperation } from '../ports/index-table.ts';
import { sweepSeriesDocuments } from '../retrieve/prepare.ts';
import type { Services } from '../services.ts';
import { addToDelta, deltaOf, deltaWrites } from './commit.ts';
import { eventWrite } from './feed.ts';
import { putManifest } from './manifest.ts';
import {
  type ArchiveEvent,
  type Delta,
  type InstanceRecord,
  keys,
  type SeriesRecord,
  type SopClaim,
  type StudyRecord,
  type Tenant,
  type TrashRecord,
} from './records.ts';
import { forgetSelection, noteUntaken } from './trashed.ts';
import { whoseStudy } from './whose.ts';

/** claim, instance, metadata, trashed; and once a series: the delta */
const INSTANCES_PER_WRITE = 20;
/** the queue of removals and restores under way, so that one whose process died is finished by another; payload { tenant, id } */
export const FINISH_REMOVAL = 'finish-removal';
export const FINISH_AFTER_MS = 120_000;

export interface Selection {
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID?: string | undefined;
  readonly SOPInstanceUID?: string | undefined;
}

export interface Removal {
  readonly kind: 'deleted' | 'rejected';
  /** shown to people; no patient data */
  readonly reason: string;
  readonly by: string;
}

/**
 * Moves what is selected to the trash: no longer found or served, recoverable until `purgeAt` (for ever when rejected).
 * Resolves when done; a crash on the way is finished from the queue.
 * @throws PacsError NOT_FOUND when nothing visible is selected
 */
export async function moveToTrash(
  services: Services,
  tenant: Tenant,
  selections: readonly Selection[],
  removal: Removal,
): Promise<TrashRecord> {
  const [first] = selections;
  if (!first) throw new PacsError('BAD_REQUEST', 'nothing is selected');
  const found = await Array.fromAsync(selectedInstances(services, tenant, selections));
  if (found.length === 0)
    throw new PacsError('NOT_FOUND', 'there is no such study, series or instance', { details: { ...first } });
  return removeFound(wholeOf(services), tenant, selections, found, removal);
}

async function removeFound(
  services: Services,
  tenant: Tenant,
  [first, ...others]: readonly Selection[],
  found: readonly InstanceRecord[],
  removal: Removal,
): Promise<TrashRecord> {
  const at = services.clock.now();
  const study = asRecord<StudyRecord>(await services.index.get(keys.study(tenant, first!.StudyInstanceUID)));
  const single = others.length === 0 ? first! : { StudyInstanceUID: first!.StudyInstanceUID };
  const trash: TrashRecord = {
    version: 1,
    id: newVersion(services.clock),
    kind: removal.kind,
    level:
      single.SOPInstanceUID !== undefined ? 'instance' : single.SeriesInstanceUID !== undefined ? 'series' : 'study',
    ...single,
    state: 'moving',
    instanceCount: found.length,
    attributes: whoseStudy(study),
    deletedAt: at,
    purgeAt: removal.kind === 'deleted' ? at + services.limits.trashMs : null,
    reason: removal.reason,
    by: removal.by,
  };
  await services.jobs.enqueue(FINISH_REMOVAL, { tenant, id: trash.id }, { delayMs: FINISH_AFTER_MS });
  const selected = found.map(({ StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, version }) => ({
    StudyInstanceUID,
    SeriesInstanceUID,
    SOPInstanceUID,
    version,
  }));
  await writeSelection(services, tenant, trash, selected);
  const blobKeys = found.map(({ blobKey }) => blobKey);
  try {
    // Behind the record, which is finished whatever happens: a note alone would have a rebuild remove what nobody did. Before anything is moved.
    await putManifest(services.blobs, tenant, { kind: 'trash', trash, blobKeys });
  } catch (error) {
    await services.index.write([{ kind: 'delete', key: keys.trash(tenant, trash.id), if: { version: trash.version } }]);
    await forgetSelection(services, tenant, trash.id);
    throw error;
  }
  return move(services, tenant, trash, found);
}

/** What a record under `trashing` holds. */
interface TrashingPage {
  readonly instances: readonly Pick<
    InstanceRecord,
    'StudyInstanceUID' | 'SeriesInstanceUID' | 'SOPInstanceUID' | 'version'
  >[];
}

/** The instances still to move stand under `trashing`, so that whoever finishes moves these and not what came later. */
async function writeSelection(
  services: Services,
  tenant: Tenant,
  trash: TrashRecord,
  selected: TrashingPage['instances'],
): Promise<void> {
  const pageSize = 500;
  const operations: WriteOperation[] = [{ kind: 'put', key: keys.trash(tenant, trash.id), item: asItem(trash) }];
  for (let at = 0; at < selected.length; at += pageSize) {
    const page: TrashingPage = { instances: selected.slice(at, at + pageSize) };
    const sort = String(at / pageSize).padStart(6, '0');
    operations.push({ kind: 'put', key: { partition: `${tenant}|trashing|${trash.id}`, sort }, item: asItem(page) });
  }
  for (let at = operations.length; at > 0; at -= 50)
    await services.index.write(operations.slice(Math.max(0, at - 50), at));
}

/** Finishes a removal that was interrupted; nothing to do when it is complete. */
export async function finishRemoval(services: Services, tenant: Tenant, id: string): Promise<void> {
  const item = await services.index.get(keys.trash(tenant, id));
  if (!item) return;
  const trash = asRecord<TrashRecord>(item);
  if (trash.state !== 'moving') return;
  const left: InstanceRecord[] = [];
  for await (const { item: page } of recordsIn(services.index, {
    partition: `${tenant}|trashing|${id}`,
    limit: 10_000,
  })) {
    for (const uids of asRecord<TrashingPage>(page).instances) {
      const record = await services.index.get(
        keys.instance(tenant, uids.StudyInstanceUID, uids.SeriesInstanceUID, uids.SOPInstanceUID),
      );
      const instance = asRecord<InstanceRecord>(record);
      if (instance?.version === uids.version) left.push(instance);
    }
  }
  // Where it is there already, it names what was to be moved at first.
  const blobKeys = left.map(({ blobKey }) => blobKey);
  await putManifest(services.blobs, tenant, { kind: 'trash', trash, blobKeys });
  await move(services, tenant, trash, left);
}

async function move(
  services: Services,
  tenant: Tenant,
  trash: TrashRecord,
  found: readonly InstanceRecord[],
): Promise<TrashRecord> {
  const studies = new Set<string>();
  let moved = 0;
  let isOver = false;
  for (const group of groupBySeries(found)) {
    for (let at = 0; at < group.length && !isOver; at += INSTANCES_PER_WRITE) {
      const count = await moveBatch(services, tenant, trash, group.slice(at, at + INSTANCES_PER_WRITE));
      moved += count ?? 0;
      isOver = count === undefined;
    }
    studies.add(group[0]!.StudyInstanceUID);
  }
  if (moved < trash.instanceCount && !isOver) await noteUntaken(services, tenant, trash.id);
  studies.add(trash.StudyInstanceUID);
  for (const study of studies) await services.folder.fold(tenant, study);
  // Prepared documents still say what the removed objects said.
  for (const { StudyInstanceUID: study, SeriesInstanceUID: series } of groupBySeries(found).map((group) => group[0]!)) {
    await sweepSeriesDocuments(services, tenant, study, series);
  }
  const complete: TrashRecord = { ...trash, version: trash.version + 1, state: 'complete' };
  await services.index.write([
    { kind: 'put', key: keys.trash(tenant, trash.id), item: asItem(complete), if: { version: trash.version } },
    eventWrite(tenant, {
      type: trash.kind === 'rejected' ? 'Rejected' : 'Deleted',
      at: services.clock.now(),
      ...selectionOf(trash),
      id: trash.id,
      instances: trash.instanceCount,
    }),
  ]);
  return complete;
}

const selectionOf = (
  trash: TrashRecord,
): Pick<ArchiveEvent, 'StudyInstanceUID' | 'SeriesInstanceUID' | 'SOPInstanceUID'> => ({
  StudyInstanceUID: trash.StudyInstanceUID,
  SeriesInstanceUID: trash.SeriesInstanceUID,
  SOPInstanceUID: trash.SOPInstanceUID,
});

/**
 * One atomic write for instances of one series. The claim's lock decides the race with a store that supersedes one of them:
 * whichever instance was changed meanwhile is left out, and stays visible with its new bytes. Nothing is moved behind the removal's end: another process
 * has finished it, and what has been restored since would vanish.
 * @returns how many were moved; undefined when the removal is over
 */
async function moveBatch(
  services: Services,
  tenant: Tenant,
  trash: TrashRecord,
  batch: readonly InstanceRecord[],
): Promise<number | undefined> {
  let instances = [...batch];
  while (instances.length > 0) {
    const claims = await services.index.getMany(instances.map((instance) => keys.sop(tenant, instance.SOPInstanceUID)));
    const owned = instances.flatMap((instance, i) => {
      const claim = claims[i] && asRecord<SopClaim>(claims[i]);
      return claim?.instanceVersion === instance.version && claim.rejectedBy === undefined ? [{ instance, claim }] : [];
    });
    if (owned.length === 0) return 0;
    instances = owned.map(({ instance }) => instance);
    const operations: WriteOperation[] = [
      { kind: 'check', key: keys.trash(tenant, trash.id), if: { version: trash.version } },
    ];
    const owners = new Map<number, InstanceRecord>();
    for (const { instance, claim } of owned) {
      const { StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: sop } = instance;
      const condition = { version: claim.version };
      owners.set(operations.length, instance);
      operations.push(
        // A rejected instance keeps its UID, so that sending it again does not bring it back.
        trash.kind === 'rejected'
          ? {
              kind: 'put',
              key: keys.sop(tenant, sop),
              item: asItem({ ...claim, version: claim.version + 1, rejectedBy: trash.id }),
              if: condition,
            }
          : { kind: 'delete', key: keys.sop(tenant, sop), if: condition },
        { kind: 'delete', key: keys.instance(tenant, study, series, sop) },
        { kind: 'delete', key: keys.metadata(tenant, study, series, sop) },
        { kind: 'put', key: keys.trashed(tenant, trash.id, sop, instance.version), item: asItem(instance) },
      );
    }
    const { StudyInstanceUID: study } = instances[0]!;
    const delta = negativeDelta(instances);
    operations.push(...deltaWrites(tenant, study, newVersion(services.clock), delta));
    const outcome = await services.index.write(operations);
    if (outcome.committed) return instances.length;
    if (outcome.failed.includes(0)) return undefined;
    const changed = new Set(outcome.failed.map((operation) => owners.get(operation)));
    instances = instances.filter((instance) => !changed.has(instance));
  }
  return 0;
}

export function negativeDelta(instances: readonly InstanceRecord[]): Delta {
  const [first, ...rest] = instances;
  const delta = deltaOf({ instance: first!, studyAttributes: {}, seriesAttributes: {} }, -1);
  for (const instance of rest) addToDelta(delta, instance, -1);
  return delta;
}

export function groupBySeries(instances: readonly InstanceRecord[]): InstanceRecord[][] {
  const groups = Map.groupBy(instances, (i) => `${i.StudyInstanceUID}|${i.SeriesInstanceUID}|${i.Modality}`);
  return [...groups.values()];
}

/** The visible instances that the selections name, each once. */
export async function* selectedInstances(
  services: Pick<Services, 'index'>,
  tenant: Tenant,
  selections: readonly Selection[],
): AsyncGenerator<InstanceRecord> {
  for (const { StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: sop } of selections) {
    if (series !== undefined && sop !== undefined) {
      const item = await services.index.get(keys.instance(tenant, study, series, sop));
      if (item) yield asRecord<InstanceRecord>(item);
    } else if (series !== undefined) yield* instancesOfSeries(services, tenant, study, series);
    else {
      const { partition } = keys.study(tenant, study);
      for await (const { item } of recordsIn(services.index, { partition, prefix: 'series|', limit: 10_000 })) {
        yield* instancesOfSeries(services, tenant, study, asRecord<SeriesRecord>(item).SeriesInstanceUID);
      }
    }
  }
}

async function* instancesOfSeries(
  services: Pick<Services, 'index'>,
  tenant: Tenant,
  study: string,
  series: string,
): AsyncGenerator<InstanceRecord> {
  const { partition } = keys.instance(tenant, study, series, '');
  let after: string | undefined;
  for (;;) {
    const page = await services.index.query({ partition, limit: 500, ...(after === undefined ? {} : { after }) });
    for (const { item } of page.records) yield asRecord<InstanceRecord>(item);
    if (!page.more) return;
    after = page.records.at(-1)?.sort;
  }
}
