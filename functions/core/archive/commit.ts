import type { DataSet } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import { lockOf, newVersion } from '../ids.ts';
import {
  asItem,
  type Item,
  type Key,
  WRITE_LIMIT_OPERATIONS,
  type WriteOperation,
  type WriteOutcome,
} from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { eventWrite } from './feed.ts';
import { type Delta, type InstanceRecord, keys, type SopClaim, type Tenant } from './records.ts';

/**
 * What keeps the sweeper from taking the blob of a store for an abandoned one. `pending`: a record, made before the blob was. `unsettled`: the store of
 * blobs remembers it, and the sweeper makes a pending record before it touches the bytes. `held`: it waits in quarantine, and leaves it in the same write, or
 * two decisions about it would both hold. `trashed`: it lies in the trash, under this key, and leaves it in the same write. `none`: the blob is known to
 * stay (rebuild).
 */
export type BlobGuard = 'pending' | 'unsettled' | 'held' | 'none' | { readonly trashed: Key };

/** An instance whose blob is durable and which is not visible yet. */
export interface PreparedInstance {
  readonly tenant: Tenant;
  readonly instance: InstanceRecord;
  /** the metadata record: { json }, DICOM JSON as UTF-8, or { blobKey }, where it stands */
  readonly metadata: Item;
  readonly studyAttributes: DataSet;
  readonly seriesAttributes: DataSet;
  readonly guard: BlobGuard;
}

/** What a prepared instance's commit came to. `taken`: another store owns the SOPInstanceUID, or it has left the trash already. */
export type CommitOutcome = 'committed' | 'taken';

interface Entry {
  readonly prepared: PreparedInstance;
  readonly resolve: (outcome: CommitOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/** What waits for one study in this process. */
interface StudyQueue {
  readonly tenant: Tenant;
  readonly study: string;
  readonly waiting: Entry[];
  /** another writer was seen in this study: leave deltas instead of fighting for its record, or read it anew each time where conflicts are cheap */
  contended: boolean;
  /** writes that failed since the last one that did not, for the study's record had changed */
  lost: number;
}

/** Where conflicts are cheap: so often the study's record is read again before deltas are left. */
const LOST_BEFORE_DELTAS = 20;
/** Instances of one atomic write: five operations each, and room for the study's change or for deltas. */
const INSTANCES_PER_COMMIT = 12;

/**
 * Makes prepared instances visible and counted, many per atomic write: stores into a study that arrive while one write is under way
 * share the next.
 *
 * The race that this decides: two stores of one SOPInstanceUID, A and B, at the same time.
 *
 *   A  begin ── blob A durable ── write { claim if absent, … } ── won
 *   B  begin ── blob B durable ──────────── write { claim if absent, … } ── lost → compare with A's bytes
 *
 * The claim's condition lets one through. Everything that counts an instance stands in the same write, so a replay or a lost race
 * counts nothing: the study's own record while we are its only writer, else a delta, which is folded before we resolve.
 */
export class CommitQueue {
  readonly #ports: Pick<Services, 'index' | 'clock' | 'limits' | 'folder'>;
  readonly #studies = new Map<string, StudyQueue>();

  constructor(ports: Pick<Services, 'index' | 'clock' | 'limits' | 'folder'>) {
    this.#ports = ports;
  }

  /**
   * Resolves when the instance is durable, visible and counted, or when another store owns its SOPInstanceUID.
   * @throws PacsError BUSY when the sweeper took the pending store for an abandoned one: send it again; NOT_FOUND when what was held is not any more
   */
  commit(prepared: PreparedInstance): Promise<CommitOutcome> {
    return new Promise((resolve, reject) => {
      const { tenant, instance } = prepared;
      const id = `${tenant}|${instance.StudyInstanceUID}`;
      const entry = { prepared, resolve, reject };
      const queue = this.#studies.get(id);
      if (queue) queue.waiting.push(entry);
      else {
        const study = instance.StudyInstanceUID;
        const contended = this.#ports.folder.isContended(tenant, study);
        const opened = { tenant, study, waiting: [entry], contended, lost: 0 };
        this.#studies.set(id, opened);
        void this.#drain(id, opened);
      }
    });
  }

  async #drain(id: string, queue: StudyQueue): Promise<void> {
    // Let the stores that finish in this turn of the event loop join the batch.
    await Promise.resolve();
    while (queue.waiting.length > 0) await this.#commitBatch(queue, takeBatch(queue.waiting));
    this.#studies.delete(id);
  }

  async #commitBatch(queue: StudyQueue, batch: Entry[]): Promise<void> {
    let entries = batch;
    try {
      while (entries.length > 0) {
        const { operations, owners, deltas } = writesOf(queue.tenant, entries);
        const { outcome, remembered } = await this.#write(queue, operations, deltas);
        if (outcome.committed) {
          queue.lost = 0;
          for (const entry of entries) entry.resolve('committed');
          return;
        }
        const settled = new Set<Entry>();
        for (const operation of outcome.failed) {
          const owner = owners.get(operation);
          // What was remembered may just have been old: once more, from what stands there.
          if (owner === undefined) {
            queue.lost++;
            queue.contended = this.#ports.index.conflictsAreCheap === true || !remembered;
          } else if (owner.asks === 'claim' || isTrashed(owner.entry.prepared.guard)) owner.entry.resolve('taken');
          else owner.entry.reject(guardFailure(owner.entry.prepared));
          if (owner) settled.add(owner.entry);
        }
        entries = entries.filter((entry) => !settled.has(entry));
      }
    } catch (error) {
      for (const entry of entries) entry.reject(error);
    }
  }

  async #write(
    queue: StudyQueue,
    operations: readonly WriteOperation[],
    deltas: readonly Delta[],
  ): Promise<{ readonly outcome: WriteOutcome; readonly remembered: boolean }> {
    const { tenant, study } = queue;
    const { index, clock, folder } = this.#ports;
    const isTriedAgain = index.conflictsAreCheap === true && queue.lost < LOST_BEFORE_DELTAS;
    if (!queue.contended || isTriedAgain) {
      const change = await folder.change(tenant, study, deltas, !queue.contended);
      if (!change.beingFolded && operations.length + change.operations.length <= WRITE_LIMIT_OPERATIONS) {
        const outcome = await folder.write(tenant, study, change, operations, deltas);
        if (!outcome.committed && (isTriedAgain || !change.remembered)) folder.markContended(tenant, study);
        return { outcome, remembered: change.remembered };
      }
      queue.contended ||= change.beingFolded;
    }
    const left = deltas.map((delta) => ({ id: newVersion(clock), delta }));
    const asDeltas = left.flatMap(({ id, delta }) => deltaWrites(tenant, study, id, delta));
    const outcome = await index.write([...operations, ...asDeltas], { durability: 'deferred' });
    const ids = left.map(({ id }) => id);
    if (outcome.committed) await folder.fold(tenant, study, ids);
    return { outcome, remembered: false };
  }
}

/** The operations of a batch, which entry each condition belongs to, and what the batch adds to each of its series. */
function writesOf(tenant: Tenant, entries: readonly Entry[]) {
  const operations: WriteOperation[] = [];
  const owners = new Map<number, { readonly entry: Entry; readonly asks: 'claim' | 'pending' }>();
  const deltas = new Map<string, Delta>();
  for (const entry of entries) {
    const { instance, metadata, guard } = entry.prepared;
    const { StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: sop } = instance;
    const claim: SopClaim = {
      version: lockOf(instance.version),
      StudyInstanceUID: study,
      SeriesInstanceUID: series,
      instanceVersion: instance.version,
      sha256: instance.sha256,
    };
    owners.set(operations.length, { entry, asks: 'claim' });
    operations.push(
      { kind: 'put', key: keys.sop(tenant, sop), item: asItem(claim), if: 'absent' },
      { kind: 'put', key: keys.instance(tenant, study, series, sop), item: asItem(instance) },
      { kind: 'put', key: keys.metadata(tenant, study, series, sop), item: metadata },
      eventWrite(tenant, {
        type: 'InstanceStored',
        at: instance.storedAt,
        StudyInstanceUID: study,
        SeriesInstanceUID: series,
        SOPInstanceUID: sop,
        sha256: instance.sha256,
      }),
    );
    for (const operation of guardedBy(guard, tenant, instance.version)) {
      owners.set(operations.length, { entry, asks: 'pending' });
      operations.push(operation);
    }
    const known = deltas.get(series);
    if (known) addToDelta(known, instance);
    else deltas.set(series, deltaOf(entry.prepared));
  }
  return { operations, owners, deltas: [...deltas.values()] };
}

/** Takes entries off the queue while they fit one atomic write; a SOPInstanceUID that is in already waits for the next. */
function takeBatch(waiting: Entry[]): Entry[] {
  const sops = new Set<string>();
  let count = 0;
  while (count < waiting.length && count < INSTANCES_PER_COMMIT) {
    const { SOPInstanceUID } = waiting[count]!.prepared.instance;
    if (sops.has(SOPInstanceUID)) break;
    sops.add(SOPInstanceUID);
    count++;
  }
  return waiting.splice(0, count);
}

const guardFailure = ({ guard, instance }: PreparedInstance): PacsError =>
  guard === 'held'
    ? new PacsError('NOT_FOUND', 'somebody else has decided this conflict', { details: { id: instance.version } })
    : new PacsError('BUSY', 'the store took too long and was given up');

/**
 * The commit's half of the race with the sweeper (see PendingRecord), or with whoever decides about the same held bytes, or restores the same from the
 * trash: it fails when the other was there first.
 */
export function guardedBy(guard: BlobGuard, tenant: Tenant, version: string): WriteOperation[] {
  const key = keys.pending(tenant, version);
  if (guard === 'pending') return [{ kind: 'delete', key, if: { version: 1 } }];
  if (guard === 'held') return [{ kind: 'delete', key: keys.held(tenant, version), if: 'present' }];
  if (isTrashed(guard)) return [{ kind: 'delete', key: guard.trashed, if: 'present' }];
  return guard === 'unsettled' ? [{ kind: 'check', key, if: 'absent' }] : [];
}

const isTrashed = (guard: BlobGuard): guard is { readonly trashed: Key } => typeof guard === 'object';

/** A delta, and the note by which it is found should its writer die before the fold. */
export const deltaWrites = (tenant: Tenant, study: string, id: string, delta: Delta): WriteOperation[] => [
  { kind: 'put', key: keys.delta(tenant, study, id), item: asItem(delta) },
  { kind: 'put', key: keys.unfolded(tenant, id), item: { study } },
];

export function deltaOf(
  prepared: Pick<PreparedInstance, 'instance' | 'studyAttributes' | 'seriesAttributes'>,
  sign: 1 | -1 = 1,
): Delta {
  const { instance } = prepared;
  return {
    SeriesInstanceUID: instance.SeriesInstanceUID,
    modality: instance.Modality,
    instances: sign,
    sizeBytes: sign * instance.sizeBytes,
    sopClasses: { [instance.SOPClassUID]: sign },
    ...(instance.deidentified && { deidentified: sign }),
    ...(instance.site !== undefined && { sites: { [instance.site]: sign } }),
    studyAttributes: prepared.studyAttributes,
    seriesAttributes: prepared.seriesAttributes,
    at: instance.storedAt,
  };
}

/** @param sign -1 for an instance that goes */
export function addToDelta(delta: Delta, instance: InstanceRecord, sign: 1 | -1 = 1): void {
  const { SOPClassUID, site } = instance;
  delta.instances += sign;
  delta.sizeBytes += sign * instance.sizeBytes;
  delta.sopClasses[SOPClassUID] = (delta.sopClasses[SOPClassUID] ?? 0) + sign;
  if (instance.deidentified) delta.deidentified = (delta.deidentified ?? 0) + sign;
  if (site !== undefined) {
    delta.sites ??= {};
    delta.sites[site] = (delta.sites[site] ?? 0) + sign;
  }
  delta.at = Math.max(delta.at, instance.storedAt);
}
