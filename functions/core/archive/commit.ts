import type { DataSet } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import { newVersion } from '../ids.ts';
import type { Clock } from '../ports/clock.ts';
import { type IndexTable, type Item, WRITE_LIMIT_OPERATIONS, type WriteOperation } from '../ports/index-table.ts';
import { eventWrite } from './feed.ts';
import { asItem, type Delta, type InstanceRecord, keys, type SopClaim, type Tenant } from './records.ts';

/** An instance whose blob is durable and which is not visible yet. */
export interface PreparedInstance {
  readonly tenant: Tenant;
  readonly instance: InstanceRecord;
  /** the metadata record: { json }, DICOM JSON as UTF-8, or { blobKey }, where it stands */
  readonly metadata: Item;
  readonly studyAttributes: DataSet;
  readonly seriesAttributes: DataSet;
  /** a pending record guards the blob (a store); without one the blob is known to stay (restore, rebuild) */
  readonly pending: boolean;
}

/** What a prepared instance's commit came to. `taken`: another store owns the SOPInstanceUID. */
export type CommitOutcome = 'committed' | 'taken';

interface Entry {
  readonly prepared: PreparedInstance;
  readonly resolve: (outcome: CommitOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/** claim, instance, metadata, pending, event; and for the first of a series: delta, unfolded, series-of */
const OPERATIONS_PER_INSTANCE = 5;
const OPERATIONS_PER_SERIES = 3;

/**
 * Makes prepared instances visible, many per atomic write: stores that arrive while one write is under way share the next.
 *
 * The race that this decides: two stores of one SOPInstanceUID, A and B, at the same time.
 *
 *   A  begin ── blob A durable ── write { claim if absent, … } ── won
 *   B  begin ── blob B durable ──────────── write { claim if absent, … } ── lost → compare with A's bytes
 *
 * The claim's condition lets one through. Everything that counts an instance (its delta, its event) stands in the same write,
 * so a replay or a lost race counts nothing.
 */
export class CommitQueue {
  readonly #index: IndexTable;
  readonly #clock: Clock;
  readonly #waiting = new Map<Tenant, Entry[]>();
  readonly #running = new Set<Tenant>();

  constructor(ports: { readonly index: IndexTable; readonly clock: Clock }) {
    this.#index = ports.index;
    this.#clock = ports.clock;
  }

  /** @throws PacsError BUSY when the sweeper took the pending store for an abandoned one: send it again */
  commit(prepared: PreparedInstance): Promise<CommitOutcome> {
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(prepared.tenant) ?? [];
      this.#waiting.set(prepared.tenant, waiting);
      waiting.push({ prepared, resolve, reject });
      if (!this.#running.has(prepared.tenant)) void this.#drain(prepared.tenant);
    });
  }

  async #drain(tenant: Tenant): Promise<void> {
    this.#running.add(tenant);
    try {
      // Let the stores that finish in this turn of the event loop join the batch.
      await Promise.resolve();
      for (;;) {
        const waiting = this.#waiting.get(tenant) ?? [];
        if (waiting.length === 0) return;
        await this.#commitBatch(tenant, takeBatch(waiting));
      }
    } finally {
      this.#running.delete(tenant);
      if (this.#waiting.get(tenant)?.length === 0) this.#waiting.delete(tenant);
    }
  }

  async #commitBatch(tenant: Tenant, batch: Entry[]): Promise<void> {
    let entries = batch;
    try {
      while (entries.length > 0) {
        const { operations, claims, guards } = this.#writesOf(tenant, entries);
        const outcome = await this.#index.write(operations, { durability: 'deferred' });
        if (outcome.committed) {
          for (const entry of entries) entry.resolve('committed');
          return;
        }
        const settled = new Set<Entry>();
        for (const operation of outcome.failed) {
          const taken = claims.get(operation);
          const swept = guards.get(operation);
          taken?.resolve('taken');
          swept?.reject(new PacsError('BUSY', 'the store took too long and was given up'));
          const entry = taken ?? swept;
          if (entry) settled.add(entry);
        }
        entries = entries.filter((entry) => !settled.has(entry));
      }
    } catch (error) {
      for (const entry of entries) entry.reject(error);
    }
  }

  #writesOf(tenant: Tenant, entries: readonly Entry[]) {
    const operations: WriteOperation[] = [];
    const claims = new Map<number, Entry>();
    const guards = new Map<number, Entry>();
    const deltas = new Map<string, { study: string; delta: Delta }>();
    for (const entry of entries) {
      const { instance, metadata } = entry.prepared;
      const { StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: sop } = instance;
      const claim: SopClaim = {
        version: 1,
        StudyInstanceUID: study,
        SeriesInstanceUID: series,
        instanceVersion: instance.version,
        sha256: instance.sha256,
      };
      claims.set(operations.length, entry);
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
      if (entry.prepared.pending) {
        guards.set(operations.length, entry);
        operations.push(pendingDone(tenant, instance.version));
      }
      const group = `${study}|${series}`;
      const known = deltas.get(group);
      if (known) addToDelta(known.delta, instance);
      else deltas.set(group, { study, delta: deltaOf(entry.prepared) });
    }
    for (const { study, delta } of deltas.values()) {
      operations.push(...deltaWrites(tenant, study, newVersion(this.#clock), delta), {
        kind: 'put',
        key: keys.seriesOf(tenant, delta.SeriesInstanceUID, study),
        item: {},
      });
    }
    return { operations, claims, guards };
  }
}

/** The commit's half of the race with the sweeper (see PendingRecord). */
export const pendingDone = (tenant: Tenant, version: string): WriteOperation => ({
  kind: 'delete',
  key: keys.pending(tenant, version),
  if: { version: 1 },
});

/** A delta, and the note by which it is found should its writer die before the fold. */
export const deltaWrites = (tenant: Tenant, study: string, id: string, delta: Delta): WriteOperation[] => [
  { kind: 'put', key: keys.delta(tenant, study, id), item: asItem(delta) },
  { kind: 'put', key: keys.unfolded(tenant, id), item: { study } },
];

/** Takes entries off the queue while they fit one atomic write; a SOPInstanceUID that is in already waits for the next. */
function takeBatch(waiting: Entry[]): Entry[] {
  const batch: Entry[] = [];
  const sops = new Set<string>();
  const series = new Set<string>();
  let operations = 0;
  let taken = 0;
  for (const entry of waiting) {
    const { instance } = entry.prepared;
    if (sops.has(instance.SOPInstanceUID)) break;
    const group = `${instance.StudyInstanceUID}|${instance.SeriesInstanceUID}`;
    operations += OPERATIONS_PER_INSTANCE + (series.has(group) ? 0 : OPERATIONS_PER_SERIES);
    if (operations > WRITE_LIMIT_OPERATIONS) break;
    sops.add(instance.SOPInstanceUID);
    series.add(group);
    batch.push(entry);
    taken++;
  }
  waiting.splice(0, taken);
  return batch;
}

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
    studyAttributes: prepared.studyAttributes,
    seriesAttributes: prepared.seriesAttributes,
    at: instance.storedAt,
  };
}

function addToDelta(delta: Delta, instance: InstanceRecord): void {
  delta.instances++;
  delta.sizeBytes += instance.sizeBytes;
  delta.sopClasses[instance.SOPClassUID] = (delta.sopClasses[instance.SOPClassUID] ?? 0) + 1;
  delta.at = Math.max(delta.at, instance.storedAt);
}
